// SPDX-License-Identifier: Apache-2.0
/**
 * Prints keys and masks as `ovs-dpctl dump-flows` does.
 *
 * The text follows the order of the attributes, so it is made from bytes and not from
 * objects.
 *
 * @module
 */

import { find, type NamedAttribute, walk } from "./attributes.ts";
import { type LeafCodec, StructCodec } from "./codec.ts";
import { AttributeError } from "./errors.ts";
import {
  ENCAP,
  ETHERTYPE,
  keyById,
  keyTable,
  MAX_ENCAP_DEPTH,
  mplsLabel,
  VLAN,
  vlanTci,
} from "./key.ts";
import { be16x4, u32 } from "./leaf.ts";
import type { PortNames } from "./scanner.ts";
import {
  ctStateFlags,
  hex,
  hexDump,
  isFull,
  isWild,
  printFields,
  printFlags,
  printLeaf,
  printMask,
  printMaskedFlags,
  tcpFlagNames,
} from "./text_fields.ts";
import { printNsh } from "./text_nsh.ts";
import { printTunnel } from "./text_tunnel.ts";

/** Attributes whose text is not made from the table alone. */
export const IN_PORT: number = keyTable.inPort.id;
export const TUNNEL: number = keyTable.tunnel.id;
export const TCP_FLAGS: number = keyTable.tcpFlags.id;
export const RECIRC_ID: number = keyTable.recircId.id;
export const MPLS: number = keyTable.mpls.id;
export const CT_STATE: number = keyTable.ctState.id;
export const NSH: number = keyTable.nsh.id;
const ETHERNET = keyTable.ethernet.id;
const PACKET_TYPE = keyTable.packetType.id;

/** How keys are printed. */
export interface PrintOptions {
  /** Print wildcarded attributes and fields too, and flags as numbers: `-m`. */
  readonly verbose: boolean;
  /** Names for port numbers. */
  readonly ports: PortNames | undefined;
}

function isNest(id: number): boolean {
  return id === ENCAP || id === TUNNEL || id === NSH;
}

function isZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** Text of key bytes, with a mask if there is one. */
export function printKey(
  key: Uint8Array,
  mask: Uint8Array | undefined,
  options: PrintOptions,
  depth = 0,
): string {
  if (depth > MAX_ENCAP_DEPTH) {
    throw new AttributeError("key", 0, "nested too deep", "EOVERFLOW");
  }
  let text = "";
  let hasEtherType = false;
  let hasPacketType = false;
  walk(key, 0, key.length, "key", (id, at, size) => {
    if (id === ETHERTYPE) hasEtherType = true;
    else if (id === PACKET_TYPE) hasPacketType = true;
    const payload = key.subarray(at, at + size);
    let bits: Uint8Array | undefined;
    if (mask !== undefined) {
      bits = find(mask, id);
      if (!options.verbose && !isNest(id) && (bits === undefined || isZero(bits))) {
        // A key without eth() is one of a packet without Ethernet header.
        if (id === ETHERNET && !hasPacketType) text += (text === "" ? "" : ",") + "eth()";
        return;
      }
      if (bits === undefined) bits = isNest(id) ? new Uint8Array() : new Uint8Array(size);
    }
    text += (text === "" ? "" : ",") + printAttribute(id, payload, bits, options, depth);
  });
  if (mask !== undefined && !hasEtherType) {
    const bits = find(mask, ETHERTYPE);
    // Only the mask has it: frames of 802.2, which have no EtherType.
    if (bits?.length === 2) {
      text += (text === "" ? "" : ",") + `eth_type(0/${printLeaf(be16x4, bits, 0)})`;
    }
  }
  return text;
}

/** Text of one attribute of a key; `mask` is empty for a nest without bits. */
export function printAttribute(
  id: number,
  bytes: Uint8Array,
  mask: Uint8Array | undefined,
  options: PrintOptions,
  depth = 0,
): string {
  if (id === ENCAP) return `encap(${printKey(bytes, mask, options, depth + 1)})`;
  if (id === VLAN) return `vlan(${printVlan(bytes, mask, options.verbose)})`;
  const line = keyById[id];
  if (line === undefined || line.text === "") {
    return `key${id}(${hexDump(bytes, " ")}${hexSuffix(mask)})`;
  }
  return `${line.text}(${printPayload(line, bytes, mask, options)})`;
}

function hexSuffix(mask: Uint8Array | undefined): string {
  if (mask === undefined || mask.every((byte) => byte === 255)) return "";
  return `/${hexDump(mask, " ")}`;
}

function printPayload(
  line: NamedAttribute,
  bytes: Uint8Array,
  mask: Uint8Array | undefined,
  options: PrintOptions,
): string {
  const { wire } = line;
  const size = bytes.length;
  if (
    size < wire.min || size > wire.max ||
    mask !== undefined && !isNest(line.id) && mask.length !== size
  ) {
    return `bad length ${size}, expected ${wire.min})(${hexDump(bytes, " ")}${
      hexSuffix(mask)
    }`;
  }
  switch (line.id) {
    case IN_PORT:
      return printPort(bytes, mask, options);
    case TUNNEL:
      return printTunnel(bytes, mask, options.verbose);
    case NSH:
      return printNsh(bytes, mask, options.verbose);
    case MPLS:
      return printMpls(bytes, mask);
    case CT_STATE:
      return printCtState(bytes, mask, options.verbose);
    case TCP_FLAGS:
      return printTcpFlags(bytes, mask);
  }
  if (wire instanceof StructCodec) {
    return printFields(
      wire.fields,
      bytes,
      0,
      mask && { bytes: mask, at: 0 },
      options.verbose,
    );
  }
  const { leaf } = wire as LeafCodec<unknown>;
  const value = printLeaf(leaf, bytes, 0);
  if (mask === undefined || isFull(leaf, mask, 0)) return value;
  return `${value}/${printMask(leaf, mask, 0)}`;
}

function printPort(
  bytes: Uint8Array,
  mask: Uint8Array | undefined,
  { ports }: PrintOptions,
): string {
  const no = u32.get(bytes, 0);
  if (mask === undefined || isFull(u32, mask, 0)) return ports?.name(no) ?? `${no}`;
  return `${no}/${hex(u32.get(mask, 0))}`;
}

function printVlan(
  bytes: Uint8Array,
  mask: Uint8Array | undefined,
  verbose: boolean,
): string {
  if (bytes.length !== 2 || mask !== undefined && mask.length !== 2) {
    return `bad length ${bytes.length}, expected 2)(${hexDump(bytes, " ")}`;
  }
  const parts: string[] = [];
  for (const { text, leaf } of vlanTci.fields) {
    const value = leaf.get(bytes, 0) as number;
    if (text === "cfi") {
      if (value === 0) parts.push("cfi=0");
      continue;
    }
    const wild = mask !== undefined && isWild(leaf, mask, 0);
    // A value without mask bits shows when it is not 0.
    if (wild && value === 0 && !verbose) continue;
    const full = mask === undefined || isFull(leaf, mask, 0);
    parts.push(
      `${text}=${value}` +
        (full ? "" : `/0x${(leaf.getMask(mask, 0) as number).toString(16)}`),
    );
  }
  return parts.join(",");
}

function printMpls(bytes: Uint8Array, mask: Uint8Array | undefined): string {
  const parts: string[] = [];
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    for (const { text, leaf } of mplsLabel.fields) {
      // Masks of tc and bos have no 0x; all masks are printed, also full ones.
      const prefix = text === "tc" || text === "bos" ? "" : "0x";
      const bits = mask === undefined
        ? ""
        : `/${prefix}${(leaf.getMask(mask, at) as number).toString(16)}`;
      parts.push(`${text}=${leaf.get(bytes, at)}${bits}`);
    }
  }
  return parts.join(",");
}

function printCtState(
  bytes: Uint8Array,
  mask: Uint8Array | undefined,
  verbose: boolean,
): string {
  const state = u32.get(bytes, 0);
  const bits = mask === undefined ? 0xffffffff : u32.get(mask, 0);
  if (verbose) return hex(state) + (bits === 0xffffffff ? "" : `/${hex(bits)}`);
  return printMaskedFlags(state, bits, 0xffffffff, ctStateFlags);
}

function printTcpFlags(bytes: Uint8Array, mask: Uint8Array | undefined): string {
  const at = (b: Uint8Array) => (b[0] as number) << 8 | (b[1] as number);
  if (mask === undefined) return printFlags(at(bytes), tcpFlagNames);
  return printMaskedFlags(at(bytes), at(mask) & 0xfff, 0xfff, tcpFlagNames);
}
