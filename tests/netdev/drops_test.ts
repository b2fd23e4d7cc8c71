// SPDX-License-Identifier: Apache-2.0
/**
 * Packets that are dropped are shown with the reason that they are counted under, to one that
 * looks.
 */
import assert from "node:assert/strict";
import type { DroppedPacket } from "../../providers/contract/drops.ts";
import { LOCAL_PORT, type PortNo } from "../../providers/ids.ts";
import { openDatapath } from "../../providers/registry.ts";
import { arpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

const arp = (port: PortNo) => `in_port(${port}),eth(),eth_type(0x0806),arp()`;

/** What was dropped, without its time. */
const shown = (dropped: readonly DroppedPacket[]) =>
  dropped.map(({ time: _, packet, ...rest }) => ({ ...rest, packet: packet.toHex() }));

Deno.test(
  "drops: each is shown with its reason, its ports and its bytes, also those that a port would not take",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [p1] = await bench.ports("p1");
    await dp.ports.add({ name: "p2", type: "dummy", options: { mtu: "70", queue: "3" } });
    const p2 = dp.ports.get("p2")?.no as PortNo;
    dp.meters?.set(7, { unit: "pktps", bands: [{ rate: 1, burst: 1 }] });
    using watch = dp.drops?.watch();
    assert.ok(watch !== undefined);
    const began = BigInt(Date.now()) * 1_000_000n;
    const frame = arpFrame();
    const large = new Uint8Array(200);
    large.set(frame);
    const expect = async (
      actions: string,
      sent: readonly Uint8Array[],
      reason: string,
      where: { inPort?: PortNo; outPort?: PortNo },
    ): Promise<void> => {
      dp.flows.flush();
      if (actions !== "none") dp.flows.put({ key: arp(p1), actions });
      const before = dp.stats().counters?.[reason] ?? 0n;
      for (const one of sent) {
        bench.inject(p1, one);
        await bench.settle();
      }
      const last = sent.at(-1) as Uint8Array;
      assert.deepEqual(shown(watch.receive()), [{
        reason,
        ...where,
        packet: last.toHex(),
        originalLength: last.length,
      }], actions);
      assert.equal(dp.stats().counters?.[reason], before + 1n);
    };
    await expect("drop", [frame], "drop_action", { inPort: p1 });
    await expect("99", [frame], "drop_no_port", { inPort: p1 });
    await expect("none", [frame], "drop_upcall_no_handler", { inPort: p1 });
    await expect(`${p2}`, [large], "drop_tx_oversize", { outPort: p2 });
    await expect(`${p2}`, [frame, frame, frame, frame], "drop_tx_full", { outPort: p2 });
    await expect("meter(7),99", [frame], "drop_no_port", { inPort: p1 });
    await expect("meter(7),99", [frame], "drop_meter", { inPort: p1 });
    await expect("drop(3)", [frame], "drop_too_many_resubmit", { inPort: p1 });
    await expect("drop(77)", [frame], "drop_explicit", { inPort: p1 });
    bench.inject(p1, frame.slice(0, 13));
    await bench.settle();
    const [runt] = watch.receive();
    assert.equal(runt?.reason, "drop_rx_runt");
    assert.equal(runt?.inPort, p1);
    assert.ok(runt.time >= began && runt.time < began + 600_000_000_000n);
    dp.execute({ packet: frame, actions: [] });
    dp.execute({ packet: frame, key: { inPort: LOCAL_PORT }, actions: "drop(1)" });
    assert.deepEqual(
      watch.receive().map(({ reason, inPort }) => [reason, inPort]),
      [["drop_action", undefined], ["drop_bridge_not_found", LOCAL_PORT]],
    );
  }),
);

Deno.test(
  "drops: one looks at a time, more than there is room for are counted, and nobody is shown any after the end",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [p1] = await bench.ports("p1");
    dp.flows.put({ key: arp(p1), actions: "drop" });
    const other = await openDatapath(dp.fullName);
    const watch = other.drops?.watch();
    assert.ok(watch !== undefined);
    assert.throws(() => dp.drops?.watch(), /somebody else is looking at them \(EBUSY\)/);
    // Two of one object would take them from each other, and the end of one would be that of both.
    assert.throws(() => other.drops?.watch(), /this object is looking at them \(EBUSY\)/);
    const frames = Array.from({ length: 1500 }, () => arpFrame());
    await bench.injectAll(p1, frames);
    await bench.settle();
    const first = watch.receive();
    assert.equal(first.length, 1024);
    assert.equal(watch.lost, 476n);
    bench.inject(p1, arpFrame());
    await bench.settle();
    assert.deepEqual(watch.receive().map(({ packet }) => packet), [arpFrame()]);
    // A handle that is closed looks no more, and makes room for another.
    await other.close();
    using next = dp.drops?.watch();
    bench.inject(p1, arpFrame());
    await bench.settle();
    assert.equal(next?.receive().length, 1);
    watch[Symbol.dispose]();
    assert.throws(() => dp.drops?.watch(), /EBUSY/);
    bench.inject(p1, arpFrame());
    await bench.settle();
    assert.equal(next?.receive().length, 1);
  }),
);
