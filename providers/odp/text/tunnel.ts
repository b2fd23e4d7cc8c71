// SPDX-License-Identifier: Apache-2.0
/**
 * Text of tunnel keys: `tunnel(tun_id=…,src=…,geneve({…}),flags(…))`.
 *
 * @module
 */

import { find, type NamedAttribute, walk } from "../attributes.ts";
import { LeafCodec } from "../../codec/codec.ts";
import {
  be16x,
  be32,
  bits,
  hardwareIdHigh,
  hardwareIdLow,
  type Leaf,
  u8,
  u8x,
} from "../../codec/leaf.ts";
import type { Scanner } from "./scanner.ts";
import {
  hex,
  hexDump,
  hexNumber,
  isFull,
  isWild,
  printFields,
  printLeaf,
  printMask,
  printMaskedFlags,
  scanFields,
  scanFlags,
  scanMasked,
  tunnelFlags,
} from "./fields.ts";
import { gtpu, tunnelKey, VXLAN_EXT_GBP, vxlanGbp } from "../payload/tunnel.ts";
import type { Writer } from "../../codec/writer.ts";

const OAM = 1;
const DF = 2;
const CSUM = 4;
const KEY = 8;
const ALL_FLAGS = 15;
/** Flag attributes by id. */
const flagIds: ReadonlyMap<number, number> = new Map([[5, DF], [6, CSUM], [7, OAM]]);

const ID = 0;
const GENEVE = 8;
const VXLAN = 11;
const ERSPAN = 15;
const GTPU = 16;

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

/** Text of a tunnel nest, without `tunnel(` and `)`. */
export function printTunnel(
  nest: Uint8Array,
  mask: Uint8Array | undefined,
  verbose: boolean,
): string {
  const parts: string[] = [];
  let flags = 0;
  let maskFlags = 0;
  walk(nest, 0, nest.length, "tunnel", (id, at, size) => {
    // Wildcards for what the mask lacks: the field shows in a verbose text.
    const under = mask === undefined ? undefined : find(mask, id) ?? new Uint8Array(size);
    const flag = size === 0 ? flagIds.get(id) : undefined;
    if (flag !== undefined) {
      flags |= flag;
      return;
    }
    if (id === ID) {
      flags |= KEY;
      maskFlags |= KEY;
    }
    if (tunnelKey.isPadding(id)) return;
    const line = tunnelKey.byId(id, size);
    const bytes = nest.subarray(at, at + size);
    parts.push(printAttribute(line, id, bytes, under, verbose));
  });
  if (mask !== undefined) {
    for (const [id, flag] of flagIds) if (find(mask, id) !== undefined) maskFlags |= flag;
  } else maskFlags = ALL_FLAGS;
  if (verbose || maskFlags !== 0) {
    parts.push(`flags(${printMaskedFlags(flags, maskFlags, ALL_FLAGS, tunnelFlags)})`);
  }
  return parts.filter((part) => part !== "").join(",");
}

function printAttribute(
  line: NamedAttribute | undefined,
  id: number,
  bytes: Uint8Array,
  mask: Uint8Array | undefined,
  verbose: boolean,
): string {
  const fits = line !== undefined && bytes.length >= line.wire.min &&
    bytes.length <= line.wire.max && (mask === undefined || mask.length === bytes.length);
  if (line === undefined || !fits || line.text === "") {
    const suffix = mask === undefined || mask.every((byte) => byte === 255)
      ? ""
      : `/${hexDump(mask, " ")}`;
    return `key${id}(${hexDump(bytes, " ")}${suffix})`;
  }
  if (line.wire instanceof LeafCodec) {
    return printNamed(line.text, line.wire.leaf, bytes, 0, mask, 0, verbose);
  }
  switch (id) {
    case GENEVE:
      return `geneve(${printGeneve(bytes, mask, verbose)})`;
    case VXLAN:
      return `vxlan(${printVxlan(bytes, mask, verbose)})`;
    case ERSPAN:
      return `erspan(${printErspan(bytes, mask, verbose)})`;
    default:
      return `gtpu(${
        printFields(gtpu.fields, bytes, 0, mask && { bytes: mask, at: 0 }, verbose)
      })`;
  }
}

function printVxlan(
  nest: Uint8Array,
  mask: Uint8Array | undefined,
  verbose: boolean,
): string {
  const gbp = find(nest, VXLAN_EXT_GBP);
  if (gbp === undefined || gbp.length !== 4) return `key1(${hexDump(nest, " ")})`;
  const bits = mask === undefined ? undefined : find(mask, VXLAN_EXT_GBP);
  const under = mask === undefined
    ? undefined
    : { bytes: bits?.length === 4 ? bits : new Uint8Array(4), at: 0 };
  return `gbp(${printFields(vxlanGbp.fields, gbp, 0, under, verbose)})`;
}

/** Text of Geneve options, each in braces. */
export function printGeneve(
  options: Uint8Array,
  mask: Uint8Array | undefined,
  verbose: boolean,
): string {
  let text = "";
  for (let at = 0; at < options.length;) {
    const size = 4 * ((options[at + 3] as number) & 0x1f);
    if (at + 4 + size > options.length) return `${text}***option is cut off***`;
    const parts = [
      printNamed("class", be16x, options, at, mask, at, verbose),
      printNamed("type", u8x, options, at + 2, mask, at + 2, verbose),
      printLength(size, mask?.[at + 3], verbose),
    ].filter((part) => part !== "");
    const bits = mask?.subarray(at + 4, at + 4 + size);
    if (size > 0 && (verbose || bits === undefined || bits.some((byte) => byte !== 0))) {
      const data = hexNumber(options, at + 4, size);
      const full = bits === undefined || bits.every((byte) => byte === 255);
      parts.push(full ? data : `${data}/${hexNumber(bits, 0, size)}`);
    }
    text += `{${parts.join(",")}}`;
    at += 4 + size;
  }
  return text;
}

/** The length is in words on the wire and in bytes in the text; 0x1f masks all of it. */
function printLength(size: number, mask: number | undefined, verbose: boolean): string {
  const bits = mask === undefined ? undefined : mask & 0x1f;
  if (bits === undefined || bits === 0x1f) return `len=${size}`;
  return bits === 0 && !verbose ? "" : `len=${size}/${hex(bits)}`;
}

const direction = bits(1, 3, 1);

function hardwareId(bytes: Uint8Array): number {
  return hardwareIdHigh.get(bytes, 10) << 4 | hardwareIdLow.get(bytes, 11);
}

function printErspan(
  bytes: Uint8Array,
  mask: Uint8Array | undefined,
  verbose: boolean,
): string {
  const parts = [printNamed("ver", u8, bytes, 0, mask, 0, verbose)];
  if (bytes[0] === 1) {
    // Open vSwitch prints this mask even when it has all bits or none.
    const under = mask === undefined ? "" : `/${hex(be32.get(mask, 4))}`;
    parts.push(`idx=${hex(be32.get(bytes, 4))}${under}`);
  } else if (bytes[0] === 2 && bytes.length >= 12) {
    parts.push(printNamed("dir", direction, bytes, 11, mask, 11, verbose));
    const bits = mask === undefined ? 0x3f : hardwareId(mask);
    if (verbose || bits !== 0) {
      parts.push(`hwid=${hex(hardwareId(bytes))}${bits === 0x3f ? "" : `/${hex(bits)}`}`);
    }
  }
  return parts.filter((part) => part !== "").join(",");
}

/** A nest for the value and one for its mask, written side by side. */
export interface Pair {
  readonly key: Writer;
  readonly mask: Writer | undefined;
}

/** Takes the fields of `tunnel(`, with the closing parenthesis. */
export function scanTunnel(s: Scanner, out: Pair): void {
  let hasId = false;
  let flags = 0;
  while (!s.takeCode(41)) {
    const start = s.at;
    const word = s.word();
    if (s.takeCode(61)) {
      const line = tunnelKey.attributes.find(({ text, wire }) =>
        text === word && wire instanceof LeafCodec
      );
      if (line === undefined) s.fail("no field of tunnel", start);
      scanLeafAttribute(s, line.id, (line.wire as LeafCodec<unknown>).leaf, out);
      hasId ||= line.id === ID;
    } else if (s.takeCode(40)) {
      if (word === "flags") flags = scanTunnelFlags(s, out);
      else scanNested(s, word, start, out);
    } else {
      s.fail("no field of tunnel", start);
    }
    if (!s.takeCode(44) && s.code !== 41) s.fail('expected "," or ")"');
  }
  if ((flags & KEY) === 0 || hasId) return;
  // There is an id, and none of its bits matters: this is how Open vSwitch prints that.
  out.key.attribute(ID, new Uint8Array(8), "text");
  out.mask?.attribute(ID, new Uint8Array(8), "text");
}

/** Takes one value, with its mask, as an attribute of its own. */
export function scanLeafAttribute(
  s: Scanner,
  id: number,
  leaf: Leaf<unknown>,
  out: Pair,
): void {
  const start = out.key.begin(id);
  const at = out.key.alloc(leaf.size);
  const maskStart = out.mask?.begin(id) ?? 0;
  const maskAt = out.mask?.alloc(leaf.size) ?? 0;
  const under = out.mask && { bytes: out.mask.bytes, at: maskAt };
  scanMasked(s, leaf, out.key.bytes, at, under);
  out.key.end(start, "text");
  out.mask?.end(maskStart, "text");
}

/** Runs `scan` for an attribute of known size. */
function sized(
  out: Pair,
  id: number,
  size: number,
  scan: (bytes: Uint8Array, mask: Uint8Array | undefined) => number | void,
): void {
  const key = new Uint8Array(size);
  const mask = out.mask && new Uint8Array(size);
  const used = scan(key, mask) ?? size;
  out.key.attribute(id, key.subarray(0, used), "text");
  if (mask) out.mask?.attribute(id, mask.subarray(0, used), "text");
}

function scanNested(s: Scanner, word: string, start: number, out: Pair): void {
  const under = (mask: Uint8Array | undefined) => mask && { bytes: mask, at: 0 };
  switch (word) {
    case "geneve":
      return sized(out, GENEVE, 255, (key, mask) => scanGeneve(s, key, mask));
    case "vxlan": {
      s.expect("gbp(");
      const key = out.key.begin(VXLAN);
      const mask = out.mask?.begin(VXLAN) ?? 0;
      sized(out, VXLAN_EXT_GBP, 4, (bytes, bits) => {
        scanFields(s, vxlanGbp as never, bytes, 0, under(bits));
      });
      out.key.end(key, "text");
      out.mask?.end(mask, "text");
      return s.expect(")");
    }
    case "erspan":
      return sized(out, ERSPAN, 12, (key, mask) => scanErspan(s, key, mask));
    case "gtpu":
      return sized(out, GTPU, 2, (key, mask) => {
        scanFields(s, gtpu as never, key, 0, under(mask));
      });
    default: {
      const number = /^key(\d+)$/.exec(word)?.[1];
      if (number === undefined) s.fail("no field of tunnel", start);
      return scanRaw(s, Number(number), out);
    }
  }
}

/** Takes the bytes of an attribute that has no name, `key31(00 01/ff ff)`. */
export function scanRaw(s: Scanner, id: number, out: Pair): void {
  if (id > 0x3fff) s.fail("attribute id is too large");
  const key = s.hexBytes("/)");
  out.key.attribute(id, key, "text");
  if (out.mask !== undefined) {
    const mask = s.takeSlash() ? s.hexBytes(")") : new Uint8Array(key.length).fill(255);
    if (mask.length !== key.length) s.fail("mask and value differ in length");
    out.mask.attribute(id, mask, "text");
  }
  s.expect(")");
}

/** Takes flags, with the closing parenthesis; returns those that are set. */
function scanTunnelFlags(s: Scanner, out: Pair): number {
  const [flags, mask] = s.code === 41
    ? [0, ALL_FLAGS]
    : scanFlags(s, tunnelFlags, ALL_FLAGS);
  s.expect(")");
  for (const [id, flag] of flagIds) {
    if ((flags & flag) !== 0) out.key.end(out.key.begin(id), "text");
    if ((mask & flag) !== 0) out.mask?.end(out.mask.begin(id), "text");
  }
  return flags;
}

/** Takes Geneve options with the closing parenthesis; returns how many bytes they have. */
export function scanGeneve(
  s: Scanner,
  key: Uint8Array,
  mask: Uint8Array | undefined,
): number {
  let at = 0;
  while (s.takeCode(123)) {
    const start = s.at;
    if (at + 4 > key.length - 3) s.fail("options have more than 252 bytes", start);
    let size = 0;
    const under = (offset: number) => mask && { bytes: mask, at: offset };
    if (s.take("class=")) scanMasked(s, be16x, key, at, under(at));
    s.takeCode(44);
    if (s.take("type=")) scanMasked(s, u8x, key, at + 2, under(at + 2));
    s.takeCode(44);
    if (s.take("len=")) {
      size = s.number(124);
      if (size % 4 !== 0 || at + 4 + size > 252) s.fail("bad length of an option", start);
      key[at + 3] = size / 4;
      const bits = s.takeSlash() ? s.number(255) : 0x1f;
      if (mask) mask[at + 3] = bits & 0x1f;
    }
    if (s.takeCode(44)) {
      scanBytes(s, key, at + 4, size);
      if (mask !== undefined) {
        if (s.takeSlash()) scanBytes(s, mask, at + 4, size);
        else mask.fill(255, at + 4, at + 4 + size);
      }
    }
    s.expect("}");
    at += 4 + size;
  }
  s.expect(")");
  return at;
}

/** Takes one number of `size` bytes. */
function scanBytes(s: Scanner, bytes: Uint8Array, at: number, size: number): void {
  const start = s.at;
  if (!s.take("0x")) {
    const value = s.big(8 * size);
    for (let i = 0; i < size; i++) {
      bytes[at + size - 1 - i] = Number(value >> BigInt(8 * i) & 255n);
    }
    return;
  }
  const digits = /^[0-9a-f]*/i.exec(s.text.slice(s.at, s.at + 260))?.[0] ?? "";
  s.at += digits.length;
  const padded = digits.padStart(2 * size, "0");
  const excess = padded.length - 2 * size;
  if (digits === "" || /[^0]/.test(padded.slice(0, excess))) {
    s.fail(`expected a number of ${size} bytes`, start);
  }
  for (let i = 0; i < size; i++) {
    bytes[at + i] = Number.parseInt(padded.slice(excess + 2 * i, excess + 2 * i + 2), 16);
  }
}

function scanErspan(s: Scanner, key: Uint8Array, mask: Uint8Array | undefined): void {
  const under = (at: number) => mask && { bytes: mask, at };
  while (!s.takeCode(41)) {
    if (s.take("ver=")) scanMasked(s, u8, key, 0, under(0));
    else if (s.take("idx=")) {
      const [value, bits] = scanNumber(s, 0xffffffff);
      be32.poke(key, 4, value);
      if (mask) be32.poke(mask, 4, bits);
    } else if (s.take("dir=")) scanMasked(s, direction, key, 11, under(11));
    else if (s.take("hwid=")) {
      const [value, bits] = scanNumber(s, 0x3f);
      for (const [bytes, id] of [[key, value], [mask, bits]] as const) {
        if (bytes === undefined) continue;
        hardwareIdHigh.poke(bytes, 10, id >>> 4);
        hardwareIdLow.poke(bytes, 11, id & 15);
      }
    } else s.fail("no field of erspan");
    if (!s.takeCode(44) && s.code !== 41) s.fail('expected "," or ")"');
  }
  if (key[0] !== 1 && key[0] !== 2) s.fail("erspan needs ver=1 or ver=2");
}

function scanNumber(s: Scanner, max: number): readonly [number, number] {
  const value = s.number(max);
  return [value, s.takeSlash() ? s.number(max) : max];
}
