// SPDX-License-Identifier: Apache-2.0
/**
 * Text of network service headers, in keys and in `push_nsh(…)`.
 *
 * @module
 */

import type { PushNshAction } from "../../types_action.ts";
import { find } from "../attributes.ts";
import type { NamedField } from "../../codec/codec.ts";
import { nshBase, nshContexts, nshKey } from "../payload/nsh.ts";
import type { Scanner } from "./scanner.ts";
import { hexDump, printFields, scanLeaf, scanMasked } from "./fields.ts";
import type { Pair } from "./tunnel_scan.ts";
import { Writer } from "../../codec/writer.ts";

const NSH_BASE = 1;
const NSH_MD1 = 2;
const NSH_MD2 = 3;

/** Text of an NSH nest: without a mask everything, with one what has bits. */
export function printNsh(
  nest: Uint8Array,
  mask: Uint8Array | undefined,
  verbose = false,
): string {
  const parts: string[] = [];
  for (const [id, codec] of [[NSH_BASE, nshBase], [NSH_MD1, nshContexts]] as const) {
    const bytes = find(nest, id);
    if (bytes === undefined || bytes.length !== codec.size) continue;
    const bits = mask === undefined
      ? undefined
      : find(mask, id) ?? new Uint8Array(codec.size);
    if (bits !== undefined && bits.length !== codec.size) continue;
    const under = bits && { bytes: bits, at: 0 };
    parts.push(printFields(codec.fields, bytes, 0, under, verbose));
  }
  const md2 = find(nest, 3);
  if (md2 !== undefined && md2.length > 0) parts.push(`md2=0x${hexDump(md2)}`);
  return parts.filter((part) => part !== "").join(",");
}

/** Takes the fields of `nsh(`, with the closing parenthesis. */
export function scanNsh(s: Scanner, out: Pair): void {
  const base = new Uint8Array(nshBase.size);
  const contexts = new Uint8Array(nshContexts.size);
  const baseMask = new Uint8Array(nshBase.size);
  const contextsMask = new Uint8Array(nshContexts.size);
  let hasContexts = false;
  while (!s.takeCode(41)) {
    const start = s.at;
    const word = s.word();
    const inBase = nshBase.fields.find(({ text }) => text === word);
    const inContexts = nshContexts.fields.find(({ text }) => text === word);
    const field = inBase ?? inContexts;
    if (field === undefined || !s.takeCode(61)) s.fail("no field of nsh", start);
    if (inContexts !== undefined) hasContexts = true;
    const under = out.mask &&
      { bytes: inBase ? baseMask : contextsMask, at: field.at };
    scanMasked(s, field.leaf, inBase ? base : contexts, field.at, under);
    if (!s.takeCode(44) && s.code !== 41) s.fail('expected "," or ")"');
  }
  out.key.attribute(NSH_BASE, base, "text");
  out.mask?.attribute(NSH_BASE, baseMask, "text");
  if (!hasContexts) return;
  out.key.attribute(NSH_MD1, contexts, "text");
  out.mask?.attribute(NSH_MD1, contextsMask, "text");
}

/** Takes the arguments of `push_nsh`, whose defaults are those of Open vSwitch. */
export function scanPushNsh(s: Scanner): PushNshAction {
  const base = Uint8Array.of(0, 63, 1, 3, 0, 0, 0, 255);
  const contexts = new Uint8Array(nshContexts.size);
  let md2: Uint8Array | undefined;
  s.expect("(");
  for (;;) {
    s.skipDelimiters();
    if (s.takeCode(41)) break;
    const start = s.at;
    const word = s.word();
    if (!s.takeCode(61)) s.fail("no field of push_nsh", start);
    const inBase = nshBase.fields.find(({ text }) => text === word);
    const inContexts = nshContexts.fields.find(({ text }) => text === word);
    if (inBase) scanOver(s, inBase, base);
    else if (inContexts && base[2] === 1) scanOver(s, inContexts, contexts);
    else if (word === "md2" && base[2] === 2 && s.take("0x")) md2 = scanMd2(s);
    else s.fail("no field of push_nsh", start);
  }
  const mdtype = base[2] as number;
  if (mdtype !== 1 && mdtype !== 2) s.fail("mdtype must be 1 or 2");
  const writer = new Writer(64);
  writer.attribute(NSH_BASE, base, "nsh");
  if (mdtype === 1) writer.attribute(NSH_MD1, contexts, "nsh");
  else if (md2) writer.attribute(NSH_MD2, md2, "nsh");
  return { type: "pushNsh", nsh: nshKey.read(writer.bytes, 0, writer.at) };
}

/** Takes a value that replaces what is there. */
function scanOver(s: Scanner, field: NamedField, bytes: Uint8Array): void {
  const value = new Uint8Array(bytes.length);
  const mask = new Uint8Array(bytes.length);
  scanLeaf(s, field.leaf, value, field.at);
  field.leaf.putMask(mask, field.at, true, field.what);
  for (const [i, bits] of mask.entries()) {
    bytes[i] = (bytes[i] as number) & ~bits | (value[i] as number);
  }
}

/** Takes the TLVs of metadata type 2, which are padded to 4 bytes. */
function scanMd2(s: Scanner): Uint8Array {
  const start = s.at;
  const given = s.hexBytes(", \t\r\n)");
  if (given.length > 248) s.fail("metadata has more than 248 bytes", start);
  const padded = new Uint8Array(given.length + 3 & ~3);
  padded.set(given);
  return padded;
}
