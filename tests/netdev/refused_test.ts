// SPDX-License-Identifier: Apache-2.0
/** What devices refuse is no packet sent: it is counted as dropped, and for what reason. */
import assert from "node:assert/strict";
import type { PortNo } from "../../providers/ids.ts";
import { run, tryRun } from "../support/command.ts";
import { udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needRoot, skippable } from "../support/skip.ts";

const key = "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4()";
const small = udpFrame();
const large = udpFrame({ payload: new Uint8Array(3000) });

/** All packets that hit the flow to port 2 were sent by it or dropped for one of `reasons`. */
function account(bench: NetdevBench, no: PortNo, reasons: readonly string[]) {
  const { dp } = bench;
  const { hit, counters = {} } = dp.stats();
  const stats = dp.ports.stats(no);
  const dropped = reasons.map((reason) => counters[`drop_${reason}`] ?? 0n);
  const threads = [...dp.pollThreads?.dump() ?? []];
  const sent = threads.reduce((sum, at) => sum + (at.counters?.tx_packets ?? 0n), 0n);
  assert.equal(sent, stats.txPackets, "threads and port agree on what was sent");
  assert.equal(
    sent + dropped.reduce((sum, count) => sum + count, 0n),
    hit,
    "what hit was sent or dropped",
  );
  return { sent, dropped, errors: stats.txErrors };
}

Deno.test(
  "refused: a TAP device that is down sends nothing, and every packet is a drop with a name",
  skippable(async () => {
    needRoot("netdev");
    await using bench = await NetdevBench.open();
    const device = `rfa${Deno.pid}`;
    await bench.ports("p1");
    const { no } = await bench.dp.ports.add({ name: device, type: "tap" });
    bench.dp.flows.put({ key, actions: `${no}` });
    await bench.injectAll(1 as PortNo, Array(40).fill(small));
    await bench.settle();
    assert.deepEqual(account(bench, no, ["tx_error"]), {
      sent: 40n,
      dropped: [0n],
      errors: 0n,
    });
    await run("ip", "link", "set", device, "down");
    await bench.injectAll(1 as PortNo, Array(100).fill(small));
    await bench.settle();
    assert.deepEqual(account(bench, no, ["tx_error"]), {
      sent: 40n,
      dropped: [100n],
      errors: 100n,
    });
    await run("ip", "link", "set", device, "up");
    await bench.injectAll(1 as PortNo, Array(10).fill(small));
    await bench.settle();
    assert.equal(account(bench, no, ["tx_error"]).sent, 50n);
  }),
);

Deno.test(
  "refused: frames that a device has become too small for are refused once, then too large",
  skippable(async () => {
    needRoot("netdev");
    const device = `rfb${Deno.pid}`;
    const names = [device, "mtu", "9000", "type", "veth", "peer", `${device}p`];
    await run("ip", "link", "add", ...names, "mtu", "9000");
    try {
      await using bench = await NetdevBench.open();
      for (const end of [device, `${device}p`]) {
        await run("ip", "link", "set", end, "up");
      }
      await bench.ports("p1");
      const { no } = await bench.dp.ports.add({ name: device, type: "system" });
      bench.dp.flows.put({ key, actions: `${no}` });
      await bench.injectAll(1 as PortNo, Array(8).fill(large));
      await bench.settle();
      const reasons = ["tx_error", "tx_oversize", "tx_full", "link_down"];
      assert.equal(account(bench, no, reasons).sent, 8n);
      await run("ip", "link", "set", device, "mtu", "1500");
      for (let i = 0; i < 30; i++) {
        bench.inject(1 as PortNo, i % 3 === 0 ? small : large);
        await bench.settle();
      }
      const { sent, dropped, errors } = account(bench, no, reasons);
      assert.equal(sent, 18n);
      assert.equal(errors, dropped[0], "what is refused is an error of the port");
      // The first frame finds out, unless the kernel's news of the device has come before it.
      assert.ok(errors <= 3n, "one burst finds out");
      assert.equal((dropped[0] ?? 0n) + (dropped[1] ?? 0n), 20n);
    } finally {
      await tryRun("ip", "link", "delete", device);
    }
  }),
);
