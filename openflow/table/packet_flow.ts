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
import {
  type FlowWords,
  flowWords,
  giveWords,
  Nw,
  takeWords,
  VLAN_PRESENT,
  Word,
} from "../wire/flow.ts";
import type { Shape } from "../wire/packed/packed_match.ts";
import { Port } from "../wire/port_number.ts";
import { KeyPlan } from "./key_plan.ts";

/** A value of a packet, and its bits in a flow. */
interface Line {
  readonly place: Place;
  readonly word: number;
  readonly shift: number;
  readonly bits: number;
  /** All of them, of up to 32; ARP's opcode has eight here. */
  readonly ones: number;
  /** Of the tuple that a connection began with: told by its state. */
  readonly isTuple: boolean;
}

function line(leaf: string, word: number, shift = 0): Line {
  const place = placeOf(leaf);
  const isTuple = /^ctTuple/.test(leaf);
  const bits = leaf === "arp.op" ? 8 : Math.min(32, place.width);
  const ones = bits === 32 ? -1 : 2 ** bits - 1;
  return { place, word, shift, bits: place.width, ones, isTuple };
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

/** Lines that matter for packets of a layout. */
interface LayoutLines {
  /** How values that such packets have are read. */
  readonly plan: KeyPlan;
  /** Of those that masks may have. */
  readonly masked: readonly Line[];
}

const linesByLayout = new WeakMap<Layout, LayoutLines>();
let lastLayout: Layout | undefined;
let lastLines: LayoutLines = { plan: new KeyPlan([], () => 0), masked: [] };

function linesIn(layout: Layout): LayoutLines {
  if (layout === lastLayout) return lastLines;
  let found = linesByLayout.get(layout);
  if (found === undefined) {
    const isThere = ({ place }: Line): boolean => layout.key[place.slot] !== 0;
    found = {
      plan: new KeyPlan(
        lines.filter(isThere),
        ({ slot, at }) => (layout.key[slot] as number) + at,
      ),
      masked: lines.filter((one) => isThere(one) || one.place.zero || one.isTuple),
    };
    linesByLayout.set(layout, found);
  }
  lastLayout = layout;
  return lastLines = found;
}

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
function put(flow: FlowWords, { word, shift, bits, ones }: Line, value: Words): void {
  if (bits <= 32) {
    const number = (value[0] as number) >>> (32 - bits) & ones;
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
function take(flow: FlowWords, line: Line, to: Words): boolean {
  const { word, bits } = line;
  const first = flow[word] as number;
  if (bits <= 32) {
    // Most lines have none.
    const number = first >>> line.shift & line.ones;
    if (number === 0) return false;
    to[0] = number << (32 - bits);
    to[1] = to[2] = to[3] = 0;
    return true;
  }
  if (bits === 48) {
    const low = flow[word + 1] as number;
    if ((first | low) === 0) return false;
    to[0] = first << 16 | low >>> 16;
    to[1] = low << 16;
    to[2] = to[3] = 0;
    return true;
  }
  const count = bits >> 5;
  let any = 0;
  for (let i = 0; i < count; i++) any |= flow[word + i] as number;
  if (any === 0) return false;
  for (let i = 0; i < 4; i++) to[i] = i < count ? flow[word + i] as number : 0;
  return true;
}

/** Fills a flow from a mask. */
function fillMask(flow: FlowWords, bytes: Uint8Array, { mask }: Layout): void {
  for (const one of lines) {
    const start = mask[one.place.slot] as number;
    if (start === 0) continue;
    load(one.place, bytes, start + one.place.at, scratch);
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

/** The flow of a key, which begins at `from`. Its words may be given back. */
export function flowOfKey(
  key: Uint8Array,
  layout: Layout,
  from = 0,
  portOf: PortOf = ofPort,
): PacketFlow {
  const flow = takeWords();
  linesIn(layout).plan.read(key, from, flow);
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
  const { masked } = linesIn(layout);
  for (let i = 0; i < masked.length; i++) {
    const one = masked[i] as Line;
    if (!take(seen, one, scratch)) continue;
    // Also where the packet has none: other packets have.
    if (one.isTuple && isOfFamily(one.place, layout)) tracker.present(one.place);
    const isThere = layout.key[one.place.slot] !== 0 || one.place.zero;
    if (isThere) tracker.layBits(one.place, scratch);
  }
  const asksNeighbours = seen[Word.ndTarget] !== 0 ||
    seen[Word.ndTarget + 1] !== 0 || seen[Word.ndTarget + 2] !== 0 ||
    seen[Word.ndTarget + 3] !== 0 || seen[Word.arpSha + 1] !== 0 ||
    seen[Word.arpTha + 1] !== 0;
  const isOfTransport = asksNeighbours || seen[Word.tp] !== 0 ||
    seen[Word.tcpFlags] !== 0 || seen[Word.arpSha] !== 0 || seen[Word.arpTha] !== 0;
  if (isOfTransport) {
    // That a packet has no such header is told by its protocol; a neighbour's target, by type and
    // code.
    for (const place of protocols) {
      if (layout.key[place.slot] === 0) continue;
      scratch.fill(0);
      scratch[0] = 0xff << 24;
      tracker.layBits(place, scratch);
    }
    if (asksNeighbours) tracker.present(ndTarget);
  }
  if (inner === 0) return;
  const tag = takeWords();
  tag[Word.vlan] = inner;
  for (const one of innerTag) {
    if (take(tag, one, scratch) && layout.key[one.place.slot] !== 0) {
      tracker.layBits(one.place, scratch);
    }
  }
  giveWords(tag);
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
    fillMask(seen, maskBytes, layout);
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
