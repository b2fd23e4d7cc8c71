// SPDX-License-Identifier: Apache-2.0
/**
 * The keys of upcalls beside Open vSwitch's: a flow made of all of an upcall's key is hit there by
 * the packet of the upcall, and by no packet of another key.
 */
import assert from "node:assert/strict";
import { encodeKey, formatKey, toKeyAndMaskBytes } from "../../providers/odp/mod.ts";
import { hostileFrames } from "../odp/frames.ts";
import { startDummy } from "../odp/ovs_dummy.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

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
