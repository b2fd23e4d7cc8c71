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
  readonly hash: number;
  /** Flows that have it. */
  users: number;
  /** Prefixes in it were rounded up to multiples of this. */
  step: number;
}

function hashBytes(bytes: Uint8Array, size: number): number {
  let hash = size;
  for (let i = 0; i + 4 <= size; i += 4) {
    const word = (bytes[i] as number) | (bytes[i + 1] as number) << 8 |
      (bytes[i + 2] as number) << 16 | (bytes[i + 3] as number) << 24;
    hash = Math.imul(hash ^ word, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash;
}

function areEqual(a: Uint8Array, b: Uint8Array, size: number): boolean {
  for (let i = 0; i < size; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Masks by their bytes. Those of attributes are multiples of four long. */
export class MaskTable {
  readonly #byHash = new Map<number, Mask[]>();
  #size = 0;
  #next = 1;

  /** Masks that flows have. */
  get size(): number {
    return this.#size;
  }

  /** The mask with these bytes if a flow has it. */
  find(bytes: Uint8Array): Mask | undefined {
    const hash = hashBytes(bytes, bytes.length);
    return this.#find(bytes, hash);
  }

  #find(bytes: Uint8Array, hash: number): Mask | undefined {
    const same = this.#byHash.get(hash);
    if (same === undefined) return undefined;
    for (let i = 0; i < same.length; i++) {
      const mask = same[i] as Mask;
      const { length } = mask.bytes;
      if (length === bytes.length && areEqual(mask.bytes, bytes, length)) return mask;
    }
    return undefined;
  }

  /** The mask with these bytes, made if there is none; a flow more has it. */
  hold(bytes: Uint8Array, step: number): Mask {
    const hash = hashBytes(bytes, bytes.length);
    const known = this.#find(bytes, hash);
    if (known !== undefined) {
      known.users++;
      return known;
    }
    const mask: Mask = {
      id: this.#next++,
      bytes: bytes.slice(),
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
export function maskedHash(
  key: Uint8Array,
  mask: Uint8Array,
  aligned: boolean,
): number {
  let hash = key.length;
  for (let i = 0; i + 4 <= key.length; i += 4) {
    let word = (key[i] as number) | (key[i + 1] as number) << 8 |
      (key[i + 2] as number) << 16 | (key[i + 3] as number) << 24;
    if (aligned) {
      word &= (mask[i] as number) | (mask[i + 1] as number) << 8 |
        (mask[i + 2] as number) << 16 | (mask[i + 3] as number) << 24;
    }
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
