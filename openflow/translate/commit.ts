// SPDX-License-Identifier: Apache-2.0
/**
 * What makes the packet of the datapath what the flow says: sets, tags that come and go.
 *
 * Changes of headers are nothing until the packet is sent: only then they become actions, for those
 * parts that differ from what the datapath's packet has. What no action sets is taken at once.
 *
 * @module
 */
import { formatIpv4, formatIpv6, formatMac } from "../../providers/codec/address.ts";
import { popVlan, pushVlan, set } from "../../providers/odp/constructors.ts";
import type { Action } from "../../providers/types_action.ts";
import type { Tag } from "../table/packet_flow.ts";
import { type FlowWords, flowWords, Nw, nwByte, Word } from "../wire/flow.ts";
import { ETH_IP, ETH_IPV6, hasWhatItNeeds, isArp, isMpls } from "../wire/match.ts";
import type { HeaderEdit } from "./edit.ts";

/** A packet: what a flow has of it, and its tags. */
export interface PacketState {
  flow: FlowWords;
  /** Outermost first. */
  tags: readonly Tag[];
  /** What a queue is to the datapath; 0 for none. */
  priority: number;
}

function bytesOf(flow: FlowWords, word: number, count: number): Uint8Array {
  const bytes = new Uint8Array(4 * count);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) view.setUint32(4 * i, flow[word + i] as number);
  return bytes;
}

function mac(flow: FlowWords, word: number): string {
  return formatMac(bytesOf(flow, word, 2), 2);
}

function ipv4(flow: FlowWords, word: number): string {
  return formatIpv4(bytesOf(flow, word, 1), 0);
}

function ipv6(flow: FlowWords, word: number): string {
  return formatIpv6(bytesOf(flow, word, 4), 0);
}

/** Parts of a header by name. */
type Parts = readonly (readonly [
  name: string,
  of: (flow: FlowWords) => string | number,
])[];
type Values = Record<string, string | number>;

/** All bits of every part, and none. */
const everything = flowWords().fill(0xffffffff);
const nothing = flowWords();

/** The parts of a header that differ, with their values; undefined for none. */
function differing(parts: Parts, flow: FlowWords, base: FlowWords): Values | undefined {
  const found: Values = {};
  for (const [name, of] of parts) {
    const value = of(flow);
    if (value !== of(base)) found[name] = value;
  }
  return Object.keys(found).length === 0 ? undefined : found;
}

/** The bits of some parts that are in a mask; undefined where that is all of them. */
function maskOf(parts: Parts, found: Values, mask: FlowWords): Values | undefined {
  const named = parts.filter(([name]) => name in found);
  if (named.every(([, of]) => of(mask) === of(everything))) return undefined;
  return Object.fromEntries(
    named.map(([name, of]) => [name, of(mask)] as const)
      .filter(([, bits], i) => bits !== named[i]?.[1](nothing)),
  );
}

const ethernetParts = [
  ["src", (flow: FlowWords) => mac(flow, Word.dlSrc)],
  ["dst", (flow: FlowWords) => mac(flow, Word.dlDst)],
] as const;
const ipv4Parts = [
  ["src", (flow: FlowWords) => ipv4(flow, Word.nwSrc)],
  ["dst", (flow: FlowWords) => ipv4(flow, Word.nwDst)],
  ["tos", (flow: FlowWords) => nwByte(flow, Nw.tos)],
  ["ttl", (flow: FlowWords) => nwByte(flow, Nw.ttl)],
] as const;
const ipv6Parts = [
  ["src", (flow: FlowWords) => ipv6(flow, Word.ipv6Src)],
  ["dst", (flow: FlowWords) => ipv6(flow, Word.ipv6Dst)],
  ["label", (flow: FlowWords) => flow[Word.ipv6Label] as number],
  ["tclass", (flow: FlowWords) => nwByte(flow, Nw.tos)],
  ["hlimit", (flow: FlowWords) => nwByte(flow, Nw.ttl)],
] as const;
const portParts = [
  ["src", (flow: FlowWords) => (flow[Word.tp] as number) >>> 16],
  ["dst", (flow: FlowWords) => (flow[Word.tp] as number) & 0xffff],
] as const;
const arpParts = [
  ["op", (flow: FlowWords) => nwByte(flow, Nw.proto)],
  ["sha", (flow: FlowWords) => mac(flow, Word.arpSha)],
  ["tha", (flow: FlowWords) => mac(flow, Word.arpTha)],
  ["sip", (flow: FlowWords) => ipv4(flow, Word.nwSrc)],
  ["tip", (flow: FlowWords) => ipv4(flow, Word.nwDst)],
] as const;
const icmpParts = [
  ["type", (flow: FlowWords) => (flow[Word.tp] as number) >>> 16],
  ["code", (flow: FlowWords) => (flow[Word.tp] as number) & 0xffff],
] as const;
const ndParts = [
  ...icmpParts,
  ["target", (flow: FlowWords) => ipv6(flow, Word.ndTarget)],
  ["sll", (flow: FlowWords) => mac(flow, Word.arpSha)],
  ["tll", (flow: FlowWords) => mac(flow, Word.arpTha)],
] as const;
const mplsParts = [
  ["label", (flow: FlowWords) => (flow[Word.mpls] as number) >>> 12],
  ["tc", (flow: FlowWords) => (flow[Word.mpls] as number) >>> 9 & 7],
  ["bos", (flow: FlowWords) => (flow[Word.mpls] as number) >>> 8 & 1],
  ["ttl", (flow: FlowWords) => (flow[Word.mpls] as number) & 0xff],
] as const;

/** The values of parts without the bits that a mask does not have. */
function masked(parts: Parts, found: Values, flow: FlowWords, mask: FlowWords): Values {
  const kept = flow.map((word, i) => word & (mask[i] as number));
  return Object.fromEntries(
    parts.filter(([name, of]) => name in found && of(mask) !== of(nothing))
      .map(([name, of]) => [name, of(kept)]),
  );
}

/** What a commit says. */
export interface Committed {
  readonly actions: Action[];
  /** Tags that were taken off the packet. */
  readonly popped: readonly Tag[];
}

/** The parts that no action sets, of what a packet is, and the words that they are in. */
function editedParts(flow: FlowWords): readonly [Parts, readonly number[]] | undefined {
  if (isArp(flow[Word.dlType] as number)) return [arpParts, arpWords];
  if (hasWhatItNeeds("nd", flow)) return [ndParts, icmpWords];
  const isIcmp = hasWhatItNeeds("icmp4", flow) || hasWhatItNeeds("icmp6", flow);
  return isIcmp ? [icmpParts, icmpWords] : undefined;
}

const option = [Word.arpSha, Word.arpSha + 1, Word.arpTha, Word.arpTha + 1];
const arpWords: readonly number[] = [Word.nw, Word.nwSrc, Word.nwDst, ...option];
const icmpWords: readonly number[] = [
  ...[0, 1, 2, 3].map((i) => Word.ndTarget + i),
  ...option,
  Word.tp,
];

/** What no action does to have `base` be what `flow` is. `base` is that from then on. */
export function takeEdit(flow: FlowWords, base: FlowWords): HeaderEdit | undefined {
  const edited = editedParts(base);
  if (edited === undefined) return undefined;
  const [parts, words] = edited;
  const edit = differing(parts, flow, base);
  for (const word of words) base[word] = flow[word] as number;
  return edit;
}

/**
 * Actions that make `base`, the packet of the datapath, what `now` is. `base` is `now` from then
 * on. `known` are the bits that all packets of the flow have in common, or that were written: the
 * others are each packet's own, and stay as they are.
 */
export function commit(
  now: PacketState,
  base: PacketState,
  known: FlowWords,
): Committed {
  const { flow } = now;
  const of = base.flow;
  const actions: Action[] = [];
  const header = (name: string, parts: Parts): void => {
    const found = differing(parts, flow, of);
    if (found === undefined) return;
    const mask = maskOf(parts, found, known);
    actions.push(set(
      { [name]: masked(parts, found, flow, known) } as never,
      mask === undefined ? undefined : { [name]: mask } as never,
    ));
  };
  header("ethernet", ethernetParts);
  const popped = commitTags(now, base, actions);
  const type = flow[Word.dlType] as number;
  // As in Open vSwitch: of a packet whose protocol is 0 the header is not known to be one.
  const isKnown = nwByte(flow, Nw.proto) !== 0;
  if (type === ETH_IP) { if (isKnown) header("ipv4", ipv4Parts); }
  else if (type === ETH_IPV6) { if (isKnown) header("ipv6", ipv6Parts); }
  else if (isMpls(type)) {
    const all = Object.fromEntries(mplsParts.map(([name, get]) => [name, get(flow)]));
    if (flow[Word.mpls] !== of[Word.mpls]) {
      const entry = masked(mplsParts, all, flow, known) as never;
      const mask = maskOf(mplsParts, all, known);
      actions.push(set(
        { mpls: [entry] },
        mask === undefined ? undefined : { mpls: [mask as never] },
      ));
    }
  }
  if (type === ETH_IP || type === ETH_IPV6) {
    const kinds: Readonly<Record<number, string>> = { 6: "tcp", 17: "udp", 132: "sctp" };
    const kind = kinds[nwByte(flow, Nw.proto)];
    if (kind !== undefined) header(kind, portParts);
  }
  if (now.priority !== base.priority) {
    actions.push(set({ priority: now.priority }));
    base.priority = now.priority;
  }
  if (flow[Word.pktMark] !== of[Word.pktMark]) {
    const [mark, mask] = [flow[Word.pktMark] as number, known[Word.pktMark] as number];
    actions.push(
      mask === 0xffffffff
        ? set({ skbMark: mark })
        : set({ skbMark: (mark & mask) >>> 0 }, { skbMark: mask }),
    );
  }
  base.flow = flow.slice();
  base.tags = now.tags;
  return { actions, popped };
}

/** Takes off the tags that differ, and puts those on that there are to be. */
function commitTags(
  now: PacketState,
  base: PacketState,
  actions: Action[],
): readonly Tag[] {
  let [from, to] = [base.tags.length, now.tags.length];
  const same = (a: Tag, b: Tag): boolean => a.tci === b.tci && a.tpid === b.tpid;
  while (
    from > 0 && to > 0 && same(base.tags[from - 1] as Tag, now.tags[to - 1] as Tag)
  ) {
    from--;
    to--;
  }
  const popped = base.tags.slice(0, from);
  for (; from > 0; from--) actions.push(popVlan());
  for (; to > 0; to--) {
    const { tpid, tci } = now.tags[to - 1] as Tag;
    actions.push(pushVlan({ tpid, vid: tci & 0xfff, pcp: tci >> 13 }));
  }
  return popped;
}
