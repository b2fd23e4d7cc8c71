// SPDX-License-Identifier: Apache-2.0
/**
 * Leaves: the values that a policy may ask about, and where they are in the bytes of a key.
 *
 * A value is compared as bits. {@linkcode Words} are 128 bits from the left: the highest bit of the
 * value is bit 31 of the first word, so that a prefix of so many bits means the same for a port, an
 * Ethernet address and IPv6.
 *
 * @module
 */
import { StructCodec } from "../../providers/codec/codec.ts";
import {
  AddressLeaf,
  BigLeaf,
  bits as someBits,
  type Leaf as WireLeaf,
  NumberLeaf,
} from "../../providers/codec/leaf.ts";
import { keyTable } from "../../providers/odp/key.ts";
import { nshBase } from "../../providers/odp/payload/nsh.ts";
import type { Attribute } from "../../providers/odp/attributes.ts";
import { prefixMask, type Words, words } from "./words.ts";

export { commonBits, fromBig, prefixMask, toBig, type Words, words } from "./words.ts";

/**
 * A value as a policy writes it: number, 64 bits and more as bigint, address as text, `"first"` for
 * a fragment.
 */
export type Value = number | bigint | string;

const structures = [
  "ethernet",
  "ipv4",
  "ipv6",
  "arp",
  "tcp",
  "udp",
  "sctp",
  "icmp",
  "icmpv6",
  "nd",
  "ctTuple4",
  "ctTuple6",
] as const;
const plain = [
  "inPort",
  "recircId",
  "dpHash",
  "priority",
  "skbMark",
  "ctZone",
  "ctMark",
  "ctLabels",
  "etherType",
  "tcpFlags",
  "ipv6Exthdrs",
] as const satisfies readonly PlainField[];

/** A field of a key that is one value. */
export type PlainField =
  | "inPort"
  | "recircId"
  | "dpHash"
  | "priority"
  | "skbMark"
  | "ctZone"
  | "ctMark"
  | "ctLabels"
  | "etherType"
  | "tcpFlags"
  | "ipv6Exthdrs";
/** One of a pair: source or destination. */
export type PairPart = "src" | "dst";
/** A part of the tuple of a connection. */
export type TuplePart = "src" | "dst" | "proto" | "srcPort" | "dstPort";

/** Name of a value in a packet: one for each part of a key that has a fixed place. */
export type Leaf =
  | PlainField
  | "ctState"
  | `ethernet.${PairPart}`
  | `vlan.${"tpid" | "vid" | "pcp"}`
  | `innerVlan.${"tpid" | "vid" | "pcp"}`
  | `mpls.${"label" | "tc" | "ttl" | "bos"}`
  | `ipv4.${"src" | "dst" | "proto" | "tos" | "ttl" | "frag"}`
  | `ipv6.${"src" | "dst" | "label" | "proto" | "tclass" | "hlimit" | "frag"}`
  | `arp.${"sip" | "tip" | "op" | "sha" | "tha"}`
  | `${"tcp" | "udp" | "sctp"}.${PairPart}`
  | `${"icmp" | "icmpv6"}.${"type" | "code"}`
  | `nd.${"target" | "sll" | "tll"}`
  | `nsh.${"flags" | "ttl" | "mdtype" | "np" | "spi" | "si"}`
  | `ctTuple4.${TuplePart}`
  | `ctTuple6.${TuplePart}`
  | `tunnel.${
    | "id"
    | "src"
    | "dst"
    | "ipv6Src"
    | "ipv6Dst"
    | "tos"
    | "ttl"
    | "srcPort"
    | "dstPort"}`;

/** First slot of VLAN tags: two for each, its TPID and its TCI. */
export const TAGS = 40;
/** First slot of the parts of a tunnel key. */
export const TUNNEL = 64;
/** Slots of the two parts of a service header: its base, and the contexts of type 1. */
export const NSH_BASE = 92;
export const NSH_CONTEXTS = 93;
/** Slots of a layout: attributes by id, tags, parts of the tunnel and of the service header. */
export const SLOTS = 96;

/** What tells whether a packet has a value, beside what every flow matches. */
export type ToldBy = "always" | "protocol" | "discovery" | "label" | "tracked";

/** Where a value is. */
export interface Place {
  /** Its name. */
  readonly name: Leaf | string;
  /** Slot of the layout that has the payload's offset. */
  readonly slot: number;
  /** Offset in the payload. */
  readonly at: number;
  /** Layout of the bytes. */
  readonly wire: WireLeaf<unknown>;
  /** Bits of the value. */
  readonly width: number;
  /** What tells that it is there. */
  readonly told: ToldBy;
  /** Protocol number that goes with it; 0 if none does. */
  readonly protocol: number;
  /** Whether absence means zero, as for metadata. */
  readonly zero: boolean;
  /** Values of one kind have the same bits for the same text. */
  readonly kind: string;
  /** The same as `wire` where that is a number of 32 bits at most. */
  readonly number: NumberLeaf | undefined;
  /** Bytes of one that is not, and whether the last of them counts most. */
  readonly size: number;
  readonly isLittle: boolean;
}

const protocols: Readonly<Record<string, number>> = {
  tcp: 6,
  tcpFlags: 6,
  udp: 17,
  sctp: 132,
  icmp: 1,
  icmpv6: 58,
  nd: 58,
};

function widthOf(wire: WireLeaf<unknown>): number {
  return wire instanceof NumberLeaf ? wire.width : wire.size * 8;
}

function place(
  name: string,
  slot: number,
  at: number,
  wire: WireLeaf<unknown>,
  zero = false,
): Place {
  const [structure = ""] = name.split(".");
  const protocol = protocols[structure] ?? 0;
  const told: ToldBy = structure === "nd"
    ? "discovery"
    : protocol !== 0
    ? "protocol"
    : structure.startsWith("ctTuple")
    ? "tracked"
    : structure === "mpls" && at > 0
    ? "label"
    : "always";
  const width = widthOf(wire);
  const kind = `${wire.constructor.name}${width}`;
  const number = wire instanceof NumberLeaf ? wire : undefined;
  const isLittle = wire instanceof BigLeaf && wire.little;
  const { size } = wire;
  return {
    ...{ name, slot, at, wire, width, told, protocol, zero, kind },
    ...{ number, size, isLittle },
  };
}

function all(): Record<string, Place> {
  const made: Record<string, Place> = {};
  const add = (one: Place): void => void (made[one.name] = one);
  const table = keyTable as unknown as Readonly<Record<string, Attribute<unknown>>>;
  for (const name of structures) {
    const { id, wire } = table[name] as Attribute<unknown>;
    const { fields } = wire as StructCodec<unknown>;
    for (const field of fields) {
      add(place(`${name}.${field.name}`, id, field.at, field.leaf));
    }
  }
  for (const name of plain) {
    const { id, wire } = table[name] as Attribute<unknown>;
    const { leaf } = wire as unknown as { leaf: WireLeaf<unknown> };
    const isHeader = ["etherType", "tcpFlags", "ipv6Exthdrs"].includes(name);
    add(place(name, id, 0, leaf, !isHeader));
  }
  // The kernel refuses masks of state bits that it does not know: they are the low eight.
  add(place("ctState", keyTable.ctState.id, 0, stateBits, true));
  for (const [i, name] of ["vlan", "innerVlan"].entries()) {
    add(place(`${name}.tpid`, TAGS + 2 * i, 0, someBits(2, 0, 16)));
    add(place(`${name}.vid`, TAGS + 2 * i + 1, 0, someBits(2, 0, 12)));
    add(place(`${name}.pcp`, TAGS + 2 * i + 1, 0, someBits(2, 13, 3)));
    add(place(`${name}.cfi`, TAGS + 2 * i + 1, 0, someBits(2, 12, 1)));
  }
  for (const field of nshBase.fields) {
    add(place(`nsh.${field.name}`, NSH_BASE, field.at, field.leaf));
  }
  for (const label of labels) for (const part of Object.values(label)) add(part);
  const tunnel: readonly (readonly [string, number, WireLeaf<unknown>, boolean?])[] = [
    ["id", 0, new BigLeaf(8, false, "none")],
    ["src", 1, table.ipv4 && leafOf(table.ipv4, "src")],
    ["dst", 2, table.ipv4 && leafOf(table.ipv4, "dst")],
    ["tos", 3, someBits(1, 0, 8), true],
    ["ttl", 4, someBits(1, 0, 8), true],
    ["srcPort", 9, someBits(2, 0, 16), true],
    ["dstPort", 10, someBits(2, 0, 16), true],
    ["ipv6Src", 12, table.ipv6 && leafOf(table.ipv6, "src")],
    ["ipv6Dst", 13, table.ipv6 && leafOf(table.ipv6, "dst")],
  ] as never;
  for (const [name, id, wire, zero] of tunnel) {
    add(place(`tunnel.${name}`, TUNNEL + id, 0, wire, zero));
  }
  return made;
}

function leafOf(attribute: Attribute<unknown>, name: string): WireLeaf<unknown> {
  const { fields } = attribute.wire as StructCodec<unknown>;
  return fields.find((field) => field.name === name)?.leaf as WireLeaf<unknown>;
}

/** The eight bits of a connection's state that datapaths match. */
const stateBits = new NumberLeaf(4, true, "hex", 0, 8);

/** Entries of a label stack, the outermost first; `mpls.label` is that of the first. */
export const labels: readonly Readonly<Record<"label" | "tc" | "ttl" | "bos", Place>>[] =
  [0, 1, 2].map((i) => {
    const name = i === 0 ? "mpls" : `mpls${i}`;
    const part = (field: string, shift: number, width: number): Place => {
      const made = place(
        `${name}.${field}`,
        keyTable.mpls.id,
        4 * i,
        someBits(4, shift, width),
      );
      return i === 0 ? made : { ...made, told: "label" };
    };
    return {
      label: part("label", 12, 20),
      tc: part("tc", 9, 3),
      ttl: part("ttl", 0, 8),
      bos: part("bos", 8, 1),
    };
  });

/** Every place by its name. */
export const places: Readonly<Record<string, Place>> = all();

/** The place of a leaf. Throws `TypeError` if there is no such leaf. */
export function placeOf(leaf: string): Place {
  const found = Object.hasOwn(places, leaf) ? places[leaf] : undefined;
  if (found === undefined) throw new TypeError(`a packet has no leaf "${leaf}"`);
  return found;
}

/** Reads the value at `at` as bits. */
export function load(place: Place, bytes: Uint8Array, at: number, to: Words): void {
  const { number, size, isLittle } = place;
  to[1] = to[2] = to[3] = 0;
  if (number !== undefined) {
    to[0] = number.get(bytes, at) << (32 - number.width);
    return;
  }
  for (let i = 0; i < size; i += 4) {
    let bits = 0;
    const end = Math.min(size, i + 4);
    for (let n = i; n < end; n++) {
      bits |= (bytes[at + (isLittle ? size - 1 - n : n)] as number) << (24 - 8 * (n & 3));
    }
    to[i >> 2] = bits;
  }
}

/** Lays bits over those at `at`; true if some of them were not there before. */
export function lay(place: Place, bytes: Uint8Array, at: number, bits: Words): boolean {
  const { number, size, isLittle } = place;
  let isNew = false;
  if (number !== undefined) {
    const value = (bits[0] as number) >>> (32 - number.width);
    isNew = (value & ~number.get(bytes, at)) !== 0;
    if (isNew) number.poke(bytes, at, value);
    return isNew;
  }
  for (let i = 0; i < size; i++) {
    const byte = (bits[i >> 2] as number) >>> (24 - 8 * (i & 3)) & 0xff;
    const to = at + (isLittle ? size - 1 - i : i);
    const before = bytes[to] as number;
    if ((byte & ~before) === 0) continue;
    bytes[to] = before | byte;
    isNew = true;
  }
  return isNew;
}

/** Lays all bits of a value; true if some of them were not there before. */
export function layWhole(place: Place, bytes: Uint8Array, at: number): boolean {
  const { number, size } = place;
  if (number !== undefined) {
    const isNew = number.get(bytes, at) !== number.max;
    if (isNew) number.poke(bytes, at, number.max);
    return isNew;
  }
  let isNew = false;
  for (let i = at; i < at + size; i++) {
    if (bytes[i] === 0xff) continue;
    bytes[i] = 0xff;
    isNew = true;
  }
  return isNew;
}

/** Bytes of the value that is parsed; the widest is an address of 16. */
const room = new Uint8Array(16);

/** Makes bits of a value as a policy writes it. Throws `TypeError` or `RangeError`. */
export function parse(place: Place, value: Value, to: Words = words()): Words {
  const { wire, name } = place;
  const bytes = room.fill(0);
  const isAddress = wire instanceof AddressLeaf;
  if (!isAddress && typeof value === "string" && !name.endsWith("frag")) {
    throw new TypeError(`${name} must be a number: current value is "${value}"`);
  }
  const big = wire instanceof BigLeaf && typeof value === "number";
  if (isAddress && typeof value !== "string") {
    bytes.set(wideBytes(BigInt(value), wire.size, name), 0);
  } else {
    (wire as WireLeaf<unknown>).put(bytes, 0, big ? BigInt(value) : value, name);
  }
  load(place, bytes, 0, to);
  return to;
}

/** Makes a mask: bits of a number, or of an address in its own form. */
export function parseMask(place: Place, mask: Value, to: Words = words()): Words {
  if (place.name.endsWith("frag") && typeof mask === "number") {
    to.fill(0);
    to[0] = mask << 24;
    return to;
  }
  return parse(place, mask, to);
}

function wideBytes(value: bigint, size: number, what: string): Uint8Array {
  if (value < 0n || value >> BigInt(8 * size) !== 0n) {
    throw new RangeError(
      `${what} must have at most ${8 * size} bits: current value is ${value}`,
    );
  }
  const hex = value.toString(16).padStart(2 * size, "0");
  return Uint8Array.from(
    { length: size },
    (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
}

/**
 * Parses `10.0.0.0/8` into bits and their number; without a slash all bits count. Throws
 * `SyntaxError`, and `RangeError` for a number that is too large.
 */
export function parsePrefix(
  place: Place,
  text: string,
): { bits: Words; length: number } {
  const { wire, width } = place;
  const [address = "", digits, ...more] = text.split("/");
  const length = digits === undefined ? width : Number(digits);
  const isLength = digits === undefined || /^\d+$/.test(digits) && length <= width;
  const isAddress = wire instanceof AddressLeaf;
  const isValue = isAddress
    ? wire.parse(address, 0, room.fill(0), 0) === address.length
    : /^\d+$/.test(address);
  if (!isLength || !isValue || more.length > 0) {
    throw new SyntaxError(`"${text}" is not a prefix of ${width} bits at most`);
  }
  const isBig = wire instanceof BigLeaf; // A number would lose digits.
  const number = isBig ? BigInt(address) as unknown as number : Number(address);
  const bits = parse(place, isAddress ? address : number);
  const kept = prefixMask(length);
  for (let i = 0; i < 4; i++) bits[i] = (bits[i] as number) & (kept[i] as number);
  return { bits, length };
}
