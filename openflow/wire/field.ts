// SPDX-License-Identifier: Apache-2.0
/**
 * The fields of matches, a line for each: where its bits are in a flow, its numbers on the wire,
 * and what a match must say before it may name it.
 *
 * Sources: OpenFlow 1.5.1, "Flow Match Fields"; numbers of Nicira's extensions and prerequisites as
 * in ovs-fields(7).
 *
 * @module
 */
import { type BitPlace, Nw, Word } from "./flow.ts";

/** How values are written. */
export type FieldForm =
  | "decimal"
  | "hex"
  | "mac"
  | "ipv4"
  | "ipv6"
  | "port"
  | "frag"
  | "tcpFlags"
  | "ctState";

/** What a match must say before it may name a field. */
export type Needs =
  | "none"
  | "ct"
  | "vlan"
  | "mpls"
  | "arp"
  | "ipv4"
  | "ipv6"
  | "ip"
  | "tcp"
  | "udp"
  | "sctp"
  | "icmp4"
  | "icmp6"
  | "nd"
  | "nd_solicit"
  | "nd_advert";

/** A field. */
export interface Field extends BitPlace {
  /** Its name in ovs-fields(7). */
  readonly name: string;
  /** Its other names. */
  readonly aliases: readonly string[];
  /** Bytes of its value on the wire. */
  readonly size: number;
  /** Words of a flow that it fills, and its bits in the first of them, as if it began at bit 0. */
  readonly wordCount: number;
  readonly topMask: number;
  /** Bits of the value below the field: a DSCP in the TOS of Nicira's. */
  readonly wireShift: number;
  readonly form: FieldForm;
  readonly needs: Needs;
  /** Whether single bits can be matched. */
  readonly maskable: boolean;
  /** Whether actions may change it. */
  readonly writable: boolean;
  /** Header in class 0x8000 or another of OpenFlow's own: `class << 16 | field << 9`. */
  readonly oxm: number | undefined;
  /** First version of OpenFlow that has it: 3 for 1.2. */
  readonly oxmSince: number;
  /** Header in a class of Nicira's. */
  readonly nxm: number | undefined;
  /** Of an option of Geneve the number of its field, `tun_metadata5`. */
  readonly option?: number;
  /** Experimenter's header, with its vendor. */
  readonly experimenter: { readonly header: number; readonly vendor: number } | undefined;
}

const OF = 0x0000;
const NX = 0x0001;

/** Flags: m maskable, r read only. */
type Line = readonly [
  names: string,
  word: number,
  shift: number,
  bits: number,
  form: FieldForm,
  needs: Needs,
  flags: string,
  oxm: number | string | undefined,
  nxm: readonly [kind: number, field: number] | undefined,
  more?: Partial<Pick<Field, "size" | "wireShift">>,
];

const lines: readonly Line[] = [
  ["dp_hash", Word.dpHash, 0, 32, "hex", "none", "mr", "nx0", [NX, 35]],
  ["recirc_id", Word.recircId, 0, 32, "decimal", "none", "r", undefined, [NX, 36]],
  ["packet_type", Word.packetType, 0, 32, "hex", "none", "r", "44@6", undefined],
  ["conj_id", Word.conjId, 0, 32, "decimal", "none", "r", undefined, [NX, 37]],
  ["tun_id tunnel_id", Word.tunId, 0, 64, "hex", "none", "m", "38@4", [NX, 16]],
  ["tun_src", Word.tunSrc, 0, 32, "ipv4", "none", "m", undefined, [NX, 31]],
  ["tun_dst", Word.tunDst, 0, 32, "ipv4", "none", "m", undefined, [NX, 32]],
  ["tun_ipv6_src", Word.tunIpv6Src, 0, 128, "ipv6", "none", "m", undefined, [NX, 109]],
  ["tun_ipv6_dst", Word.tunIpv6Dst, 0, 128, "ipv6", "none", "m", undefined, [NX, 110]],
  ["tun_gbp_id", Word.tunGbp, 16, 16, "decimal", "none", "m", undefined, [NX, 38]],
  ["tun_gbp_flags", Word.tunGbp, 8, 8, "hex", "none", "m", undefined, [NX, 39]],
  ["metadata", Word.metadata, 0, 64, "hex", "none", "m", 2, undefined],
  ["in_port", Word.inPort, 0, 32, "port", "none", "", undefined, [OF, 0], { size: 2 }],
  ["in_port_oxm", Word.inPort, 0, 32, "port", "none", "", 0, undefined],
  ["pkt_mark", Word.pktMark, 0, 32, "hex", "none", "m", undefined, [NX, 33]],
  ["ct_state", Word.ctState, 0, 8, "ctState", "none", "mr", undefined, [NX, 105], {
    size: 4,
  }],
  ["ct_zone", Word.ctZone, 0, 16, "decimal", "none", "r", undefined, [NX, 106]],
  ["ct_mark", Word.ctMark, 0, 32, "hex", "none", "m", undefined, [NX, 107]],
  ["ct_label", Word.ctLabel, 0, 128, "hex", "none", "m", undefined, [NX, 108]],
  ["ct_nw_proto", Word.ctNwProto, 0, 8, "decimal", "ct", "r", undefined, [NX, 119]],
  ["ct_nw_src", Word.ctNwSrc, 0, 32, "ipv4", "ct", "mr", undefined, [NX, 120]],
  ["ct_nw_dst", Word.ctNwDst, 0, 32, "ipv4", "ct", "mr", undefined, [NX, 121]],
  ["ct_ipv6_src", Word.ctIpv6Src, 0, 128, "ipv6", "ct", "mr", undefined, [NX, 122]],
  ["ct_ipv6_dst", Word.ctIpv6Dst, 0, 128, "ipv6", "ct", "mr", undefined, [NX, 123]],
  ["ct_tp_src", Word.ctTp, 16, 16, "decimal", "ct", "mr", undefined, [NX, 124]],
  ["ct_tp_dst", Word.ctTp, 0, 16, "decimal", "ct", "mr", undefined, [NX, 125]],
  ["actset_output", Word.actsetOutput, 0, 32, "port", "none", "r", "onf43", undefined],
  ...registers("reg", 16, 32, (i) => [undefined, [NX, i]]),
  ...registers("xreg", 8, 64, (i) => [`r${i}`, undefined]),
  ...registers("xxreg", 4, 128, (i) => [undefined, [NX, 111 + i]]),
  ["eth_src dl_src", Word.dlSrc, 0, 48, "mac", "none", "m", 4, [OF, 2]],
  ["eth_dst dl_dst", Word.dlDst, 0, 48, "mac", "none", "m", 3, [OF, 1]],
  ["eth_type dl_type", Word.dlType, 0, 16, "hex", "none", "r", 5, [OF, 3]],
  ["vlan_tci", Word.vlan, 0, 16, "hex", "none", "m", undefined, [OF, 4]],
  ["vlan_vid", Word.vlan, 0, 13, "decimal", "none", "m", 6, undefined],
  ["vlan_pcp", Word.vlan, 13, 3, "decimal", "vlan", "", 7, undefined],
  ["mpls_label", Word.mpls, 12, 20, "decimal", "mpls", "", 34, undefined, { size: 4 }],
  ["mpls_tc", Word.mpls, 9, 3, "decimal", "mpls", "", 35, undefined],
  ["mpls_bos", Word.mpls, 8, 1, "decimal", "mpls", "r", "36@4", undefined],
  ["mpls_ttl", Word.mpls, 0, 8, "decimal", "mpls", "", undefined, [NX, 30]],
  ["ip_src nw_src", Word.nwSrc, 0, 32, "ipv4", "ipv4", "m", 11, [OF, 7]],
  ["ip_dst nw_dst", Word.nwDst, 0, 32, "ipv4", "ipv4", "m", 12, [OF, 8]],
  ["ipv6_src", Word.ipv6Src, 0, 128, "ipv6", "ipv6", "m", 26, [NX, 19]],
  ["ipv6_dst", Word.ipv6Dst, 0, 128, "ipv6", "ipv6", "m", 27, [NX, 20]],
  ["ipv6_label", Word.ipv6Label, 0, 20, "hex", "ipv6", "m", 28, [NX, 27], { size: 4 }],
  ["nw_proto ip_proto", Word.nw, Nw.proto, 8, "decimal", "ip", "r", 10, [OF, 6]],
  ["nw_tos", Word.nw, Nw.tos + 2, 6, "decimal", "ip", "", undefined, [OF, 5], {
    wireShift: 2,
  }],
  ["ip_dscp", Word.nw, Nw.tos + 2, 6, "decimal", "ip", "", 8, undefined],
  ["nw_ecn ip_ecn", Word.nw, Nw.tos, 2, "decimal", "ip", "", 9, [NX, 28]],
  ["nw_ttl", Word.nw, Nw.ttl, 8, "decimal", "ip", "", undefined, [NX, 29]],
  ["ip_frag nw_frag", Word.nw, Nw.frag, 2, "frag", "ip", "mr", undefined, [NX, 26]],
  ["arp_op", Word.nw, Nw.proto, 8, "decimal", "arp", "", 21, [OF, 15], { size: 2 }],
  ["arp_spa", Word.nwSrc, 0, 32, "ipv4", "arp", "m", 22, [OF, 16]],
  ["arp_tpa", Word.nwDst, 0, 32, "ipv4", "arp", "m", 23, [OF, 17]],
  ["arp_sha", Word.arpSha, 0, 48, "mac", "arp", "m", 24, [NX, 17]],
  ["arp_tha", Word.arpTha, 0, 48, "mac", "arp", "m", 25, [NX, 18]],
  ["tcp_src", Word.tp, 16, 16, "decimal", "tcp", "m", 13, [OF, 9]],
  ["tcp_dst", Word.tp, 0, 16, "decimal", "tcp", "m", 14, [OF, 10]],
  ["tcp_flags", Word.tcpFlags, 0, 12, "tcpFlags", "tcp", "mr", "onf42", [NX, 34]],
  ["udp_src", Word.tp, 16, 16, "decimal", "udp", "m", 15, [OF, 11]],
  ["udp_dst", Word.tp, 0, 16, "decimal", "udp", "m", 16, [OF, 12]],
  ["sctp_src", Word.tp, 16, 16, "decimal", "sctp", "m", 17, undefined],
  ["sctp_dst", Word.tp, 0, 16, "decimal", "sctp", "m", 18, undefined],
  ["icmp_type", Word.tp, 16, 16, "decimal", "icmp4", "", 19, [OF, 13], { size: 1 }],
  ["icmp_code", Word.tp, 0, 16, "decimal", "icmp4", "", 20, [OF, 14], { size: 1 }],
  ["icmpv6_type", Word.tp, 16, 16, "decimal", "icmp6", "", 29, [NX, 21], { size: 1 }],
  ["icmpv6_code", Word.tp, 0, 16, "decimal", "icmp6", "", 30, [NX, 22], { size: 1 }],
  ["nd_target", Word.ndTarget, 0, 128, "ipv6", "nd", "m", 31, [NX, 23]],
  ["nd_sll", Word.arpSha, 0, 48, "mac", "nd_solicit", "m", 32, [NX, 24]],
  ["nd_tll", Word.arpTha, 0, 48, "mac", "nd_advert", "m", 33, [NX, 25]],
];

function registers(
  name: string,
  count: number,
  bits: number,
  ids: (i: number) => readonly [Line[7], Line[8]],
): Line[] {
  return Array.from({ length: count }, (_, i) => {
    const [oxm, nxm] = ids(i);
    const word = Word.reg0 + i * bits / 32;
    return [`${name}${i}`, word, 0, bits, "hex", "none", "m", oxm, nxm];
  });
}

/** Fields of Geneve's options, which each switch has of its own. */
export interface OptionFields {
  /** The field with a number, 0 to 63; undefined where no option is mapped to it. */
  optionField(index: number): Field | undefined;
  /** All of them, by number. */
  optionFields(): readonly Field[];
}

/** The field of an option of `size` bytes, whose words begin at `word`. */
export function makeOptionField(index: number, size: number, word: number): Field {
  const name = `tun_metadata${index}`;
  const line: Line = [name, word, 0, 8 * size, "hex", "none", "m", undefined, [
    NX,
    40 + index,
  ]];
  return { ...fieldOf(line), option: index };
}

/**
 * Bits that parts of a field are counted in, which are those of the wire: the port of OpenFlow 1.0
 * has 16 of 32, types and codes of ICMP 8 of 16. As in Open vSwitch, opcodes of ARP and states of
 * connections have all bits of the wire, though the high ones are zero in every packet.
 */
export function partBits({ size, bits, name, form }: Field): number {
  const isWide = name === "arp_op" || form === "ctState";
  return isWide ? 8 * size : Math.min(8 * size, bits);
}

/** Experimenter numbers that fields have. */
const NICIRA = 0x2320;
const ONF = 0x4f4e4600;

function fieldOf(
  [names, word, shift, bits, form, needs, flags, oxm, nxm, more]: Line,
): Field {
  const [name = "", ...aliases] = names.split(" ");
  const plain = /^(\d+)@(\d)$/.exec(String(oxm));
  const onf = /^onf(\d+)$/.exec(String(oxm))?.[1];
  const nx = /^nx(\d+)$/.exec(String(oxm))?.[1];
  const register = /^r(\d+)$/.exec(String(oxm))?.[1];
  const number = typeof oxm === "number" ? oxm : Number(plain?.[1] ?? onf ?? NaN);
  return {
    name,
    aliases,
    word,
    shift,
    bits,
    form,
    needs,
    size: more?.size ?? Math.ceil(bits / 8),
    wordCount: Math.ceil(bits / 32),
    topMask: bits % 32 === 0 ? -1 : 2 ** (bits % 32) - 1,
    wireShift: more?.wireShift ?? 0,
    maskable: flags.includes("m"),
    writable: !flags.includes("r"),
    oxm: register !== undefined
      ? (0x8001 << 16 | Number(register) << 9) >>> 0
      : Number.isNaN(number)
      ? undefined
      : (0x8000 << 16 | number << 9) >>> 0,
    oxmSince: onf !== undefined ? 6 : Number(plain?.[2] ?? 3),
    nxm: nxm && (nxm[0] << 16 | nxm[1] << 9) >>> 0,
    experimenter: onf !== undefined
      ? { header: (0xffff << 16 | Number(onf) << 9) >>> 0, vendor: ONF }
      : nx !== undefined
      ? { header: (0xffff << 16 | Number(nx) << 9) >>> 0, vendor: NICIRA }
      : undefined,
  };
}

/** Whether a field is a register of one word: nothing but later lookups depends on it. */
export function isRegister({ word, wordCount }: Field): boolean {
  return wordCount === 1 && word >= Word.metadata && word < Word.tunId;
}

/** What fields of layer 4 need. */
export const isOfTransport: ReadonlySet<Needs> = new Set<Needs>([
  "tcp",
  "udp",
  "sctp",
  "icmp4",
  "icmp6",
  "nd",
  "nd_solicit",
  "nd_advert",
]);

/** All fields. */
export const fields: readonly Field[] = lines.map(fieldOf);

const byName = new Map(
  fields.flatMap((field) => [field.name, ...field.aliases].map((name) => [name, field])),
);

/** The field with a name; undefined if there is none. */
export function fieldNamed(name: string): Field | undefined {
  return byName.get(name);
}

/** The field that this program names. Throws `TypeError` if there is none. */
export function fieldOfName(name: string): Field {
  const found = byName.get(name);
  if (found === undefined) throw new TypeError(`there is no field "${name}"`);
  return found;
}

const byHeader = new Map<number, Field>();
for (const field of fields) {
  // By class and number, which are small integers: they are looked up for every field that comes.
  if (field.oxm !== undefined) byHeader.set(field.oxm >>> 9, field);
  if (field.nxm !== undefined) byHeader.set(field.nxm >>> 9, field);
}
const byExperimenter = new Map<string, Field>();
for (const field of fields) {
  const { experimenter } = field;
  if (experimenter === undefined) continue;
  byExperimenter.set(`${experimenter.header} ${experimenter.vendor}`, field);
}

/** The field with a header of 32 bits, in which mask bit and length do not count. */
export function fieldOfHeader(header: number, vendor?: number): Field | undefined {
  if (vendor === undefined) return byHeader.get(header >>> 9);
  const bare = (header & 0xfffffe00) >>> 0;
  return byExperimenter.get(`${bare} ${vendor}`);
}

/** The name that a field has in Open vSwitch's `NXM_...` and `OXM_...` notation. */
export function nxmName(field: Field): string {
  const upper = wireNames[field.name] ?? field.name.toUpperCase();
  if (field.nxm !== undefined) {
    return `NXM_${field.nxm >>> 16 === OF ? "OF" : "NX"}_${upper}`;
  }
  if (field.name.startsWith("xreg")) return `OXM_OF_PKT_REG${field.name.slice(4)}`;
  return `OXM_OF_${upper}`;
}

/** Fields whose name on the wire is not that of matches. */
const wireNames: Readonly<Record<string, string>> = {
  in_port_oxm: "IN_PORT",
  vlan_tci: "VLAN_TCI",
  nw_proto: "IP_PROTO",
  nw_tos: "IP_TOS",
  nw_ecn: "IP_ECN",
  tun_src: "TUN_IPV4_SRC",
  tun_dst: "TUN_IPV4_DST",
  icmpv6_type: "ICMPV6_TYPE",
  icmpv6_code: "ICMPV6_CODE",
};

/** The field of a name in that notation, `NXM_NX_REG0` or `OXM_OF_ETH_DST`. */
export function fieldOfNxmName(name: string): Field | undefined {
  return nxmNames.get(name);
}

const nxmNames = new Map<string, Field>();
for (const field of fields) {
  const upper = wireNames[field.name] ?? field.name.toUpperCase();
  if (field.nxm !== undefined) nxmNames.set(nxmName(field), field);
  if (field.oxm !== undefined && !field.name.startsWith("xreg")) {
    const oxm: Readonly<Record<string, string>> = {
      IP_SRC: "IPV4_SRC",
      IP_DST: "IPV4_DST",
      ICMP_TYPE: "ICMPV4_TYPE",
      ICMP_CODE: "ICMPV4_CODE",
      TUN_ID: "TUNNEL_ID",
      IPV6_LABEL: "IPV6_FLABEL",
    };
    nxmNames.set(`OXM_OF_${oxm[upper] ?? upper}`, field);
  }
  if (field.name.startsWith("xreg")) nxmNames.set(nxmName(field), field);
}
