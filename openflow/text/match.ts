// SPDX-License-Identifier: Apache-2.0
/**
 * Matches in the notation of ovs-ofctl(8), both ways.
 *
 * @module
 */
import { OfError } from "../wire/error.ts";
import { type Field, fieldNamed, fieldOfName, type OptionFields } from "../wire/field.ts";
import {
  anyMatch,
  type Match,
  Nw,
  nwByte,
  readBits,
  VLAN_PRESENT,
  Word,
} from "../wire/flow.ts";
import { allOf, ETH_IP, ETH_IPV6, isArp, putField } from "../wire/match.ts";
import {
  alternateHex,
  formatFlags,
  formatPort,
  formatValue,
  parseBig,
  parseValue,
  type PortNames,
} from "./value.ts";

/** Priority of a flow that says none. */
export const DEFAULT_PRIORITY = 0x8000;

/** Words for kinds of packets: EtherType, and protocol if one is meant. */
const words: readonly (readonly [word: string, type: number, proto?: number])[] = [
  ["ip", ETH_IP],
  ["icmp", ETH_IP, 1],
  ["tcp", ETH_IP, 6],
  ["udp", ETH_IP, 17],
  ["sctp", ETH_IP, 132],
  ["ipv6", ETH_IPV6],
  ["icmp6", ETH_IPV6, 58],
  ["tcp6", ETH_IPV6, 6],
  ["udp6", ETH_IPV6, 17],
  ["sctp6", ETH_IPV6, 132],
  ["arp", 0x0806],
  ["rarp", 0x8035],
  ["mpls", 0x8847],
  ["mplsm", 0x8848],
];

/** How matches are written. */
export interface FormatOptions {
  /** Names of ports. */
  readonly ports?: PortNames | undefined;
  /** Fields of options that the switch has. */
  readonly options?: OptionFields | undefined;
}

/** Writes a match; a priority that is not the usual one comes first. */
export function formatMatch(
  match: Match,
  priority = DEFAULT_PRIORITY,
  { ports, options }: FormatOptions = {},
): string {
  const parts: string[] = [];
  if (priority !== DEFAULT_PRIORITY) parts.push(`priority=${priority}`);
  const { value, mask } = match;
  const put = (name: string, label = name, form = plain): void => {
    const field = fieldOfName(name);
    const bits = readBits(mask, field);
    if (bits === 0n) return;
    parts.push(`${label}=${form(field, readBits(value, field), bits)}`);
  };
  for (const name of ["pkt_mark", "recirc_id", "dp_hash", "conj_id"]) {
    put(name, name, name === "conj_id" ? plain : sharp);
  }
  if (mask[Word.actsetOutput] !== 0) {
    parts.push(`actset_output=${formatPort(value[Word.actsetOutput] as number, ports)}`);
  }
  putState(match, parts);
  put("ct_zone");
  put("ct_mark", "ct_mark", sharp);
  put("ct_label");
  for (const name of ["ct_nw_src", "ct_ipv6_src", "ct_nw_dst", "ct_ipv6_dst"]) put(name);
  for (const name of ["ct_nw_proto", "ct_tp_src", "ct_tp_dst"]) put(name);
  const { word, saysType, saysProto } = wordOf(match);
  if (word !== undefined) parts.push(word);
  for (let i = 0; i < 16; i++) put(`reg${i}`, `reg${i}`, sharp);
  put("tun_id", "tun_id", sharp);
  for (const name of ["tun_src", "tun_dst", "tun_ipv6_src", "tun_ipv6_dst"]) put(name);
  put("tun_gbp_id");
  put("tun_gbp_flags");
  for (const field of options?.optionFields() ?? []) {
    const bits = readBits(mask, field);
    if (bits === 0n) continue;
    parts.push(`${field.name}=${sharp(field, readBits(value, field), bits)}`);
  }
  put("metadata", "metadata", sharp);
  if (mask[Word.inPort] !== 0) {
    parts.push(`in_port=${portText(value[Word.inPort] as number, ports)}`);
  }
  putTag(match, parts);
  put("eth_src", "dl_src");
  put("eth_dst", "dl_dst");
  if (!saysType) put("eth_type", "dl_type", (_, bits) => `0x${pad(bits, 4)}`);
  putNetwork(match, put, saysProto);
  putTransport(match, parts, put);
  return parts.join(",");
}

function portText(port: number, ports: PortNames | undefined): string {
  const name = formatPort(port, ports);
  return /^[\w-]+$/.test(name) ? name : `"${name}"`;
}

function pad(value: bigint, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

function plain(field: Field, value: bigint, mask: bigint): string {
  return formatValue(field, value, mask);
}

/** Hexadecimal with a zero that is `0`. */
function sharp(field: Field, value: bigint, mask: bigint): string {
  const isWhole = mask === allOf(field);
  return alternateHex(value) + (isWhole ? "" : `/${alternateHex(mask)}`);
}

function putState({ value, mask }: Match, parts: string[]): void {
  const field = fieldOfName("ct_state");
  const bits = readBits(mask, field);
  if (bits !== 0n) {
    parts.push(`ct_state=${formatFlags(field, readBits(value, field), bits)}`);
  }
}

function wordOf({ value, mask }: Match): {
  readonly word: string | undefined;
  readonly saysType: boolean;
  readonly saysProto: boolean;
} {
  if (mask[Word.dlType] === 0) {
    return { word: undefined, saysType: false, saysProto: false };
  }
  const type = value[Word.dlType] as number;
  const hasProto = nwByte(mask, Nw.proto) !== 0;
  const proto = nwByte(value, Nw.proto);
  const exact = words.find(([, of, number]) =>
    of === type && hasProto && number !== undefined && number === proto
  );
  const found = exact ??
    words.find(([, of, number]) => of === type && number === undefined);
  return {
    word: found?.[0],
    saysType: found !== undefined,
    saysProto: exact !== undefined,
  };
}

function putTag({ value, mask }: Match, parts: string[]): void {
  const tci = mask[Word.vlan] as number;
  if (tci === 0) return;
  const tag = value[Word.vlan] as number;
  const vid = tci & 0xfff;
  const pcp = tci & 0xe000;
  const isPlain = (tci & VLAN_PRESENT) !== 0 && (tag & VLAN_PRESENT) !== 0 &&
    (vid === 0 || vid === 0xfff) && (pcp === 0 || pcp === 0xe000) && (vid | pcp) !== 0;
  if (isPlain) {
    if (vid !== 0) parts.push(`dl_vlan=${tag & 0xfff}`);
    if (pcp !== 0) parts.push(`dl_vlan_pcp=${tag >> 13}`);
  } else if (tci === 0xffff) parts.push(`vlan_tci=0x${pad(BigInt(tag), 4)}`);
  else parts.push(`vlan_tci=0x${pad(BigInt(tag), 4)}/0x${pad(BigInt(tci), 4)}`);
}

type Put = (name: string, label?: string, form?: typeof plain) => void;

function putNetwork({ value }: Match, put: Put, saysProto: boolean): void {
  const type = value[Word.dlType] as number;
  if (type === ETH_IPV6) {
    put("ipv6_src");
    put("ipv6_dst");
    put("ipv6_label", "ipv6_label", (field, bits, mask) => {
      const isWhole = mask === allOf(field);
      return `0x${pad(bits, 5)}` + (isWhole ? "" : `/0x${pad(mask, 5)}`);
    });
  } else if (isArp(type)) {
    put("arp_spa");
    put("arp_tpa");
  } else {
    put("ip_src", "nw_src");
    put("ip_dst", "nw_dst");
  }
  if (!saysProto) put("nw_proto", isArp(type) ? "arp_op" : "nw_proto");
  if (isArp(type)) {
    put("arp_sha");
    put("arp_tha");
  }
  put("nw_tos", "nw_tos", (_, bits) => `${bits << 2n}`);
  for (const name of ["nw_ecn", "nw_ttl"]) put(name);
  for (const name of ["mpls_label", "mpls_tc", "mpls_ttl", "mpls_bos"]) put(name);
  put("ip_frag", "nw_frag");
}

function putTransport({ value, mask }: Match, parts: string[], put: Put): void {
  const type = value[Word.dlType] as number;
  const proto = nwByte(value, Nw.proto);
  const isIcmp = type === ETH_IP && proto === 1 || type === ETH_IPV6 && proto === 58;
  put("tcp_src", isIcmp ? "icmp_type" : "tp_src");
  put("tcp_dst", isIcmp ? "icmp_code" : "tp_dst");
  if (type === ETH_IPV6 && proto === 58) {
    put("nd_target");
    put("nd_sll");
    put("nd_tll");
  }
  const flags = fieldOfName("tcp_flags");
  const bits = readBits(mask, flags);
  if (bits !== 0n) {
    parts.push(`tcp_flags=${formatFlags(flags, readBits(value, flags), bits)}`);
  }
}

/** Splits `a=1,b=f(x,y),c` at the commas that are in no brackets. */
export function splitParts(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = text[i];
    if (c === "(" || c === "[") depth++;
    else if (c === ")" || c === "]") depth--;
    else if (i === text.length || depth === 0 && (c === "," || /\s/.test(c as string))) {
      const part = text.slice(start, i).trim();
      if (part !== "") parts.push(part);
      start = i + 1;
    }
  }
  return parts;
}

/** Fields that are written by another name than theirs, or that depend on the kind of packet. */
function fieldFor(name: string, match: Match): Field | undefined {
  const type = match.value[Word.dlType] as number;
  const proto = nwByte(match.value, Nw.proto);
  if (isArp(type)) {
    const arp: Readonly<Record<string, string>> = {
      nw_src: "arp_spa",
      nw_dst: "arp_tpa",
      nw_proto: "arp_op",
    };
    if (arp[name] !== undefined) return fieldNamed(arp[name] as string);
  }
  if (name === "tp_src" || name === "tp_dst") {
    const kinds: Readonly<Record<number, string>> = { 6: "tcp", 17: "udp", 132: "sctp" };
    const kind = kinds[proto];
    if (kind !== undefined) return fieldNamed(`${kind}_${name.slice(3)}`);
    const icmp = type === ETH_IPV6 ? "icmpv6" : "icmp";
    return fieldNamed(`${icmp}_${name === "tp_src" ? "type" : "code"}`);
  }
  if ((name === "icmp_type" || name === "icmp_code") && type === ETH_IPV6) {
    return fieldNamed(name.replace("icmp", "icmpv6"));
  }
  return fieldNamed(name);
}

/**
 * Reads one part of a match into it; false if it is none: the words of a flow come among them.
 * Throws `SyntaxError`.
 */
export function parseMatchPart(match: Match, part: string, ports?: PortNames): boolean {
  const at = part.indexOf("=");
  const name = at < 0 ? part : part.slice(0, at);
  const text = at < 0 ? undefined : part.slice(at + 1).replace(/^"(.*)"$/, "$1");
  const word = words.find(([of]) => of === name);
  if (word !== undefined && text === undefined) {
    put(match, fieldOfName("eth_type"), BigInt(word[1]));
    if (word[2] !== undefined) put(match, fieldOfName("nw_proto"), BigInt(word[2]));
    return true;
  }
  if (text === undefined) return false;
  if (name === "dl_vlan" || name === "dl_vlan_pcp") {
    parseTag(match, name, text);
    return true;
  }
  const field = fieldFor(name, match);
  if (field === undefined) return false;
  if (field.name === "nw_tos") {
    put(match, field, parseBig(text) >> 2n);
    return true;
  }
  const { value, mask } = parseValue(field, text, ports);
  const isTag = field.name === "vlan_vid" && mask === allOf(field) && value < 0x1000n;
  put(match, field, isTag ? value | 0x1000n : value, mask);
  return true;
}

function parseTag(match: Match, name: string, text: string): void {
  const number = Number(parseBig(text));
  if (name === "dl_vlan_pcp") put(match, fieldOfName("vlan_pcp"), BigInt(number));
  else if (number === 0xffff) put(match, fieldOfName("vlan_tci"), 0n);
  else put(match, fieldOfName("vlan_vid"), BigInt(number | VLAN_PRESENT));
}

function put(match: Match, field: Field, value: bigint, mask = allOf(field)): void {
  try {
    putField(match, field, value, mask);
  } catch (error) {
    if (error instanceof OfError) {
      throw new SyntaxError(`${field.name} cannot be ${value}: ${error.message}`);
    }
    throw error;
  }
}

/** Reads a match. Throws `SyntaxError`. */
export function parseMatch(text: string, ports?: PortNames): Match {
  const match = anyMatch();
  for (const part of splitParts(text)) {
    if (!parseMatchPart(match, part, ports)) throw new SyntaxError(`${part} is no field`);
  }
  return match;
}
