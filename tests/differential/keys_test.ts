// SPDX-License-Identifier: Apache-2.0
/**
 * Keys and masks beside Open vSwitch's: a flow made of all of an upcall's key is hit there by the
 * packet of the upcall, and by no packet of another key; fragments are hit where they are there.
 */
import assert from "node:assert/strict";
import { encodeKey, formatKey } from "../../providers/odp/mod.ts";
import { toKeyAndMaskBytes } from "../../providers/odp/input.ts";
import { hostileFrames } from "../odp/frames.ts";
import { startDummy } from "../odp/ovs_dummy.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";

/** Every so many-th frame is taken. */
const STRIDE = 2;

/** Identifier of the flow of the `n`-th key. */
const ufidOf = (n: number) =>
  `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;

Deno.test(
  "packets hit in Open vSwitch the exact flow of the key that their upcall had here",
  skippable(async () => {
    await using dummy = await startDummy();
    await using bench = await NetdevBench.open();
    await bench.ports("p1");
    await dummy.call("upcall/set-flow-limit", "0");
    const frames = hostileFrames().filter((_, i) => i % STRIDE === 0);
    const upcalls = bench.dp.upcalls({ signal: AbortSignal.timeout(300_000) });
    /** Exact keys in text, and the frames that have them. */
    const keys = new Map<string, Uint8Array[]>();
    let unreadable = 0;
    for (const frame of frames) {
      bench.inject(1, frame);
      const { value: upcall } = await upcalls.next();
      assert.ok(upcall);
      assert.equal(upcall.packet.toHex(), frame.toHex());
      // Open vSwitch prints nsh(), and keys of 802.2, but does not read them.
      if (upcall.key.nsh !== undefined || upcall.key.etherType === undefined) {
        unreadable++;
        continue;
      }
      const text = formatKey(toKeyAndMaskBytes(encodeKey(upcall.key)), { verbose: true });
      keys.set(text, [...keys.get(text) ?? [], frame]);
    }
    await upcalls.return?.();
    const lines = [...keys.keys()].map((key, n) => `add ufid:${ufidOf(n)},${key} 2`);
    const file = await Deno.makeTempFile({ prefix: "upcall-keys-" });
    try {
      await Deno.writeTextFile(file, `${lines.join("\n")}\n`);
      await dummy.call("dpctl/add-flows", "dummy@ovs-dummy", file);
    } finally {
      await Deno.remove(file);
    }
    for (const frame of [...keys.values()].flat()) {
      await dummy.call("netdev-dummy/receive", "p1", frame.toHex());
    }
    const dump = await dummy.call("dpctl/dump-flows", "-m", "dummy@ovs-dummy");
    const hits = new Map(
      [...dump.matchAll(/ufid:([0-9a-f-]+),.*packets:(\d+),/g)].map((
        [, ufid, packets],
      ) => [ufid, Number(packets)]),
    );
    const wrong = [...keys].flatMap(([key, same], n) =>
      hits.get(ufidOf(n)) === same.length ? [] : [
        `${hits.get(ufidOf(n))} hits of ${same.length}: ${key}\n  ${
          same.map((frame) => frame.toHex()).join("\n  ")
        }`,
      ]
    );
    assert.deepEqual(wrong, [], `${wrong.length} of ${keys.size}:\n${wrong.join("\n")}`);
    assert.ok(keys.size >= 1200, `only ${keys.size} keys, ${unreadable} left out`);
  }),
);

/** An IPv4 packet of UDP, by its fragment word in hexadecimal, and the header of 802.1Q. */
const ipv4 = (fragment: string, tag = "") =>
  Uint8Array.fromHex(
    `020000000001020000000002${tag}08004500002e0001${fragment}401100000a0000010a000002` +
      `03e807d0001a0000${"00".repeat(18)}`,
  );

const ipv6 = (fragment: string) =>
  Uint8Array.fromHex(
    `02000000000102000000000286dd6000000000242c40fd${"00".repeat(14)}01fd${
      "00".repeat(14)
    }02` + `1100${fragment}0000000103e807d0001c0000${"00".repeat(20)}`,
  );

const fragments: readonly Uint8Array[] = [
  ipv4("0000"),
  ipv4("2000"),
  ipv4("2010"),
  ipv4("0010"),
  ipv4("0000", "81000005"),
  ipv6("0000"),
  ipv6("0001"),
  ipv6("0011"),
  ipv6("0010"),
];

/** Masks that look at fragments, and that do not. */
const fragmentFlows = [
  "ipv4()",
  "ipv4(dst=10.0.0.2)",
  "ipv4(dst=10.0.0.2,frag=no)",
  "ipv4(frag=first)",
  "ipv4(src=10.0.0.0/255.0.0.0,frag=later)",
  "ipv4(proto=17),udp(dst=2000)",
  "ipv4(proto=17,frag=no),udp(dst=2000)",
  "ipv4(proto=17),udp(dst=0)",
  "ipv6()",
  "ipv6(dst=fd00::2)",
  "ipv6(dst=fd00::2,frag=no)",
  "ipv6(frag=first)",
  "ipv6(frag=later)",
  "ipv6(proto=17),udp(src=1000)",
  "ipv6(proto=17),udp(dst=0/0x1)",
].map((layers) =>
  `in_port(1),eth_type(${layers.startsWith("ipv4") ? "0x0800" : "0x86dd"}),${layers}`
);

/** Comes after all others. */
const last = Uint8Array.fromHex(`02000000000102000000000288b5${"00".repeat(46)}`);

Deno.test(
  "fragments hit in Open vSwitch the flows that they hit here",
  skippable(async () => {
    await using dummy = await startDummy();
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2");
    await dummy.call("upcall/set-flow-limit", "0");
    const numbers = fragments.map((_, n) => n);
    for (const key of fragmentFlows) {
      await dummy.call("dpctl/del-flows", "dummy@ovs-dummy");
      await dummy.call("dpctl/add-flow", "dummy@ovs-dummy", key, "2");
      await dummy.call(
        "dpctl/add-flow",
        "dummy@ovs-dummy",
        "in_port(1),eth_type(0x88b5)",
        "3",
      );
      bench.dp.flows.flush();
      bench.dp.flows.put({ key, actions: "2" });
      const ours: number[] = [];
      for (const n of numbers) {
        const frame = fragments[n] as Uint8Array;
        await dummy.call("netdev-dummy/receive", "p1", frame.toHex());
        bench.inject(1, frame);
        await bench.settle();
        if (collectAll(bench.dp, 2).length > 0) ours.push(n);
      }
      // Frames of a port are handled in their turn.
      await dummy.call("netdev-dummy/receive", "p1", last.toHex());
      await until("the last frame", async () => (await dummy.sent(3))[0]);
      const sent = (await dummy.sent(2)).map((frame) => frame.toHex());
      const theirs = numbers.filter((n) =>
        sent.includes((fragments[n] as Uint8Array).toHex())
      );
      assert.deepEqual(ours, theirs, key);
    }
  }),
);
