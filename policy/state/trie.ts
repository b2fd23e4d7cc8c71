// SPDX-License-Identifier: Apache-2.0
/**
 * Binary tries of prefixes: the longest one that has a value, and how many bits of the value tell
 * so.
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

/** A trie over prefixes of values of one width. */
export class Trie<T> {
  /** Children of node n at 2n and 2n + 1; 0: none. Node 1 is the root. */
  #next = new Int32Array(128);
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

  /** Finds the longest prefix of `bits`. The answer is overwritten by the next walk. */
  find(bits: Words): Walk<T> {
    const found = this.#found;
    const next = this.#next;
    const values = this.#values;
    let node = 1;
    let at = 0;
    found.value = values[1];
    found.length = 0;
    for (;;) {
      const left = next[2 * node] as number;
      const right = next[2 * node + 1] as number;
      if (left === 0 && right === 0) break; // Nothing further down: no more bits are needed.
      const child = bitOf(bits, at) === 0 ? left : right;
      at++;
      if (child === 0) break;
      node = child;
      const value = values[node];
      if (value !== undefined) {
        found.value = value;
        found.length = at;
      }
    }
    found.proof = at;
    return found;
  }

  /** The value of exactly this prefix. */
  get(bits: Words, length: number): T | undefined {
    const node = this.#walk(bits, length);
    return node === 0 ? undefined : this.#values[node];
  }

  #walk(bits: Words, length: number): number {
    let node = 1;
    for (let at = 0; at < length && node !== 0; at++) {
      node = this.#next[2 * node + bitOf(bits, at)] as number;
    }
    return node;
  }

  /** Puts a value at a prefix; what was there is replaced. */
  set(bits: Words, length: number, value: T): void {
    let node = 1;
    for (let at = 0; at < length; at++) {
      const slot = 2 * node + bitOf(bits, at);
      let child = this.#next[slot] as number;
      if (child === 0) {
        child = this.#make();
        this.#next[slot] = child;
      }
      node = child;
    }
    if (this.#values[node] === undefined) this.#size++;
    this.#values[node] = value;
  }

  #make(): number {
    const node = this.#free.pop() ?? this.#values.push(undefined) - 1;
    if (2 * node + 1 >= this.#next.length) {
      const more = new Int32Array(2 * this.#next.length);
      more.set(this.#next);
      this.#next = more;
    }
    return node;
  }

  /** Removes a prefix; false if it is not there. */
  delete(bits: Words, length: number): boolean {
    const path = [1];
    for (let at = 0; at < length; at++) {
      const child = this.#next[2 * (path[at] as number) + bitOf(bits, at)] as number;
      if (child === 0) return false;
      path.push(child);
    }
    const node = path[length] as number;
    if (this.#values[node] === undefined) return false;
    this.#values[node] = undefined;
    this.#size--;
    for (let at = length; at > 0; at--) {
      const one = path[at] as number;
      const isUsed = this.#values[one] !== undefined || this.#next[2 * one] !== 0 ||
        this.#next[2 * one + 1] !== 0;
      if (isUsed) break;
      this.#next[2 * (path[at - 1] as number) + bitOf(bits, at - 1)] = 0;
      this.#free.push(one);
    }
    return true;
  }

  /**
   * Visits the values at every prefix of `bits` that has at most `length` bits, the shortest first.
   */
  above(bits: Words, length: number, visit: (value: T, length: number) => void): void {
    let node = 1;
    for (let at = 0;; at++) {
      const value = this.#values[node];
      if (value !== undefined) visit(value, at);
      if (at === length) return;
      node = this.#next[2 * node + bitOf(bits, at)] as number;
      if (node === 0) return;
    }
  }

  /** Visits the values at every prefix that is longer than this one and within it. */
  below(bits: Words, length: number, visit: (value: T) => void): void {
    const start = this.#walk(bits, length);
    if (start === 0) return;
    const stack = [this.#next[2 * start] as number, this.#next[2 * start + 1] as number];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (node === 0) continue;
      const value = this.#values[node];
      if (value !== undefined) visit(value);
      stack.push(this.#next[2 * node] as number, this.#next[2 * node + 1] as number);
    }
  }
}
