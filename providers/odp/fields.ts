// SPDX-License-Identifier: Apache-2.0
/**
 * The one list of fields by their names in ovs-fields(7): how many bits a field has, where it is
 * in a key, and which EtherTypes and protocols a match must name before it.
 *
 * Filters of flows and matches of OpenFlow are written in these names. A field that lies in
 * different headers by the kind of packet (`tp_src`) has several places, of which the first that
 * a key has counts.
 *
 * @module
 */
import type { FieldName, FlowKey, FlowMask } from "../types.ts";
import { CtState } from "./constructors.ts";
import {
  allBits,
  bitsOf,
  type FieldForm,
  fragmentBits,
  parseBits,
  TcpFlags,
} from "./field_bits.ts";

/** The way to a field in a key: `["vlans", 0, "vid"]`. */
export type FieldPlace = readonly [FieldName, ...(string | number)[]];

/** What a match must say before it may name a field. */
export interface FieldNeeds {
  /** One of these EtherTypes. */
  readonly etherTypes: readonly number[];
  /** And one of these IP protocols; absent: any. */
  readonly protos?: readonly number[];
}

/** A field. */
export interface Field {
  /** Its name; the others that it has are in {@linkcode fields} as well. */
  readonly name: string;
  /** Size. */
  readonly bits: number;
  /** How its values are written. */
  readonly form: FieldForm;
  /** Names of its bits, if it has the form of flags. */
  readonly flags?: ReadonlyMap<string, bigint>;
  /** Where it is in a key; the first place that the key has counts. */
  readonly places: readonly FieldPlace[];
  /** Bits of the place that are below the field. */
  readonly shift: number;
  /** Whether a packet that lacks it is matched as 0, as a frame without a tag is. */
  readonly isZeroIfAbsent: boolean;
  /** Prerequisites; absent: none. */
  readonly needs?: FieldNeeds;
}

/** A value, and the bits of it that matter; the other bits of the value are 0. */
export interface FieldBits {
  readonly value: bigint;
  readonly mask: bigint;
}

const ip4 = 0x0800;
const ip6 = 0x86dd;
const anyIp = [ip4, ip6];
const arpTypes = [0x0806, 0x8035];

const isIp: FieldNeeds = { etherTypes: anyIp };
const isIp4: FieldNeeds = { etherTypes: [ip4] };
const isIp6: FieldNeeds = { etherTypes: [ip6] };
const isIp4OrArp: FieldNeeds = { etherTypes: [ip4, ...arpTypes] };
const isIpOrArp: FieldNeeds = { etherTypes: [...anyIp, ...arpTypes] };
const isArp: FieldNeeds = { etherTypes: arpTypes };
const isMpls: FieldNeeds = { etherTypes: [0x8847, 0x8848] };
const isNsh: FieldNeeds = { etherTypes: [0x894f] };
const isTcp: FieldNeeds = { etherTypes: anyIp, protos: [6] };
const isUdp: FieldNeeds = { etherTypes: anyIp, protos: [17] };
const isSctp: FieldNeeds = { etherTypes: anyIp, protos: [132] };
const isIcmp: FieldNeeds = { etherTypes: [ip4], protos: [1] };
const isIcmp6: FieldNeeds = { etherTypes: [ip6], protos: [58] };
const isLayer4: FieldNeeds = { etherTypes: anyIp, protos: [6, 17, 132, 1, 58] };

const ctFlags = new Map([
  ["new", CtState.New],
  ["est", CtState.Established],
  ["rel", CtState.Related],
  ["rpl", CtState.Reply],
  ["inv", CtState.Invalid],
  ["trk", CtState.Tracked],
  ["snat", CtState.SourceNat],
  ["dnat", CtState.DestinationNat],
].map(([name, bit]) => [name as string, BigInt(bit as number)]));

const ports = ["tcp", "udp", "sctp"] as const;
const icmps = ["icmp", "icmpv6"] as const;

type Line = readonly [
  /** Its name, and its other names. */
  names: string,
  bits: number,
  form: FieldForm,
  places: readonly FieldPlace[],
  needs?: FieldNeeds | undefined,
  more?: Partial<Pick<Field, "flags" | "shift" | "isZeroIfAbsent">>,
];

/** In the order of ovs-fields(7). */
const lines: readonly Line[] = [
  // Conjunctive matches and registers are OpenFlow's alone: no key has them.
  ["dp_hash", 32, "number", [["dpHash"]]],
  ["recirc_id", 32, "number", [["recircId"]]],
  ["tun_id tunnel_id", 64, "number", [["tunnel", "id"]]],
  ["tun_src", 32, "ipv4", [["tunnel", "src"]]],
  ["tun_dst", 32, "ipv4", [["tunnel", "dst"]]],
  ["tun_ipv6_src", 128, "ipv6", [["tunnel", "ipv6Src"]]],
  ["tun_ipv6_dst", 128, "ipv6", [["tunnel", "ipv6Dst"]]],
  ["tun_gbp_id", 16, "number", [["tunnel", "vxlanGbp", "id"]]],
  ["tun_gbp_flags", 8, "number", [["tunnel", "vxlanGbp", "flags"]]],
  ["tun_erspan_ver", 4, "number", [["tunnel", "erspan", "version"]]],
  ["tun_erspan_idx", 20, "number", [["tunnel", "erspan", "index"]]],
  ["tun_erspan_dir", 1, "number", [["tunnel", "erspan", "direction"]]],
  ["tun_erspan_hwid", 6, "number", [["tunnel", "erspan", "hardwareId"]]],
  ["tun_gtpu_flags", 8, "number", [["tunnel", "gtpu", "flags"]]],
  ["tun_gtpu_msgtype", 8, "number", [["tunnel", "gtpu", "messageType"]]],
  ["in_port", 32, "number", [["inPort"]]],
  ["skb_priority", 32, "number", [["priority"]]],
  ["pkt_mark", 32, "number", [["skbMark"]]],
  ["ct_state", 32, "flags", [["ctState"]], undefined, { flags: ctFlags }],
  ["ct_zone", 16, "number", [["ctZone"]]],
  ["ct_mark", 32, "number", [["ctMark"]]],
  ["ct_label", 128, "number", [["ctLabels"]]],
  ["ct_nw_src", 32, "ipv4", [["ctTuple4", "src"]], isIp4],
  ["ct_nw_dst", 32, "ipv4", [["ctTuple4", "dst"]], isIp4],
  ["ct_ipv6_src", 128, "ipv6", [["ctTuple6", "src"]], isIp6],
  ["ct_ipv6_dst", 128, "ipv6", [["ctTuple6", "dst"]], isIp6],
  ["ct_nw_proto", 8, "number", [["ctTuple4", "proto"], ["ctTuple6", "proto"]], isIp],
  ["ct_tp_src", 16, "number", [["ctTuple4", "srcPort"], ["ctTuple6", "srcPort"]], isIp],
  ["ct_tp_dst", 16, "number", [["ctTuple4", "dstPort"], ["ctTuple6", "dstPort"]], isIp],
  ["eth_src dl_src", 48, "ethernet", [["ethernet", "src"]]],
  ["eth_dst dl_dst", 48, "ethernet", [["ethernet", "dst"]]],
  ["eth_type dl_type", 16, "number", [["etherType"]], undefined, {
    isZeroIfAbsent: true,
  }],
  // The outermost tag.
  ["vlan_vid dl_vlan", 12, "number", [["vlans", 0, "vid"]], undefined, {
    isZeroIfAbsent: true,
  }],
  ["vlan_pcp dl_vlan_pcp", 3, "number", [["vlans", 0, "pcp"]], undefined, {
    isZeroIfAbsent: true,
  }],
  ["mpls_label", 20, "number", [["mpls", 0, "label"]], isMpls],
  ["mpls_tc", 3, "number", [["mpls", 0, "tc"]], isMpls],
  ["mpls_bos", 1, "number", [["mpls", 0, "bos"]], isMpls],
  ["mpls_ttl", 8, "number", [["mpls", 0, "ttl"]], isMpls],
  ["ip_src nw_src", 32, "ipv4", [["ipv4", "src"], ["arp", "sip"]], isIp4OrArp],
  ["ip_dst nw_dst", 32, "ipv4", [["ipv4", "dst"], ["arp", "tip"]], isIp4OrArp],
  ["ipv6_src", 128, "ipv6", [["ipv6", "src"]], isIp6],
  ["ipv6_dst", 128, "ipv6", [["ipv6", "dst"]], isIp6],
  ["ipv6_label", 20, "number", [["ipv6", "label"]], isIp6],
  [
    "nw_proto ip_proto",
    8,
    "number",
    [["ipv4", "proto"], ["ipv6", "proto"], ["arp", "op"]],
    isIpOrArp,
  ],
  ["nw_ttl", 8, "number", [["ipv4", "ttl"], ["ipv6", "hlimit"]], isIp],
  ["ip_frag nw_frag", 2, "fragment", [["ipv4", "frag"], ["ipv6", "frag"]], isIp],
  ["nw_tos", 8, "number", [["ipv4", "tos"], ["ipv6", "tclass"]], isIp],
  ["ip_dscp", 6, "number", [["ipv4", "tos"], ["ipv6", "tclass"]], isIp, { shift: 2 }],
  ["nw_ecn ip_ecn", 2, "number", [["ipv4", "tos"], ["ipv6", "tclass"]], isIp],
  ["nsh_flags", 8, "number", [["nsh", "flags"]], isNsh],
  ["nsh_ttl", 6, "number", [["nsh", "ttl"]], isNsh],
  ["nsh_mdtype", 8, "number", [["nsh", "mdtype"]], isNsh],
  ["nsh_np", 8, "number", [["nsh", "np"]], isNsh],
  ["nsh_spi nsp", 24, "number", [["nsh", "spi"]], isNsh],
  ["nsh_si nsi", 8, "number", [["nsh", "si"]], isNsh],
  ["nsh_c1 nshc1", 32, "number", [["nsh", "contexts", 0]], isNsh],
  ["nsh_c2 nshc2", 32, "number", [["nsh", "contexts", 1]], isNsh],
  ["nsh_c3 nshc3", 32, "number", [["nsh", "contexts", 2]], isNsh],
  ["nsh_c4 nshc4", 32, "number", [["nsh", "contexts", 3]], isNsh],
  ["arp_op", 16, "number", [["arp", "op"]], isArp],
  ["arp_spa", 32, "ipv4", [["arp", "sip"]], isArp],
  ["arp_tpa", 32, "ipv4", [["arp", "tip"]], isArp],
  ["arp_sha", 48, "ethernet", [["arp", "sha"]], isArp],
  ["arp_tha", 48, "ethernet", [["arp", "tha"]], isArp],
  ["tp_src", 16, "number", [
    ...ports.map((name): FieldPlace => [name, "src"]),
    ...icmps.map((name): FieldPlace => [name, "type"]),
  ], isLayer4],
  ["tp_dst", 16, "number", [
    ...ports.map((name): FieldPlace => [name, "dst"]),
    ...icmps.map((name): FieldPlace => [name, "code"]),
  ], isLayer4],
  ["tcp_src", 16, "number", [["tcp", "src"]], isTcp],
  ["tcp_dst", 16, "number", [["tcp", "dst"]], isTcp],
  ["tcp_flags", 12, "flags", [["tcpFlags"]], isTcp, { flags: TcpFlags }],
  ["udp_src", 16, "number", [["udp", "src"]], isUdp],
  ["udp_dst", 16, "number", [["udp", "dst"]], isUdp],
  ["sctp_src", 16, "number", [["sctp", "src"]], isSctp],
  ["sctp_dst", 16, "number", [["sctp", "dst"]], isSctp],
  ["icmp_type", 8, "number", [["icmp", "type"]], isIcmp],
  ["icmp_code", 8, "number", [["icmp", "code"]], isIcmp],
  ["icmpv6_type", 8, "number", [["icmpv6", "type"]], isIcmp6],
  ["icmpv6_code", 8, "number", [["icmpv6", "code"]], isIcmp6],
  ["nd_target", 128, "ipv6", [["nd", "target"]], isIcmp6],
  ["nd_sll", 48, "ethernet", [["nd", "sll"]], isIcmp6],
  ["nd_tll", 48, "ethernet", [["nd", "tll"]], isIcmp6],
  ["nd_reserved", 32, "number", [["ndExtensions", "reserved"]], isIcmp6],
  ["nd_options_type", 8, "number", [["ndExtensions", "optionsType"]], isIcmp6],
];

/** Every field, by each of its names. */
export const fields: ReadonlyMap<string, Field> = new Map(
  lines.flatMap(([names, bits, form, places, needs, more]) => {
    const all = names.split(" ");
    const field: Field = {
      name: all[0] as string,
      bits,
      form,
      places,
      shift: 0,
      isZeroIfAbsent: false,
      ...(needs !== undefined && { needs }),
      ...more,
    };
    return all.map((name): [string, Field] => [name, field]);
  }),
);

/**
 * Parses a value of a field, as ovs-fields(7) writes it; undefined if it is none. Flags by name
 * (`+trk-new`) have a mask of those that are named, other values of all bits.
 */
export function parseFieldValue(field: Field, text: string): FieldBits | undefined {
  const { form, bits, flags } = field;
  if (form === "fragment") return fragmentBits(text);
  if (flags !== undefined && /^[+-]/.test(text)) {
    let value = 0n;
    let mask = 0n;
    if (!/^([+-][a-z]+)+$/.test(text)) return undefined;
    for (const [, sign, name = ""] of text.matchAll(/([+-])([a-z]+)/g)) {
      const bit = flags.get(name);
      if (bit === undefined || (mask & bit) !== 0n) return undefined;
      mask |= bit;
      if (sign === "+") value |= bit;
    }
    return { value, mask };
  }
  if (flags !== undefined && /^[a-z]+(\|[a-z]+)*$/.test(text)) {
    const named = text.split("|").map((name) => flags.get(name));
    if (named.includes(undefined)) return undefined;
    const value = named.reduce<bigint>((sum, bit) => sum | (bit ?? 0n), 0n);
    return { value, mask: allBits(bits) };
  }
  const value = parseBits(form, text);
  return value === undefined ? undefined : { value, mask: allBits(bits) };
}

/**
 * A field of a key, and the bits of it that a mask has; all bits without a mask. A field that the
 * key lacks has no bits that matter, unless its absence says something.
 */
export function readField(
  { places, bits, shift, form, isZeroIfAbsent }: Field,
  key: FlowKey,
  mask: FlowMask | undefined,
): FieldBits {
  const all = allBits(bits);
  const place = places.find((candidate) => follow(key, candidate) !== undefined);
  if (place === undefined) return { value: 0n, mask: isZeroIfAbsent ? all : 0n };
  const width = bits + shift;
  // A mask of a fragment is a number, however its value is written.
  const cares = mask === undefined ? true : follow(mask, place);
  const bitsThatCount = bitsOf(cares, width) >> BigInt(shift) & all;
  const mine = form === "fragment" && bitsThatCount !== 0n ? all : bitsThatCount;
  const value = bitsOf(follow(key, place), width) >> BigInt(shift);
  return { value: value & mine, mask: mine };
}

/** What is at a place of a key or mask; `true` for a part of a mask that has every bit. */
function follow(from: unknown, place: FieldPlace): unknown {
  let value = from;
  for (const step of place) {
    if (value === true || value === undefined || value === null) return value;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}

const inIp4 = (proto?: number): readonly string[] => words("0x0800", proto);
const inIp6 = (proto?: number): readonly string[] => words("0x86dd", proto);

function words(etherType: string, proto?: number): readonly string[] {
  const type = `eth_type=${etherType}`;
  return proto === undefined ? [type] : [type, `nw_proto=${proto}`];
}

/** Words that stand for conditions: `tcp` is an EtherType and a protocol. */
export const keywords: ReadonlyMap<string, readonly string[]> = new Map([
  ["ip", inIp4()],
  ["ipv4", inIp4()],
  ["icmp", inIp4(1)],
  ["tcp", inIp4(6)],
  ["udp", inIp4(17)],
  ["sctp", inIp4(132)],
  ["arp", words("0x0806")],
  ["rarp", words("0x8035")],
  ["ipv6", inIp6()],
  ["ip6", inIp6()],
  ["icmp6", inIp6(58)],
  ["tcp6", inIp6(6)],
  ["udp6", inIp6(17)],
  ["sctp6", inIp6(132)],
  ["mpls", words("0x8847")],
  ["mplsm", words("0x8848")],
]);
