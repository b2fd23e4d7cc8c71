// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { seeded } from "../../policy/check/random.ts";
import { prefixMask, type Words, words } from "../../policy/packet/leaf.ts";
import { Trie } from "../../policy/state/trie.ts";

const WIDTH = 12;

/** Bits of a number from the left. */
function bitsOf(value: number): Words {
  const made = words();
  made[0] = value << (32 - WIDTH);
  return made;
}

/** What a trie is, written down: prefixes in a list. */
class Plain {
  readonly all = new Map<string, { value: number; length: number; tag: number }>();

  static key(value: number, length: number): string {
    return `${value >> (WIDTH - length)}/${length}`;
  }

  isIn(one: { value: number; length: number }, value: number): boolean {
    const mask = (prefixMask(one.length)[0] as number) >>> (32 - WIDTH);
    return ((one.value ^ value) & mask) === 0;
  }

  longest(value: number): { tag: number | undefined; length: number } {
    let best: { tag: number | undefined; length: number } = { tag: undefined, length: 0 };
    for (const one of this.all.values()) {
      if (!this.isIn(one, value) || one.length < best.length) continue;
      best = { tag: one.tag, length: one.length };
    }
    return best;
  }
}

Deno.test("trie: random prefixes come and go as in a list", () => {
  const random = seeded(77);
  const trie = new Trie<number>(WIDTH);
  const plain = new Plain();
  for (let step = 1; step <= 20_000; step++) {
    const value = random(1 << WIDTH);
    const length = random(WIDTH + 1);
    const key = Plain.key(value, length);
    // It fills for a while, and empties for a while.
    if (random(100) < (step % 4000 < 2000 ? 60 : 30)) {
      trie.set(bitsOf(value), length, step);
      plain.all.set(key, { value, length, tag: step });
    } else {
      strictEqual(trie.delete(bitsOf(value), length), plain.all.delete(key));
    }
    strictEqual(trie.size, plain.all.size);
    const asked = random(1 << WIDTH);
    const { tag, length: longest } = plain.longest(asked);
    const found = trie.find(bitsOf(asked));
    strictEqual(found.value, tag);
    strictEqual(found.length, longest);
    if (step % 20 === 0) checkProof(plain, asked, found.proof, tag);
    strictEqual(trie.get(bitsOf(value), length), plain.all.get(key)?.tag);
    if (step % 50 === 0) checkLists(trie, plain, asked, random(WIDTH + 1));
  }
});

/** Whatever shares the proven bits has the same answer. */
function checkProof(plain: Plain, asked: number, proof: number, tag?: number): void {
  const free = WIDTH - proof;
  for (let other = 0; other < 1 << free; other++) {
    strictEqual(plain.longest(asked >> free << free | other).tag, tag);
  }
}

function checkLists(
  trie: Trie<number>,
  plain: Plain,
  asked: number,
  length: number,
): void {
  const above: number[] = [];
  trie.above(bitsOf(asked), length, (tag) => above.push(tag));
  const wanted = [...plain.all.values()]
    .filter((one) => one.length <= length && plain.isIn(one, asked))
    .sort((a, b) => a.length - b.length).map(({ tag }) => tag);
  deepStrictEqual(above, wanted);
  const below: number[] = [];
  trie.below(bitsOf(asked), length, (tag) => below.push(tag));
  const within = [...plain.all.values()]
    .filter((one) =>
      one.length > length && plain.isIn({ value: asked, length }, one.value)
    )
    .map(({ tag }) => tag);
  deepStrictEqual(below.sort((a, b) => a - b), within.sort((a, b) => a - b));
}

Deno.test("trie: a prefix costs two nodes at most, and none when it is gone", () => {
  const random = seeded(5);
  const trie = new Trie<number>(48);
  const all = Array.from({ length: 1000 }, () => {
    const bits = words();
    for (let i = 0; i < 2; i++) bits[i] = random(2 ** 32);
    return bits;
  });
  for (const bits of all) trie.set(bits, 48, 1);
  strictEqual(trie.nodes <= 2 * trie.size, true);
  for (const bits of all) trie.delete(bits, 48);
  strictEqual(trie.size, 0);
  strictEqual(trie.nodes, 1);
});
