// SPDX-License-Identifier: Apache-2.0
/**
 * Values of fields and names of ports, in the notation of ovs-ofctl(8), both ways.
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
} from "../../providers/codec/address.ts";
import type { Field } from "../wire/field.ts";
import { ones } from "../wire/flow.ts";
import { allOf } from "../wire/match.ts";
import { Port } from "../wire/port_number.ts";

/** Names of ports by number, and numbers by name. */
export interface PortNames {
  /** The name of a port, if it is known. */
  name(port: number): string | undefined;
  /** The number of a port. */
  number(name: string): number | undefined;
}

const reserved: readonly (readonly [name: string, port: number])[] = [
  ["IN_PORT", Port.inPort],
  ["TABLE", Port.table],
  ["NORMAL", Port.normal],
  ["FLOOD", Port.flood],
  ["ALL", Port.all],
  ["CONTROLLER", Port.controller],
  ["LOCAL", Port.local],
  ["ANY", Port.none],
  ["UNSET", Port.unset],
];

/** A port: its name if it is reserved or known, else its number. */
export function formatPort(port: number, names?: PortNames): string {
  const found = reserved.find(([, number]) => number === port)?.[0];
  return found ?? names?.name(port) ?? `${port}`;
}

/** Reads a port. Throws `SyntaxError`. */
export function parsePort(text: string, names?: PortNames): number {
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text)) {
    const number = Number(text);
    if (number < Port.max || number >= 0xffffff00 && number <= 0xffffffff) return number;
    if (number >= Port.max && number <= 0xffff) return (number | 0xffff0000) >>> 0;
    throw new SyntaxError(`${text} is no number of a port`);
  }
  const upper = text.toUpperCase() === "NONE" ? "ANY" : text.toUpperCase();
  const found = reserved.find(([name]) => name === upper)?.[1] ?? names?.number(text);
  if (found === undefined) throw new SyntaxError(`${text} is no port`);
  return found;
}

const tcpFlags = [
  "fin",
  "syn",
  "rst",
  "psh",
  "ack",
  "urg",
  "ece",
  "cwr",
  "ns",
  "[200]",
  "[400]",
  "[800]",
];
/** Names of the bits of `ct_state`, from the lowest. */
export const ctFlagNames: readonly string[] = [
  "new",
  "est",
  "rel",
  "rpl",
  "inv",
  "trk",
  "snat",
  "dnat",
];

function flagNames(field: Field): readonly string[] {
  return field.form === "tcpFlags" ? tcpFlags : ctFlagNames;
}

/** Flags as `+syn-ack`; all of them as `syn|ack`. */
export function formatFlags(field: Field, value: bigint, mask: bigint): string {
  const names = flagNames(field);
  const isSet = (i: number): boolean => (value >> BigInt(i) & 1n) === 1n;
  if (mask === allOf(field)) {
    const set = names.filter((_, i) => isSet(i));
    return set.length === 0 ? "0" : set.join("|");
  }
  return names.map((name, i) => {
    if ((mask >> BigInt(i) & 1n) === 0n) return "";
    return (isSet(i) ? "+" : "-") + name;
  }).join("");
}

/** Reads flags. Throws `SyntaxError`. */
export function parseFlags(field: Field, text: string): { value: bigint; mask: bigint } {
  const names = flagNames(field);
  const bit = (name: string): bigint => {
    const at = names.indexOf(name);
    if (at < 0) throw new SyntaxError(`${name} is no flag of ${field.name}`);
    return 1n << BigInt(at);
  };
  if (/^[+-]/.test(text)) {
    let [value, mask] = [0n, 0n];
    for (const [, sign, name = ""] of text.matchAll(/([+-])([^+-]+)/g)) {
      mask |= bit(name);
      if (sign === "+") value |= bit(name);
    }
    return { value, mask };
  }
  if (/^\d/.test(text)) return parseNumber(field, text);
  return {
    value: text.split("|").reduce((value, name) => value | bit(name), 0n),
    mask: allOf(field),
  };
}

function bytesOf(value: bigint, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let rest = value;
  for (let i = size - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

function bigOf(bytes: Uint8Array): bigint {
  return bytes.reduce((value, byte) => value << 8n | BigInt(byte), 0n);
}

/** Length of the prefix that a mask is; undefined if it is none. */
export function prefixLength(mask: bigint, bits: number): number | undefined {
  const inverted = mask ^ ones(bits);
  if ((inverted & (inverted + 1n)) !== 0n) return undefined;
  return bits - (inverted === 0n ? 0 : inverted.toString(2).length);
}

function address(form: "mac" | "ipv4" | "ipv6", value: bigint): string {
  if (form === "mac") return formatMac(bytesOf(value, 6), 0);
  if (form === "ipv4") return formatIpv4(bytesOf(value, 4), 0);
  return formatIpv6(bytesOf(value, 16), 0);
}

/** Text of a value. */
export function formatValue(
  field: Field,
  value: bigint,
  mask: bigint,
  names?: PortNames,
): string {
  const { form, bits } = field;
  const isWhole = mask === allOf(field);
  switch (form) {
    case "mac":
      return address(form, value) + (isWhole ? "" : `/${address(form, mask)}`);
    case "ipv4":
    case "ipv6": {
      const length = prefixLength(mask, bits);
      if (isWhole) return address(form, value);
      return `${address(form, value)}/${length ?? address(form, mask)}`;
    }
    case "port":
      return formatPort(Number(value), names);
    case "tcpFlags":
    case "ctState":
      return formatFlags(field, value, mask);
    case "frag":
      return formatFragment(value, mask);
    case "decimal":
      if (isWhole) return `${value}`;
      return `${hex(value)}/${hex(mask)}`;
    case "hex":
      return isWhole ? hex(value) : `${hex(value)}/${hex(mask)}`;
  }
}

/** A number in hexadecimal; zero is `0`, as C prints it. */
export function alternateHex(value: bigint): string {
  return value === 0n ? "0" : hex(value);
}

/** A number in hexadecimal. */
export function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function formatFragment(value: bigint, mask: bigint): string {
  const [any, later] = [(value & 1n) !== 0n, (value & 2n) !== 0n];
  if (mask === 1n) return any ? "yes" : "no";
  if (mask === 2n) return later ? "later" : "not_later";
  return any ? later ? "later" : "first" : later ? "<error>" : "no";
}

const fragments: Readonly<Record<string, readonly [bigint, bigint]>> = {
  no: [0n, 3n],
  yes: [1n, 1n],
  first: [1n, 3n],
  later: [3n, 3n],
  not_later: [0n, 2n],
};

function parseNumber(field: Field, text: string): { value: bigint; mask: bigint } {
  const [first = "", second] = text.split("/");
  const value = parseBig(first);
  const mask = second === undefined ? allOf(field) : parseBig(second) & allOf(field);
  if (value >> BigInt(field.bits) !== 0n) {
    throw new SyntaxError(`${text} is too large for ${field.name}`);
  }
  return { value: value & mask, mask };
}

/** Reads a number, decimal or hexadecimal. Throws `SyntaxError`. */
export function parseBig(text: string): bigint {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) throw new SyntaxError(`${text} is no number`);
  return BigInt(text);
}

function parseAddress(form: "mac" | "ipv4" | "ipv6", text: string): bigint {
  const bytes = new Uint8Array(form === "mac" ? 6 : form === "ipv4" ? 4 : 16);
  const parse = form === "mac" ? parseMac : form === "ipv4" ? parseIpv4 : parseIpv6;
  if (parse(text, 0, bytes, 0) !== text.length) {
    throw new SyntaxError(`${text} is no address`);
  }
  return bigOf(bytes);
}

/** Reads a value. Throws `SyntaxError`. */
export function parseValue(
  field: Field,
  text: string,
  names?: PortNames,
): { value: bigint; mask: bigint } {
  const { form, bits } = field;
  if (form === "port") {
    return { value: BigInt(parsePort(text, names)), mask: allOf(field) };
  }
  if (form === "tcpFlags" || form === "ctState") return parseFlags(field, text);
  if (form === "frag") {
    const found = Object.hasOwn(fragments, text) ? fragments[text] : undefined;
    if (found === undefined) throw new SyntaxError(`${text} is no kind of fragment`);
    return { value: found[0], mask: found[1] };
  }
  if (form === "decimal" || form === "hex") return parseNumber(field, text);
  const [first = "", second] = text.split("/");
  const value = parseAddress(form, first);
  const all = ones(bits);
  let mask = all;
  if (second !== undefined) {
    mask = form !== "mac" && /^\d+$/.test(second)
      ? all ^ ones(bits - Math.min(bits, Number(second)))
      : parseAddress(form, second);
  }
  return { value: value & mask, mask };
}
