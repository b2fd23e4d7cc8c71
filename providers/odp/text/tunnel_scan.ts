// SPDX-License-Identifier: Apache-2.0
/**
 * Reads the text of tunnel keys: `tunnel(tun_id=…,src=…,geneve({…}),flags(…))`.
 *
 * @module
 */

import { LeafCodec } from "../../codec/codec.ts";
import {
  be16x,
  be32,
  hardwareIdHigh,
  hardwareIdLow,
  type Leaf,
  u8,
  u8x,
} from "../../codec/leaf.ts";
import type { Writer } from "../../codec/writer.ts";
import { gtpu, tunnelKey, VXLAN_EXT_GBP, vxlanGbp } from "../payload/tunnel.ts";
import { scanFields, scanFlags, scanMasked, tunnelFlags } from "./fields.ts";
import type { Scanner } from "./scanner.ts";
import {
  ALL_FLAGS,
  direction,
  ERSPAN,
  flagIds,
  GENEVE,
  GTPU,
  ID,
  KEY,
  VXLAN,
} from "./tunnel.ts";

/** Bytes of the attribute of a tunnel's id. */
const ID_SIZE = 12;

/** A nest for the value and one for its mask, written side by side. */
export interface Pair {
  readonly key: Writer;
  readonly mask: Writer | undefined;
}

/** Takes the fields of `tunnel(`, with the closing parenthesis. */
export function scanTunnel(s: Scanner, out: Pair): void {
  let key: HasKey;
  let idAt = -1;
  while (!s.takeCode(41)) {
    const start = s.at;
    const word = s.word();
    if (s.takeCode(61)) {
      const line = tunnelKey.attributes.find(({ text, wire }) =>
        text === word && wire instanceof LeafCodec
      );
      if (line === undefined) s.fail("no field of tunnel", start);
      if (line.id === ID) idAt = out.key.at;
      scanLeafAttribute(s, line.id, (line.wire as LeafCodec<unknown>).leaf, out);
    } else if (s.takeCode(40)) {
      if (word === "flags") key = scanTunnelFlags(s, out);
      else scanNested(s, word, start, out);
    } else {
      s.fail("no field of tunnel", start);
    }
    if (!s.takeCode(44) && s.code !== 41) s.fail('expected "," or ")"');
  }
  if (idAt < 0 && key !== undefined) {
    // There is an id or there must be none, and none of its bits matters: this is how Open vSwitch
    // prints that.
    idAt = out.key.at;
    out.key.attribute(ID, new Uint8Array(8), "text");
    out.mask?.attribute(ID, new Uint8Array(8), "text");
  }
  if (key === "no") out.key.cut(idAt, ID_SIZE);
}

/** Whether a tunnel has a key, by its flags; undefined: they do not tell. */
type HasKey = "yes" | "no" | undefined;

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

/** Takes flags, with the closing parenthesis. */
function scanTunnelFlags(s: Scanner, out: Pair): HasKey {
  const isSigned = s.code === 43 || s.code === 45;
  const [flags, mask] = s.code === 41
    ? [0, ALL_FLAGS]
    : scanFlags(s, tunnelFlags, ALL_FLAGS);
  s.expect(")");
  for (const [id, flag] of flagIds) {
    if ((flags & flag) !== 0) out.key.end(out.key.begin(id), "text");
    if ((mask & flag) !== 0) out.mask?.end(out.mask.begin(id), "text");
  }
  if ((flags & KEY) !== 0) return "yes";
  return isSigned && (mask & KEY) !== 0 ? "no" : undefined;
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
