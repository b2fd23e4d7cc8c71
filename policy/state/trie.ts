// SPDX-License-Identifier: Apache-2.0
/**
 * Tries of prefixes: the longest one that has a value, and how many bits of the value tell so.
 *
 * A node stands where prefixes end or part, and nowhere between: an address that shares little with
 * others costs two nodes and not one for each of its bits.
 *
 * @module
 */
import type { Words } from "../packet/leaf.ts";

/** What a walk found. */
export interface Walk<T> {
  /** The longest prefix's value; undefined if there is none. */
  value: T | undefined;
  /** Its length. */
  length: number;
  /** Leading bits that prove the answer: every value that shares them has the same one. */
  proof: number;
}

function bitOf(bits: Words, at: number): number {
  return (bits[at >> 5] as number) >>> (31 - (at & 31)) & 1;
}

/** Leading bits that a value shares with the prefix of a node; 128 if all of them. */
function shared(bits: Words, all: Uint32Array, node: number): number {
  const at = 4 * node;
  for (let i = 0; i < 4; i++) {
    const differ = (bits[i] as number) ^ (all[at + i] as number);
    if (differ !== 0) return 32 * i + Math.clz32(differ);
  }
  return 128;
}

const ROOT = 1;

/** A trie over prefixes of values of one width. */
export class Trie<T> {
  /** Children of node n at 2n and 2n + 1; 0: none. */
  #next = new Int32Array(32);
  /** Bits that the prefix of a node has. */
  #length = new Uint8Array(16);
  /** Four words for each node: its prefix; bits behind that are any. */
  #bits = new Uint32Array(64);
  readonly #values: (T | undefined)[] = [undefined, undefined];
  readonly #free: number[] = [];
  readonly #found: Walk<T> = { value: undefined, length: 0, proof: 0 };
  #size = 0;

  /** Values are of `width` bits. */
  constructor(readonly width: number) {}

  /** Prefixes in it. */
  get size(): number {
    return this.#size;
  }

  /** Nodes in it; for tests that look for leaks. */
  get nodes(): number {
    return this.#values.length - 1 - this.#free.length;
  }

  /** Finds the longest prefix of `bits`. The answer is overwritten by the next walk. */
  find(bits: Words): Walk<T> {
    const found = this.#found;
    const next = this.#next;
    const values = this.#values;
    let node = ROOT;
    let at = 0;
    found.value = values[ROOT];
    found.length = 0;
    for (;;) {
      const left = next[2 * node] as number;
      const right = next[2 * node + 1] as number;
      found.proof = at;
      if (left === 0 && right === 0) break; // Nothing further down: no more bits are needed.
      const child = bitOf(bits, at) === 0 ? left : right;
      found.proof = at + 1;
      if (child === 0) break;
      const length = this.#length[child] as number;
      const common = shared(bits, this.#bits, child);
      found.proof = common + 1;
      if (common < length) break;
      node = child;
      at = length;
      const value = values[node];
      if (value === undefined) continue;
      found.value = value;
      found.length = at;
    }
    return found;
  }

  /**
   * Sets a bit in `to`, which has room for 129, for the length of each prefix of `bits` that has a
   * value, and clears the others; answers how many leading bits prove all that.
   */
  lengths(bits: Words, to: Uint32Array): number {
    to.fill(0);
    const next = this.#next;
    let node = ROOT;
    for (;;) {
      const at = this.#length[node] as number;
      if (this.#values[node] !== undefined) {
        to[at >> 5] = (to[at >> 5] as number) | 1 << (at & 31);
      }
      const left = next[2 * node] as number;
      const right = next[2 * node + 1] as number;
      if (left === 0 && right === 0) return at;
      const child = bitOf(bits, at) === 0 ? left : right;
      if (child === 0) return at + 1;
      const common = shared(bits, this.#bits, child);
      if (common < (this.#length[child] as number)) return common + 1;
      node = child;
    }
  }

  /** The value of exactly this prefix. */
  get(bits: Words, length: number): T | undefined {
    const node = this.#within(bits, length);
    return this.#length[node] === length ? this.#values[node] : undefined;
  }

  /** The first node whose prefix begins with this one; 0 if there is none. */
  #within(bits: Words, length: number): number {
    let node = ROOT;
    for (;;) {
      const at = this.#length[node] as number;
      if (at >= length) return node;
      const child = this.#next[2 * node + bitOf(bits, at)] as number;
      const least = Math.min(this.#length[child] as number, length);
      if (child === 0 || shared(bits, this.#bits, child) < least) return 0;
      node = child;
    }
  }

  /** Whether there is a value at this prefix or at a longer one within it. */
  hasWithin(bits: Words, length: number): boolean {
    return length === 0 ? this.#size > 0 : this.#within(bits, length) !== 0;
  }

  /** Puts a value at a prefix; answers what was there, which is replaced. */
  set(bits: Words, length: number, value: T): T | undefined {
    const node = this.#at(bits, length);
    const before = this.#values[node];
    if (before === undefined) this.#size++;
    this.#values[node] = value;
    return before;
  }

  /** The node of a prefix, made if there is none. */
  #at(bits: Words, length: number): number {
    let node = ROOT;
    for (;;) {
      const at = this.#length[node] as number;
      if (at === length) return node;
      const slot = 2 * node + bitOf(bits, at);
      const child = this.#next[slot] as number;
      if (child === 0) return this.#hang(slot, bits, length);
      const reach = this.#length[child] as number;
      const common = Math.min(shared(bits, this.#bits, child), length);
      if (common >= reach) {
        node = child;
        continue;
      }
      // They part here, or the new prefix ends here: a node comes between.
      const between = this.#hang(slot, bits, common);
      const word = this.#bits[4 * child + (common >> 5)] as number;
      this.#next[2 * between + (word >>> (31 - (common & 31)) & 1)] = child;
      node = between;
    }
  }

  /** Makes a node and hangs it into a slot. */
  #hang(slot: number, bits: Words, length: number): number {
    const made = this.#free.pop() ?? this.#values.push(undefined) - 1;
    if (made >= this.#length.length) {
      this.#next = grown(this.#next, new Int32Array(2 * this.#next.length));
      this.#length = grown(this.#length, new Uint8Array(2 * this.#length.length));
      this.#bits = grown(this.#bits, new Uint32Array(2 * this.#bits.length));
    }
    this.#length[made] = length;
    for (let i = 0; i < 4; i++) this.#bits[4 * made + i] = bits[i] as number;
    this.#next[slot] = made;
    return made;
  }

  /** Removes a prefix; false if it is not there. */
  delete(bits: Words, length: number): boolean {
    let above = 0;
    let before = 0;
    let node = ROOT;
    while ((this.#length[node] as number) < length) {
      above = before;
      before = 2 * node + bitOf(bits, this.#length[node] as number);
      node = this.#next[before] as number;
      if (node === 0) return false;
    }
    if (this.#length[node] !== length || this.#values[node] === undefined) return false;
    if (length > 0 && shared(bits, this.#bits, node) < length) return false;
    this.#values[node] = undefined;
    this.#size--;
    if (node === ROOT) return true;
    this.#tidy(node, before);
    // The node above may have been there only for this one to part from another.
    const parent = before >> 1;
    if (parent !== ROOT && this.#values[parent] === undefined) this.#tidy(parent, above);
    return true;
  }

  /** Takes a node without a value out of its slot, unless prefixes part there. */
  #tidy(node: number, slot: number): void {
    const left = this.#next[2 * node] as number;
    const right = this.#next[2 * node + 1] as number;
    if (left !== 0 && right !== 0) return;
    this.#next[slot] = left || right;
    this.#next[2 * node] = 0;
    this.#next[2 * node + 1] = 0;
    this.#free.push(node);
  }

  /**
   * Visits the values at every prefix of `bits` that has at most `length` bits, the shortest first.
   */
  above(bits: Words, length: number, visit: (value: T, length: number) => void): void {
    let node = ROOT;
    for (;;) {
      const at = this.#length[node] as number;
      const value = this.#values[node];
      if (value !== undefined) visit(value, at);
      if (at >= length) return;
      node = this.#next[2 * node + bitOf(bits, at)] as number;
      const reach = this.#length[node] as number;
      if (node === 0 || reach > length) return;
      if (shared(bits, this.#bits, node) < reach) return;
    }
  }

  /** Visits the values at every prefix that is longer than this one and within it. */
  below(bits: Words, length: number, visit: (value: T) => void): void {
    const stack = [this.#within(bits, length)];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (node === 0) continue;
      const value = this.#values[node];
      if (value !== undefined && this.#length[node] !== length) visit(value);
      stack.push(this.#next[2 * node] as number, this.#next[2 * node + 1] as number);
    }
  }
}

function grown<A extends Int32Array | Uint8Array | Uint32Array>(from: A, to: A): A {
  to.set(from);
  return to;
}
