// SPDX-License-Identifier: Apache-2.0
/**
 * `OVS_KEY_ATTR_*`: the table, and keys between objects and bytes.
 *
 * Source of the format: `<linux/openvswitch.h>`; ids 29 and 30 from Open vSwitch's own
 * header.
 *
 * @module
 */

import type {
  FlowKey,
  FlowKeyFields,
  FlowKeyInit,
  MplsLabel,
  UnknownAttribute,
  VlanTag,
} from "../types.ts";
import {
  allBits,
  attributesOf,
  type AttributeTable,
  checkEnd,
  checkSize,
  line,
  type NamedAttribute,
  readPayload,
  unknownAttribute,
  writeUnknown,
} from "./attributes.ts";
import { type Codec, one, StructCodec } from "../codec/codec.ts";
import { AttributeError, joinPath } from "../codec/errors.ts";
import { bits, wrong } from "../codec/leaf.ts";
import {
  arp,
  ctTuple4,
  ctTuple6,
  ethernet,
  icmp,
  ipv4Key,
  ipv6Key,
  nd,
  ndExtensions,
  packetType,
  ports,
  tcpFlags,
} from "./payload/structs.ts";
import { nshKey } from "./payload/nsh.ts";
import { tunnelKey } from "./payload/tunnel.ts";
import { HEADER_SIZE, TYPE_MASK, type Writer, written } from "../codec/writer.ts";

/** `OVS_KEY_ATTR_ENCAP`: what is behind a VLAN tag. */
export const ENCAP = 1;
/** `OVS_KEY_ATTR_VLAN` */
export const VLAN = 5;
/** `OVS_KEY_ATTR_ETHERTYPE` */
export const ETHERTYPE = 6;
/** Most nested encap attributes that are read; Open vSwitch's limit for text. */
export const MAX_ENCAP_DEPTH = 32;

/** A VLAN's TCI, without the protocol, which is the ETHERTYPE before it. */
export const vlanTci: StructCodec<Omit<VlanTag, "tpid">> = new StructCodec("vlan", 2, {
  vid: { at: 0, leaf: bits(2, 0, 12) },
  pcp: { at: 0, leaf: bits(2, 13, 3) },
  cfi: { at: 0, leaf: bits(2, 12, 1) },
});

/** A label stack entry. */
export const mplsLabel: StructCodec<MplsLabel> = new StructCodec("mpls", 4, {
  label: { at: 0, leaf: bits(4, 12, 20) },
  tc: { at: 0, leaf: bits(4, 9, 3) },
  ttl: { at: 0, leaf: bits(4, 0, 8) },
  bos: { at: 0, leaf: bits(4, 8, 1) },
});

/** A label stack. */
class MplsCodec implements Codec<readonly MplsLabel[]> {
  readonly min = 4;
  /** The kernel takes 3 labels; more are left for it to refuse. */
  readonly max = 0xfff8;

  read(bytes: Uint8Array, at: number, size: number): readonly MplsLabel[] {
    return this.#map(at, size, (from) => mplsLabel.read(bytes, from));
  }

  write(writer: Writer, labels: readonly MplsLabel[], what: string): void {
    if (!Array.isArray(labels) || labels.length === 0) {
      throw wrong(what, "an array of labels", labels);
    }
    for (const label of labels) mplsLabel.write(writer, label);
  }

  readMask(bytes: Uint8Array, at: number, size: number): unknown {
    return this.#map(at, size, (from) => mplsLabel.readMask(bytes, from));
  }

  writeMask(writer: Writer, mask: unknown, what: string, shape?: Uint8Array): void {
    const count = Math.max((shape?.length ?? 4) / 4, 1);
    const masks = mask === true ? new Array(count).fill(true) : mask;
    if (!Array.isArray(masks)) throw wrong(what, "true or an array", mask);
    for (const label of masks) mplsLabel.writeMask(writer, label);
  }

  named(labels: unknown): unknown {
    if (!Array.isArray(labels)) throw wrong("mpls", "an array of labels", labels);
    const masks = labels.map((label) => mplsLabel.named(label));
    return masks.every((mask) => mask === true) ? true : masks;
  }

  #map<T>(at: number, size: number, read: (from: number) => T): readonly T[] {
    if (size % 4 !== 0) throw new RangeError(`size ${size} is not a multiple of 4`);
    return Array.from({ length: size / 4 }, (_, i) => read(at + 4 * i));
  }
}

/**
 * `OVS_KEY_ATTR_*` in the order in which Open vSwitch and the kernel write them.
 *
 * VLAN and ETHERTYPE appear once for each level of nesting and ENCAP holds the rest of the
 * key behind a tag, so the fields `vlans` and `etherType` are put together from all three.
 */
export const keyTable: AttributeTable<Omit<FlowKeyFields, "vlans">> = {
  recircId: line(20, one.u32x, "recirc_id"),
  dpHash: line(19, one.u32x, "dp_hash"),
  priority: line(2, one.u32x, "skb_priority"),
  tunnel: line(16, tunnelKey, "tunnel", "nested"),
  inPort: line(3, one.u32, "in_port", "exact"),
  skbMark: line(15, one.u32x, "skb_mark"),
  ctState: line(22, one.u32x, "ct_state"),
  ctZone: line(23, one.u16x, "ct_zone"),
  ctMark: line(24, one.u32x, "ct_mark"),
  ctLabels: line(25, one.u128, "ct_label"),
  ctTuple4: line(26, ctTuple4, "ct_tuple4"),
  ctTuple6: line(27, ctTuple6, "ct_tuple6"),
  packetType: line(29, packetType, "packet_type", "exact", "netdev"),
  ethernet: line(4, ethernet, "eth"),
  etherType: line(ETHERTYPE, one.be16x4, "eth_type", "exact"),
  ipv4: line(7, ipv4Key, "ipv4"),
  ipv6: line(8, ipv6Key, "ipv6"),
  ipv6Exthdrs: line(32, one.u16x, "", "any", "kernel"),
  arp: line(13, arp, "arp"),
  mpls: line(21, new MplsCodec(), "mpls"),
  nsh: line(28, nshKey, "nsh", "nested"),
  tcp: line(9, ports("tcp"), "tcp"),
  tcpFlags: line(18, tcpFlags, "tcp_flags"),
  udp: line(10, ports("udp"), "udp"),
  sctp: line(17, ports("sctp"), "sctp"),
  icmp: line(11, icmp("icmp"), "icmp"),
  icmpv6: line(12, icmp("icmpv6"), "icmpv6"),
  nd: line(14, nd, "nd"),
  ndExtensions: line(30, ndExtensions, "nd_ext", "any", "netdev"),
};

/** The lines in order. */
export const keyAttributes: readonly NamedAttribute[] = attributesOf(keyTable);

/** The line of each id. */
export const keyById: readonly (NamedAttribute | undefined)[] = Array.from(
  { length: 33 },
  (_, id) => keyAttributes.find((attribute) => attribute.id === id),
);

const firstInner = keyAttributes.findIndex(({ id }) => id === ETHERTYPE);
/** What precedes the VLAN tags. */
export const outerAttributes: readonly NamedAttribute[] = keyAttributes.slice(
  0,
  firstInner,
);
/** What follows the EtherType. */
export const innerAttributes: readonly NamedAttribute[] = keyAttributes.slice(
  firstInner + 1,
);

const fieldNames: ReadonlySet<string> = new Set([
  "vlans",
  "unknown",
  ...keyAttributes.map(({ name }) => name),
]);

/** Refuses anything that is not an object of known fields. */
export function checkFields(
  value: unknown,
  what: string,
): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(what, "an object, text or bytes", value);
  }
  for (const name in value) {
    if (!fieldNames.has(name)) throw new TypeError(`${what} has no field "${name}"`);
  }
  return value as Readonly<Record<string, unknown>>;
}

const wires: ReadonlyMap<string, Codec<unknown>> = new Map(
  keyAttributes.map(({ name, wire }) => [name, wire]),
);

/** The mask of what one field of an object names; `true` if that is all of it. */
export function namedField(name: string, value: unknown): unknown {
  if (name === "unknown") return allBits(value);
  if (name !== "vlans") return wires.get(name)?.named?.(value) ?? true;
  // Protocol and presence of a tag have defaults, and always matter.
  const masks = (value as readonly Partial<VlanTag>[]).map((tag) => {
    const { tpid: _, ...tci } = tag;
    return vlanTci.named({ cfi: 1, ...tci });
  });
  return masks.every((mask) => mask === true) ? true : masks;
}

/** Appends the bytes of a key. */
export function writeKey(writer: Writer, key: FlowKey | FlowKeyInit): void {
  const record = checkFields(key, "key");
  const vlans = (record.vlans ?? []) as readonly Partial<VlanTag>[];
  const unknown = record.unknown as readonly UnknownAttribute[] | undefined;
  writeFields(writer, outerAttributes, record);
  const starts: number[] = [];
  for (const [depth, tag] of vlans.entries()) {
    writeLevel(writer, unknown, depth);
    const type = writer.begin(ETHERTYPE);
    one.be16x4.write(writer, tag.tpid ?? 0x8100, "vlan.tpid");
    writer.end(type, "vlan");
    writeTag(writer, tag);
    starts.push(writer.begin(ENCAP));
  }
  if (record.etherType !== undefined) {
    const start = writer.begin(ETHERTYPE);
    one.be16x4.write(writer, record.etherType as number, "etherType");
    writer.end(start, "etherType");
  }
  writeFields(writer, innerAttributes, record);
  writeLevel(writer, unknown, starts.length);
  for (let start = starts.pop(); start !== undefined; start = starts.pop()) {
    writer.end(start, "encap");
  }
}

/** Appends the VLAN attribute of a tag; the tag exists unless `cfi` says otherwise. */
export function writeTag(writer: Writer, tag: Partial<VlanTag>): void {
  const { tpid: _, ...tci } = tag;
  const start = writer.begin(VLAN);
  vlanTci.write(writer, { cfi: 1, ...tci } as VlanTag);
  writer.end(start, "vlan");
}

function writeFields(
  writer: Writer,
  attributes: readonly NamedAttribute[],
  record: Readonly<Record<string, unknown>>,
): void {
  for (const { name, id, wire } of attributes) {
    const value = record[name];
    if (value === undefined) continue;
    const start = writer.begin(id);
    wire.write(writer, value, name);
    writer.end(start, name);
  }
}

/** Appends the unknown attributes of one level of nesting. */
export function writeLevel(
  writer: Writer,
  unknown: readonly UnknownAttribute[] | undefined,
  depth: number,
): void {
  if (unknown === undefined) return;
  writeUnknown(writer, unknown.filter((attribute) => (attribute.depth ?? 0) === depth));
}

/** Bytes of a key in the order of Open vSwitch. Throws `TypeError` or `RangeError`. */
export function encodeKey(key: FlowKey | FlowKeyInit): Uint8Array<ArrayBuffer> {
  return written((writer) => writeKey(writer, key));
}

/**
 * The key of attribute bytes, as a plain object.
 *
 * Attributes without a name here are kept in `unknown`.  Throws `AttributeError` for bytes
 * that are malformed: wrong lengths, duplicates, too much nesting.
 */
export function decodeKey(bytes: Uint8Array): FlowKey {
  const key: Record<string, unknown> = {};
  readLevel(bytes, 0, bytes.length, 0, "", key, readPayload, vlanTci.read.bind(vlanTci));
  return key as FlowKey;
}

/** How a field of a key, or its mask, is read. */
type Read = (
  attribute: NamedAttribute,
  bytes: Uint8Array,
  at: number,
  size: number,
  path: string,
) => unknown;

/** Reads one level of nesting, and those within it, into `key`. */
export function readLevel(
  bytes: Uint8Array,
  from: number,
  to: number,
  depth: number,
  path: string,
  key: Record<string, unknown>,
  read: Read,
  readTci: (bytes: Uint8Array, at: number) => unknown,
): void {
  if (depth > MAX_ENCAP_DEPTH) {
    throw new AttributeError(path, from, "nested too deep", "EOVERFLOW");
  }
  let etherType: unknown;
  let tci: unknown;
  let encap = -1;
  let encapEnd = -1;
  let seen = 0;
  let at = from;
  for (; at + HEADER_SIZE <= to;) {
    const size = (bytes[at] as number) | (bytes[at + 1] as number) << 8;
    const id = ((bytes[at + 2] as number) | (bytes[at + 3] as number) << 8) & TYPE_MASK;
    checkSize(size, at, to, path);
    const payload = at + HEADER_SIZE;
    const line = keyById[id];
    // Ids 0 to 31 as bits; id 32 takes the bit of 0, which is never known.
    const bit = line !== undefined || id === ENCAP || id === VLAN ? 1 << (id & 31) : 0;
    if ((seen & bit) !== 0) {
      const name = line?.name ?? (id === VLAN ? "vlan" : "encap");
      throw new AttributeError(joinPath(path, name), at, "attribute is duplicated");
    }
    seen |= bit;
    if (id === ENCAP) {
      encap = payload;
      encapEnd = at + size;
    } else if (id === VLAN) {
      if (size !== HEADER_SIZE + 2) {
        throw new AttributeError(joinPath(path, "vlan"), at, "payload must have 2 bytes");
      }
      tci = readTci(bytes, payload);
    } else if (line === undefined) {
      const attribute = unknownAttribute(bytes, payload, size - HEADER_SIZE);
      const list = (key.unknown ??= []) as UnknownAttribute[];
      list.push(depth === 0 ? attribute : { ...attribute, depth });
    } else {
      const value = read(
        line,
        bytes,
        payload,
        size - HEADER_SIZE,
        joinPath(path, line.name),
      );
      if (id === ETHERTYPE) etherType = value;
      else key[line.name] = value;
    }
    at += size + 3 & ~3;
  }
  checkEnd(at, to, path);
  if (tci !== undefined || encap >= 0) {
    const tag = {
      tpid: etherType ?? 0,
      ...(tci ?? { vid: 0, pcp: 0, cfi: 0 }) as object,
    };
    ((key.vlans ??= []) as unknown[]).push(tag);
    if (encap < 0) return;
    readLevel(
      bytes,
      encap,
      encapEnd,
      depth + 1,
      joinPath(path, "encap"),
      key,
      read,
      readTci,
    );
  } else if (etherType !== undefined) {
    key.etherType = etherType;
  }
}
