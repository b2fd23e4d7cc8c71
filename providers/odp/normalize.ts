// SPDX-License-Identifier: Apache-2.0
/**
 * What both providers require of a flow's key and mask, put in where it is missing.
 *
 * A key made by hand rarely has all that a datapath wants to see: an EtherType of IPv4 wants
 * an (empty) IPv4 field, TCP wants flags beside the ports.  Adding them changes nothing about
 * what the flow matches.  Masks get their prerequisites: ports mean nothing unless the
 * protocol is matched too, so it is.  A flow never becomes wider, and narrower only in what
 * the bits asked for imply.
 *
 * The rules are those of Linux 6.1's `ovs_nla_get_match()`, which are stricter than those of
 * Open vSwitch's userspace datapath.
 *
 * @module
 */

import type { KeyIndex } from "./key_index.ts";
import { ETHERTYPE, keyAttributes, keyTable, VLAN } from "./key.ts";
import { be16 } from "../codec/leaf.ts";
import { joinLevels, type Level, splitLevels } from "./levels.ts";
import { completeDestination, completeNoTunnel, completeTtl } from "./tunnel_level.ts";
import { written } from "../codec/writer.ts";

const ETHERNET = keyTable.ethernet.id;
const IN_PORT = keyTable.inPort.id;
const TUNNEL = keyTable.tunnel.id;
const IPV4 = keyTable.ipv4.id;
const IPV6 = keyTable.ipv6.id;
const ARP = keyTable.arp.id;
const MPLS = keyTable.mpls.id;
const NSH = keyTable.nsh.id;
const TCP = keyTable.tcp.id;
const TCP_FLAGS = keyTable.tcpFlags.id;
const UDP = keyTable.udp.id;
const SCTP = keyTable.sctp.id;
const ICMP = keyTable.icmp.id;
const ICMPV6 = keyTable.icmpv6.id;
const ND = keyTable.nd.id;
const ND_EXTENSIONS = keyTable.ndExtensions.id;
const PACKET_TYPE = keyTable.packetType.id;
const CT_TUPLE4 = keyTable.ctTuple4.id;
const CT_TUPLE6 = keyTable.ctTuple6.id;
const EXTHDRS = keyTable.ipv6Exthdrs.id;

/** Offset of protocol and fragment type in the payloads of IPv4 and IPv6. */
const place = { [IPV4]: { proto: 8, frag: 11 }, [IPV6]: { proto: 36, frag: 39 } };

/** Bytes of each attribute that is added empty. */
const emptySize: ReadonlyMap<number, number> = new Map(
  keyAttributes.map(({ id, wire }) => [id, wire.min]),
);

/** What an EtherType wants to see. */
const byEtherType: ReadonlyMap<number, number> = new Map([
  [0x0800, IPV4],
  [0x86dd, IPV6],
  [0x0806, ARP],
  [0x8035, ARP],
  [0x8847, MPLS],
  [0x8848, MPLS],
  [0x894f, NSH],
]);

const layer3: ReadonlySet<number> = new Set([IPV4, IPV6, ARP, MPLS, NSH, EXTHDRS]);
const layer4: ReadonlySet<number> = new Set([
  TCP,
  TCP_FLAGS,
  UDP,
  SCTP,
  ICMP,
  ICMPV6,
  ND,
  ND_EXTENSIONS,
]);
/** Fields that a tracked packet has by its EtherType. */
const tuples: ReadonlySet<number> = new Set([CT_TUPLE4, CT_TUPLE6]);

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

const ones = (size: number) => new Uint8Array(size).fill(255);

/** What is added of an attribute: zeros, where zeros are a header that can be. */
function empty(id: number): Uint8Array {
  // A nest needs its base, and a label stack its bottom.
  if (id === MPLS) return Uint8Array.of(0, 0, 1, 0);
  if (id === NSH) return Uint8Array.of(12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  return new Uint8Array(emptySize.get(id) ?? 0);
}

function add(level: Level, id: number): void {
  if (!level.has(id)) level.set(id, empty(id));
}

/** The IP header of a level: its id and payload. */
function ipOf(
  level: Level,
): { id: typeof IPV4 | typeof IPV6; bytes: Uint8Array } | undefined {
  for (const id of [IPV4, IPV6]) {
    const bytes = level.get(id);
    if (bytes !== undefined && bytes.length === emptySize.get(id)) return { id, bytes };
  }
  return undefined;
}

/** Adds what the values in a key say must follow; with `bare` no Ethernet header of its own. */
function completeKey(levels: Level[], bare: boolean): void {
  const outer = levels[0] as Level;
  completeTtl(outer);
  const namespace = outer.get(PACKET_TYPE);
  if (namespace === undefined ? !bare : be16.get(namespace, 0) === 0) {
    add(outer, ETHERNET);
  }
  if (levels.at(-1)?.has(VLAN)) levels.push(new Map());
  const level = levels.at(-1) as Level;
  const type = level.get(ETHERTYPE);
  const etherType = type?.length === 2 ? be16.get(type, 0) : undefined;
  // Frames of 802.2 have no EtherType: the text writes 0, only their mask has the field.
  if (etherType !== undefined && etherType < 0x600) level.delete(ETHERTYPE);
  const expected = byEtherType.get(etherType ?? 0);
  if (expected !== undefined) add(level, expected);
  const ip = ipOf(level);
  if (ip === undefined || ip.bytes[place[ip.id]?.frag as number] === 2) return;
  completeLayer4(level, ip.id, ip.bytes[place[ip.id]?.proto as number] as number);
}

/**
 * Whether a key has all that {@linkcode normalize} would add; `index` is one of bytes that
 * were encoded from an object, whose order and nesting are good.
 */
export function isComplete(index: KeyIndex): boolean {
  const { bytes, offsets } = index;
  const at = (id: number) => offsets[id] as number;
  if (at(PACKET_TYPE) !== 0 || at(ETHERNET) === 0) return false;
  // Without one it may be any frame, or one of 802.2 (completeMask): no short way.
  if (at(ETHERTYPE) === 0) return false;
  const type = be16.get(bytes, at(ETHERTYPE));
  if (type < 0x600) return false;
  const expected = byEtherType.get(type);
  if (expected === undefined) return true;
  if (at(expected) === 0) return false;
  const where = place[expected as typeof IPV4 | typeof IPV6];
  if (where === undefined || bytes[at(expected) + where.frag] === 2) return true;
  switch (bytes[at(expected) + where.proto]) {
    case 6:
      return at(TCP) !== 0 && at(TCP_FLAGS) !== 0;
    case 17:
      return at(UDP) !== 0;
    case 132:
      return at(SCTP) !== 0;
    case 1:
      return expected === IPV6 || at(ICMP) !== 0;
    case 58:
      // Neighbour discovery is rare: look closer.
      return expected === IPV4 || at(ND) !== 0;
    default:
      return true;
  }
}

function completeLayer4(level: Level, ip: number, proto: number): void {
  if (proto === 6) {
    add(level, TCP);
    add(level, TCP_FLAGS);
  } else if (proto === 17) {
    add(level, UDP);
  } else if (proto === 132) {
    add(level, SCTP);
  } else if (proto === 1 && ip === IPV4) {
    add(level, ICMP);
  } else if (proto === 58 && ip === IPV6) {
    add(level, ICMPV6);
    const [type, code] = level.get(ICMPV6) ?? [];
    if ((type === 135 || type === 136) && code === 0) add(level, ND);
  }
}

/** What a key and its mask became. */
export interface NormalFlow {
  /** The key with what was missing. */
  readonly key: Uint8Array<ArrayBuffer>;
  /** The mask with its prerequisites; undefined when there was none. */
  readonly mask: Uint8Array<ArrayBuffer> | undefined;
}

/**
 * Completes a key, and its mask if there is one.
 *
 * `fixed` says that the key came from a datapath: it is complete, and absent fields are facts
 * about the packet.  Metadata that is masked but not in the key is added as zero even then.
 * `bare` says that a key without Ethernet header is of packets that have none.
 * Throws `AttributeError` for malformed bytes.
 */
export function normalize(
  key: Uint8Array,
  mask?: Uint8Array,
  options: { readonly fixed?: boolean; readonly bare?: boolean } = {},
): NormalFlow {
  const keyLevels = splitLevels(key, "key");
  const maskLevels = mask === undefined ? undefined : splitLevels(mask, "mask");
  if (!options.fixed) {
    completeNoTunnel(keyLevels[0] as Level, maskLevels?.[0]);
    completeKey(keyLevels, options.bare ?? false);
  }
  if (maskLevels !== undefined) {
    if (!options.fixed) {
      completeTtl(maskLevels[0] as Level);
      completeDestination(keyLevels[0] as Level, maskLevels[0] as Level);
    }
    completeMask(keyLevels, maskLevels);
    completeInnermost(keyLevels, maskLevels, options.fixed ?? false);
  }
  return {
    key: written((writer) => joinLevels(writer, keyLevels)),
    mask: maskLevels && written((writer) => joinLevels(writer, maskLevels)),
  };
}

/** Attributes that Linux matches in whole whenever their masks are there, whatever is in them. */
const whole: ReadonlyMap<number, string> = new Map([
  [IN_PORT, "in_port"],
  [ETHERTYPE, "eth_type"],
  // It does not have this one at all: in whole it says no more than that there is an eth().
  [PACKET_TYPE, "packet_type"],
]);

const isOnes = (bytes: Uint8Array) => bytes.every((byte) => byte === 255);

/**
 * A mask as Linux must be given it to take it at its word.  Where it has no bits, EtherType and
 * port are left out; that it asks for a part of one is told by the name of the attribute.
 */
export function meantForLinux(
  mask: Uint8Array,
): { readonly mask: Uint8Array; readonly part?: string } {
  const levels = splitLevels(mask, "mask");
  let changed = false;
  for (const level of levels) {
    for (const [id, name] of whole) {
      const bits = level.get(id);
      if (bits === undefined || isOnes(bits)) continue;
      if (!isZero(bits)) return { mask, part: name };
      changed = level.delete(id);
    }
  }
  return { mask: changed ? written((writer) => joinLevels(writer, levels)) : mask };
}

function completeMask(keys: Level[], masks: Level[]): void {
  while (masks.length < keys.length) masks.push(new Map());
  for (let depth = 0; depth + 1 < keys.length; depth++) {
    const mask = masks[depth] as Level;
    // Linux takes a missing mask of a tag for one of all bits, and wants protocol and
    // presence matched in any other.
    matchType(mask);
    const tci = mask.get(VLAN) ?? new Uint8Array();
    if (isZero(tci)) mask.set(VLAN, Uint8Array.of(0x10, 0));
  }
  for (const [depth, mask] of masks.entries()) {
    const key = keys[depth] ?? new Map();
    for (const [id, bits] of [...mask]) {
      if (bits.length > 0 && isZero(bits)) {
        // Linux takes a mask of these without bits for one of all bits.
        if (whole.has(id)) mask.delete(id);
        continue;
      }
      if (id !== VLAN) demand(key, mask, id);
    }
  }
}

/**
 * What a mask must say of the innermost EtherType, or of there being none.
 *
 * Behind a tag the kernel wants it exact.
 * `netdev`, as Open vSwitch, matches EtherTypes always: of a frame of 802.2 it wants to hear
 * that there is none.  Behind a VLAN tag that the frame was too short for there is nothing,
 * and no mask of it.  A key made by hand without one need not mean a frame of 802.2.
 */
function completeInnermost(keys: Level[], masks: Level[], fixed: boolean): void {
  const key = keys.at(-1) as Level;
  const mask = masks[keys.length - 1] as Level;
  const tag = keys.at(-2)?.get(VLAN);
  if (tag !== undefined && isZero(tag)) mask.clear();
  else if (key.has(ETHERTYPE) ? tag !== undefined : fixed) matchType(mask);
}

/**
 * Has the EtherType matched. A mask that asks for a part of it is left for the datapath to refuse.
 */
function matchType(mask: Level): void {
  if (isZero(mask.get(ETHERTYPE) ?? new Uint8Array())) mask.set(ETHERTYPE, ones(2));
}

/** Makes sure that the bits of `id` in a mask mean something. */
function demand(key: Level, mask: Level, id: number): void {
  if (layer3.has(id) || tuples.has(id)) {
    matchType(mask);
    if (!key.has(id)) mask.delete(id);
    return;
  }
  if (layer4.has(id)) {
    matchType(mask);
    const ip = ipOf(key);
    if (ip !== undefined) {
      const at = place[ip.id] as { proto: number; frag: number };
      const bits = mask.get(ip.id)?.slice() ?? new Uint8Array(ip.bytes.length);
      bits[at.proto] ||= 255;
      // Later fragments have no ports: that the field is absent is their doing.
      if (!key.has(id)) bits[at.frag] ||= 255;
      mask.set(ip.id, bits);
    }
    if ((id === ND || id === ND_EXTENSIONS) && key.has(ICMPV6)) {
      const bits = mask.get(ICMPV6) ?? new Uint8Array(2);
      mask.set(ICMPV6, bits.map((byte) => byte || 255));
    }
    if (!key.has(id)) mask.delete(id);
    return;
  }
  if (key.has(id) || id === TUNNEL || id === ETHERTYPE) return;
  if (id === ETHERNET || id === PACKET_TYPE) mask.delete(id);
  else if (id !== IN_PORT && emptySize.has(id)) key.set(id, empty(id));
}

/**
 * A key or mask without the attributes that a datapath of this type refuses: packet type and
 * ND extensions are `netdev`'s, IPv6 extension headers the kernel's.
 *
 * Returns `bytes` itself when there is nothing to leave out.
 */
export function knownTo(type: "kernel" | "netdev", bytes: Uint8Array): Uint8Array {
  const foreign = keyAttributes.filter((line) =>
    line.knownTo !== "both" && line.knownTo !== type
  ).map(({ id }) => id);
  const levels = splitLevels(bytes, "key");
  let changed = false;
  for (const level of levels) {
    for (const id of foreign) if (level.delete(id)) changed = true;
  }
  return changed ? written((writer) => joinLevels(writer, levels)) : bytes;
}
