// SPDX-License-Identifier: Apache-2.0
/**
 * Matches as rules about fields: what may be said of a field once others are known.
 *
 * @module
 */
import { OfError } from "./error.ts";
import { type Field, fieldOfName, type Needs } from "./field.ts";
import {
  type FlowWords,
  type Match,
  Nw,
  nwByte,
  ones,
  VLAN_PRESENT,
  Word,
  writeBits,
} from "./flow.ts";
import { packMatch } from "./packed/packed_match.ts";

export const ETH_IP = 0x0800;
export const ETH_IPV6 = 0x86dd;
export const ETH_ARP = 0x0806;
export const ETH_RARP = 0x8035;
export const ETH_MPLS = 0x8847;
export const ETH_MPLS_MULTICAST = 0x8848;

const vlanPcp = fieldOfName("vlan_pcp");

/** Bits of a state of which one is set in each connection that the tracker knows. */
const CT_VALID = 0x0b;
/** Of the bits of fragments that of later ones, which have no header of layer 4. */
const LATER = 2;
/** Bits that only such a connection has; that it is tracked; that it is not known. */
const CT_TOLD = 0xcf;
const CT_TRACKED = 0x20;
const CT_INVALID = 0x10;

const TCP = 6;
const UDP = 17;
const SCTP = 132;
const ICMP = 1;
const ICMP6 = 58;

/** Whether a flow has an EtherType of ARP or RARP. */
export function isArp(type: number): boolean {
  return type === ETH_ARP || type === ETH_RARP;
}

/** Whether a flow has an EtherType of MPLS. */
export function isMpls(type: number): boolean {
  return type === ETH_MPLS || type === ETH_MPLS_MULTICAST;
}

/** Whether a flow is one that has what a field needs. */
export function hasWhatItNeeds(needs: Needs, flow: FlowWords): boolean {
  const type = flow[Word.dlType] as number;
  const isIp = type === ETH_IP || type === ETH_IPV6;
  const proto = nwByte(flow, Nw.proto);
  const isIcmp6 = type === ETH_IPV6 && proto === ICMP6;
  const isWhole = ((flow[Word.nw] as number) & LATER) === 0;
  const kind = (flow[Word.tp] as number) >>> 16;
  const code = (flow[Word.tp] as number) & 0xffff;
  switch (needs) {
    case "none":
      return true;
    case "ct":
      return ((flow[Word.ctState] as number) & CT_VALID) !== 0;
    case "vlan":
      return ((flow[Word.vlan] as number) & VLAN_PRESENT) !== 0;
    case "mpls":
      return isMpls(type);
    case "arp":
      return isArp(type);
    case "ipv4":
      return type === ETH_IP;
    case "ipv6":
      return type === ETH_IPV6;
    case "ip":
      return isIp;
    case "tcp":
      return isIp && isWhole && proto === TCP;
    case "udp":
      return isIp && isWhole && proto === UDP;
    case "sctp":
      return isIp && isWhole && proto === SCTP;
    case "icmp4":
      return type === ETH_IP && proto === ICMP;
    case "icmp6":
      return isIcmp6;
    case "nd":
      return isIcmp6 && (kind === 135 || kind === 136) && code === 0;
    case "nd_solicit":
      return isIcmp6 && kind === 135 && code === 0;
    case "nd_advert":
      return isIcmp6 && kind === 136 && code === 0;
  }
}

/**
 * Whether a match says that the packet is of a connection which the tracker knows. As in Open
 * vSwitch: by a bit that only such packets have, or by their not being invalid.
 */
export function saysConnection({ value, mask }: Match): boolean {
  const [is, says] = [value[Word.ctState] as number, mask[Word.ctState] as number];
  return (is & CT_TOLD) !== 0 ||
    (is & CT_TRACKED) !== 0 && (says & CT_INVALID) !== 0 && (is & CT_INVALID) === 0;
}

/**
 * A connection's tuple is there only where the match says that there is a connection, and of which
 * version of IP. Throws {@linkcode OfError} for a match that names it otherwise.
 */
export function checkTuple(match: Match): void {
  const { shape } = packMatch(match);
  const has = (from: number, to: number): boolean => shape.hasIn(from, to);
  if (!has(Word.ctNwSrc, Word.tunOptions)) return;
  const { value } = match;
  if (!saysConnection(match)) throw new OfError("OFPBMC_BAD_PREREQ", "the tuple of ct");
  const type = value[Word.dlType];
  const isOther = has(Word.ctNwSrc, Word.ctTp) && type !== ETH_IP ||
    has(Word.ctIpv6Src, Word.tunOptions) && type !== ETH_IPV6;
  if (isOther) throw new OfError("OFPBAC_MATCH_INCONSISTENT", "the tuple of ct");
}

/** Whether a match says what a field needs, exactly. */
function saysWhatItNeeds(needs: Needs, { value, mask }: Match): boolean {
  if (needs === "none") return true;
  if (needs === "ct") return saysConnection({ value, mask });
  if (needs === "vlan") {
    return ((mask[Word.vlan] as number) & VLAN_PRESENT) !== 0 &&
      hasWhatItNeeds(needs, value);
  }
  return mask[Word.dlType] === 0xffff && hasWhatItNeeds(needs, value);
}

/** All bits of a field. */
export function allOf(field: Field): bigint {
  return ones(field.bits);
}

/**
 * Has a match say something of a field, of which it said nothing: `value` and `mask` have its
 * words from `at` on, and bits of `value` outside `mask` do not count. Throws {@linkcode OfError}
 * for what the match does not allow.
 */
export function setWords(
  match: Match,
  field: Field,
  value: Int32Array,
  mask: Int32Array,
  at: number,
  strict: boolean,
): void {
  if (strict && field.needs !== "none" && !saysWhatItNeeds(field.needs, match)) {
    throw new OfError("OFPBMC_BAD_PREREQ", field.name);
  }
  const { word, wordCount, shift, topMask } = field;
  // A tag's number and its priority both say that it is there.
  let before = field === vlanPcp
    ? (match.mask[Word.vlan] as number) & 0xe000
    : (match.mask[word] as number) & topMask << shift;
  for (let i = 1; i < wordCount; i++) before |= match.mask[word + i] as number;
  if (before !== 0) throw new OfError("OFPBMC_DUP_FIELD", field.name);
  for (let i = 0; i < wordCount; i++) {
    const bits = mask[at + i] as number;
    const to = word + i;
    match.mask[to] = (match.mask[to] as number) | bits << shift;
    match.value[to] = (match.value[to] as number) |
      ((value[at + i] as number) & bits) << shift;
  }
  if (field === vlanPcp && mask[at] !== 0) sayTagged(match);
}

function sayTagged(match: Match): void {
  match.mask[Word.vlan] = (match.mask[Word.vlan] as number) | VLAN_PRESENT;
  match.value[Word.vlan] = (match.value[Word.vlan] as number) | VLAN_PRESENT;
}

/**
 * Has a match say something of a field, whatever it said before. Bits of `value` outside `mask` do
 * not count. Throws {@linkcode OfError}.
 */
export function putField(match: Match, field: Field, value: bigint, mask: bigint): void {
  if (!field.maskable && mask !== allOf(field) && mask !== 0n) {
    throw new OfError("OFPBMC_BAD_MASK", field.name);
  }
  if (value >> BigInt(field.bits) !== 0n) {
    throw new OfError("OFPBMC_BAD_VALUE", field.name);
  }
  writeBits(match.mask, field, mask);
  writeBits(match.value, field, value & mask);
  if (field === vlanPcp) sayTagged(match);
}

/** The bits of `mask` that a word of a flow may keep when a field is impossible. */
function clear(match: Match, word: number, count: number, bits = 0xffffffff): boolean {
  let changed = false;
  for (let i = word; i < word + count; i++) {
    const kept = ((match.mask[i] as number) & ~bits) >>> 0;
    if (kept === match.mask[i]) continue;
    changed = true;
    match.mask[i] = kept;
    match.value[i] = ((match.value[i] as number) & kept) >>> 0;
  }
  return changed;
}

/**
 * Takes away what the packets of a match cannot have. Matches of OpenFlow 1.0 and of text may say
 * such things; answers whether this one did.
 */
export function normalizeMatch(match: Match): boolean {
  const { value } = match;
  const type = value[Word.dlType] as number;
  const proto = nwByte(value, Nw.proto);
  const kind = (value[Word.tp] as number) >>> 16;
  const is4 = type === ETH_IP;
  const is6 = type === ETH_IPV6;
  const isAddressed = is4 || isArp(type);
  const hasPorts = (is4 || is6) && (proto === TCP || proto === UDP || proto === SCTP) ||
    is4 && proto === ICMP || is6 && proto === ICMP6;
  const isNd = is6 && proto === ICMP6 && (kind === 135 || kind === 136);
  let changed = false;
  const unless = (may: boolean, word: number, count: number, bits?: number): void => {
    if (!may && clear(match, word, count, bits)) changed = true;
  };
  unless(isAddressed, Word.nwSrc, 2);
  unless(hasPorts, Word.tp, 1);
  unless(is4 || is6 || isArp(type), Word.nw, 1, 0xff << Nw.proto);
  unless(is4 || is6, Word.nw, 1, 0x00ffff00);
  unless(isArp(type) || isNd && kind === 135, Word.arpSha, 2);
  unless(isArp(type) || isNd && kind === 136, Word.arpTha, 2);
  unless(is6, Word.ipv6Src, 9);
  unless(isNd, Word.ndTarget, 4);
  unless(isMpls(type), Word.mpls, 1);
  return changed;
}
