// SPDX-License-Identifier: Apache-2.0
/**
 * The packet as a policy sees it.
 *
 * @module
 */
import type {
  ArpKey,
  CtTuple4,
  CtTuple6,
  EthernetKey,
  FieldName,
  IcmpKey,
  Ipv4Key,
  Ipv6Key,
  MplsLabel,
  NdKey,
  NshKey,
  PortsKey,
  VlanTag,
} from "../../providers/types.ts";
import type { CtZone, PortNo, RecircId } from "../../providers/ids.ts";
import type { Ipv4Address, Ipv6Address } from "../../providers/ids.ts";
import {
  labels,
  type Leaf,
  parse,
  parseMask,
  type Place,
  placeOf,
  places,
} from "./leaf.ts";
import { fromBig, parsePrefix, prefixMask, toBig, type Value, words } from "./leaf.ts";
import type { Credited, Effect, Learner, Taught } from "./effect.ts";
import { valueNow } from "../copy.ts";
import type { Tracker } from "./tracker.ts";
import { detached, view } from "./view.ts";

/** The parts of a tunnel key that a policy may read. */
export interface TunnelView {
  /** Tunnel id, if the packet has one. */
  readonly id?: bigint | undefined;
  /** Outer IPv4 source. */
  readonly src?: Ipv4Address | undefined;
  /** Outer IPv4 destination. */
  readonly dst?: Ipv4Address | undefined;
  /** Outer IPv6 source. */
  readonly ipv6Src?: Ipv6Address | undefined;
  /** Outer IPv6 destination. */
  readonly ipv6Dst?: Ipv6Address | undefined;
  /** Outer TOS or traffic class. */
  readonly tos: number;
  /** Outer TTL or hop limit. */
  readonly ttl: number;
  /** Outer source port. */
  readonly srcPort: number;
  /** Outer destination port. */
  readonly dstPort: number;
}

/**
 * The fields of a packet that read as those of a key. Reading a value makes all its bits matter.
 */
export interface PacketFields {
  /** Port the packet came in by. */
  readonly inPort: PortNo;
  /** 0 unless a stage sees it. */
  readonly recircId: RecircId;
  /** Hash that a `hash` action computed, 0 when none did. */
  readonly dpHash: number;
  /** QoS class. */
  readonly priority: number;
  /** Linux's `skb->mark`. */
  readonly skbMark: number;
  /** Connection state, bits of `CtState`; 0 before `track`. */
  readonly ctState: number;
  /** Zone of the last `ct` action. */
  readonly ctZone: CtZone;
  /** Mark of the connection. */
  readonly ctMark: number;
  /** Labels of the connection. */
  readonly ctLabels: bigint;
  /** Original tuple of the connection, IPv4. */
  readonly ctTuple4: CtTuple4 | undefined;
  /** Original tuple of the connection, IPv6. */
  readonly ctTuple6: CtTuple6 | undefined;
  /** Tunnel metadata. */
  readonly tunnel: TunnelView | undefined;
  /** Ethernet addresses. */
  readonly ethernet: EthernetKey | undefined;
  /** VLAN tags, outermost first; the first two of them. */
  readonly vlans: readonly VlanTag[] | undefined;
  /** EtherType behind all tags; undefined for frames of 802.2. */
  readonly etherType: number | undefined;
  /** Label stack, outermost first, up to 3. */
  readonly mpls: readonly MplsLabel[] | undefined;
  /** IPv4 header. */
  readonly ipv4: Ipv4Key | undefined;
  /** IPv6 header. */
  readonly ipv6: Ipv6Key | undefined;
  /** Bits of IPv6 extension headers, where the kernel gives them. */
  readonly ipv6Exthdrs: number | undefined;
  /** ARP or RARP. */
  readonly arp: ArpKey | undefined;
  /** Network service header, without its contexts. */
  readonly nsh: Omit<NshKey, "contexts" | "md2" | "unknown"> | undefined;
  /** TCP ports. */
  readonly tcp: PortsKey | undefined;
  /** TCP flags. */
  readonly tcpFlags: number | undefined;
  /** UDP ports. */
  readonly udp: PortsKey | undefined;
  /** SCTP ports. */
  readonly sctp: PortsKey | undefined;
  /** ICMP type and code. */
  readonly icmp: IcmpKey | undefined;
  /** ICMPv6 type and code. */
  readonly icmpv6: IcmpKey | undefined;
  /** Neighbour discovery. */
  readonly nd: NdKey | undefined;
}

/**
 * A packet under decision.
 *
 * It can be read only while its policy runs. A value that is read is masked whole; the tests below
 * mask what proves their answer, so prefer `packet.equals("tcp.dst", 80)` to `packet.tcp?.dst ===
 * 80`: both are right, the second has a flow for each port.
 */
export interface Packet extends PacketFields {
  /** Whether the packet has a field; what tells so is masked. */
  has(field: Exclude<FieldName, "unknown" | "packetType" | "ndExtensions">): boolean;
  /**
   * Whether a value equals another one, in the bits of `mask` if there is one. False if the packet
   * has no such value.
   */
  equals(leaf: Leaf, value: Value, mask?: Value): boolean;
  /** Whether an address or number has a prefix: `"10.0.0.0/8"`. */
  within(leaf: Leaf, prefix: string): boolean;
  /** Whether a number or address is from `low` to `high`, both included. */
  between(leaf: Leaf, low: Value, high: Value): boolean;
  /** Some bits of a value, and no others are masked; 0 if the packet has no such value. */
  bits(leaf: Leaf, mask: number): number;
  /** As the other one, for values of more than 32 bits. */
  bits(leaf: Leaf, mask: bigint): bigint;
  /**
   * Notes what a packet like this teaches: done for the packet itself when its verdict is known,
   * and refreshed while its flow counts packets. Values are plain data, taken as they are now;
   * state of policies and functions are themselves. Throws `TypeError` for other objects.
   */
  learn<K, V>(table: Taught<K, V>, key: K, value: V): void;
  /** Packets and bytes of the flow go to a counter. */
  credit(counter: Credited): void;
  /**
   * The verdict holds no longer than this, ms since 1970: its flow runs again then. A time that has
   * come is for this packet alone, which gets no flow; `Infinity` says that the verdict does not
   * end.
   */
  until(atMs: number): void;
  /**
   * Milliseconds since 1970, one value for each run. Read without `until` the packet gets no flow.
   */
  readonly now: number;
}

/** Under this name a packet gives its tracker to state that is looked up by it. */
export const TRACKER: unique symbol = Symbol("tracker of a packet");

/** Under this name a packet without a tracker gives the value of a leaf. */
export const PLAIN: unique symbol = Symbol("value of a packet that nobody tracks");

/** What state that is looked up by a packet sees of it. */
export interface Tracked {
  readonly [PLAIN]?: (leaf: Leaf) => unknown;
  /** Undefined for a packet that nobody tracks: then its ordinary tests are used. */
  readonly [TRACKER]: Tracker | undefined;
}

const structures = [
  "ctTuple4",
  "ctTuple6",
  "ethernet",
  "ipv4",
  "ipv6",
  "arp",
  "nsh",
  "tcp",
  "udp",
  "sctp",
  "icmp",
  "icmpv6",
  "nd",
  "tunnel",
] as const;
const numbers = [
  "inPort",
  "recircId",
  "dpHash",
  "priority",
  "skbMark",
  "ctState",
  "ctZone",
  "ctMark",
  "ctLabels",
  "etherType",
  "ipv6Exthdrs",
  "tcpFlags",
] as const;

/** The place that tells whether a packet has a field. */
const tells: Readonly<Record<string, Place>> = Object.fromEntries([
  ...structures.map((name) => {
    const first = Object.values(places).find((place) =>
      place.name.startsWith(`${name}.`)
    );
    return [name, first as Place];
  }),
  ...numbers.map((name) => [name, placeOf(name)]),
  ["vlans", placeOf("vlan.tpid")],
  ["mpls", placeOf("mpls.label")],
]);
// A tunnel may lack any of its parts: its own attribute says that it is there.
const tunnelItself = { ...placeOf("inPort"), name: "tunnel", slot: 16, zero: false };

function fieldsOf(structure: string): Record<string, Place> {
  const prefix = `${structure}.`;
  return Object.fromEntries(
    Object.values(places)
      .filter(({ name }) => name.startsWith(prefix))
      .map((place) => [place.name.slice(prefix.length), place]),
  );
}

const parsed = new Map<string, ReturnType<typeof parsePrefix>>();
const KEPT_PREFIXES = 4096;

/** Bits of a prefix in text; programs ask for the same ones again and again. */
export function prefixOf(place: Place, text: string): ReturnType<typeof parsePrefix> {
  const key = `${place.name} ${text}`;
  let known = parsed.get(key);
  if (known === undefined) {
    known = parsePrefix(place, text);
    if (parsed.size < KEPT_PREFIXES) parsed.set(key, known);
  }
  return known;
}

/** The view of the packet that a tracker reads; one for each tracker, used again for each run. */
export class PacketView {
  readonly #tracker: Tracker;
  readonly #a = words();
  readonly #b = words();

  /** Makes the view of a tracker. */
  constructor(tracker: Tracker) {
    this.#tracker = tracker;
    for (const name of structures) {
      const sub = view(tracker, fieldsOf(name));
      const place = name === "tunnel" ? tunnelItself : tells[name] as Place;
      this.#define(name, () => this.#has(name, place) ? sub : undefined);
    }
    for (const name of numbers) {
      const place = placeOf(name);
      this.#define(name, () => tracker.read(place));
    }
    const tags = ["vlan", "innerVlan"].map((name) => view(tracker, fieldsOf(name)));
    this.#define("vlans", () => {
      if (!this.#has("vlans", tells.vlans as Place)) return undefined;
      return tags.slice(0, Math.min(tracker.layout.tags, 2));
    });
    const stack = labels.map((label) => view(tracker, label));
    this.#define("mpls", () => {
      if (!this.#has("mpls", tells.mpls as Place)) return undefined;
      const last = labels[Math.min(tracker.layout.labels, 3) - 1];
      // How many there are is told by the bottom of the stack.
      if (last !== undefined) tracker.read(last.bos);
      return stack.slice(0, tracker.layout.labels);
    });
    // What a policy noted here would be there in the next run.
    Object.freeze(this);
  }

  #define(name: string, get: () => unknown): void {
    Object.defineProperty(this, name, { enumerable: true, configurable: false, get });
  }

  #has(name: string, place: Place): boolean {
    if (this.#tracker.reads !== undefined) this.#tracker.note(name, "presence");
    return this.#tracker.present(place);
  }

  get [TRACKER](): Tracker {
    return this.#tracker;
  }

  has(field: string): boolean {
    const place = field === "tunnel"
      ? tunnelItself
      : Object.hasOwn(tells, field)
      ? tells[field]
      : undefined;
    if (place === undefined) throw new TypeError(`a packet has no field "${field}"`);
    return this.#has(field, place) || place.zero;
  }

  equals(leaf: Leaf, value: Value, mask?: Value): boolean {
    const place = placeOf(leaf);
    if (this.#tracker.reads !== undefined) {
      this.#tracker.note(leaf, `= ${value}${mask === undefined ? "" : `/${mask}`}`);
    }
    const wanted = parse(place, value, this.#a);
    if (mask === undefined) return this.#tracker.equals(place, wanted);
    const of = parseMask(place, mask, this.#b);
    return this.#tracker.equals(place, wanted, of);
  }

  within(leaf: Leaf, prefix: string): boolean {
    const place = placeOf(leaf);
    if (this.#tracker.reads !== undefined) this.#tracker.note(leaf, `in ${prefix}`);
    const { bits, length } = prefixOf(place, prefix);
    return this.#tracker.within(place, bits, length);
  }

  between(leaf: Leaf, low: Value, high: Value): boolean {
    const place = placeOf(leaf);
    if (this.#tracker.reads !== undefined) {
      this.#tracker.note(leaf, `from ${low} to ${high}`);
    }
    const from = parse(place, low, this.#a);
    const to = parse(place, high, this.#b);
    // Bits beyond the value count as ones: the range has its last value whole.
    const kept = prefixMask(place.width);
    for (let i = 0; i < 4; i++) to[i] = (to[i] as number) | ~(kept[i] as number);
    return this.#tracker.between(place, from, to);
  }

  bits(leaf: Leaf, mask: number | bigint): number | bigint {
    const place = placeOf(leaf);
    if (this.#tracker.reads !== undefined) this.#tracker.note(leaf, `bits ${mask}`);
    const isWide = typeof mask === "bigint";
    const none = isWide ? 0n : 0;
    const wanted = fromBig(BigInt(mask), place.width, this.#a);
    if (!this.#tracker.present(place) && !place.zero) return none;
    this.#tracker.layBits(place, wanted);
    const value = this.#tracker.valueOf(place, this.#b);
    for (let i = 0; i < 4; i++) value[i] = (value[i] as number) & (wanted[i] as number);
    const big = toBig(value, place.width);
    return isWide || place.width > 48 ? big : Number(big);
  }

  learn<K, V>(table: Taught<K, V>, key: K, value: V): void {
    const { effects } = this.#tracker.checked;
    if (typeof (table as unknown as Learner)?.hear !== "function") {
      throw new TypeError("packets teach a StateMap, or what hears as one does");
    }
    if (typeof key === "object") key = detached(key);
    // As it is now: a program may use its object again for the next packet.
    if (typeof value === "object") {
      value = valueNow(detached(value), "what packets teach");
    }
    for (let i = 0; i < effects.length; i++) {
      const one = effects[i] as Effect;
      if (one.kind !== "learn" || one.table !== table as never) continue;
      if (!Object.is(one.key, key)) continue;
      one.value = value; // The last word about a key counts.
      return;
    }
    this.#note({ kind: "learn", table: table as never, key, value });
  }

  /** Mostly the first, and the only one: lists that grow have room for many. */
  #note(effect: Effect): void {
    const { effects } = this.#tracker;
    this.#tracker.effects = effects.length === 0 ? [effect] : [...effects, effect];
  }

  credit(counter: Credited): void {
    void this.#tracker.checked;
    if (typeof counter?.add !== "function") {
      throw new TypeError("packets are credited to a Counter, or what adds as one does");
    }
    this.#note({ kind: "credit", counter });
  }

  until(atMs: number): void {
    if (!(atMs >= 0)) throw new RangeError(`until() needs a time: it is ${atMs}`);
    this.#tracker.checked.time.until(atMs);
  }

  get now(): number {
    return this.#tracker.checked.time.read();
  }
}

/** Makes the packet of a tracker. */
export function packetOf(tracker: Tracker): Packet {
  return new PacketView(tracker) as unknown as Packet;
}
