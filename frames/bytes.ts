// SPDX-License-Identifier: Apache-2.0
/**
 * Numbers, addresses and checksums in network order.
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
} from "../providers/codec/address.ts";

/** A number of 16 bits at `at`; what lies behind the end is zero. */
export function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) << 8 | (bytes[at + 1] ?? 0);
}

/** A number of 24 bits. */
export function u24(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) << 16 | u16(bytes, at + 1);
}

/** A number of 32 bits. */
export function u32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) << 16 | u16(bytes, at + 2)) >>> 0;
}

/** Writes `size` bytes of a number; throws `RangeError` if it does not fit. */
export function put(
  bytes: Uint8Array,
  at: number,
  size: 1 | 2 | 3 | 4,
  value: number,
  what: string,
): void {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * size)) {
    throw new RangeError(
      `${what} must be an integer of ${8 * size} bits: it is ${value}`,
    );
  }
  for (let i = 0; i < size; i++) bytes[at + i] = value >>> 8 * (size - 1 - i);
}

/** Refuses what does not fit into `bits`. */
export function fits(value: number, bits: number, what: string): number {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** bits) return value;
  throw new RangeError(`${what} must be an integer of ${bits} bits: it is ${value}`);
}

/** Bytes one behind another. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((size, { length }) => size + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

type Parse = (text: string, start: number, bytes: Uint8Array, at: number) => number;

function putAddress(parse: Parse, kind: string, size: number) {
  return (bytes: Uint8Array, at: number, text: string, what: string): void => {
    const made = new Uint8Array(size);
    if (typeof text !== "string" || parse(text, 0, made, 0) !== text.length) {
      throw new TypeError(`${what} must be ${kind}: it is ${JSON.stringify(text)}`);
    }
    bytes.set(made, at);
  };
}

/** Writes a MAC address. */
export const putMac = putAddress(parseMac, "a MAC address", 6);
/** Writes an IPv4 address. */
export const putIpv4 = putAddress(parseIpv4, "an IPv4 address", 4);
/** Writes an IPv6 address. */
export const putIpv6 = putAddress(parseIpv6, "an IPv6 address", 16);

export { formatIpv4, formatIpv6, formatMac };

/** Sum of 16-bit words, not folded. */
export function sum16(bytes: Uint8Array, from = 0, to = bytes.length): number {
  let sum = 0;
  for (let at = from; at < to; at += 2) {
    sum += (bytes[at] as number) << 8 | (at + 1 < to ? bytes[at + 1] as number : 0);
  }
  return sum;
}

/** The Internet checksum (RFC 1071) of sums. */
export function checksum(...sums: readonly number[]): number {
  let sum = sums.reduce((all, one) => all + one, 0);
  while (sum > 0xffff) sum = Math.floor(sum / 0x10000) + sum % 0x10000;
  return ~sum & 0xffff;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >>> 1 ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC32c (RFC 9260, appendix A), as a number whose bytes go out lowest first. */
export function crc32c(...parts: readonly Uint8Array[]): number {
  let crc = 0xffffffff;
  for (const part of parts) {
    for (const byte of part) {
      crc = crc >>> 8 ^ (crcTable[(crc ^ byte) & 255] as number);
    }
  }
  return ~crc >>> 0;
}
