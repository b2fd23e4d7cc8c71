// SPDX-License-Identifier: Apache-2.0
/**
 * Masks of flows, each kept once, and what a key is under one.
 *
 * Keys and masks are looked at as words in host order: attributes are multiples of four bytes long,
 * and what is behind the last byte is zero.
 *
 * @module
 */
import type { Layout } from "../packet/layout.ts";

/** A mask that flows have. */
export interface Mask {
  /** Attribute bytes; not to be changed. */
  readonly bytes: Uint8Array;
  /** The same as words. */
  readonly words: Uint32Array;
  readonly hash: number;
  /** Flows that have it; one without any is not in the table. */
  users: number;
  /** Prefixes in it were rounded up to multiples of this. */
  step: number;
  /** Where it is in the table. */
  at: number;
}

/** Words that `size` bytes take. */
export function wordsFor(size: number): number {
  return size + 3 >> 2;
}

/** Bytes as words of their own. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  const words = new Uint32Array(wordsFor(bytes.length));
  new Uint8Array(words.buffer).set(bytes);
  return words;
}

/** Bytes as a mask that no flow has. */
export function looseMask(bytes: Uint8Array): Mask {
  const words = wordsOf(bytes);
  return maskOf(words, bytes.length, hashWords(words, words.length));
}

function maskOf(words: Uint32Array, size: number, hash: number): Mask {
  return {
    bytes: new Uint8Array(words.buffer, 0, size),
    words,
    hash,
    users: 0,
    step: 1,
    at: -1,
  };
}

function hashWords(words: Uint32Array, count: number): number {
  let hash = count;
  for (let i = 0; i < count; i++) {
    hash = Math.imul(hash ^ (words[i] as number), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash;
}

function areEqual(a: Uint32Array, b: Uint32Array, count: number): boolean {
  for (let i = 0; i < count; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Masks of one length, and where they differ. */
class MaskGroup {
  readonly masks: Mask[] = [];
  /** What all of them have but in the words of `varying`. */
  readonly #base: Uint32Array;
  /** Words in which some differ, and whether a word is one. */
  readonly #varying: number[] = [];
  readonly #isVarying: Uint8Array;

  /** Begins with one. */
  constructor({ words }: Mask) {
    this.#base = words;
    this.#isVarying = new Uint8Array(words.length);
  }

  add(mask: Mask): void {
    this.masks.push(mask);
    for (let i = 0; i < mask.words.length; i++) {
      if (mask.words[i] === this.#base[i] || this.#isVarying[i] !== 0) continue;
      this.#isVarying[i] = 1;
      this.#varying.push(i);
    }
  }

  /**
   * How many bits every mask here has beside those of `words`, in words in which they do not
   * differ; `most` if that many, or if some are missing.
   */
  besides(words: Uint32Array, most: number): number {
    let extra = 0;
    for (let i = 0; i < words.length && extra < most; i++) {
      if (words[i] === this.#base[i] || this.#isVarying[i] !== 0) continue;
      extra += bitsBeside(words[i] as number, this.#base[i] as number, most);
    }
    return extra;
  }

  /** The same of one mask, in the words in which they differ; `extra` are known. */
  beside(words: Uint32Array, one: Mask, extra: number, most: number): number {
    const varying = this.#varying;
    for (let n = 0; n < varying.length && extra < most; n++) {
      const i = varying[n] as number;
      extra += bitsBeside(words[i] as number, one.words[i] as number, most);
    }
    return extra;
  }
}

/** Masks by their words. */
export class MaskTable {
  readonly #byHash = new Map<number, Mask[]>();
  /** The one that was asked for last: most packets after each other have the same. */
  #last: Mask | undefined;
  /** Those that flows have by their length, in no order. */
  readonly #groups = new Map<number, MaskGroup>();
  #size = 0;

  /** Masks that flows have. */
  get size(): number {
    return this.#size;
  }

  /**
   * The mask with the `size` bytes that begin `words`. One that no flow has is made, and is in the
   * table when somebody holds it.
   */
  of(words: Uint32Array, size: number): Mask {
    const count = wordsFor(size);
    const last = this.#last;
    if (last !== undefined && last.bytes.length === size) {
      if (areEqual(last.words, words, count)) return last;
    }
    return this.#last = this.#find(words, count, size);
  }

  #find(words: Uint32Array, count: number, size: number): Mask {
    const hash = hashWords(words, count);
    const same = this.#byHash.get(hash);
    for (let i = 0; same !== undefined && i < same.length; i++) {
      const mask = same[i] as Mask;
      if (mask.bytes.length === size && areEqual(mask.words, words, count)) return mask;
    }
    return maskOf(words.slice(0, count), size, hash);
  }

  /** A flow more has it; `step` is for one that no other has. */
  hold(mask: Mask, step: number): void {
    if (mask.users++ > 0) return;
    mask.step = step;
    const same = this.#byHash.get(mask.hash);
    if (same === undefined) this.#byHash.set(mask.hash, [mask]);
    else same.push(mask);
    const { length } = mask.bytes;
    let group = this.#groups.get(length);
    if (group === undefined) this.#groups.set(length, group = new MaskGroup(mask));
    mask.at = group.masks.length;
    group.add(mask);
    this.#size++;
  }

  /** A flow less has it. */
  release(mask: Mask): void {
    if (--mask.users > 0) return;
    const rest = (this.#byHash.get(mask.hash) ?? []).filter((one) => one !== mask);
    if (rest.length === 0) this.#byHash.delete(mask.hash);
    else this.#byHash.set(mask.hash, rest);
    this.#size--;
    const { length } = mask.bytes;
    const { masks } = this.#groups.get(length) as MaskGroup;
    const last = masks.pop() as Mask;
    if (masks.length === 0) this.#groups.delete(length);
    if (last === mask) return;
    last.at = mask.at;
    masks[mask.at] = last;
  }

  /**
   * The mask that flows have for keys of `layout` with all bits of `mask`, which is for those too,
   * and the fewest others: `most` at most. A flow may have more bits than it needs, never fewer.
   */
  closest(mask: Mask, layout: Layout, most: number): Mask | undefined {
    // Elsewhere the headers of a mask do not tell whose it is.
    const group = layout.isAligned ? this.#groups.get(mask.bytes.length) : undefined;
    if (group === undefined) return undefined;
    let found: Mask | undefined;
    let least = most + 1;
    const extra = group.besides(mask.words, least);
    if (extra >= least) return undefined;
    for (let i = 0; i < group.masks.length; i++) {
      const one = group.masks[i] as Mask;
      const bits = group.beside(mask.words, one, extra, least);
      if (bits >= least || !layout.fitsWords(one.words)) continue;
      least = bits;
      found = one;
    }
    return found;
  }
}

/** How many bits `all` has that `some` has not; `most` if some are missing. */
function bitsBeside(some: number, all: number, most: number): number {
  const differ = some ^ all;
  if (differ === 0) return 0;
  return (differ & some) !== 0 ? most : ones(differ);
}

/** How many bits of a word are set. */
function ones(word: number): number {
  let bits = word - (word >>> 1 & 0x55555555);
  bits = (bits & 0x33333333) + (bits >>> 2 & 0x33333333);
  return Math.imul(bits + (bits >>> 4) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/**
 * A hash of what a key is under a mask: equal for packets of one flow. `aligned` says that both
 * have their values at the same places; where not, all of the key counts, and packets of one flow
 * may differ, which costs a second put and no more.
 */
export function maskedHash(
  words: Uint32Array,
  count: number,
  mask: Uint32Array,
  aligned: boolean,
): number {
  let hash = count;
  for (let i = 0; i < count; i++) {
    const word = aligned
      ? (words[i] as number) & (mask[i] as number)
      : words[i] as number;
    hash = Math.imul(hash ^ word, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** Whether two keys of `count` words, one of them from `at` on, are the same under a mask. */
export function sameUnder(
  words: Uint32Array,
  others: Uint32Array,
  at: number,
  count: number,
  mask: Uint32Array,
  aligned: boolean,
): boolean {
  for (let i = 0; i < count; i++) {
    const differ = (words[i] as number) ^ (others[at + i] as number);
    if ((differ & (aligned ? mask[i] as number : ~0)) !== 0) return false;
  }
  return true;
}
