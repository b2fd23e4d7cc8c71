// SPDX-License-Identifier: Apache-2.0
/**
 * Prints tunnel keys: `tunnel(tun_id=…,src=…,geneve({…}),flags(…))`.
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
  u8,
  u8x,
} from "../../codec/leaf.ts";
import {
  hex,
  hexDump,
  hexNumber,
  printFields,
  printMaskedFlags,
  printNamed,
  tunnelFlags,
} from "./fields.ts";
import { gtpu, tunnelKey, VXLAN_EXT_GBP, vxlanGbp } from "../payload/tunnel.ts";

const OAM = 1;
const DF = 2;
const CSUM = 4;
/** That a tunnel has a key, as a flag of a text. */
export const KEY = 8;
/** Every flag of a text. */
export const ALL_FLAGS = 15;
/** Flag attributes by id. */
export const flagIds: ReadonlyMap<number, number> = new Map([[5, DF], [6, CSUM], [
  7,
  OAM,
]]);

/** Attributes with a text of their own. */
export const ID = 0;
export const GENEVE = 8;
export const VXLAN = 11;
export const ERSPAN = 15;
export const GTPU = 16;
const IPV6_SRC = 12;
const IPV6_DST = 13;

/** Text of a tunnel nest, without `tunnel(` and `)`. */
export function printTunnel(
  nest: Uint8Array,
  mask: Uint8Array | undefined,
  verbose: boolean,
): string {
  const parts: string[] = [];
  let flags = 0;
  let maskFlags = 0;
  let isKeyless = false;
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
    parts.push(...printAbsent(nest, mask));
    isKeyless = find(mask, ID) !== undefined && (flags & KEY) === 0;
    if (isKeyless) maskFlags |= KEY;
    if (parts.every((part) => !/^(?:ipv6_)?(?:src|dst)=/.test(part))) {
      // Without an address nothing tells what kind of tunnel it is: IPv4 is the usual one.
      const isIpv6 = [IPV6_SRC, IPV6_DST].some((id) => find(nest, id) !== undefined);
      if (isIpv6) parts.push("ipv6_dst=::/::");
    }
  } else maskFlags = ALL_FLAGS;
  if (verbose || maskFlags !== 0) {
    // That there must be no key is said by name: "flags(0)" leaves it open.
    const all = isKeyless ? -1 : ALL_FLAGS;
    parts.push(`flags(${printMaskedFlags(flags, maskFlags, all, tunnelFlags)})`);
  }
  return parts.filter((part) => part !== "").join(",");
}

/**
 * What only the mask has: fields that must be zero, which datapaths leave out of keys. Open vSwitch
 * does not print them, so that the flow would come back wider.
 */
function printAbsent(nest: Uint8Array, mask: Uint8Array): string[] {
  const parts: string[] = [];
  walk(mask, 0, mask.length, "mask", (id, at, size) => {
    if (tunnelKey.isPadding(id) || flagIds.has(id) || find(nest, id) !== undefined) {
      return;
    }
    const line = tunnelKey.byId(id, size);
    const bits = mask.subarray(at, at + size);
    const isWild = size > 0 && bits.every((byte) => byte === 0);
    if (line === undefined || isWild || id === ERSPAN) return;
    if (id === VXLAN) {
      const gbp = find(bits, VXLAN_EXT_GBP);
      if (gbp?.some((byte) => byte !== 0) !== true) return;
      const under = { bytes: gbp, at: 0 };
      const fields = printFields(vxlanGbp.fields, new Uint8Array(4), 0, under, false);
      parts.push(`vxlan(gbp(${fields}))`);
    } else parts.push(printAttribute(line, id, new Uint8Array(size), bits, false));
  });
  return parts;
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

/** Direction of a mirrored frame, in ERSPAN's metadata. */
export const direction = bits(1, 3, 1);

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
