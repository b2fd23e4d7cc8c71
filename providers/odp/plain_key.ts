// SPDX-License-Identifier: Apache-2.0
/**
 * Keys of untagged UDP and TCP packets over IPv4, from objects to bytes at once.
 *
 * They are what programs put by the million. The table of {@linkcode keyTable} is walked for all
 * others, and writes the same; here each field is read and written by name, which takes a quarter
 * of the time. What is not as it should be is left to the table, which says what is wrong.
 *
 * @module
 */

import type { FlowKeyInit } from "../types.ts";
import { parseIpv4, parseMac } from "../codec/address.ts";
import { keyTable } from "./key.ts";

const RECIRC_ID = keyTable.recircId.id;
const DP_HASH = keyTable.dpHash.id;
const PRIORITY = keyTable.priority.id;
const IN_PORT = keyTable.inPort.id;
const SKB_MARK = keyTable.skbMark.id;
const ETHERNET = keyTable.ethernet.id;
const ETHERTYPE = keyTable.etherType.id;
const IPV4 = keyTable.ipv4.id;
const TCP = keyTable.tcp.id;
const TCP_FLAGS = keyTable.tcpFlags.id;
const UDP = keyTable.udp.id;

/** Keys lie in chunks: memory of its own costs a small array more than all that is in it. */
const CHUNK = 1 << 15;
/** Bytes of the longest such key. */
const LONGEST = 5 * 8 + 16 + 8 + 16 + 8 + 8;
/** Fields that every such key has. */
const COMMON = 3;

let chunk = new Uint8Array(CHUNK);
let words = new Uint32Array(chunk.buffer);
let at = 0;
let isBusy = false;

/** Whether `value` is an integer from 0 to `max`. */
function isUpTo(value: unknown, max: number): value is number {
  return typeof value === "number" && value >= 0 && value <= max && value % 1 === 0;
}

/** How many names an object has; those that it inherits, too. */
function names(value: object): number {
  let n = 0;
  for (const _ in value) n++;
  return n;
}

/** Appends a metadata field of 32 bits, if there is one. False: it is wrong. */
function putMetadata(id: number, value: number | undefined): boolean {
  if (value === undefined) return true;
  if (!isUpTo(value, 0xffffffff)) return false;
  words[at >> 2] = 8 | id << 16;
  words[(at >> 2) + 1] = value;
  at += 8;
  return true;
}

function putEthernet(ethernet: FlowKeyInit["ethernet"]): boolean {
  if (typeof ethernet !== "object" || ethernet === null) return false;
  const { src, dst } = ethernet;
  if (typeof src !== "string" || typeof dst !== "string") return false;
  words[at >> 2] = 16 | ETHERNET << 16;
  const good = parseMac(src, 0, chunk, at + 4) === src.length &&
    parseMac(dst, 0, chunk, at + 10) === dst.length && names(ethernet) === 2;
  at += 16;
  return good;
}

/** Appends an IPv4 header of a whole packet of protocol `proto`. */
function putIpv4(ipv4: FlowKeyInit["ipv4"], proto: number): boolean {
  if (typeof ipv4 !== "object" || ipv4 === null) return false;
  const { src, dst, tos, ttl } = ipv4;
  if (typeof src !== "string" || typeof dst !== "string") return false;
  if (ipv4.proto !== proto || ipv4.frag !== "no") return false;
  if (!isUpTo(tos, 255) || !isUpTo(ttl, 255) || names(ipv4) !== 6) return false;
  words[at >> 2] = 16 | IPV4 << 16;
  const good = parseIpv4(src, 0, chunk, at + 4) === src.length &&
    parseIpv4(dst, 0, chunk, at + 8) === dst.length;
  words[(at >> 2) + 3] = proto | tos << 8 | ttl << 16;
  at += 16;
  return good;
}

/** Appends ports; numbers in network byte order lie in the word the other way round. */
function putPorts(id: number, ports: FlowKeyInit["udp"]): boolean {
  if (typeof ports !== "object" || ports === null) return false;
  const { src, dst } = ports;
  if (!isUpTo(src, 0xffff) || !isUpTo(dst, 0xffff) || names(ports) !== 2) return false;
  words[at >> 2] = 8 | id << 16;
  words[(at >> 2) + 1] = src >>> 8 | (src & 255) << 8 | dst >>> 8 << 16 | dst << 24;
  at += 8;
  return true;
}

/** Appends the transport header; how many fields it is, 0: something is wrong. */
function putTransport(key: FlowKeyInit): number {
  const { udp, tcp, tcpFlags } = key;
  if (udp !== undefined) return putPorts(UDP, udp) ? 1 : 0;
  if (!putPorts(TCP, tcp) || !isUpTo(tcpFlags, 0xfff)) return 0;
  words[at >> 2] = 6 | TCP_FLAGS << 16;
  words[(at >> 2) + 1] = tcpFlags >>> 8 | (tcpFlags & 255) << 8;
  at += 8;
  return 2;
}

/** Appends a key that has no other fields than these. False: it is not such a key. */
function put(key: FlowKeyInit): boolean {
  const { recircId, dpHash, priority, inPort, skbMark, etherType, udp } = key;
  if (etherType !== 0x0800) return false;
  const start = at;
  const good = putMetadata(RECIRC_ID, recircId) && putMetadata(DP_HASH, dpHash) &&
    putMetadata(PRIORITY, priority) && putMetadata(IN_PORT, inPort) &&
    putMetadata(SKB_MARK, skbMark);
  const metadata = (at - start) >> 3;
  if (!good || !putEthernet(key.ethernet)) return false;
  words[at >> 2] = 6 | ETHERTYPE << 16;
  words[(at >> 2) + 1] = 0x0008;
  at += 8;
  if (!putIpv4(key.ipv4, udp === undefined ? 6 : 17)) return false;
  const transport = putTransport(key);
  return transport > 0 && names(key) === metadata + COMMON + transport;
}

/**
 * Bytes of a key of such a packet, in which every field is named in whole; undefined for all other
 * keys. They share memory with other keys, which is kept with each of them.
 */
export function plainKey(key: FlowKeyInit): Uint8Array | undefined {
  // An accessor of the key may make another one.
  if (isBusy) return undefined;
  // Who transfers a key's buffer takes the chunk away.
  if (at + LONGEST > chunk.length) {
    chunk = new Uint8Array(CHUNK);
    words = new Uint32Array(chunk.buffer);
    at = 0;
  }
  const start = at;
  isBusy = true;
  let end = start;
  try {
    if (!put(key)) return undefined;
    end = at;
    return new Uint8Array(chunk.buffer, start, end - start);
  } finally {
    at = end;
    isBusy = false;
  }
}
