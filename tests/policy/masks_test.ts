// SPDX-License-Identifier: Apache-2.0
/** Masks that flows get: of their own, borrowed, rounded; and flows whose masks overlap. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { forward, runPolicy, StateMap } from "../../policy/mod.ts";
import { Layout } from "../../policy/packet/layout.ts";
import { type Mask, MaskTable, wordsOf } from "../../policy/run/mask_table.ts";
import { placeOf } from "../../policy/packet/leaf.ts";
import { Tracker } from "../../policy/packet/tracker.ts";
import { seeded } from "../../policy/check/random.ts";
import { MaskChooser } from "../../policy/run/mask_choice.ts";
import { encodeKey } from "../../providers/odp/mod.ts";
import type { FlowKey } from "../../providers/types.ts";
import { tcpFrame } from "../support/frames.ts";
import { onEach } from "./bench.ts";
import { frame, mac } from "./stations.ts";

const quiet = { audit: { perSecond: 0 } } as const;

const arp: FlowKey = { inPort: 1, recircId: 0, etherType: 0x0806, skbMark: 0 };
const other: FlowKey = { inPort: 1, recircId: 0, etherType: 0x0806, priority: 0 };

/** The mask of keys like this one, with some bits of the word at an offset. */
function maskOf(table: MaskTable, layout: Layout, at: number, bits: number): Mask {
  const words = wordsOf(layout.template);
  words[at >> 2] = (words[at >> 2] as number) | bits;
  return table.of(words, layout.template.length);
}

Deno.test("masks: the closest has all that is wanted, and the fewest bits beside", () => {
  const table = new MaskTable();
  const layout = new Layout(encodeKey(arp));
  ok(layout.isAligned);
  const at = layout.mask[placeOf("skbMark").slot] as number;
  const of = (bits: number) => maskOf(table, layout, at, bits);
  const closest = ({ words, bytes }: Mask, most: number) =>
    table.closest(words, bytes.length, layout, most);
  const held = [0b1111_0000, 0b0111_0001, 0b1111_1111].map((bits) => {
    const mask = of(bits);
    table.hold(mask, 1);
    return mask;
  });
  strictEqual(closest(of(0b0111_0000), 4), held[0]);
  strictEqual(closest(of(0b0001_0001), 4), held[1]);
  strictEqual(closest(of(0b1000_0001), 6), held[2]);
  strictEqual(closest(of(0b1000_0001), 5), undefined);
  strictEqual(closest(of(0b1_0000_0000), 32), undefined);
  table.release(held[0] as Mask);
  strictEqual(closest(of(0b0111_0000), 4), held[1]);
  strictEqual(table.size, 2);
  table.release(held[1] as Mask);
  table.release(held[2] as Mask);
  strictEqual(closest(of(0), 32), undefined);
});

Deno.test("masks: a choice that is kept is the one that would be made anew", () => {
  const random = seeded(17);
  const table = new MaskTable();
  const kept = new MaskChooser(table);
  const tracker = new Tracker();
  const [budget, keys] = [40, [arp, other].map((key) => encodeKey(key))];
  const places = [placeOf("skbMark"), placeOf("priority")] as const;
  const choose = (by: MaskChooser, key: number, read: number) => {
    tracker.take(keys[key] as Uint8Array);
    tracker.begin(0);
    tracker.layBits(places[key] ?? places[0], Uint32Array.of(read * 0x10101, 0, 0, 0));
    const chosen = by.choose(budget, tracker);
    tracker.end();
    return chosen;
  };
  const held: Mask[] = [];
  let full = 0;
  for (let step = 0; step < 20_000; step++) {
    const key = random(2);
    const read = random(256);
    const { mask, step: rounded } = choose(kept, key, read);
    const anew = choose(new MaskChooser(table), key, read);
    deepStrictEqual([mask.bytes, rounded], [anew.mask.bytes, anew.step]);
    // Another object with the same bits would be another mask.
    ok(anew.mask.users === 0 || mask === anew.mask);
    if (table.size < budget) {
      table.hold(mask, rounded);
      held.push(mask);
      continue;
    }
    full++;
    // Long times in which nothing changes, and others in which masks come and go.
    if (step % 2000 < 1500 || random(3) > 0) continue;
    table.release(held.splice(random(held.length), 1)[0] as Mask);
  }
  ok(full > 5000, `${full} with as many masks as there may be`);
});

Deno.test("masks: those of other kinds of packets are not borrowed", () => {
  const table = new MaskTable();
  const [mine, theirs] = [arp, other].map((key) => new Layout(encodeKey(key)));
  ok(mine !== undefined && theirs !== undefined && mine.size === theirs.size);
  // Whatever bits it has: nothing in it is where this kind of packet has it.
  const all = wordsOf(theirs.template).fill(~0);
  table.hold(table.of(all, theirs.template.length), 1);
  const wanted = table.of(wordsOf(mine.template), mine.template.length);
  const { words, bytes } = wanted;
  strictEqual(table.closest(words, bytes.length, mine, 1000), undefined);
});

onEach("a budget of masks: others borrow, and their flows are true", async (bench) => {
  const budget = 6;
  await using run = await runPolicy(bench.dp, (packet) => {
    for (let port = 2000; port < 2032; port += 4) {
      if (packet.equals("tcp.dst", port)) return forward(port % 8 === 0 ? 1 : 2);
    }
    return forward(3);
  }, { ...quiet, masks: budget });
  const ports = Array.from({ length: 64 }, (_, i) => 1990 + i);
  await bench.sendAll(ports.map((dstPort) => [3, tcpFrame({ dstPort })]));
  ok(run.stats.masks <= budget, `${run.stats.masks} masks`);
  bench.where();
  // What has a flow now goes where the policy says, and so does what has none.
  await bench.sendAll(ports.map((dstPort) => [3, tcpFrame({ dstPort })]));
  deepStrictEqual(bench.where(), { 1: 4, 2: 4, 3: 56 });
  ok(run.stats.flows > 0);
});

onEach(
  "a budget of masks holds for flows that run again before they are put",
  async (bench) => {
    const budget = 4;
    const seen = new StateMap<number, number>({ name: "seen" });
    await using run = await runPolicy(bench.dp, (packet) => {
      // What it reads it teaches: each of these runs twice.
      const tos = packet.bits("ipv4.tos", 0xff);
      if (seen.get(tos) === undefined) packet.learn(seen, tos, 1);
      for (const leaf of ["tcp.dst", "tcp.src"] as const) {
        for (let bit = 0; bit < 16; bit++) {
          if (packet.equals(leaf, 0x8000 >> bit)) return forward(2);
        }
      }
      return forward(3);
    }, { ...quiet, masks: budget });
    const frames = Array.from({ length: 100 }, (_, i) =>
      tcpFrame({
        tos: i,
        dstPort: i * 40503 & 0xffff >> i % 16,
        srcPort: i * 30011 & 0xffff >> i % 13,
      }));
    await bench.sendAll(frames.map((one) => [1, one]));
    ok(run.stats.masks <= budget, `${run.stats.masks} masks`);
    ok((run.stats.withoutFlow.mask_budget ?? 0) > 0);
    ok(run.stats.flows > 0);
    strictEqual(seen.size, 100);
    strictEqual(bench.collect(2).length + bench.collect(3).length, 100);
  },
  3,
  ["fake"],
);

onEach(
  "a flow that came while a packet waited is left, for it covers it",
  async (bench) => {
    let runs = 0;
    // Not as policies are to be: the second run reads more than the first.
    await using run = await runPolicy(bench.dp, (packet) => {
      if (runs++ > 0) void packet.ethernet?.src === mac(1);
      return forward(2);
    }, quiet);
    await bench.sendAll([[1, frame(1, 9)], [1, frame(2, 9)]]);
    deepStrictEqual(bench.where(), { 2: 2 });
    const { flows, failures, repeated } = run.stats;
    deepStrictEqual([flows, failures, repeated], [1, {}, 1]);
  },
  3,
  ["fake"],
);
