// SPDX-License-Identifier: Apache-2.0
/**
 * Flows: what is known of a packet on its way through the tables, packed into 32-bit words; and
 * matches, which are two of them.
 *
 * Every field of a match has its bits in such a flow, and fields that are one thing under several
 * names (`tcp_dst`, `udp_dst`) have the same ones. So two matches are equal when their words are,
 * whichever version of OpenFlow they came by. The words are in the order in which a lookup looks at
 * them: metadata, Ethernet, network, transport.
 *
 * @module
 */

/** Where things are: the number of their first word. */
export const Word = {
  conjId: 0,
  inPort: 1,
  metadata: 2,
  reg0: 4,
  tunId: 20,
  tunSrc: 22,
  tunDst: 23,
  tunIpv6Src: 24,
  tunIpv6Dst: 28,
  tunGbp: 32,
  pktMark: 33,
  dpHash: 34,
  recircId: 35,
  ctState: 36,
  ctZone: 37,
  ctMark: 38,
  ctLabel: 39,
  actsetOutput: 43,
  packetType: 44,
  ctNwSrc: 45,
  ctNwDst: 46,
  ctTp: 47,
  ctNwProto: 48,
  ctIpv6Src: 49,
  ctIpv6Dst: 53,
  /** Options of Geneve: their words, and a bit of 64 for each that is there. */
  tunOptions: 57,
  tunPresent: 121,
  dlDst: 123,
  dlSrc: 125,
  vlan: 127,
  dlType: 128,
  mpls: 129,
  nwSrc: 130,
  nwDst: 131,
  ipv6Src: 132,
  ipv6Dst: 136,
  ipv6Label: 140,
  nw: 141,
  ndTarget: 142,
  arpSha: 146,
  arpTha: 148,
  tcpFlags: 150,
  tp: 151,
} as const;

/** Words of a flow. */
export const FLOW_WORDS = 152;
/** Words that options of Geneve may fill. */
export const OPTION_WORDS = 64;
/** First word behind each stage of a lookup: metadata, Ethernet, network, transport. */
export const STAGE_ENDS: readonly number[] = [
  Word.dlDst,
  Word.nwSrc,
  Word.ndTarget,
  FLOW_WORDS,
];

/** Shifts within the word `nw`: protocol, TOS, TTL; the fragment bits are the low two. */
export const Nw = { proto: 24, tos: 16, ttl: 8, frag: 0 } as const;
/** The bit of a tag that says that it is there. */
export const VLAN_PRESENT = 0x1000;

/** A flow, or a mask of one. */
export type FlowWords = Uint32Array;

/** Makes a flow of zeros. */
export function flowWords(): FlowWords {
  return new Uint32Array(FLOW_WORDS);
}

/** Flows that were given back: one of its own takes longer to make than to fill. */
const spare: FlowWords[] = [];
const MAX_SPARE = 64;

/** A flow of zeros, which may be given back. */
export function takeWords(): FlowWords {
  return spare.pop()?.fill(0) ?? flowWords();
}

/** Gives flows back that nobody reads or writes any more. */
export function giveWords(...some: readonly FlowWords[]): void {
  if (spare.length < MAX_SPARE) spare.push(...some);
}

/** A match: a flow of which the bits of `mask` matter; the others are zero. */
export interface Match {
  readonly value: FlowWords;
  readonly mask: FlowWords;
}

/** Makes a match of all packets. */
export function anyMatch(): Match {
  return { value: flowWords(), mask: flowWords() };
}

/** Whether a packet fits. */
export function fits({ value, mask }: Match, flow: FlowWords): boolean {
  for (let i = 0; i < FLOW_WORDS; i++) {
    if (((value[i] as number) ^ (flow[i] as number)) & (mask[i] as number)) return false;
  }
  return true;
}

/** Bits of a flow. */
export interface BitPlace {
  /** First word. */
  readonly word: number;
  /** Bits below it in its word, for what fits into one. */
  readonly shift: number;
  /** Bits; more than 32 fill whole words, the first one partly. */
  readonly bits: number;
}

/** A mask of `bits` ones. */
export function ones(bits: number): bigint {
  return (1n << BigInt(bits)) - 1n;
}

/** Reads bits of a flow. */
export function readBits(words: FlowWords, { word, shift, bits }: BitPlace): bigint {
  if (bits <= 32) {
    const value = (words[word] as number) >>> shift;
    return BigInt(bits === 32 ? value : (value & (2 ** bits - 1)) >>> 0);
  }
  let value = 0n;
  for (let i = word; i < word + Math.ceil(bits / 32); i++) {
    value = value << 32n | BigInt(words[i] as number);
  }
  return value;
}

/** Writes bits of a flow. */
export function writeBits(
  words: FlowWords,
  { word, shift, bits }: BitPlace,
  value: bigint,
): void {
  if (bits <= 32) {
    const kept = bits === 32 ? 0 : ~((2 ** bits - 1) << shift);
    words[word] = (words[word] as number) & kept | Number(value) << shift;
    return;
  }
  let rest = value;
  for (let i = word + Math.ceil(bits / 32) - 1; i >= word; i--) {
    words[i] = Number(rest & 0xffffffffn);
    rest >>= 32n;
  }
}

/** Bits of a word. */
export function nwByte(words: FlowWords, shift: number): number {
  return (words[Word.nw] as number) >>> shift & 0xff;
}
