// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { seeded } from "../../policy/check/random.ts";
import { prefixMask, type Words, words } from "../../policy/packet/leaf.ts";
import { PrefixSets } from "../../policy/state/prefix_sets.ts";
import { Trie } from "../../policy/state/trie.ts";

const WIDTH = 10;
/** More than one word has bits for. */
const MEMBERS = 70;

/** Bits of a number from the left. */
function bitsOf(value: number): Words {
  const made = words();
  made[0] = value << (32 - WIDTH);
  return made;
}

/** Whether two values share so many leading bits. */
function share(a: number, b: number, length: number): boolean {
  return ((a ^ b) & ((prefixMask(length)[0] as number) >>> (32 - WIDTH))) === 0;
}

interface Wanted {
  readonly value: number;
  readonly length: number;
}

Deno.test("prefix sets: what is left at each bit is what a list says", () => {
  const random = seeded(31);
  const sets = new PrefixSets();
  const wanted = Array.from({ length: MEMBERS }, () => new Map<string, Wanted>());
  const own = Array.from({ length: MEMBERS }, () => new Trie<true>(WIDTH));
  let last = 0;
  for (let step = 1; step <= 6000; step++) {
    const member = random(MEMBERS);
    // A member wants prefixes of one length, as rules of one mask do; nobody those of 0 too often.
    const length = member % (WIDTH + 1);
    const value = random(1 << WIDTH) >> (WIDTH - length) << (WIDTH - length);
    const mine = wanted[member] as Map<string, Wanted>;
    const trie = own[member] as Trie<true>;
    const name = `${value}/${length}`;
    if (mine.has(name)) {
      mine.delete(name);
      trie.delete(bitsOf(value), length);
      sets.remove(bitsOf(value), length, member, trie);
    } else if (random(100) < (step % 1500 < 800 ? 80 : 10)) {
      mine.set(name, { value, length });
      trie.set(bitsOf(value), length, true);
      sets.add(bitsOf(value), length, member);
    } else {
      // One that is there goes.
      const [other] = mine.values();
      if (other === undefined) continue;
      mine.delete(`${other.value}/${other.length}`);
      trie.delete(bitsOf(other.value), other.length);
      sets.remove(bitsOf(other.value), other.length, member, trie);
    }
    if (step % 8 !== 0) continue;
    const asked = random(1 << WIDTH);
    sets.look(bitsOf(asked));
    for (let masked = 0; masked <= WIDTH; masked++) {
      const left = new Int32Array(MEMBERS + 31 >> 5).fill(-1);
      sets.keepLeft(left, sets.stepAt(masked));
      const is = wanted.map((_, i) => ((left[i >> 5] as number) >>> (i & 31) & 1) !== 0);
      const should = wanted.map((all) =>
        all.size === 0 ||
        [...all.values()].some((one) =>
          share(asked, one.value, Math.min(one.length, masked))
        )
      );
      deepStrictEqual(is, should, `step ${step}, ${masked} bits of ${asked}`);
    }
    const first = sets.stepWithout(member);
    if (first < sets.steps) last++;
    strictEqual(
      first === sets.steps,
      mine.size === 0 ||
        [...mine.values()].some((one) => share(asked, one.value, one.length)),
    );
  }
  ok(last > 100, "prefixes rule members out");
  for (const [member, all] of wanted.entries()) {
    for (const { value, length } of all.values()) {
      own[member]?.delete(bitsOf(value), length);
      sets.remove(bitsOf(value), length, member, own[member] as Trie<true>);
    }
  }
  strictEqual(sets.nodes, 1, "no node is left");
});
