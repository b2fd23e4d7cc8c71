// SPDX-License-Identifier: Apache-2.0
/**
 * The header of messages, and the numbers of kinds by version.
 *
 * A header is version u8, type u8, length u16, xid u32. Sources: the switch specifications 1.0 to
 * 1.5, "OpenFlow Header".
 *
 * @module
 */
import { OfError, type Version } from "./error.ts";
import type { MessageKind } from "./message.ts";

/** Bytes of a header. */
export const HEADER_SIZE = 8;
/** Highest version. */
export const LAST_VERSION: Version = 6;

/** A header. */
export interface Header {
  readonly version: number;
  readonly type: number;
  readonly length: number;
  readonly xid: number;
}

/** Reads a header, of which all eight bytes must be there. Throws {@linkcode OfError}. */
export function readHeader(bytes: Uint8Array, at = 0): Header {
  if (bytes.length - at < HEADER_SIZE) throw new OfError("OFPBRC_BAD_LEN");
  return {
    version: bytes[at] as number,
    type: bytes[at + 1] as number,
    length: lengthAt(bytes, at),
    xid: xidAt(bytes, at),
  };
}

/** The length that the header at an offset says. */
export function lengthAt(bytes: Uint8Array, at = 0): number {
  return (bytes[at + 2] as number) << 8 | (bytes[at + 3] as number);
}

/** The number that the header at an offset has, by which answers are told apart. */
export function xidAt(bytes: Uint8Array, at = 0): number {
  return wordAt(bytes, at + 4);
}

/** 32 bits at an offset. */
export function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 24 | (bytes[at + 1] as number) << 16 |
    (bytes[at + 2] as number) << 8 | (bytes[at + 3] as number)) >>> 0;
}

/** Type of experimenters' messages. */
export const VENDOR_TYPE = 4;

/** Kinds by number, from the first version that has it to the last. */
const types:
  readonly (readonly [kind: MessageKind, type: number, from: Version, to: Version])[] = [
    ["hello", 0, 1, 6],
    ["error", 1, 1, 6],
    ["echoRequest", 2, 1, 6],
    ["echoReply", 3, 1, 6],
    ["featuresRequest", 5, 1, 6],
    ["featuresReply", 6, 1, 6],
    ["configRequest", 7, 1, 6],
    ["configReply", 8, 1, 6],
    ["setConfig", 9, 1, 6],
    ["packetIn", 10, 1, 6],
    ["flowRemoved", 11, 1, 6],
    ["portStatus", 12, 1, 6],
    ["packetOut", 13, 1, 6],
    ["flowMod", 14, 1, 6],
    ["portMod", 15, 1, 1],
    ["multipartRequest", 16, 1, 1],
    ["multipartReply", 17, 1, 1],
    ["barrierRequest", 18, 1, 1],
    ["barrierReply", 19, 1, 1],
    ["queueConfigRequest", 20, 1, 1],
    ["queueConfigReply", 21, 1, 1],
    ["groupMod", 15, 2, 6],
    ["portMod", 16, 2, 6],
    ["tableMod", 17, 2, 6],
    ["multipartRequest", 18, 2, 6],
    ["multipartReply", 19, 2, 6],
    ["barrierRequest", 20, 2, 6],
    ["barrierReply", 21, 2, 6],
    ["queueConfigRequest", 22, 2, 4],
    ["queueConfigReply", 23, 2, 4],
    ["roleRequest", 24, 3, 6],
    ["roleReply", 25, 3, 6],
    ["asyncRequest", 26, 4, 6],
    ["asyncReply", 27, 4, 6],
    ["setAsync", 28, 4, 6],
    ["meterMod", 29, 4, 6],
    ["roleStatus", 30, 5, 6],
    ["requestForward", 32, 5, 6],
    ["bundleControl", 33, 5, 6],
    ["bundleAdd", 34, 5, 6],
  ];

/** Kinds by version and number. */
export const byType: (MessageKind | undefined)[][] = [];
/** Numbers by version and kind. */
export const toType: Map<MessageKind, number>[] = [];
for (let version = 1; version <= LAST_VERSION; version++) {
  const of: MessageKind[] = byType[version] = [];
  const to = toType[version] = new Map<MessageKind, number>();
  for (const [kind, type, from, last] of types) {
    if (version < from || version > last) continue;
    of[type] = kind;
    to.set(kind, type);
  }
}
