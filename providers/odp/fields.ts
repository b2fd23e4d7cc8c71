// SPDX-License-Identifier: Apache-2.0
/**
 * The fields that a filter of flows may name, and where they are in a key: names of ovs-fields(7).
 *
 * @module
 */
import type { FlowKey, FlowMask } from "../types.ts";

/** Value of a field in a key, and the bits of it that the flow cares for. */
export type ReadField = (
  key: FlowKey,
  mask: FlowMask | undefined,
) => { readonly value: bigint; readonly mask: bigint };

/** A field of a filter. */
export interface FilterField {
  /** Size. */
  readonly bits: number;
  /** Whether a mask may be a number of leading bits. */
  readonly isAddress?: boolean;
  /** Reads a value; undefined if it is none. */
  readonly parse: (text: string) => bigint | undefined;
  readonly read: ReadField;
}

function number(text: string): bigint | undefined {
  return /^(0x[0-9a-f]+|\d+)$/i.test(text) ? BigInt(text) : undefined;
}

function ethernet(text: string): bigint | undefined {
  return /^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(text)
    ? BigInt(`0x${text.split(":").map((byte) => byte.padStart(2, "0")).join("")}`)
    : undefined;
}

function ipv4(text: string): bigint | undefined {
  const bytes = text.split(".").map(Number);
  if (bytes.length !== 4 || !/^[\d.]+$/.test(text)) return undefined;
  return bytes.every((byte) => byte <= 255)
    ? bytes.reduce((all, byte) => all << 8n | BigInt(byte), 0n)
    : undefined;
}

function ipv6(text: string): bigint | undefined {
  const sides = text.split("::");
  if (!/^[0-9a-f:.]+$/i.test(text) || sides.length > 2) return undefined;
  const words = (side: string | undefined): string[] =>
    side ? side.split(":").flatMap(dotted) : [];
  const head = words(sides[0]);
  const tail = words(sides[1]);
  const gap = 8 - head.length - tail.length;
  if (sides.length === 2 ? gap < 1 : gap !== 0) return undefined;
  const all = [...head, ...Array(gap).fill("0"), ...tail];
  return all.every((word) => /^[0-9a-f]{1,4}$/i.test(word))
    ? BigInt(`0x${all.map((word) => word.padStart(4, "0")).join("")}`)
    : undefined;
}

/** The last 32 bits may be written as an IPv4 address. */
function dotted(word: string): string[] {
  const value = word.includes(".") ? ipv4(word) : undefined;
  return value === undefined
    ? [word]
    : [(value >> 16n).toString(16), (value & 0xffffn).toString(16)];
}

/** Any value of a key or mask as bits; an address is told by how many it has. */
export function bitsOf(value: unknown, bits: number): bigint {
  if (value === true) return (1n << BigInt(bits)) - 1n;
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return BigInt(value);
  if (typeof value !== "string") return 0n;
  const fragment = fragments[value];
  if (fragment !== undefined) return fragment;
  return bits === 48
    ? ethernet(value) ?? 0n
    : bits === 32
    ? ipv4(value) ?? 0n
    : ipv6(value) ?? 0n;
}

/** Bits of `ip_frag`: any fragment, and a later one. */
const fragments: Readonly<Record<string, bigint>> = { no: 0n, first: 1n, later: 3n };

type Path = readonly (string | number)[];

function follow(from: unknown, path: Path): unknown {
  let value = from;
  for (const step of path) {
    if (value === true || value === undefined || value === null) return value;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}

/** Reads the first of some paths that the key has. */
function at(bits: number, ...paths: Path[]): ReadField {
  return (key, mask) => {
    const path = paths.find((candidate) => follow(key, candidate) !== undefined);
    const all = (1n << BigInt(bits)) - 1n;
    if (path === undefined) {
      // That there is no tag, or no EtherType, is something that a flow cares for; other fields it just does not have.
      const cares = paths.some(([name]) => name === "vlans" || name === "etherType");
      return { value: 0n, mask: cares ? all : 0n };
    }
    const bitsThatCount = mask === undefined ? all : bitsOf(follow(mask, path), bits);
    return {
      value: bitsOf(follow(key, path), bits) & bitsThatCount,
      mask: bitsThatCount,
    };
  };
}

const numeric = (bits: number, ...paths: Path[]): FilterField => ({
  bits,
  parse: number,
  read: at(bits, ...paths),
});
const address = (
  bits: number,
  parse: FilterField["parse"],
  ...paths: Path[]
): FilterField => ({ bits, isAddress: bits !== 48, parse, read: at(bits, ...paths) });

const ports = ["tcp", "udp", "sctp"] as const;
const icmps = ["icmp", "icmpv6"] as const;
const nwProto: Path[] = [["ipv4", "proto"], ["ipv6", "proto"], ["arp", "op"]];
const nwTos: Path[] = [["ipv4", "tos"], ["ipv6", "tclass"]];
const nwTtl: Path[] = [["ipv4", "ttl"], ["ipv6", "hlimit"]];
const tpSrc: Path[] = [...ports.map((p) => [p, "src"]), ...icmps.map((p) => [p, "type"])];
const tpDst: Path[] = [...ports.map((p) => [p, "dst"]), ...icmps.map((p) => [p, "code"])];

/** Only some bits of a field, shifted down. */
function part(field: FilterField, shift: bigint, bits: number): FilterField {
  const low = (1n << BigInt(bits)) - 1n;
  return {
    bits,
    parse: number,
    read: (key, mask) => {
      const whole = field.read(key, mask);
      return { value: whole.value >> shift & low, mask: whole.mask >> shift & low };
    },
  };
}

const tos = numeric(8, ...nwTos);

/** `vlan_tci` and `dl_vlan` see the outermost tag; a frame without one has 0. */
const vlanVid = numeric(12, ["vlans", 0, "vid"]);
const vlanPcp = numeric(3, ["vlans", 0, "pcp"]);

/** `+trk-new`: bits by name, set or clear. */
function ctState(text: string): bigint | undefined {
  if (number(text) !== undefined) return number(text);
  let bits = 0n;
  for (const [, sign, name = ""] of text.matchAll(/([+-]|\|?)([a-z]+)/g)) {
    const bit = ctStateBits.get(name);
    if (bit === undefined) return undefined;
    if (sign !== "-") bits |= bit;
  }
  return bits;
}

const ctStateBits: ReadonlyMap<string, bigint> = new Map([
  ["new", 0x01n],
  ["est", 0x02n],
  ["rel", 0x04n],
  ["rpl", 0x08n],
  ["inv", 0x10n],
  ["trk", 0x20n],
  ["snat", 0x40n],
  ["dnat", 0x80n],
]);

/** What an EtherType that stands for itself in a key looks like: below 0x600 there is none. */
const etherType: FilterField = numeric(16, ["etherType"]);

/** Every field, by its names. */
export const filterFields: ReadonlyMap<string, FilterField> = new Map(
  Object.entries(
    {
      in_port: numeric(32, ["inPort"]),
      recirc_id: numeric(32, ["recircId"]),
      dp_hash: numeric(32, ["dpHash"]),
      skb_priority: numeric(32, ["priority"]),
      pkt_mark: numeric(32, ["skbMark"]),
      ct_state: { bits: 32, parse: ctState, read: at(32, ["ctState"]) },
      ct_zone: numeric(16, ["ctZone"]),
      ct_mark: numeric(32, ["ctMark"]),
      ct_label: numeric(128, ["ctLabels"]),
      tun_id: numeric(64, ["tunnel", "id"]),
      tunnel_id: numeric(64, ["tunnel", "id"]),
      tun_src: address(32, ipv4, ["tunnel", "src"]),
      tun_dst: address(32, ipv4, ["tunnel", "dst"]),
      tun_ipv6_src: address(128, ipv6, ["tunnel", "ipv6Src"]),
      tun_ipv6_dst: address(128, ipv6, ["tunnel", "ipv6Dst"]),
      dl_src: address(48, ethernet, ["ethernet", "src"]),
      dl_dst: address(48, ethernet, ["ethernet", "dst"]),
      eth_src: address(48, ethernet, ["ethernet", "src"]),
      eth_dst: address(48, ethernet, ["ethernet", "dst"]),
      dl_type: etherType,
      eth_type: etherType,
      dl_vlan: vlanVid,
      vlan_vid: vlanVid,
      dl_vlan_pcp: vlanPcp,
      vlan_pcp: vlanPcp,
      mpls_label: numeric(20, ["mpls", 0, "label"]),
      mpls_tc: numeric(3, ["mpls", 0, "tc"]),
      mpls_bos: numeric(1, ["mpls", 0, "bos"]),
      nw_src: address(32, ipv4, ["ipv4", "src"], ["arp", "sip"]),
      nw_dst: address(32, ipv4, ["ipv4", "dst"], ["arp", "tip"]),
      ip_src: address(32, ipv4, ["ipv4", "src"], ["arp", "sip"]),
      ip_dst: address(32, ipv4, ["ipv4", "dst"], ["arp", "tip"]),
      ipv6_src: address(128, ipv6, ["ipv6", "src"]),
      ipv6_dst: address(128, ipv6, ["ipv6", "dst"]),
      ipv6_label: numeric(20, ["ipv6", "label"]),
      nw_proto: numeric(8, ...nwProto),
      ip_proto: numeric(8, ...nwProto),
      nw_tos: tos,
      ip_dscp: part(tos, 2n, 6),
      nw_ecn: part(tos, 0n, 2),
      ip_ecn: part(tos, 0n, 2),
      nw_ttl: numeric(8, ...nwTtl),
      ip_frag: { bits: 2, parse: fragmentBits, read: ipFragment },
      arp_op: numeric(16, ["arp", "op"]),
      arp_spa: address(32, ipv4, ["arp", "sip"]),
      arp_tpa: address(32, ipv4, ["arp", "tip"]),
      arp_sha: address(48, ethernet, ["arp", "sha"]),
      arp_tha: address(48, ethernet, ["arp", "tha"]),
      tp_src: numeric(16, ...tpSrc),
      tp_dst: numeric(16, ...tpDst),
      tcp_src: numeric(16, ["tcp", "src"]),
      tcp_dst: numeric(16, ["tcp", "dst"]),
      udp_src: numeric(16, ["udp", "src"]),
      udp_dst: numeric(16, ["udp", "dst"]),
      sctp_src: numeric(16, ["sctp", "src"]),
      sctp_dst: numeric(16, ["sctp", "dst"]),
      tcp_flags: numeric(12, ["tcpFlags"]),
      icmp_type: numeric(8, ["icmp", "type"]),
      icmp_code: numeric(8, ["icmp", "code"]),
      icmpv6_type: numeric(8, ["icmpv6", "type"]),
      icmpv6_code: numeric(8, ["icmpv6", "code"]),
      nd_target: address(128, ipv6, ["nd", "target"]),
      nd_sll: address(48, ethernet, ["nd", "sll"]),
      nd_tll: address(48, ethernet, ["nd", "tll"]),
    } satisfies Record<string, FilterField>,
  ),
);

function fragmentBits(text: string): bigint | undefined {
  if (text === "yes") return 1n;
  return Object.hasOwn(fragments, text) ? fragments[text] : undefined;
}

function ipFragment(
  key: FlowKey,
  mask: FlowMask | undefined,
): ReturnType<ReadField> {
  const family = key.ipv4 === undefined ? "ipv6" : "ipv4";
  const value = key[family]?.frag;
  const cares = mask === undefined || follow(mask, [family, "frag"]) !== undefined;
  return { value: cares ? fragments[value ?? "no"] ?? 0n : 0n, mask: cares ? 3n : 0n };
}

const ip4 = 0x0800;
const ip6 = 0x86dd;
const arpTypes = [0x0806, 0x8035];
const anyIp = [ip4, ip6];

/** Which fields need which EtherTypes, and which protocols of IP. */
export const prerequisites: readonly (readonly [
  fields: RegExp,
  etherTypes: readonly number[],
  protos?: readonly number[],
])[] = [
  [/^(nw_src|nw_dst|ip_src|ip_dst)$/, [ip4, ...arpTypes]],
  [/^nw_proto$/, [...anyIp, ...arpTypes]],
  [/^(ip_proto|nw_tos|ip_dscp|nw_ecn|ip_ecn|nw_ttl|ip_frag)$/, anyIp],
  [/^ipv6_(src|dst|label)$/, [ip6]],
  [/^arp_(op|spa|tpa|sha|tha)$/, arpTypes],
  [/^mpls_/, [0x8847, 0x8848]],
  [/^(tp_src|tp_dst)$/, anyIp, [6, 17, 132, 1, 58]],
  [/^tcp_/, anyIp, [6]],
  [/^udp_/, anyIp, [17]],
  [/^sctp_/, anyIp, [132]],
  [/^icmp_/, [ip4], [1]],
  [/^(icmpv6_|nd_)/, [ip6], [58]],
];

/** The name by which prerequisites know a field. */
export function canonicalName(name: string): string {
  const others: Readonly<Record<string, string>> = {
    eth_type: "dl_type",
    ip_proto: "nw_proto",
  };
  return others[name] ?? name;
}

const proto = (ethertype: string, ...more: string[]): readonly string[] => [
  `dl_type=${ethertype}`,
  ...more,
];

/** Words that stand for fields: `tcp`, `arp`. */
export const keywords: ReadonlyMap<string, readonly string[]> = new Map(Object.entries({
  ip: proto("0x0800"),
  ipv4: proto("0x0800"),
  icmp: proto("0x0800", "nw_proto=1"),
  tcp: proto("0x0800", "nw_proto=6"),
  udp: proto("0x0800", "nw_proto=17"),
  sctp: proto("0x0800", "nw_proto=132"),
  arp: proto("0x0806"),
  rarp: proto("0x8035"),
  ipv6: proto("0x86dd"),
  ip6: proto("0x86dd"),
  icmp6: proto("0x86dd", "nw_proto=58"),
  tcp6: proto("0x86dd", "nw_proto=6"),
  udp6: proto("0x86dd", "nw_proto=17"),
  sctp6: proto("0x86dd", "nw_proto=132"),
  mpls: proto("0x8847"),
  mplsm: proto("0x8848"),
}));
