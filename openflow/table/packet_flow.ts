// SPDX-License-Identifier: Apache-2.0
/**
 * A packet of a policy as a flow of OpenFlow, and bits of such a flow as bits of the packet that
 * matter.
 *
 * @module
 */
import type { Layout } from "../../policy/packet/layout.ts";
import {
  load,
  type Place,
  placeOf,
  type Words,
  words,
} from "../../policy/packet/leaf.ts";
import type { FlowBits } from "../../policy/state/dependency.ts";
import type { Tracker } from "../../policy/packet/tracker.ts";
import { type FlowWords, flowWords, Nw, VLAN_PRESENT, Word } from "../wire/flow.ts";
import type { Shape } from "../wire/packed/packed_match.ts";
import { Port } from "../wire/port_number.ts";

/** A value of a packet, and its bits in a flow. */
interface Line {
  readonly place: Place;
  readonly word: number;
  readonly shift: number;
  readonly bits: number;
  /** Layer 4: told by the protocol. */
  readonly isTransport: boolean;
  /** Of the tuple that a connection began with: told by its state. */
  readonly isTuple: boolean;
}

function line(leaf: string, word: number, shift = 0): Line {
  const place = placeOf(leaf);
  const isTransport = /^(tcp|udp|sctp|icmp|nd)/.test(leaf);
  const isTuple = /^ctTuple/.test(leaf);
  return { place, word, shift, bits: place.width, isTransport, isTuple };
}

const lines: readonly Line[] = [
  line("skbMark", Word.pktMark),
  line("dpHash", Word.dpHash),
  line("ctState", Word.ctState),
  line("ctZone", Word.ctZone),
  line("ctMark", Word.ctMark),
  line("ctLabels", Word.ctLabel),
  line("ctTuple4.src", Word.ctNwSrc),
  line("ctTuple4.dst", Word.ctNwDst),
  line("ctTuple6.src", Word.ctIpv6Src),
  line("ctTuple6.dst", Word.ctIpv6Dst),
  ...["ctTuple4", "ctTuple6"].flatMap((name) => [
    line(`${name}.srcPort`, Word.ctTp, 16),
    line(`${name}.dstPort`, Word.ctTp),
    line(`${name}.proto`, Word.ctNwProto),
  ]),
  line("tunnel.id", Word.tunId),
  line("tunnel.src", Word.tunSrc),
  line("tunnel.dst", Word.tunDst),
  line("tunnel.ipv6Src", Word.tunIpv6Src),
  line("tunnel.ipv6Dst", Word.tunIpv6Dst),
  line("ethernet.dst", Word.dlDst),
  line("ethernet.src", Word.dlSrc),
  line("vlan.vid", Word.vlan),
  line("vlan.cfi", Word.vlan, 12),
  line("vlan.pcp", Word.vlan, 13),
  line("mpls.label", Word.mpls, 12),
  line("mpls.tc", Word.mpls, 9),
  line("mpls.bos", Word.mpls, 8),
  line("mpls.ttl", Word.mpls),
  line("ipv4.src", Word.nwSrc),
  line("ipv4.dst", Word.nwDst),
  line("ipv4.proto", Word.nw, Nw.proto),
  line("ipv4.tos", Word.nw, Nw.tos),
  line("ipv4.ttl", Word.nw, Nw.ttl),
  line("ipv6.src", Word.ipv6Src),
  line("ipv6.dst", Word.ipv6Dst),
  line("ipv6.label", Word.ipv6Label),
  line("ipv6.proto", Word.nw, Nw.proto),
  line("ipv6.tclass", Word.nw, Nw.tos),
  line("ipv6.hlimit", Word.nw, Nw.ttl),
  line("arp.sip", Word.nwSrc),
  line("arp.tip", Word.nwDst),
  line("arp.op", Word.nw, Nw.proto),
  line("arp.sha", Word.arpSha),
  line("arp.tha", Word.arpTha),
  line("tcpFlags", Word.tcpFlags),
  ...["tcp", "udp", "sctp"].flatMap((name) => [
    line(`${name}.src`, Word.tp, 16),
    line(`${name}.dst`, Word.tp),
  ]),
  ...["icmp", "icmpv6"].flatMap((name) => [
    line(`${name}.type`, Word.tp, 16),
    line(`${name}.code`, Word.tp),
  ]),
  line("nd.target", Word.ndTarget),
  line("nd.sll", Word.arpSha),
  line("nd.tll", Word.arpTha),
];
const arpOp = placeOf("arp.op");
const inPort = placeOf("inPort");
const etherType = placeOf("etherType");
const fragments = [placeOf("ipv4.frag"), placeOf("ipv6.frag")] as const;
const protocols = [placeOf("ipv4.proto"), placeOf("ipv6.proto")] as const;
const ndTarget = placeOf("nd.target");
const innerTag = [
  line("innerVlan.vid", Word.vlan),
  line("innerVlan.cfi", Word.vlan, 12),
  line("innerVlan.pcp", Word.vlan, 13),
];
const tagProtocols = [placeOf("vlan.tpid"), placeOf("innerVlan.tpid")];
const scratch = words();
/** EtherType of a frame that has none. */
const NO_TYPE = 0x05ff;

/** The number that a switch has for a port of the datapath; `Port.none` for one of others. */
export type PortOf = (no: number) => number;

/** The number that OpenFlow has for a port of the datapath. */
export function ofPort(no: number): number {
  return no === 0 ? Port.local : no;
}

/** The number that the datapath has for a port of OpenFlow. */
export function dpPort(port: number): number {
  return port === Port.local ? 0 : port;
}

/** Lays a value of a packet, as bits from the left, into a flow. */
function put(flow: FlowWords, { word, shift, bits, place }: Line, value: Words): void {
  if (bits <= 32) {
    let number = (value[0] as number) >>> (32 - bits);
    // ARP's opcode has eight bits here.
    if (place === arpOp) number &= 0xff;
    flow[word] = (flow[word] as number) | number << shift;
    return;
  }
  if (bits === 48) {
    flow[word] = (value[0] as number) >>> 16;
    flow[word + 1] = (value[0] as number) << 16 | (value[1] as number) >>> 16;
    return;
  }
  for (let i = 0; i < bits / 32; i++) flow[word + i] = value[i] as number;
}

/** Bits of a flow as those of a value, from the left; whether there are any. */
function take(flow: FlowWords, { word, shift, bits, place }: Line, to: Words): boolean {
  if (bits <= 32) {
    const ones = bits === 32 ? 0xffffffff : 2 ** bits - 1;
    let number = ((flow[word] as number) >>> shift & ones) >>> 0;
    if (place === arpOp) number &= 0xff;
    if (number === 0) return false;
    to.fill(0);
    to[0] = number << (32 - bits);
    return true;
  }
  let any = 0;
  for (let i = 0; i < bits / 32; i++) any |= flow[word + i] as number;
  if (any === 0) return false;
  to.fill(0);
  if (bits === 48) {
    const low = flow[word + 1] as number;
    to[0] = (flow[word] as number) << 16 | low >>> 16;
    to[1] = low << 16;
  } else for (let i = 0; i < bits / 32; i++) to[i] = flow[word + i] as number;
  return true;
}

/**
 * Fills a flow from bytes that begin at `from` and that a layout describes: of a key, or a mask.
 */
function fill(
  flow: FlowWords,
  bytes: Uint8Array,
  at: ArrayLike<number>,
  from: number,
): void {
  for (const one of lines) {
    const start = at[one.place.slot] as number;
    if (start === 0) continue;
    load(one.place, bytes, from + start + one.place.at, scratch);
    put(flow, one, scratch);
  }
}

function fragmentOf(key: Uint8Array, layout: Layout, from: number): number {
  for (const place of fragments) {
    const at = layout.key[place.slot] as number;
    if (at === 0) continue;
    const kind = key[from + at + place.at] as number;
    return kind === 0 ? 0 : kind === 1 ? 1 : 3;
  }
  return 0;
}

/** A tag of a packet. */
export interface Tag {
  readonly tpid: number;
  /** With the bit that says that it is there. */
  readonly tci: number;
}

/** A packet as a flow. */
export interface PacketFlow {
  readonly flow: FlowWords;
  /** Tags, outermost first, two at most. */
  readonly tags: readonly Tag[];
}

/** The flow of a key, which begins at `from`. */
export function flowOfKey(
  key: Uint8Array,
  layout: Layout,
  from = 0,
  portOf: PortOf = ofPort,
): PacketFlow {
  const flow = flowWords();
  fill(flow, key, layout.key, from);
  return { flow, tags: fillRest(flow, key, layout, from, portOf) };
}

/** Fills in what is no line; answers the tags. */
function fillRest(
  flow: FlowWords,
  key: Uint8Array,
  layout: Layout,
  from: number,
  portOf: PortOf,
): Tag[] {
  const number = (place: Place): number => {
    const at = layout.key[place.slot] as number;
    if (at === 0) return 0;
    load(place, key, from + at + place.at, scratch);
    return (scratch[0] as number) >>> (32 - place.width);
  };
  flow[Word.inPort] = portOf(number(inPort));
  flow[Word.dlType] = layout.key[etherType.slot] === 0 ? NO_TYPE : number(etherType);
  flow[Word.nw] = (flow[Word.nw] as number) | fragmentOf(key, layout, from);
  flow[Word.dpHash] = 0;
  const tags: Tag[] = [];
  for (const [i, place] of tagProtocols.entries()) {
    if (layout.key[place.slot] === 0) break;
    const tci = i === 0
      ? flow[Word.vlan] as number
      : innerTag.reduce((all, one) => all | number(one.place) << one.shift, 0);
    if ((tci & VLAN_PRESENT) === 0) break;
    tags.push({ tpid: number(place), tci });
  }
  if (tags.length === 0) flow[Word.vlan] = 0;
  return tags;
}

/** Whether a packet may have a place of a connection's tuple: it is of that version of IP. */
function isOfFamily({ name }: Place, { key }: Layout): boolean {
  const protocol = protocols[name.startsWith("ctTuple4") ? 0 : 1];
  return key[protocol.slot] !== 0;
}

/** Has the bits of a packet matter that a flow has in `seen`; `inner` are those of a second tag. */
export function layFlow(tracker: Tracker, seen: FlowWords, inner: number): void {
  const { layout } = tracker;
  let transport = false;
  for (const one of lines) {
    if (!take(seen, one, scratch)) continue;
    if (one.isTransport) transport = true;
    // Also where the packet has none: other packets have.
    if (one.isTuple && isOfFamily(one.place, layout)) tracker.present(one.place);
    const isThere = layout.key[one.place.slot] !== 0 || one.place.zero;
    if (isThere) tracker.layBits(one.place, scratch);
  }
  if (transport) {
    // That a packet has no such header is told by its protocol; a neighbour's target, by type and
    // code.
    for (const place of protocols) {
      if (layout.key[place.slot] === 0) continue;
      scratch.fill(0);
      scratch[0] = 0xff << 24;
      tracker.layBits(place, scratch);
    }
    const asksNeighbours = [0, 1, 2, 3].some((i) => seen[Word.ndTarget + i] !== 0) ||
      seen[Word.arpSha + 1] !== 0 || seen[Word.arpTha + 1] !== 0;
    if (asksNeighbours) tracker.present(ndTarget);
  }
  if (inner === 0) return;
  const tag = flowWords();
  tag[Word.vlan] = inner;
  for (const one of innerTag) {
    if (take(tag, one, scratch) && layout.key[one.place.slot] !== 0) {
      tracker.layBits(one.place, scratch);
    }
  }
}

/** Lines of a shape's words. */
const linesByShape = new WeakMap<Shape, readonly Line[]>();

function linesOf(shape: Shape): readonly Line[] {
  let some = linesByShape.get(shape);
  if (some === undefined) {
    const words = new Set(shape.words);
    some = lines.filter(({ word, bits }) =>
      words.has(word) || bits > 32 &&
        Array.from({ length: Math.ceil(bits / 32) }, (_, i) => word + i)
          .some((one) => words.has(one))
    );
    linesByShape.set(shape, some);
  }
  return some;
}

/** Reads key and mask of a flow of the datapath. */
export class FlowBitsReader {
  readonly #flow = flowWords();
  readonly #seen = flowWords();
  readonly #portOf: PortOf;

  /** `portOf` has the switch's numbers of the datapath's ports. */
  constructor(portOf: PortOf = ofPort) {
    this.#portOf = portOf;
  }

  /** The packet that made the flow, and its bits that matter. What is returned is overwritten. */
  read({ keyBytes, keyFrom, layout, maskBytes }: FlowBits): {
    readonly flow: FlowWords;
    readonly seen: FlowWords;
  } {
    const { flow } = flowOfKey(keyBytes, layout, keyFrom, this.#portOf);
    const seen = this.#seen.fill(0);
    fill(seen, maskBytes, layout.mask, 0);
    seeAlways(seen, layout);
    return { flow, seen };
  }

  /** As {@linkcode read}, of which only the words of a shape are right. */
  readWords({ keyBytes, keyFrom, layout, maskBytes }: FlowBits, shape: Shape): {
    readonly flow: FlowWords;
    readonly seen: FlowWords;
  } {
    const [flow, seen] = [this.#flow.fill(0), this.#seen.fill(0)];
    for (const one of linesOf(shape)) {
      const inKey = layout.key[one.place.slot] as number;
      if (inKey !== 0) {
        load(one.place, keyBytes, keyFrom + inKey + one.place.at, scratch);
        put(flow, one, scratch);
      }
      const inMask = layout.mask[one.place.slot] as number;
      if (inMask === 0) continue;
      load(one.place, maskBytes, inMask + one.place.at, scratch);
      put(seen, one, scratch);
    }
    fillRest(flow, keyBytes, layout, keyFrom, this.#portOf);
    seeAlways(seen, layout);
    return { flow, seen };
  }
}

/** Ports, EtherType and fragments are in every mask. */
function seeAlways(seen: FlowWords, layout: Layout): void {
  seen[Word.inPort] = 0xffffffff;
  // Some lookups knew the hash of the key, others none: it tells nothing of what rules they meet.
  seen[Word.dpHash] = 0;
  seen[Word.dlType] = 0xffff;
  seen[Word.nw] = (seen[Word.nw] as number) | 3;
  if (layout.key[tagProtocols[0]?.slot ?? 0] === 0) seen[Word.vlan] = 0xffff;
}
