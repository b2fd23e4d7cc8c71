// SPDX-License-Identifier: Apache-2.0
/**
 * The packet without a tracker: what policies mean, written the plain way.
 *
 * The oracle runs policies on these. They share nothing with the tracked views: values come from
 * the key as an object, tests are arithmetic on integers.
 *
 * @module
 */
import type { FlowKey } from "../../providers/types.ts";
import { parseIpv4, parseIpv6, parseMac } from "../../providers/codec/address.ts";
import { bitsOf } from "../../providers/odp/field_bits.ts";
import type { Leaf, Value } from "./leaf.ts";
import { type Packet, PLAIN, TRACKER } from "./packet.ts";
import type { Effect, Learner } from "./effect.ts";

type Fields = Readonly<Record<string, unknown>>;

const widths: Readonly<Record<string, number>> = {
  inPort: 32,
  recircId: 32,
  dpHash: 32,
  priority: 32,
  skbMark: 32,
  ctState: 8,
  ctZone: 16,
  ctMark: 32,
  ctLabels: 128,
  etherType: 16,
  tcpFlags: 12,
  ipv6Exthdrs: 16,
  ethernet: 48,
  sha: 48,
  tha: 48,
  sll: 48,
  tll: 48,
  sip: 32,
  tip: 32,
  target: 128,
  vid: 12,
  pcp: 3,
  tpid: 16,
  label: 20,
  tc: 3,
  bos: 1,
  ttl: 8,
  tos: 8,
  proto: 8,
  tclass: 8,
  hlimit: 8,
  frag: 8,
  op: 16,
  type: 8,
  code: 8,
  srcPort: 16,
  dstPort: 16,
  id: 64,
  ipv6Src: 128,
  ipv6Dst: 128,
  flags: 8,
  mdtype: 8,
  np: 8,
  spi: 24,
  si: 8,
};

/** A leaf by its parts. */
interface Parts {
  readonly structure: string;
  readonly field: string | undefined;
  /** The field of a key that it is in. */
  readonly of: string;
  readonly width: number;
}

/** Leaves that were asked for: the oracle asks for the same ones millions of times. */
const leaves = new Map<string, Parts>();

function partsOf(leaf: string): Parts {
  let parts = leaves.get(leaf);
  if (parts === undefined) {
    const [structure = "", field] = leaf.split(".");
    const of = structure === "vlan" || structure === "innerVlan" ? "vlans" : structure;
    parts = { structure, field, of, width: widthIn(structure, field) };
    if (leaves.size < 10_000) leaves.set(leaf, parts);
  }
  return parts;
}

/** Bits of a leaf, by its name alone. */
export function widthOf(leaf: string): number {
  return partsOf(leaf).width;
}

function widthIn(structure: string, field: string | undefined): number {
  if (field === undefined) return widths[structure] ?? 32;
  if (field === "src" || field === "dst") {
    if (structure === "ethernet") return 48;
    if (structure === "ipv4" || structure === "ctTuple4" || structure === "tunnel") {
      return 32;
    }
    return structure === "ipv6" || structure === "ctTuple6" ? 128 : 16;
  }
  return widths[field] ?? 32;
}

const metadata: ReadonlySet<string> = new Set([
  "inPort",
  "recircId",
  "dpHash",
  "priority",
  "skbMark",
  "ctState",
  "ctZone",
  "ctMark",
  "ctLabels",
  "tunnel.tos",
  "tunnel.ttl",
  "tunnel.srcPort",
  "tunnel.dstPort",
]);
const fragments: Readonly<Record<string, bigint>> = { no: 0n, first: 1n, later: 2n };

const addresses = {
  48: [6, parseMac],
  32: [4, parseIpv4],
  128: [16, parseIpv6],
} as const;
const room = new Uint8Array(16);
const words = new DataView(room.buffer);

/** An address of so many bits as a number; undefined for other text. */
function addressOf(text: string, width: number): bigint | undefined {
  const address = addresses[width as keyof typeof addresses];
  if (address === undefined) return undefined;
  const [size, parse] = address;
  if (parse(text, 0, room, 0) !== text.length) return undefined;
  if (size === 4) return BigInt(words.getUint32(0));
  // Numbers below 2 ** 48 are exact, and made faster than what is shifted.
  if (size === 6) return BigInt(words.getUint32(0) * 65536 + words.getUint16(4));
  return words.getBigUint64(0) << 64n | words.getBigUint64(8);
}

/** A value of a leaf, or what a policy compares it with, as a number of `width` bits. */
export function numberOf(value: unknown, width: number): bigint {
  if (typeof value !== "string") return bitsOf(value, width);
  if (Object.hasOwn(fragments, value)) return fragments[value] as bigint;
  return addressOf(value, width) ?? bitsOf(value, width);
}

/** The value of a leaf in a key; undefined if the packet has none. */
export function valueIn(key: FlowKey, leaf: string): unknown {
  const { structure, field } = partsOf(leaf);
  const fields = key as unknown as Fields;
  let from: unknown = fields[structure];
  if (structure === "vlan") from = key.vlans?.[0];
  if (structure === "innerVlan") from = key.vlans?.[1];
  if (structure === "mpls" && field !== undefined) from = key.mpls?.[0];
  const value = field === undefined ? from : (from as Fields | undefined)?.[field];
  return value ?? (metadata.has(leaf) ? leaf === "ctLabels" ? 0n : 0 : undefined);
}

/** Prefixes as numbers, by text: the oracle asks for the same ones millions of times. */
const prefixes = new Map<string, readonly [value: bigint, shift: bigint]>();

function prefixOf(text: string, width: number): readonly [bigint, bigint] {
  const name = `${width} ${text}`;
  const known = prefixes.get(name);
  if (known !== undefined) return known;
  const [address = "", digits] = text.split("/");
  const shift = BigInt(width - (digits === undefined ? width : Number(digits)));
  const isNumber = /^\d+$/.test(address);
  const value = isNumber ? BigInt(address) : bitsOf(address, width);
  const made = [value >> shift, shift] as const;
  if (prefixes.size < 10_000) prefixes.set(name, made);
  return made;
}

/** A packet that nobody tracks, and what a run on it notes. */
export class PlainPacket {
  /** What the run noted. */
  readonly effects: Effect[] = [];
  /** The run's clock, ms since 1970. */
  readonly now: number;
  /** The earliest that the run said. */
  deadline = Infinity;
  readonly #key: FlowKey;
  readonly #read: Set<string> | undefined;

  /** A packet with this key; `read` gets the names of its fields that are asked for. */
  constructor(key: FlowKey, nowMs: number, read?: Set<string>) {
    this.#key = key;
    this.now = nowMs;
    this.#read = read;
  }

  #value(leaf: string): unknown {
    this.#read?.add(partsOf(leaf).of);
    return valueIn(this.#key, leaf);
  }

  get [TRACKER](): undefined {
    return undefined;
  }

  [PLAIN](leaf: Leaf): unknown {
    return this.#value(leaf);
  }

  /** The field of a key with this name. */
  field(name: string): unknown {
    const value = this.#value(name);
    if (name !== "tunnel" || value === undefined) return value;
    return { tos: 0, ttl: 0, srcPort: 0, dstPort: 0, ...value as object };
  }

  has(field: string): boolean {
    this.#read?.add(field);
    return valueIn(this.#key, field) !== undefined;
  }

  equals(leaf: Leaf, value: Value, mask?: Value): boolean {
    const width = widthOf(leaf);
    const mine = this.#value(leaf);
    if (mine === undefined) return false;
    const all = mask === undefined ? (1n << BigInt(width)) - 1n : numberOf(mask, width);
    return ((numberOf(mine, width) ^ numberOf(value, width)) & all) === 0n;
  }

  within(leaf: Leaf, prefix: string): boolean {
    const width = widthOf(leaf);
    const mine = this.#value(leaf);
    if (mine === undefined) return false;
    const [value, shift] = prefixOf(prefix, width);
    return numberOf(mine, width) >> shift === value;
  }

  between(leaf: Leaf, low: Value, high: Value): boolean {
    const width = widthOf(leaf);
    const mine = this.#value(leaf);
    if (mine === undefined) return false;
    const value = numberOf(mine, width);
    return value >= numberOf(low, width) && value <= numberOf(high, width);
  }

  bits(leaf: Leaf, mask: number | bigint): number | bigint {
    const width = widthOf(leaf);
    const mine = this.#value(leaf);
    const isBig = typeof mask === "bigint";
    if (mine === undefined) return isBig ? 0n : 0;
    const value = numberOf(mine, width) & BigInt(mask);
    return isBig || width > 48 ? value : Number(value);
  }

  learn(table: Learner, key: unknown, value: unknown): void {
    const known = this.effects.find((one) =>
      one.kind === "learn" && one.table === table && Object.is(one.key, key)
    );
    if (known?.kind === "learn") known.value = value;
    else this.effects.push({ kind: "learn", table, key, value });
  }

  credit(counter: Effect & object): void {
    this.effects.push({ kind: "credit", counter: counter as never });
  }

  until(atMs: number): void {
    this.deadline = Math.min(this.deadline, atMs);
  }
}

const fields = [
  "tunnel",
  "ethernet",
  "vlans",
  "etherType",
  "mpls",
  "ipv4",
  "ipv6",
  "ipv6Exthdrs",
  "arp",
  "nsh",
  "tcp",
  "tcpFlags",
  "udp",
  "sctp",
  "icmp",
  "icmpv6",
  "nd",
  "ctTuple4",
  "ctTuple6",
  "inPort",
  "recircId",
  "dpHash",
  "priority",
  "skbMark",
  "ctState",
  "ctZone",
  "ctMark",
  "ctLabels",
] as const;

for (const name of fields) {
  Object.defineProperty(PlainPacket.prototype, name, {
    get(this: PlainPacket): unknown {
      return this.field(name);
    },
  });
}

/** Makes a packet that nobody tracks. */
export function plainPacket(
  key: FlowKey,
  nowMs: number,
  read?: Set<string>,
): Packet & PlainPacket {
  return new PlainPacket(key, nowMs, read) as unknown as Packet & PlainPacket;
}
