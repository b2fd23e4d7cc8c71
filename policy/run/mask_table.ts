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

/** A hash of the first `count` words. */
export function hashWords(words: Uint32Array, count: number): number {
  let hash = count;
  for (let i = 0; i < count; i++) {
    hash = Math.imul(hash ^ (words[i] as number), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** Whether the first `count` words are equal. */
export function areEqual(a: Uint32Array, b: Uint32Array, count: number): boolean {
  for (let i = 0; i < count; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Masks of one length, those words of them in which they differ as rows of a matrix. */
class MaskGroup {
  readonly masks: Mask[] = [];
  /** What all of them have but in the words of `varying`. */
  readonly #base: Uint32Array;
  /** Words in which some differ, and whether a word is one. */
  #varying = new Int32Array(4);
  #columns = 0;
  readonly #isVarying: Uint8Array;
  /** A row for each mask, `#varying.length` words apart, the first `#columns` of which count. */
  #rows = new Uint32Array(4 * 16);
  /** The words that are looked for, as a row. */
  #wanted = new Uint32Array(4);

  /** Begins with one. */
  constructor({ words }: Mask) {
    this.#base = words;
    this.#isVarying = new Uint8Array(words.length);
  }

  add(mask: Mask): void {
    mask.at = this.masks.push(mask) - 1;
    for (let i = 0; i < mask.words.length; i++) {
      if (mask.words[i] === this.#base[i] || this.#isVarying[i] !== 0) continue;
      this.#isVarying[i] = 1;
      this.#addColumn(i);
    }
    const stride = this.#varying.length;
    if (stride * this.masks.length > this.#rows.length) {
      const rows = new Uint32Array(2 * this.#rows.length);
      rows.set(this.#rows);
      this.#rows = rows;
    }
    this.#write(mask);
  }

  /** Another word in which masks differ. */
  #addColumn(word: number): void {
    if (this.#columns === this.#varying.length) {
      const varying = new Int32Array(2 * this.#columns);
      varying.set(this.#varying);
      this.#varying = varying;
      this.#wanted = new Uint32Array(varying.length);
      this.#rows = new Uint32Array(2 * this.#rows.length);
    }
    this.#varying[this.#columns++] = word;
    for (const mask of this.masks) this.#write(mask);
  }

  #write({ words, at }: Mask): void {
    const varying = this.#varying;
    const from = at * varying.length;
    for (let n = 0; n < this.#columns; n++) {
      this.#rows[from + n] = words[varying[n] as number] as number;
    }
  }

  /** Takes one out; whether none is left. */
  remove({ at }: Mask): boolean {
    const last = this.masks.pop() as Mask;
    if (last.at !== at) {
      last.at = at;
      this.masks[at] = last;
      this.#write(last);
    }
    return this.masks.length === 0;
  }

  /**
   * How many bits every mask here has beside those of `words`, in words in which they do not
   * differ; `most` if that many, or if some are missing.
   */
  besides(words: Uint32Array, most: number): number {
    let extra = 0;
    for (let i = 0; i < this.#base.length && extra < most; i++) {
      if (words[i] === this.#base[i] || this.#isVarying[i] !== 0) continue;
      extra += bitsBeside(words[i] as number, this.#base[i] as number, most);
    }
    return extra;
  }

  /**
   * The mask here that has all bits of `words` and the fewest beside, fewer than `most`, of those
   * for keys of `layout`.
   */
  closest(words: Uint32Array, layout: Layout, most: number): Mask | undefined {
    const extra = this.besides(words, most);
    if (extra >= most) return undefined;
    const varying = this.#varying;
    const [wanted, rows, columns] = [this.#wanted, this.#rows, this.#columns];
    for (let n = 0; n < columns; n++) {
      wanted[n] = words[varying[n] as number] as number;
    }
    let least = most;
    let found: Mask | undefined;
    const count = this.masks.length;
    for (let i = 0; i < count; i++) {
      const row = i * varying.length;
      let bits = extra;
      for (let n = 0; n < columns && bits < least; n++) {
        bits += bitsBeside(wanted[n] as number, rows[row + n] as number, most);
      }
      if (bits >= least) continue;
      const mask = this.masks[i] as Mask;
      if (!layout.fitsWords(mask.words)) continue;
      least = bits;
      found = mask;
    }
    this.bits = least;
    return found;
  }
  /** Bits that the mask which was found last has beside what was wanted. */
  bits = 0;
}

/** Masks by their words. */
export class MaskTable {
  readonly #byHash = new Map<number, Mask[]>();
  /** The one that was asked for last: most packets after each other have the same. */
  #last: Mask | undefined;
  /** Those that flows have by their length, in no order. */
  readonly #groups = new Map<number, MaskGroup>();
  #size = 0;
  /** Changes of which masks there are. */
  changes = 0;

  /** Masks that flows have. */
  get size(): number {
    return this.#size;
  }

  /**
   * The mask with the `size` bytes that begin `words`. One that no flow has is made, and is in the
   * table when somebody holds it.
   */
  of(words: Uint32Array, size: number): Mask {
    const held = this.held(words, size);
    if (held !== undefined) return held;
    const count = wordsFor(size);
    return this.#last = maskOf(words.slice(0, count), size, hashWords(words, count));
  }

  /** The same, if flows have it. */
  held(words: Uint32Array, size: number): Mask | undefined {
    const count = wordsFor(size);
    const last = this.#last;
    if (last !== undefined && last.users > 0 && last.bytes.length === size) {
      if (areEqual(last.words, words, count)) return last;
    }
    const same = this.#byHash.get(hashWords(words, count));
    for (let i = 0; same !== undefined && i < same.length; i++) {
      const mask = same[i] as Mask;
      if (mask.bytes.length !== size || !areEqual(mask.words, words, count)) continue;
      return this.#last = mask;
    }
    return undefined;
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
    group.add(mask);
    this.#size++;
    this.changes++;
  }

  /** A flow less has it. */
  release(mask: Mask): void {
    if (--mask.users > 0) return;
    const rest = (this.#byHash.get(mask.hash) ?? []).filter((one) => one !== mask);
    if (rest.length === 0) this.#byHash.delete(mask.hash);
    else this.#byHash.set(mask.hash, rest);
    this.#size--;
    this.changes++;
    const { length } = mask.bytes;
    if (this.#groups.get(length)?.remove(mask)) this.#groups.delete(length);
  }

  /**
   * The mask that flows have for keys of `layout` with all bits of the `size` bytes that begin
   * `words`, which are for those too, and the fewest others: `most` at most. A flow may have more
   * bits than it needs, never fewer.
   */
  closest(
    words: Uint32Array,
    size: number,
    layout: Layout,
    most: number,
  ): Mask | undefined {
    // Elsewhere the headers of a mask do not tell whose it is.
    const group = layout.isAligned ? this.#groups.get(size) : undefined;
    const found = group?.closest(words, layout, most + 1);
    this.bitsBeside = group?.bits ?? 0;
    return found;
  }
  /** Bits that the mask which `closest` found has beside what was wanted. */
  bitsBeside = 0;
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
