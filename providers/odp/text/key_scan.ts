// SPDX-License-Identifier: Apache-2.0
/**
 * Reads the text of keys and masks: what `ovs-dpctl add-flow` takes, and more.
 *
 * What Open vSwitch prints but does not read back (`nsh()`, `key32()`, the ports of
 * `ct_tuple6()`, flags joined by `|`) is read here.
 *
 * @module
 */

import type { NamedAttribute } from "../attributes.ts";
import { type LeafCodec, StructCodec } from "../../codec/codec.ts";
import {
  ENCAP,
  ETHERTYPE,
  keyAttributes,
  keyById,
  MAX_ENCAP_DEPTH,
  mplsLabel,
  VLAN,
  vlanTci,
} from "../key.ts";
import { MAX_ID } from "../key_index.ts";
import { u32, u32x } from "../../codec/leaf.ts";
import type { Scanner } from "./scanner.ts";
import {
  ctStateFlags,
  type FlagNames,
  scanFields,
  scanFlags,
  scanMasked,
  tcpFlagNames,
} from "./fields.ts";
import { CT_STATE, IN_PORT, MPLS, NSH, RECIRC_ID, TCP_FLAGS, TUNNEL } from "./key.ts";
import { scanNsh } from "./nsh.ts";
import { type Pair, scanLeafAttribute, scanRaw, scanTunnel } from "./tunnel_scan.ts";

/** Attributes in the order in which Open vSwitch prints them, more or less. */
const named: readonly { readonly text: string; readonly id: number }[] = [
  ...keyAttributes.filter(({ text }) => text !== "").flatMap(({ text, id }) =>
    id === ETHERTYPE
      ? [{ text, id }, { text: "vlan", id: VLAN }, { text: "encap", id: ENCAP }]
      : [{ text, id }]
  ),
];

/** Takes attributes up to the end, or with `nested` up to a closing parenthesis. */
export function scanKey(s: Scanner, out: Pair, nested: boolean): void {
  if (s.depth > MAX_ENCAP_DEPTH - 1) s.fail("nested too deep");
  let seen = 0;
  for (;;) {
    s.skipDelimiters();
    if (nested ? s.code === 41 : s.done) return;
    const start = s.at;
    const id = scanAttribute(s, out);
    if (id > MAX_ID) continue;
    // Bits by id; 32 takes the place of 0, which is no attribute.
    const bit = 1 << (id & 31);
    if ((seen & bit) !== 0) s.fail("field is given twice", start);
    seen |= bit;
  }
}

/** The names of attributes of keys. */
export const keyFieldNames: readonly string[] = named.map(({ text }) => text);

/** Takes one attribute, `name(…)`, and returns its id. */
export function scanAttribute(s: Scanner, out: Pair): number {
  const start = s.at;
  for (let i = 1; i <= named.length; i++) {
    const index = (s.last + i) % named.length;
    const { text, id } = named[index] as typeof named[number];
    if (!s.takeName(text, 40)) continue;
    s.last = index;
    scanPayload(s, id, out);
    return id;
  }
  const word = s.word();
  const number = Number(/^key(\d+)$/.exec(word)?.[1] ?? Number.NaN);
  if (Number.isNaN(number) || !s.takeCode(40)) {
    s.fail(word === "" ? "expected a field" : "no field of this name", start);
  }
  scanRaw(s, number, out);
  return number;
}

/** Takes what is in the parentheses of an attribute, and the closing one. */
function scanPayload(s: Scanner, id: number, out: Pair): void {
  switch (id) {
    case ENCAP:
      return scanNest(s, ENCAP, out, () => {
        s.depth++;
        scanKey(s, out, true);
        s.depth--;
        s.expect(")");
      });
    case TUNNEL:
      return scanNest(s, TUNNEL, out, () => scanTunnel(s, out));
    case NSH:
      return scanNest(s, NSH, out, () => scanNsh(s, out));
    case VLAN:
      return scanVlan(s, out);
    case MPLS:
      return scanMpls(s, out);
    case CT_STATE:
      return scanFlagAttribute(s, id, 4, ctStateFlags, 0xffffffff, out);
    case TCP_FLAGS:
      return scanFlagAttribute(s, id, 2, tcpFlagNames, 0xfff, out);
    case IN_PORT:
      return scanPort(s, out);
    case RECIRC_ID:
      return scanRecircId(s, out);
  }
  const { wire } = keyById[id] as NamedAttribute;
  if (wire instanceof StructCodec) {
    const key = reserve(out.key, id, wire.size);
    const mask = out.mask && reserve(out.mask, id, wire.size);
    const under = mask === undefined
      ? undefined
      : { bytes: out.mask?.bytes as Uint8Array, at: mask };
    return scanFields(s, wire as StructCodec<never>, out.key.bytes, key, under);
  }
  scanLeafAttribute(s, id, (wire as LeafCodec<unknown>).leaf, out);
  s.expect(")");
}

/** Appends a whole attribute of zeros and returns the offset of its payload. */
function reserve(writer: Pair["key"], id: number, size: number): number {
  const start = writer.begin(id);
  const at = writer.alloc(size);
  writer.end(start, "text");
  return at;
}

function scanNest(s: Scanner, id: number, out: Pair, scan: () => void): void {
  const at = s.at;
  const key = out.key.begin(id);
  const mask = out.mask?.begin(id) ?? 0;
  scan();
  if (out.key.at - key > 0xffff || (out.mask?.at ?? 0) - mask > 0xffff) {
    s.fail("more than 65535 bytes in one field", at);
  }
  out.key.end(key, "text");
  out.mask?.end(mask, "text");
}

function scanVlan(s: Scanner, out: Pair): void {
  const key = reserve(out.key, VLAN, 2);
  const mask = out.mask && reserve(out.mask, VLAN, 2);
  const under = mask === undefined
    ? undefined
    : { bytes: out.mask?.bytes as Uint8Array, at: mask };
  const start = s.at;
  scanFields(s, vlanTci as never, out.key.bytes, key, under);
  // A tag exists unless the text says otherwise, and whether it does always matters.
  if (s.text.slice(start, s.at).includes("cfi=")) return;
  out.key.bytes[key] = (out.key.bytes[key] as number) | 0x10;
  if (under !== undefined) {
    under.bytes[under.at] = (under.bytes[under.at] as number) | 0x10;
  }
}

/** Takes label stack entries: a field that comes again starts the next entry. */
function scanMpls(s: Scanner, out: Pair): void {
  const key = out.key.begin(MPLS);
  let at = out.key.alloc(4);
  const mask = out.mask?.begin(MPLS) ?? 0;
  let maskAt = out.mask?.alloc(4) ?? 0;
  let seen = 0;
  while (!s.takeCode(41)) {
    const start = s.at;
    const word = s.word();
    const index = mplsLabel.fields.findIndex(({ text }) => text === word);
    const field = mplsLabel.fields[index];
    if (field === undefined || !s.takeCode(61)) s.fail("no field of mpls", start);
    if ((seen & 1 << index) !== 0) {
      seen = 0;
      at = out.key.alloc(4);
      maskAt = out.mask?.alloc(4) ?? 0;
      if (out.key.at - key > 0xfff0) s.fail("too many labels", start);
    }
    seen |= 1 << index;
    const under = out.mask && { bytes: out.mask.bytes, at: maskAt };
    scanMasked(s, field.leaf, out.key.bytes, at, under);
    if (!s.takeCode(44) && s.code !== 41) s.fail('expected "," or ")"');
  }
  out.key.end(key, "text");
  out.mask?.end(mask, "text");
}

function scanFlagAttribute(
  s: Scanner,
  id: number,
  size: 2 | 4,
  names: FlagNames,
  all: number,
  out: Pair,
): void {
  const start = s.at;
  const [flags, mask] = scanFlags(s, names, all);
  const wild = mask !== all;
  if (wild && out.mask === undefined && s.text[start] !== "+" && s.text[start] !== "-") {
    s.fail("a mask has no place here", start);
  }
  s.expect(")");
  for (const [writer, value] of [[out.key, flags], [out.mask, mask]] as const) {
    if (writer === undefined) continue;
    const at = reserve(writer, id, size);
    if (size === 4) u32x.poke(writer.bytes, at, value);
    else {
      writer.bytes[at] = value >>> 8;
      writer.bytes[at + 1] = value;
    }
  }
}

function scanPort(s: Scanner, out: Pair): void {
  const no = s.port("/)");
  u32.poke(out.key.bytes, reserve(out.key, IN_PORT, 4), no);
  if (out.mask !== undefined) {
    const bits = s.takeSlash() ? s.number(0xffffffff) : 0xffffffff;
    u32.poke(out.mask.bytes, reserve(out.mask, IN_PORT, 4), bits);
  }
  s.expect(")");
}

function scanRecircId(s: Scanner, out: Pair): void {
  const id = s.number(0xffffffff);
  u32.poke(out.key.bytes, reserve(out.key, RECIRC_ID, 4), id);
  if (out.mask !== undefined) {
    u32.poke(out.mask.bytes, reserve(out.mask, RECIRC_ID, 4), 0xffffffff);
  }
  s.expect(")");
}
