// SPDX-License-Identifier: Apache-2.0
/**
 * Values of keys and masks as plain bits: numbers, addresses and fragment types alike, so that
 * they can be compared and masked without knowing which they are.
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
} from "../codec/address.ts";

/** How the values of a field are written. */
export type FieldForm = "number" | "ethernet" | "ipv4" | "ipv6" | "flags" | "fragment";

/** A mask of `bits` bits. */
export function allBits(bits: number): bigint {
  return (1n << BigInt(bits)) - 1n;
}

const addresses = {
  ethernet: [6, parseMac, formatMac],
  ipv4: [4, parseIpv4, formatIpv4],
  ipv6: [16, parseIpv6, formatIpv6],
} as const;

/** An address as a number; undefined for other text. */
function addressBits(form: keyof typeof addresses, text: string): bigint | undefined {
  const [size, parse] = addresses[form];
  const bytes = new Uint8Array(size);
  if (parse(text, 0, bytes, 0) !== text.length) return undefined;
  return BigInt(`0x${bytes.toHex()}`);
}

/** Reads a value of a form from text; undefined if it is none. */
export function parseBits(form: FieldForm, text: string): bigint | undefined {
  if (form in addresses) return addressBits(form as keyof typeof addresses, text);
  return /^(0x[0-9a-f]+|\d+)$/i.test(text) ? BigInt(text) : undefined;
}

/** Fragment types as ovs-fields(7) has them: bit 0 is any fragment, bit 1 a later one. */
const fragments: ReadonlyMap<string, { value: bigint; mask: bigint }> = new Map([
  ["no", { value: 0n, mask: 3n }],
  ["yes", { value: 1n, mask: 1n }],
  ["first", { value: 1n, mask: 3n }],
  ["later", { value: 3n, mask: 3n }],
  ["not_later", { value: 0n, mask: 2n }],
]);

/** The bits of a fragment type by its name; undefined for other text. */
export function fragmentBits(
  name: string,
): { readonly value: bigint; readonly mask: bigint } | undefined {
  return fragments.get(name);
}

/** Bits of TCP flags by name (RFC 9293, RFC 3168, RFC 3540). */
export const TcpFlags: ReadonlyMap<string, bigint> = new Map([
  ["fin", 0x001n],
  ["syn", 0x002n],
  ["rst", 0x004n],
  ["psh", 0x008n],
  ["ack", 0x010n],
  ["urg", 0x020n],
  ["ece", 0x040n],
  ["cwr", 0x080n],
  ["ns", 0x100n],
]);

/** A value of a key or mask as bits: `true` is all of `bits`, what is absent is 0. */
export function bitsOf(value: unknown, bits: number): bigint {
  if (value === true) return allBits(bits);
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return BigInt(value);
  if (typeof value !== "string") return 0n;
  const fragment = fragments.get(value);
  if (fragment !== undefined) return fragment.value;
  return addressBits(formOf(value), value) ?? 0n;
}

/** Which address a text is. An IPv6 address may end in an IPv4 address. */
function formOf(text: string): keyof typeof addresses {
  if (!text.includes(":")) return "ipv4";
  return /^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(text) ? "ethernet" : "ipv6";
}

/** Whether a value is a fragment type, which is matched and set as a whole. */
export function isFragment(value: unknown): boolean {
  return typeof value === "string" && fragments.has(value);
}

/** Bits that a value can have, by its form: those of an address, or as many as any number has. */
export function widthOf(value: unknown): number {
  if (typeof value !== "string" || isFragment(value)) return 128;
  return 8 * addresses[formOf(value)][0];
}

/** `before` with the bits of `mask` from `value`, in the form of `value`. */
export function mixBits(before: unknown, value: unknown, mask: unknown): unknown {
  const bits = widthOf(value);
  const cares = bitsOf(mask, bits);
  if (cares === 0n) return before;
  if (isFragment(value)) return value;
  const mixed = bitsOf(before, bits) & ~cares | bitsOf(value, bits) & cares;
  if (typeof value === "bigint") return mixed;
  if (typeof value === "number") return Number(mixed);
  const [size, , format] = addresses[formOf(`${value}`)];
  return format(Uint8Array.fromHex(mixed.toString(16).padStart(2 * size, "0")), 0);
}
