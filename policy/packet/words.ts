// SPDX-License-Identifier: Apache-2.0
/**
 * Values of up to 128 bits, from the left.
 *
 * @module
 */

/** A value of up to 128 bits, from the left. */
export type Words = Uint32Array;

/** Makes an empty value. */
export function words(): Words {
  return new Uint32Array(4);
}

const prefixes: readonly Words[] = Array.from({ length: 129 }, (_, length) => {
  const made = words();
  for (let bit = 0; bit < length; bit++) {
    made[bit >> 5] = (made[bit >> 5] as number) | 0x80000000 >>> (bit & 31);
  }
  return made;
});

/** The first `length` bits, not to be changed. */
export function prefixMask(length: number): Words {
  return prefixes[length] as Words;
}

/** Number of leading bits that two values share; 128 if they are equal. */
export function commonBits(a: Words, b: Words): number {
  for (let i = 0; i < 4; i++) {
    const differ = ((a[i] as number) ^ (b[i] as number)) >>> 0;
    if (differ !== 0) return 32 * i + Math.clz32(differ);
  }
  return 128;
}

/** The value of bits as a number or bigint: what `width` bits of it say. */
export function toBig(bits: Words, width: number): bigint {
  let value = 0n;
  for (let i = 0; i < 4; i++) value = value << 32n | BigInt(bits[i] as number);
  return value >> BigInt(128 - width);
}

/** Bits of a bigint of `width` bits. */
export function fromBig(value: bigint, width: number, to: Words = words()): Words {
  let rest = value << BigInt(128 - width);
  for (let i = 3; i >= 0; i--) {
    to[i] = Number(rest & 0xffffffffn);
    rest >>= 32n;
  }
  return to;
}

/** The order of two values as numbers: below 0, 0, or above. */
export function compare(a: Words, b: Words): number {
  for (let i = 0; i < 4; i++) {
    if (a[i] !== b[i]) return (a[i] as number) < (b[i] as number) ? -1 : 1;
  }
  return 0;
}

const from = words();
const to = words();

/** Whether all values that share the first `length` bits are in a range, or all out of it. */
export function isDecided(
  value: Words,
  length: number,
  low: Words,
  high: Words,
  inside: boolean,
): boolean {
  const kept = prefixMask(length);
  for (let i = 0; i < 4; i++) {
    from[i] = (value[i] as number) & (kept[i] as number);
    to[i] = (value[i] as number) | ~(kept[i] as number);
  }
  return inside
    ? compare(from, low) >= 0 && compare(to, high) <= 0
    : compare(to, low) < 0 || compare(from, high) > 0;
}
