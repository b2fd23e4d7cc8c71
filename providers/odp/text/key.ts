// SPDX-License-Identifier: Apache-2.0
/**
 * Prints keys and masks as `ovs-dpctl dump-flows` does.
 *
 * The text follows the order of the attributes, so it is made from bytes and not from
 * objects.
 *
 * @module
 */

import { find, type NamedAttribute, walk } from "../attributes.ts";
import { type LeafCodec, StructCodec } from "../../codec/codec.ts";
import { AttributeError } from "../../codec/errors.ts";
import {
  ENCAP,
  ETHERTYPE,
  keyById,
  keyTable,
  MAX_ENCAP_DEPTH,
  mplsLabel,
  VLAN,
  vlanTci,
} from "../key.ts";
import { be16x4, u32 } from "../../codec/leaf.ts";
import type { PortNames } from "./scanner.ts";
import {
  ctStateFlags,
  hex,
  hexDump,
  isFull,
  isWild,
  type MaskAt,
  printFields,
  printFlags,
  printLeaf,
  printMask,
  printMaskedFlags,
  tcpFlagNames,
} from "./fields.ts";
import { printNsh } from "./nsh.ts";
import { printTunnel } from "./tunnel.ts";
import { HEADER_SIZE, TYPE_MASK } from "../../codec/writer.ts";

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

/** Attributes that a datapath leaves out of a key where they are zero, and still matches. */
const absent: ReadonlySet<number> = new Set([
  TUNNEL,
  keyTable.ctTuple4.id,
  keyTable.ctTuple6.id,
  keyTable.ndExtensions.id,
]);

function isNest(id: number): boolean {
  return id === ENCAP || id === TUNNEL || id === NSH;
}

/** Finds the mask of each attribute of a key; masks mostly come in the key's order. */
class MaskCursor {
  #next = 0;
  #at = 0;
  #size = -1;

  constructor(readonly bytes: Uint8Array) {}

  /** Moves to the mask of `id`, if there is one. */
  seek(id: number): void {
    const { bytes } = this;
    if (this.#read(this.#next) === id) {
      this.#next += HEADER_SIZE + this.#size + 3 & ~3;
      return;
    }
    const found = find(bytes, id);
    this.#size = found?.length ?? -1;
    this.#at = found === undefined ? 0 : found.byteOffset - bytes.byteOffset;
    if (found !== undefined) this.#next = this.#at + found.length + 3 & ~3;
  }

  /** The id of the attribute at `at`, -1 where there is none. */
  #read(at: number): number {
    const { bytes } = this;
    if (at + HEADER_SIZE > bytes.length) return -1;
    const size = (bytes[at] as number) | (bytes[at + 1] as number) << 8;
    if (size < HEADER_SIZE || at + size > bytes.length) return -1;
    this.#at = at + HEADER_SIZE;
    this.#size = size - HEADER_SIZE;
    return ((bytes[at + 2] as number) | (bytes[at + 3] as number) << 8) & TYPE_MASK;
  }

  /** Whether there is no mask, or one without bits. */
  isWild(): boolean {
    for (let i = 0; i < this.#size; i++) if (this.bytes[this.#at + i] !== 0) return false;
    return true;
  }

  /** Where the mask is, if it has `size` bytes. */
  of(size: number): MaskAt | undefined {
    return this.#size === size ? { bytes: this.bytes, at: this.#at } : undefined;
  }

  /** The mask, or `size` bytes without bits. */
  payload(size: number): Uint8Array {
    if (this.#size < 0) return new Uint8Array(size);
    return this.bytes.subarray(this.#at, this.#at + this.#size);
  }
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
  const { verbose } = options;
  const bits = mask === undefined ? undefined : new MaskCursor(mask);
  walk(key, 0, key.length, "key", (id, at, size) => {
    if (id === ETHERTYPE) hasEtherType = true;
    if (bits !== undefined) {
      bits.seek(id);
      if (!verbose && !isNest(id) && bits.isWild()) {
        // A key without eth() is one of a packet without Ethernet header.
        if (id === ETHERNET && !hasPacketType) text += (text === "" ? "" : ",") + "eth()";
        return;
      }
    }
    if (id === PACKET_TYPE) hasPacketType = true;
    if (text !== "") text += ",";
    const line = keyById[id];
    if (line?.wire instanceof StructCodec && line.wire.size === size) {
      // Most of a key: no views of its parts are needed.
      const under = bits?.of(size);
      if (bits === undefined || under !== undefined) {
        const fields = printFields(line.wire.fields, key, at, under, verbose);
        text += `${line.text}(${fields})`;
        return;
      }
    }
    text += printAttribute(
      id,
      key.subarray(at, at + size),
      bits?.payload(isNest(id) ? 0 : size),
      options,
      depth,
    );
  });
  if (mask !== undefined) text += printAbsent(key, mask, options, text === "");
  if (mask !== undefined && !hasEtherType) {
    const type = find(mask, ETHERTYPE);
    // Only the mask has it: frames of 802.2, which have no EtherType.
    if (type?.length === 2) {
      text += (text === "" ? "" : ",") + `eth_type(0/${printLeaf(be16x4, type, 0)})`;
    }
  }
  return text;
}

/**
 * What only the mask has: a field that must be zero, or a tunnel that must not be.  Open vSwitch
 * leaves it out, so that the flow would come back wider.
 */
function printAbsent(
  key: Uint8Array,
  mask: Uint8Array,
  options: PrintOptions,
  isFirst: boolean,
): string {
  const parts: string[] = [];
  walk(mask, 0, mask.length, "mask", (id, at, size) => {
    const line = keyById[id];
    if (line === undefined || !absent.has(id) || find(key, id) !== undefined) return;
    const bits = mask.subarray(at, at + size);
    if (!hasBits(bits, id === TUNNEL)) return;
    const zeros = new Uint8Array(size);
    const inner = id === TUNNEL ? "" : printPayload(line, zeros, bits, options);
    parts.push(`${line.text}(${inner})`);
  });
  if (parts.length === 0) return "";
  return (isFirst ? "" : ",") + parts.join(",");
}

/**
 * Whether a mask has bits. The kernel gives every flow a mask of the tunnel, a nest whose fields
 * are zero where no tunnel is matched; a field without bytes is a flag that is.
 */
function hasBits(bits: Uint8Array, isNested: boolean): boolean {
  if (!isNested) return bits.some((byte) => byte !== 0);
  let has = false;
  walk(bits, 0, bits.length, "mask", (_, at, size) => {
    has ||= size === 0 || hasBits(bits.subarray(at, at + size), false);
  });
  return has;
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

function printMpls(bytes: Uint8Array, bits: Uint8Array | undefined): string {
  const parts: string[] = [];
  // One field with a mask makes all of them show theirs.
  const mask = bits?.every((byte) => byte === 255) ? undefined : bits;
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    for (const { text, leaf } of mplsLabel.fields) {
      // Masks of tc and bos have no 0x.
      const prefix = text === "tc" || text === "bos" ? "" : "0x";
      const suffix = mask === undefined
        ? ""
        : `/${prefix}${(leaf.getMask(mask, at) as number).toString(16)}`;
      parts.push(`${text}=${leaf.get(bytes, at)}${suffix}`);
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
