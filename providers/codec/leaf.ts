// SPDX-License-Identifier: Apache-2.0
/**
 * Leaves: numbers and addresses at a place in a payload, as values and as masks.
 *
 * A leaf has one notation in the text form.  Byte order ends here: values are in host order.
 *
 * @module
 */

import {
  formatIpv4,
  formatIpv6,
  formatMac,
  parseIpv4,
  parseIpv6,
  parseMac,
} from "./address.ts";
import type { Fragment } from "../types.ts";

/** How a leaf looks in the text of ovs-dpctl(8); see `text_fields.ts`. */
export type Notation =
  | "decimal"
  | "hex"
  | "hex0x"
  | "hex4"
  | "mac"
  | "ipv4"
  | "ipv6"
  | "fragment"
  | "u128"
  | "be64"
  | "none";

/** A value of a fixed place within a payload. */
export interface Leaf<T> {
  /** Bytes that hold it. */
  readonly size: number;
  /** Notation in text. */
  readonly notation: Notation;
  /** Largest number; 0 for what is not a number. */
  readonly max: number;
  /** Reads the value at `at`. */
  get(bytes: Uint8Array, at: number): T;
  /** Writes the value at `at`, over zeros. `what` names it in errors. */
  put(bytes: Uint8Array, at: number, value: T, what: string): void;
  /** Reads a mask: bits for a number or an enumeration, address form for an address. */
  getMask(bytes: Uint8Array, at: number): unknown;
  /** Writes a mask, `true` for all bits. */
  putMask(bytes: Uint8Array, at: number, mask: unknown, what: string): void;
}

/** A `TypeError` that says what was expected. */
export function wrong(what: string, expected: string, value: unknown): TypeError {
  const shown = typeof value === "bigint" ? `${value}n` : String(value);
  return new TypeError(`${what} must be ${expected}: current value is ${shown}`);
}

function checkNumber(value: unknown, max: number, what: string): number {
  if (typeof value !== "number") {
    throw wrong(what, `an integer from 0 to ${max}`, value);
  }
  if (!(value >= 0 && value <= max && value % 1 === 0)) {
    throw new RangeError(
      `${what} must be an integer from 0 to ${max}: current value is ${value}`,
    );
  }
  return value;
}

/** An unsigned integer of up to 32 bits, or some bits of one. */
export class NumberLeaf implements Leaf<number> {
  readonly max: number;

  /** `shift` and `width` choose bits; the default is all. */
  constructor(
    readonly size: 1 | 2 | 4,
    readonly little: boolean,
    readonly notation: Notation,
    readonly shift = 0,
    readonly width: number = size * 8 - shift,
  ) {
    this.max = 2 ** width - 1;
  }

  get(bytes: Uint8Array, at: number): number {
    const word = this.#word(bytes, at);
    if (this.width === this.size * 8) return word;
    return (word >>> this.shift & this.max) >>> 0;
  }

  put(bytes: Uint8Array, at: number, value: number, what: string): void {
    this.poke(bytes, at, checkNumber(value, this.max, what));
  }

  getMask(bytes: Uint8Array, at: number): number {
    return this.get(bytes, at);
  }

  putMask(bytes: Uint8Array, at: number, mask: unknown, what: string): void {
    this.poke(bytes, at, mask === true ? this.max : checkNumber(mask, this.max, what));
  }

  /** Writes bits over zeros, without a check. */
  poke(bytes: Uint8Array, at: number, value: number): void {
    const word = this.shift === 0 ? value : value << this.shift;
    if (this.little) {
      for (let i = 0; i < this.size; i++) {
        bytes[at + i] = (bytes[at + i] as number) | word >>> 8 * i;
      }
    } else {
      for (let i = 0; i < this.size; i++) {
        const to = at + this.size - 1 - i;
        bytes[to] = (bytes[to] as number) | word >>> 8 * i;
      }
    }
  }

  #word(bytes: Uint8Array, at: number): number {
    const a = bytes[at] as number;
    if (this.size === 1) return a;
    const b = bytes[at + 1] as number;
    if (this.size === 2) return this.little ? a | b << 8 : a << 8 | b;
    const c = bytes[at + 2] as number;
    const d = bytes[at + 3] as number;
    return (this.little
      ? a | b << 8 | c << 16 | d << 24
      : a << 24 | b << 16 | c << 8 | d) >>>
      0;
  }
}

/** An unsigned integer of 64 or 128 bits. */
export class BigLeaf implements Leaf<bigint> {
  readonly max = 0;

  constructor(
    readonly size: 8 | 16,
    readonly little: boolean,
    readonly notation: Notation,
  ) {}

  get(bytes: Uint8Array, at: number): bigint {
    let value = 0n;
    for (let word = 0; word < this.size; word += 4) {
      const from = this.little ? at + this.size - 4 - word : at + word;
      value = value << 32n | BigInt((this.little ? u32 : be32).get(bytes, from));
    }
    return value;
  }

  put(bytes: Uint8Array, at: number, value: bigint, what: string): void {
    if (typeof value !== "bigint") throw wrong(what, "a bigint", value);
    if (value < 0n || value >> BigInt(this.size * 8) !== 0n) {
      throw new RangeError(
        `${what} must have at most ${this.size * 8} bits: current value is ${value}n`,
      );
    }
    let rest = value;
    for (let word = 0; word < this.size; word += 4) {
      const to = this.little ? at + word : at + this.size - 4 - word;
      (this.little ? u32 : be32).poke(bytes, to, Number(rest & 0xffffffffn));
      rest >>= 32n;
    }
  }

  getMask(bytes: Uint8Array, at: number): bigint {
    return this.get(bytes, at);
  }

  putMask(bytes: Uint8Array, at: number, mask: unknown, what: string): void {
    if (mask === true) bytes.fill(0xff, at, at + this.size);
    else this.put(bytes, at, mask as bigint, what);
  }
}

/** An address of `size` bytes, a string outside. */
export class AddressLeaf implements Leaf<string> {
  readonly max = 0;

  constructor(
    readonly size: number,
    readonly notation: "mac" | "ipv4" | "ipv6",
    readonly format: (bytes: Uint8Array, at: number) => string,
    readonly parse: (t: string, from: number, b: Uint8Array, at: number) => number,
  ) {}

  get(bytes: Uint8Array, at: number): string {
    return this.format(bytes, at);
  }

  put(bytes: Uint8Array, at: number, value: string, what: string): void {
    if (typeof value !== "string") throw wrong(what, "an address", value);
    if (this.parse(value, 0, bytes, at) !== value.length) {
      throw new TypeError(`${what} must be an address: current value is "${value}"`);
    }
  }

  getMask(bytes: Uint8Array, at: number): string {
    return this.format(bytes, at);
  }

  putMask(bytes: Uint8Array, at: number, mask: unknown, what: string): void {
    if (mask === true) bytes.fill(0xff, at, at + this.size);
    else this.put(bytes, at, mask as string, what);
  }
}

/** Names of fragment types, by number. */
export const fragments: readonly Fragment[] = ["no", "first", "later"];

class FragmentLeaf implements Leaf<Fragment> {
  readonly size = 1;
  readonly notation = "fragment";
  readonly max = 255;

  get(bytes: Uint8Array, at: number): Fragment {
    const type = fragments[bytes[at] as number];
    if (type === undefined) throw new RangeError(`fragment type ${bytes[at]} is unknown`);
    return type;
  }

  put(bytes: Uint8Array, at: number, value: Fragment, what: string): void {
    const type = fragments.indexOf(value);
    if (type < 0) throw wrong(what, '"no", "first" or "later"', value);
    bytes[at] = type;
  }

  getMask(bytes: Uint8Array, at: number): number {
    return bytes[at] as number;
  }

  putMask(bytes: Uint8Array, at: number, mask: unknown, what: string): void {
    bytes[at] = mask === true ? 255 : checkNumber(mask, 255, what);
  }
}

export const u8: NumberLeaf = new NumberLeaf(1, false, "decimal");
export const u8x: NumberLeaf = new NumberLeaf(1, false, "hex");
export const u16: NumberLeaf = new NumberLeaf(2, true, "decimal");
export const u16x: NumberLeaf = new NumberLeaf(2, true, "hex");
export const u32: NumberLeaf = new NumberLeaf(4, true, "decimal");
export const u32x: NumberLeaf = new NumberLeaf(4, true, "hex");
export const be16: NumberLeaf = new NumberLeaf(2, false, "decimal");
export const be16x: NumberLeaf = new NumberLeaf(2, false, "hex");
export const be16x4: NumberLeaf = new NumberLeaf(2, false, "hex4");
export const be32: NumberLeaf = new NumberLeaf(4, false, "decimal");
export const be32x: NumberLeaf = new NumberLeaf(4, false, "hex");
export const be32x0: NumberLeaf = new NumberLeaf(4, false, "hex0x");
export const u64: BigLeaf = new BigLeaf(8, true, "be64");
export const be64: BigLeaf = new BigLeaf(8, false, "be64");
export const u128: BigLeaf = new BigLeaf(16, true, "u128");
export const mac: AddressLeaf = new AddressLeaf(6, "mac", formatMac, parseMac);
export const ipv4: AddressLeaf = new AddressLeaf(4, "ipv4", formatIpv4, parseIpv4);
export const ipv6: AddressLeaf = new AddressLeaf(16, "ipv6", formatIpv6, parseIpv6);
export const fragment: Leaf<Fragment> = new FragmentLeaf();

/** A number in some bits of a larger one. */
export function bits(
  size: 1 | 2 | 4,
  shift: number,
  width: number,
  notation: Notation = "decimal",
): NumberLeaf {
  return new NumberLeaf(size, false, notation, shift, width);
}

/** Bits 4 and 5 of an ERSPAN hardware id, in the byte before the low ones. */
export const hardwareIdHigh: NumberLeaf = bits(1, 0, 2);
/** Bits 0 to 3 of an ERSPAN hardware id. */
export const hardwareIdLow: NumberLeaf = bits(1, 4, 4);
