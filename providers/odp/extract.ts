// SPDX-License-Identifier: Apache-2.0
/**
 * The key of a packet, extracted from its bytes.
 *
 * The rules are those of Open vSwitch's userspace datapath, which the poll threads follow
 * too; this copy is for tools, and for tests to compare with.  Fields of a layer that fails
 * its checks are zero and what is behind it is not looked at, but the field itself is there:
 * an IPv4 packet without a valid header has an `ipv4` of zeros.
 *
 * @module
 */

import type { FlowKey, MplsLabel, NshKey, VlanTag } from "../types.ts";
import { formatIpv4, formatIpv6, formatMac } from "../codec/address.ts";
import { mplsLabel } from "./key.ts";
import { be16, be32 } from "../codec/leaf.ts";

/** Metadata that is not in the packet itself. */
export type ExtractOptions = Partial<
  Pick<
    FlowKey,
    | "inPort"
    | "recircId"
    | "dpHash"
    | "priority"
    | "skbMark"
    | "ctState"
    | "ctZone"
    | "ctMark"
    | "ctLabels"
    | "ctTuple4"
    | "ctTuple6"
    | "tunnel"
  >
>;

const ETHERNET_SIZE = 14;
/** Smaller values of the type field are lengths of 802.2 frames. */
const ETHER_TYPE_MIN = 0x600;
const MAX_VLANS = 2;
const MAX_MPLS = 3;
const NO_MAC = "00:00:00:00:00:00";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Draft = Mutable<Partial<FlowKey>>;

/** The bytes of a packet that are left to look at. */
interface Rest {
  readonly bytes: Uint8Array;
  at: number;
  /** Behind the last byte that counts: padding does not. */
  end: number;
}

/**
 * Extracts the key of an Ethernet frame.
 *
 * The metadata of `options` is taken over.  A frame that is too short for an Ethernet header
 * has addresses of zeros and no EtherType.  Never throws, whatever the bytes are.
 */
export function extractKey(packet: Uint8Array, options: ExtractOptions = {}): FlowKey {
  const key: Draft = { ...options };
  if (packet.length < ETHERNET_SIZE) {
    key.ethernet = { src: NO_MAC, dst: NO_MAC };
    return key as FlowKey;
  }
  key.ethernet = { src: formatMac(packet, 6), dst: formatMac(packet, 0) };
  const rest: Rest = { bytes: packet, at: 12, end: packet.length };
  readVlans(key, rest);
  const type = readEtherType(rest);
  if (isVlan(type) && (key.vlans?.length ?? 0) < MAX_VLANS) {
    // Cut off inside the tag: its type is known, nothing else is.
    const tag = { tpid: type, vid: 0, pcp: 0, cfi: 0 };
    key.vlans = [...(key.vlans ?? []), tag];
    return key as FlowKey;
  }
  if (type < ETHER_TYPE_MIN) return key as FlowKey;
  key.etherType = type;
  if (type === 0x0800) readIpv4(key, rest);
  else if (type === 0x86dd) readIpv6(key, rest);
  else if (type === 0x0806 || type === 0x8035) readArp(key, rest);
  else if (type === 0x8847 || type === 0x8848) readMpls(key, rest);
  else if (type === 0x894f) key.nsh = readNsh(rest);
  return key as FlowKey;
}

function isVlan(type: number): boolean {
  return type === 0x8100 || type === 0x88a8;
}

function left(rest: Rest): number {
  return rest.end - rest.at;
}

function readVlans(key: Draft, rest: Rest): void {
  const vlans: VlanTag[] = [];
  while (vlans.length < MAX_VLANS) {
    const tpid = be16.get(rest.bytes, rest.at);
    // Four bytes of tag, and two of the type behind it.
    if (!isVlan(tpid) || left(rest) < 6) break;
    const tci = be16.get(rest.bytes, rest.at + 2);
    vlans.push({ tpid, vid: tci & 0xfff, pcp: tci >>> 13, cfi: 1 });
    rest.at += 4;
  }
  if (vlans.length > 0) key.vlans = vlans;
}

/** The EtherType, behind a SNAP header if there is one; 0 for other frames of 802.2. */
function readEtherType(rest: Rest): number {
  const { bytes } = rest;
  const type = be16.get(bytes, rest.at);
  rest.at += 2;
  if (type >= ETHER_TYPE_MIN) return type;
  if (left(rest) < 8) return 0;
  const at = rest.at;
  const isSnap = bytes[at] === 0xaa && bytes[at + 1] === 0xaa && bytes[at + 2] === 3 &&
    bytes[at + 3] === 0 && bytes[at + 4] === 0 && bytes[at + 5] === 0;
  if (!isSnap) return 0;
  rest.at += 8;
  const inner = be16.get(bytes, at + 6);
  return inner >= ETHER_TYPE_MIN ? inner : 0;
}

function readIpv4(key: Draft, rest: Rest): void {
  const none = "0.0.0.0";
  key.ipv4 = { src: none, dst: none, proto: 0, tos: 0, ttl: 0, frag: "no" };
  const { bytes, at } = rest;
  const size = left(rest);
  if (size < 20) return;
  const headerSize = ((bytes[at] as number) & 15) * 4;
  const total = be16.get(bytes, at + 2);
  if (headerSize < 20 || size < headerSize) return;
  if (total > size || headerSize > total || size - total > 0xffff) return;
  rest.end = at + total;
  const fragment = be16.get(bytes, at + 6) & 0x3fff;
  const frag = fragment === 0 ? "no" : (fragment & 0x1fff) === 0 ? "first" : "later";
  const proto = bytes[at + 9] as number;
  key.ipv4 = {
    src: formatIpv4(bytes, at + 12),
    dst: formatIpv4(bytes, at + 16),
    proto,
    tos: bytes[at + 1] as number,
    ttl: bytes[at + 8] as number,
    frag,
  };
  rest.at += headerSize;
  if (frag !== "later") readLayer4(key, rest, proto, false);
}

function readIpv6(key: Draft, rest: Rest): void {
  const none = {
    src: "::",
    dst: "::",
    label: 0,
    proto: 0,
    tclass: 0,
    hlimit: 0,
    frag: "no",
  } as const;
  key.ipv6 = none;
  const { bytes, at } = rest;
  const size = left(rest);
  if (size < 40) return;
  const payload = be16.get(bytes, at + 4);
  if (payload + 40 > size || size - payload - 40 > 0xffff) return;
  const addresses = { src: formatIpv6(bytes, at + 8), dst: formatIpv6(bytes, at + 24) };
  key.ipv6 = { ...none, ...addresses };
  rest.at += 40;
  rest.end = rest.at + payload;
  const extended = skipExtensions(rest, bytes[at + 6] as number);
  // Addresses count even then, the rest of the header does not.
  if (extended === undefined) return;
  const { proto, frag } = extended;
  const flow = be32.get(bytes, at);
  key.ipv6 = {
    ...addresses,
    label: flow & 0xfffff,
    proto,
    tclass: flow >>> 20 & 0xff,
    hlimit: bytes[at + 7] as number,
    frag,
  };
  if (frag !== "later") readLayer4(key, rest, proto, true);
}

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION = 60;

/** What follows the extension headers; undefined when one of them is cut off. */
function skipExtensions(
  rest: Rest,
  first: number,
): { proto: number; frag: "no" | "first" | "later" } | undefined {
  let proto = first;
  let frag: "no" | "first" = "no";
  for (;;) {
    const known = proto === HOP_BY_HOP || proto === ROUTING || proto === DESTINATION ||
      proto === AUTHENTICATION || proto === FRAGMENT;
    if (!known) return { proto, frag };
    if (left(rest) < 8) return undefined;
    const { bytes, at } = rest;
    const length = bytes[at + 1] as number;
    const kind = proto;
    proto = bytes[at] as number;
    const size = kind === FRAGMENT
      ? 8
      : kind === AUTHENTICATION
      ? (length + 2) * 4
      : (length + 1) * 8;
    if (left(rest) < size) return undefined;
    rest.at += size;
    if (kind !== FRAGMENT) continue;
    // An atomic fragment, offset 0 and nothing to follow, is not one.
    const fragment = be16.get(bytes, at + 2);
    if ((fragment & 0xfff8) !== 0) return { proto: FRAGMENT, frag: "later" };
    if (fragment !== 0) frag = "first";
  }
}

function readLayer4(key: Draft, rest: Rest, proto: number, isIpv6: boolean): void {
  const { bytes, at } = rest;
  const size = left(rest);
  const ports = (fits: boolean) => ({
    src: fits ? be16.get(bytes, at) : 0,
    dst: fits ? be16.get(bytes, at + 2) : 0,
  });
  const message = (fits: boolean) => ({
    type: fits ? bytes[at] as number : 0,
    code: fits ? bytes[at + 1] as number : 0,
  });
  if (proto === 6) {
    const header = size >= 20 ? ((bytes[at + 12] as number) >>> 4) * 4 : 0;
    const fits = header >= 20 && size >= header;
    key.tcp = ports(fits);
    key.tcpFlags = fits ? be16.get(bytes, at + 12) & 0xfff : 0;
  } else if (proto === 17) {
    key.udp = ports(size >= 8);
  } else if (proto === 132) {
    key.sctp = ports(size >= 12);
  } else if (proto === 1 && !isIpv6) {
    key.icmp = message(size >= 8);
  } else if (proto === 58 && isIpv6) {
    key.icmpv6 = message(size >= 8);
    const { type, code } = key.icmpv6;
    if ((type === 135 || type === 136) && code === 0) readNd(key, rest);
  }
}

/** Reads neighbour discovery; an option that comes twice makes all of it invalid. */
function readNd(key: Draft, rest: Rest): void {
  const { bytes, at } = rest;
  const reserved = be32.get(bytes, at + 4);
  let target = "::";
  let sll = NO_MAC;
  let tll = NO_MAC;
  let optionsType = 0;
  rest.at += 8;
  if (left(rest) >= 16) {
    target = formatIpv6(bytes, rest.at);
    rest.at += 16;
    while (left(rest) >= 8) {
      const type = bytes[rest.at] as number;
      const size = (bytes[rest.at + 1] as number) * 8;
      if (size === 0 || size > left(rest)) break;
      if ((type === 1 || type === 2) && size === 8) {
        if ((type === 1 ? sll : tll) !== NO_MAC) {
          target = "::";
          sll = tll = NO_MAC;
          break;
        }
        const address = formatMac(bytes, rest.at + 2);
        if (type === 1) sll = address;
        else tll = address;
        if (optionsType === 0) optionsType = type;
      }
      rest.at += size;
    }
  }
  key.nd = { target, sll, tll };
  if (reserved !== 0 || optionsType !== 0) key.ndExtensions = { reserved, optionsType };
}

function readArp(key: Draft, rest: Rest): void {
  const { bytes, at } = rest;
  const none = "0.0.0.0";
  key.arp = { sip: none, tip: none, op: 0, sha: NO_MAC, tha: NO_MAC };
  const fits = left(rest) >= 28 && be16.get(bytes, at) === 1 &&
    be16.get(bytes, at + 2) === 0x0800 && bytes[at + 4] === 6 && bytes[at + 5] === 4;
  if (!fits) return;
  const op = be16.get(bytes, at + 6);
  key.arp = {
    sip: formatIpv4(bytes, at + 14),
    tip: formatIpv4(bytes, at + 24),
    op: op <= 0xff ? op : 0,
    sha: formatMac(bytes, at + 8),
    tha: formatMac(bytes, at + 18),
  };
}

/** Reads labels up to the bottom of the stack; what is cut off or missing counts as zeros. */
function readMpls(key: Draft, rest: Rest): void {
  const labels: MplsLabel[] = [];
  const none = new Uint8Array(4);
  while (labels.length < MAX_MPLS) {
    const cut = left(rest) < 4;
    const label = cut ? mplsLabel.read(none, 0) : mplsLabel.read(rest.bytes, rest.at);
    labels.push(label);
    if (label.bos === 1) break;
    if (!cut) rest.at += 4;
  }
  key.mpls = labels;
}

function readNsh(rest: Rest): NshKey {
  const none = { flags: 0, ttl: 0, mdtype: 0, np: 0, spi: 0, si: 0 };
  const { bytes, at } = rest;
  if (left(rest) < 8) return none;
  const word = be16.get(bytes, at);
  const size = (word & 0x3f) * 4;
  const mdtype = bytes[at + 2] as number;
  if (size > left(rest) || word >>> 14 !== 0) return none;
  if (mdtype === 1 && size !== 24 || mdtype === 2 && size < 8) return none;
  const path = be32.get(bytes, at + 4);
  const base = {
    flags: word >>> 12 & 3,
    ttl: word >>> 6 & 0x3f,
    mdtype,
    np: bytes[at + 3] as number,
    spi: path >>> 8,
    si: path & 0xff,
  };
  if (mdtype !== 1) return base;
  return {
    ...base,
    contexts: [8, 12, 16, 20].map((offset) => be32.get(bytes, at + offset)),
  };
}
