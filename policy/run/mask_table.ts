// SPDX-License-Identifier: Apache-2.0
/**
 * Masks of flows, each kept once, and what a key is under one.
 *
 * @module
 */

/** A mask that flows have. */
export interface Mask {
  /** Its number. */
  readonly id: number;
  /** Attribute bytes; not to be changed. */
  readonly bytes: Uint8Array;
  /** The same as words in host order. */
  readonly words: Uint32Array;
  readonly hash: number;
  /** Flows that have it. */
  users: number;
  /** Prefixes in it were rounded up to multiples of this. */
  step: number;
}

/** Bytes that are looked at as words: attributes are multiples of four long. */
export class Room {
  /** The bytes. */
  readonly bytes: Uint8Array;
  /** The same as words in host order. */
  readonly words: Uint32Array;
  /** Words that count. */
  count = 0;

  /** Room for `size` bytes, a multiple of four. */
  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.words = new Uint32Array(this.bytes.buffer);
  }

  /** Takes a copy of bytes. Throws `RangeError` when they are more than there is room for. */
  take(bytes: Uint8Array): void {
    const { length } = bytes;
    this.count = length + 3 >> 2;
    if ((length & 3) !== 0) this.words[this.count - 1] = 0;
    this.bytes.set(bytes);
  }
}

/** Bytes of the longest key or mask. */
export const LONGEST: number = 1 << 16;

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

/** Masks by their bytes. */
export class MaskTable {
  readonly #byHash = new Map<number, Mask[]>();
  readonly #room = new Room(LONGEST);
  /** The one that was found last: most packets after each other have the same. */
  #last: Mask | undefined;
  #size = 0;
  #next = 1;

  /** Masks that flows have. */
  get size(): number {
    return this.#size;
  }

  /** The mask with these bytes if a flow has it. */
  find(bytes: Uint8Array): Mask | undefined {
    this.#room.take(bytes);
    return this.#find(bytes.length);
  }

  /** The mask that is in the room. */
  #find(size: number): Mask | undefined {
    const { words, count } = this.#room;
    const last = this.#last;
    if (last !== undefined && last.bytes.length === size && last.users > 0) {
      if (areEqual(last.words, words, count)) return last;
    }
    const same = this.#byHash.get(hashWords(words, count));
    if (same === undefined) return undefined;
    for (let i = 0; i < same.length; i++) {
      const mask = same[i] as Mask;
      if (mask.bytes.length !== size || !areEqual(mask.words, words, count)) continue;
      this.#last = mask;
      return mask;
    }
    return undefined;
  }

  /** The mask with these bytes, made if there is none; a flow more has it. */
  hold(bytes: Uint8Array, step: number): Mask {
    const known = this.find(bytes);
    if (known !== undefined) {
      known.users++;
      return known;
    }
    const { length } = bytes;
    const { words, count } = this.#room;
    const hash = hashWords(words, count);
    const own = words.slice(0, count);
    const mask: Mask = {
      id: this.#next++,
      bytes: new Uint8Array(own.buffer, 0, length),
      words: own,
      hash,
      users: 1,
      step,
    };
    const same = this.#byHash.get(hash);
    if (same === undefined) this.#byHash.set(hash, [mask]);
    else same.push(mask);
    this.#size++;
    return mask;
  }

  /** A flow less has it. */
  release(mask: Mask): void {
    if (--mask.users > 0) return;
    const rest = (this.#byHash.get(mask.hash) ?? []).filter((one) => one !== mask);
    if (rest.length === 0) this.#byHash.delete(mask.hash);
    else this.#byHash.set(mask.hash, rest);
    this.#size--;
  }
}

/**
 * A hash of what a key is under a mask: equal for packets of one flow. `aligned` says that both
 * have their values at the same places; where not, all of the key counts, and packets of one flow
 * may differ, which costs a second put and no more.
 */
export function maskedHash(key: Room, mask: Uint32Array, aligned: boolean): number {
  const { words, count } = key;
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

/** Whether two keys are the same under a mask. */
export function sameUnder(
  a: Uint8Array,
  b: Uint8Array,
  mask: Uint8Array,
  aligned: boolean,
): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    const differ = (a[i] as number) ^ (b[i] as number);
    if ((differ & (aligned ? mask[i] as number : 0xff)) !== 0) return false;
  }
  return true;
}
