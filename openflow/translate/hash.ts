// SPDX-License-Identifier: Apache-2.0
/**
 * Hashes of packets by the program: which fields they have, which of these matter then, and what
 * is chosen by them. Fields are those of Open vSwitch; values are not.
 *
 * @module
 */
import type { HashFields, MultipathAction } from "../wire/action.ts";
import { fieldOfName } from "../wire/field.ts";
import { readBits } from "../wire/flow.ts";
import type { Way } from "./way.ts";

/** Mixes a value into a hash of 32 bits. */
export function mix(hash: number, value: bigint): number {
  let mixed = hash;
  for (let rest = value; rest !== 0n; rest >>= 32n) {
    mixed = Math.imul(mixed ^ Number(rest & 0xffffffffn), 0x9e3779b1);
    mixed = (mixed ^ mixed >>> 15) >>> 0;
  }
  return mixed;
}

const pairs = {
  l2: [["eth_src", "eth_dst"]],
  l3: [["ip_src", "ip_dst"], ["ipv6_src", "ipv6_dst"]],
  l4: [["tcp_src", "tcp_dst"], ["sctp_src", "sctp_dst"]],
  udp: [["udp_src", "udp_dst"]],
} as const;

/** What a hash has: pairs whose ends may be exchanged, and single fields. */
const kinds: Readonly<
  Record<HashFields, {
    readonly pairs: readonly (readonly [string, string])[];
    readonly fields: readonly string[];
  }>
> = {
  eth_src: { pairs: [], fields: ["eth_src"] },
  symmetric_l4: {
    pairs: [...pairs.l2, ...pairs.l3, ...pairs.l4],
    fields: ["eth_type", "vlan_vid", "nw_proto"],
  },
  symmetric_l3l4: { pairs: [...pairs.l3, ...pairs.l4], fields: ["nw_proto"] },
  "symmetric_l3l4+udp": {
    pairs: [...pairs.l3, ...pairs.l4, ...pairs.udp],
    fields: ["nw_proto"],
  },
  nw_src: { pairs: [], fields: ["ip_src", "ipv6_src"] },
  nw_dst: { pairs: [], fields: ["ip_dst", "ipv6_dst"] },
  symmetric_l3: { pairs: pairs.l3, fields: [] },
};

/** A hash of some of a packet, which matters then; other packets may have the same one. */
export function hashFields(way: Way, kind: HashFields, basis: number): number {
  const { flow } = way.now;
  let hash = mix(basis ^ 0x9e3779b9, 1n);
  for (const pair of kinds[kind].pairs) {
    const both = pair.map(fieldOfName);
    if (!both.every((field) => way.has(field.needs))) continue;
    let folded = 0n;
    for (const field of both) {
      way.see(field);
      folded ^= readBits(flow, field);
    }
    hash = mix(hash, folded + 1n);
  }
  for (const name of kinds[kind].fields) {
    const field = fieldOfName(name);
    if (!way.has(field.needs)) continue;
    way.see(field);
    hash = mix(hash, readBits(flow, field) + 1n);
  }
  return hash;
}

/** The hash of a number of draws before. */
function drawn(hash: number, draws: number): number {
  let mixed = Math.imul(hash ^ Math.imul(draws + 1, 0x85ebca6b), 0x9e3779b1);
  mixed = Math.imul(mixed ^ mixed >>> 16, 0x85ebca6b);
  mixed = Math.imul(mixed ^ mixed >>> 13, 0xc2b2ae35);
  return (mixed ^ mixed >>> 16) >>> 0;
}

/**
 * The one of `count` links for a hash: one more at the end takes a fair share from all others, and
 * moves nothing else. In about ln(count) steps, as in "A Fast, Minimal Memory, Consistent Hash
 * Algorithm" (Lamping and Veach, 2014), where Open vSwitch scores each link.
 */
export function steadyOf(hash: number, count: number): number {
  let [link, next] = [0, 0];
  for (let draws = 0; next < count; draws++) {
    link = next;
    next = Math.floor((link + 1) * 2 ** 32 / (drawn(hash, draws) + 1));
    if (next <= link) next = link + 1;
  }
  return link;
}

/** The least power of two that is no less than a number from 1 to 65,536. */
function powerFrom(count: number): number {
  return 2 ** (32 - Math.clz32(count - 1));
}

/** Draws of `iter_hash` at most: each one is a link with a chance of a half at least. */
const MAX_DRAWS = 64;

/** The link that a hash chooses. */
export function linkOf(
  { algorithm, links, argument }: MultipathAction,
  hash: number,
): number {
  switch (algorithm) {
    case "modulo_n":
      return hash % links;
    case "hash_threshold":
      return links === 1 ? 0 : Math.floor(hash / (Math.floor(0xffffffff / links) + 1));
    case "hrw":
      return steadyOf(hash, links);
    case "iter_hash": {
      // The range is what the links may grow to, as in Open vSwitch: a power of two where that is
      // said to be less than the links, or more than twice as many.
      const isFit = argument >= links && argument >> 1 <= links;
      const range = isFit ? argument : powerFrom(links);
      for (let i = 0; i < MAX_DRAWS; i++) {
        const link = drawn(hash, i) % range;
        if (link < links) return link;
      }
      return hash % links;
    }
  }
}
