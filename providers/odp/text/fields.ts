// SPDX-License-Identifier: Apache-2.0
/**
 * Notations of the text of ovs-dpctl(8): values, masks, flags and structures.
 *
 * @module
 */

import { formatIpv4, formatIpv6, formatMac, hexByte } from "../../codec/address.ts";
import type { NamedField, StructCodec } from "../../codec/codec.ts";
import {
  BigLeaf,
  fragments,
  ipv4,
  ipv6,
  type Leaf,
  mac,
  NumberLeaf,
} from "../../codec/leaf.ts";
import type { Scanner } from "./scanner.ts";

/** A number as C's `%#x` prints it: 0x before it unless it is 0. */
export function hex(value: number): string {
  return value === 0 ? "0" : "0x" + value.toString(16);
}

/** Bytes as one hex number, leading zeros left out. */
export function hexNumber(bytes: Uint8Array, at: number, size: number): string {
  let i = at;
  while (i < at + size && bytes[i] === 0) i++;
  if (i === at + size) return "0";
  let text = "0x" + (bytes[i] as number).toString(16);
  for (i++; i < at + size; i++) text += hexByte[bytes[i] as number];
  return text;
}

/** Bytes in hex, separated by `separator`. */
export function hexDump(bytes: Uint8Array, separator = ""): string {
  return Array.from(bytes, (byte) => hexByte[byte]).join(separator);
}

function reversed(bytes: Uint8Array, at: number): Uint8Array {
  return bytes.slice(at, at + 16).reverse();
}

/** Text of the value at `at`. */
export function printLeaf(leaf: Leaf<unknown>, bytes: Uint8Array, at: number): string {
  switch (leaf.notation) {
    case "decimal":
      return `${(leaf as NumberLeaf).get(bytes, at)}`;
    case "hex":
      return hex((leaf as NumberLeaf).get(bytes, at));
    case "hex0x":
      return "0x" + (leaf as NumberLeaf).get(bytes, at).toString(16);
    case "hex4":
      return "0x" + hexByte[bytes[at] as number] + hexByte[bytes[at + 1] as number];
    case "mac":
      return formatMac(bytes, at);
    case "ipv4":
      return formatIpv4(bytes, at);
    case "ipv6":
      return formatIpv6(bytes, at);
    case "fragment":
      return fragments[bytes[at] as number] ?? "<error>";
    case "u128":
      return hexNumber(reversed(bytes, at), 0, 16);
    case "be64":
      return "0x" + (leaf as BigLeaf).get(bytes, at).toString(16);
    case "none":
      return "";
  }
}

/** Text of the mask at `at`, without its slash. */
export function printMask(leaf: Leaf<unknown>, bytes: Uint8Array, at: number): string {
  switch (leaf.notation) {
    case "decimal":
    case "hex":
    case "fragment":
      return hex(leaf.getMask(bytes, at) as number);
    case "be64": {
      const mask = (leaf as BigLeaf).get(bytes, at);
      return mask === 0n ? "0" : "0x" + mask.toString(16);
    }
    default:
      return printLeaf(leaf, bytes, at);
  }
}

/** Whether a mask has no bits. */
export function isWild(leaf: Leaf<unknown>, bytes: Uint8Array, at: number): boolean {
  if (leaf instanceof NumberLeaf) return leaf.get(bytes, at) === 0;
  for (let i = at; i < at + leaf.size; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** Whether a mask has all bits. */
export function isFull(leaf: Leaf<unknown>, bytes: Uint8Array, at: number): boolean {
  if (leaf instanceof NumberLeaf) return leaf.get(bytes, at) === leaf.max;
  for (let i = at; i < at + leaf.size; i++) if (bytes[i] !== 255) return false;
  return true;
}

/** One field with its name and what mask it has. */
export function printNamed(
  name: string,
  leaf: Leaf<unknown>,
  bytes: Uint8Array,
  at: number,
  mask: Uint8Array | undefined,
  maskAt: number,
  verbose: boolean,
): string {
  const value = () => `${name}=${printLeaf(leaf, bytes, at)}`;
  if (mask === undefined || isFull(leaf, mask, maskAt)) return value();
  if (!verbose && isWild(leaf, mask, maskAt)) return "";
  return `${value()}/${printMask(leaf, mask, maskAt)}`;
}

/** A mask in bytes, at an offset. */
export interface MaskAt {
  readonly bytes: Uint8Array;
  readonly at: number;
}

/**
 * Text of a structure's fields, `name=value/mask,…`; fields without mask bits are left out
 * unless `verbose`.
 */
export function printFields(
  fields: readonly NamedField[],
  bytes: Uint8Array,
  at: number,
  mask: MaskAt | undefined,
  verbose: boolean,
): string {
  let text = "";
  for (const { leaf, at: offset, text: name } of fields) {
    let suffix = "";
    if (mask !== undefined) {
      const where = mask.at + offset;
      if (!isFull(leaf, mask.bytes, where)) {
        const wild = isWild(leaf, mask.bytes, where);
        // Fragment types have no masks in the text: without bits they are never shown.
        if (wild && (!verbose || leaf.notation === "fragment")) continue;
        suffix = "/" + printMask(leaf, mask.bytes, where);
      }
    }
    text += (text === "" ? "" : ",") + name + "=" + printLeaf(leaf, bytes, at + offset) +
      suffix;
  }
  return text;
}

/** Takes a value and writes it at `at`, over zeros. */
export function scanLeaf(
  s: Scanner,
  leaf: Leaf<unknown>,
  bytes: Uint8Array,
  at: number,
): void {
  switch (leaf.notation) {
    case "decimal":
    case "hex":
    case "hex0x":
    case "hex4":
      return (leaf as NumberLeaf).poke(bytes, at, s.number(leaf.max));
    case "mac":
      return scanAddress(s, mac, bytes, at);
    case "ipv4":
      return scanAddress(s, ipv4, bytes, at);
    case "ipv6":
      return scanAddress(s, ipv6, bytes, at);
    case "fragment": {
      const start = s.at;
      const type = fragments.indexOf(s.word() as typeof fragments[number]);
      if (type < 0) s.fail('expected "no", "first" or "later"', start);
      bytes[at] = type;
      return;
    }
    case "u128":
    case "be64":
      return (leaf as BigLeaf).put(bytes, at, s.big(leaf.size * 8), "number");
    case "none":
      s.fail("this field has no text");
  }
}

function scanAddress(s: Scanner, leaf: typeof mac, bytes: Uint8Array, at: number): void {
  const end = leaf.parse(s.text, s.at, bytes, at);
  if (end < 0) s.fail(`expected an address (${leaf.notation})`);
  s.at = end;
}

/**
 * Takes a value and what mask follows it: all bits without one.
 *
 * Without `mask`, a `/` is not taken.
 */
export function scanMasked(
  s: Scanner,
  leaf: Leaf<unknown>,
  bytes: Uint8Array,
  at: number,
  mask: MaskAt | undefined,
): void {
  scanLeaf(s, leaf, bytes, at);
  if (mask === undefined) return;
  if (!s.takeSlash()) return leaf.putMask(mask.bytes, mask.at, true, "mask");
  if (leaf.notation === "fragment") {
    mask.bytes[mask.at] = s.number(255);
  } else {
    scanLeaf(s, leaf, mask.bytes, mask.at);
  }
}

/** Other names that Open vSwitch gives a field. */
const aliases = [["tp_src", "src_port"], ["tp_dst", "dst_port"]] as const;

/**
 * Takes `name=value/mask,…)` in any order, with the closing parenthesis.
 *
 * Fields that are not there stay zero, in value and mask.
 */
export function scanFields(
  s: Scanner,
  codec: StructCodec<never>,
  bytes: Uint8Array,
  at: number,
  mask: MaskAt | undefined,
): void {
  const { fields } = codec;
  let seen = 0;
  let next = 0;
  while (!s.takeCode(41)) {
    const start = s.at;
    const index = fieldIndex(s, fields, next);
    const field = fields[index];
    if (field === undefined) {
      const known = fields.map(({ text }) => text).join(", ");
      s.fail(`no field of ${codec.name} (${known})`, start);
    }
    if ((seen & 1 << index) !== 0) s.fail("field is given twice", start);
    seen |= 1 << index;
    next = index + 1;
    const under = mask === undefined
      ? undefined
      : { bytes: mask.bytes, at: mask.at + field.at };
    scanMasked(s, field.leaf, bytes, at + field.at, under);
    if (!s.takeCode(44) && s.code !== 41) s.fail('expected "," or ")"');
  }
}

/** Takes `name=` of a field and returns its index, -1 for none; fields mostly come in order. */
function fieldIndex(s: Scanner, fields: readonly NamedField[], next: number): number {
  for (let i = 0; i < fields.length; i++) {
    const index = (next + i) % fields.length;
    if (s.takeName((fields[index] as NamedField).text)) return index;
  }
  for (const [alias, text] of aliases) {
    const index = fields.findIndex((field) => field.text === text);
    if (index >= 0 && s.takeName(alias)) return index;
  }
  return -1;
}

/** Names of flags by bit. */
export type FlagNames = readonly (string | undefined)[];

/** Bits of `ct_state`. */
export const ctStateFlags: FlagNames = [
  "new",
  "est",
  "rel",
  "rpl",
  "inv",
  "trk",
  "snat",
  "dnat",
];
/** Bits of `tcp_flags`. */
export const tcpFlagNames: FlagNames = [
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
/** Flags of a tunnel key, in the order in which they are printed. */
export const tunnelFlags: FlagNames = ["oam", "df", "csum", "key"];

/** Flags that are set, joined by `separator`; `0` when there are none. */
export function printFlags(flags: number, names: FlagNames, separator = "|"): string {
  if (flags === 0) return "0";
  const words: string[] = [];
  let rest = flags;
  for (const [bit, name] of names.entries()) {
    if (name !== undefined && (rest & 1 << bit) !== 0) {
      words.push(name);
      rest &= ~(1 << bit);
    }
  }
  if (rest !== 0) words.push("0x" + (rest >>> 0).toString(16));
  return words.join(separator);
}

/** Flags under a mask, `+set-unset`; as {@linkcode printFlags} when the mask is `all`. */
export function printMaskedFlags(
  flags: number,
  mask: number,
  all: number,
  names: FlagNames,
): string {
  if (mask === all) return printFlags(flags, names);
  if (mask === 0) return "0/0";
  let text = "";
  for (let bit = 0; bit < 32; bit++) {
    if ((mask & 1 << bit) === 0) continue;
    text += ((flags & 1 << bit) !== 0 ? "+" : "-") + (names[bit] ?? "[Unknown]");
  }
  return text;
}

/** Longest name of a flag first, so that no name hides another. */
function flagAt(s: Scanner, names: FlagNames): number {
  const start = s.at;
  const word = s.takeCode(91) ? `[${s.until("]")}]` : s.word();
  if (word.startsWith("[")) s.expect("]");
  const bit = names.indexOf(word);
  if (bit < 0) s.fail("no flag of this name", start);
  return bit;
}

/**
 * Takes flags: `+a-b` with a mask of those named; or `a|b`, `0`, or a number with or without
 * `/mask`, which are exact when no mask follows.  Returns value and mask.
 */
export function scanFlags(
  s: Scanner,
  names: FlagNames,
  all: number,
): readonly [number, number] {
  let flags = 0;
  let mask = 0;
  if (s.code === 43 || s.code === 45) {
    while (s.code === 43 || s.code === 45) {
      const on = s.code === 43;
      const start = s.at++;
      const bit = 1 << flagAt(s, names);
      if ((mask & bit) !== 0) s.fail("flag is given twice", start);
      mask |= bit;
      if (on) flags |= bit;
    }
    return [flags >>> 0, mask >>> 0];
  }
  if (s.code >= 48 && s.code <= 57) {
    const start = s.at;
    const value = s.number(0xffffffff);
    if ((value & ~all) !== 0) s.fail("number has bits that no flag has", start);
    if (s.takeSlash()) return [value, s.number(0xffffffff)];
    if (!s.takeCode(124)) return [value, all];
    flags = value;
  }
  do {
    flags |= s.code === 48 ? s.number(0xffffffff) : 1 << flagAt(s, names);
  } while (s.takeCode(124) || s.take(","));
  return [flags >>> 0, all];
}
