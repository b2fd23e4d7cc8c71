// SPDX-License-Identifier: Apache-2.0
/**
 * Prefixes of words: which lengths of them an address has, and how many of its bits tell so.
 *
 * A trie whose nodes stand where prefixes end or part. A node is four numbers in a row, so that a
 * step down is one line of memory: rules come by the hundred thousand, each with a prefix or two.
 *
 * @module
 */

/** Numbers of a node: its two children, its prefix, and length with how often that was added. */
const STEP = 4;
const [PREFIX, REST] = [2, 3];
/** The part of the last number that is the length, and one more that was added. */
const LENGTH = 63;
const ONE = 64;
const ROOT = STEP;

/** Prefixes of words of 32 bits, as often as they were added. */
export class Prefixes {
  /** Nodes by the place of their first number; 0 is none, and a free one has the next free one. */
  #nodes = new Int32Array(16 * STEP);
  #end = 2 * STEP;
  #free = 0;
  #used = 1;

  /** Nodes in it; for tests that look for leaks. */
  get nodes(): number {
    return this.#used;
  }

  /** Adds a prefix once. */
  add(word: number, length: number): void {
    const node = this.#at(word, length);
    const nodes = this.#nodes;
    nodes[node + REST] = (nodes[node + REST] as number) + ONE;
  }

  /** The node of a prefix, made if there is none. */
  #at(word: number, length: number): number {
    const nodes = this.#nodes;
    let node = ROOT;
    for (;;) {
      const at = (nodes[node + REST] as number) & LENGTH;
      if (at === length) return node;
      const slot = node + (word >>> (31 - at) & 1);
      const child = nodes[slot] as number;
      if (child === 0) return this.#hang(slot, word, length);
      const reach = (nodes[child + REST] as number) & LENGTH;
      const shared = Math.clz32(word ^ (nodes[child + PREFIX] as number));
      const common = Math.min(shared, length, reach);
      if (common < reach) return this.#part(slot, child, word, length, common);
      node = child;
    }
  }

  /** Puts a node between a slot and a child of it that differs behind `common` bits. */
  #part(
    slot: number,
    child: number,
    word: number,
    length: number,
    common: number,
  ): number {
    const between = this.#hang(slot, word, common);
    const nodes = this.#nodes;
    const side = (nodes[child + PREFIX] as number) >>> (31 - common) & 1;
    nodes[between + side] = child;
    return common === length ? between : this.#hang(between + 1 - side, word, length);
  }

  /** Makes a node and hangs it into a slot. */
  #hang(slot: number, word: number, length: number): number {
    let made = this.#free;
    if (made !== 0) this.#free = this.#nodes[made] as number;
    else {
      made = this.#end;
      this.#end += STEP;
      if (this.#end > this.#nodes.length) {
        const more = new Int32Array(2 * this.#nodes.length);
        more.set(this.#nodes);
        this.#nodes = more;
      }
    }
    this.#used++;
    const nodes = this.#nodes;
    nodes[made] = 0;
    nodes[made + 1] = 0;
    nodes[made + PREFIX] = word;
    nodes[made + REST] = length;
    nodes[slot] = made;
    return made;
  }

  /** Takes away a prefix that was added, once. */
  delete(word: number, length: number): void {
    const nodes = this.#nodes;
    let [above, slot, node] = [0, 0, ROOT];
    for (;;) {
      const at = (nodes[node + REST] as number) & LENGTH;
      if (at >= length) break;
      above = slot;
      slot = node + (word >>> (31 - at) & 1);
      node = nodes[slot] as number;
      if (node === 0) return;
    }
    const rest = nodes[node + REST] as number;
    const shared = Math.clz32(word ^ (nodes[node + PREFIX] as number));
    if ((rest & LENGTH) !== length || rest < ONE || shared < length) return;
    nodes[node + REST] = rest - ONE;
    if (rest - ONE >= ONE || node === ROOT) return;
    this.#tidy(node, slot);
    // The node above may have been there only for this one to part from another.
    const parent = slot & -STEP;
    if (parent !== ROOT && (nodes[parent + REST] as number) < ONE) {
      this.#tidy(parent, above);
    }
  }

  /** Takes a node where no prefix ends out of its slot, unless prefixes part there. */
  #tidy(node: number, slot: number): void {
    const nodes = this.#nodes;
    const [left, right] = [nodes[node] as number, nodes[node + 1] as number];
    if (left !== 0 && right !== 0) return;
    nodes[slot] = left | right;
    nodes[node] = this.#free;
    this.#free = node;
    this.#used--;
  }

  /** How many leading bits of a word tell which of the prefixes it has. */
  proof(word: number): number {
    return this.#walk(word, undefined);
  }

  /** The same; sets a bit in `to`, which has two words, for the length of each of these. */
  lengths(word: number, to: Uint32Array): number {
    to[0] = 0;
    to[1] = 0;
    return this.#walk(word, to);
  }

  #walk(word: number, to: Uint32Array | undefined): number {
    const nodes = this.#nodes;
    let node = ROOT;
    for (;;) {
      const rest = nodes[node + REST] as number;
      const at = rest & LENGTH;
      if (rest >= ONE && to !== undefined) {
        to[at >> 5] = (to[at >> 5] as number) | 1 << (at & 31);
      }
      // Nothing further down: no more bits are needed.
      if (nodes[node] === 0 && nodes[node + 1] === 0) return at;
      const child = nodes[node + (word >>> (31 - at) & 1)] as number;
      if (child === 0) return at + 1;
      const shared = Math.clz32(word ^ (nodes[child + PREFIX] as number));
      if (shared < ((nodes[child + REST] as number) & LENGTH)) return shared + 1;
      node = child;
    }
  }
}
