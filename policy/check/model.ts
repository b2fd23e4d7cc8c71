// SPDX-License-Identifier: Apache-2.0
/**
 * Which packets a flow covers, for the oracle: the plain way, on keys and masks as objects and on
 * their bits.
 *
 * @module
 */
import type { FlowKey, FlowMask } from "../../providers/types.ts";
import { ENCAP, ETHERTYPE, keyTable, VLAN } from "../../providers/odp/key.ts";
import { splitLevels } from "../../providers/odp/levels.ts";
import { bitsOf } from "../../providers/odp/field_bits.ts";
import type { Random } from "./random.ts";
import { widthOf } from "../packet/plain.ts";

const fragments: Readonly<Record<string, bigint>> = { no: 0n, first: 1n, later: 2n };
const ALL = (1n << 256n) - 1n;

/** Every number in an object, by its path; addresses as numbers. */
export function flatten(
  value: unknown,
  path: string,
  to: Map<string, bigint>,
): Map<string, bigint> {
  if (value === undefined || value === null) return to;
  if (value === true) to.set(path, ALL);
  else if (value === false) to.set(path, 0n);
  else if (typeof value === "bigint") to.set(path, value);
  else if (typeof value === "number") to.set(path, BigInt(value));
  else if (typeof value === "string") {
    to.set(path, fragments[value] ?? bitsOf(value, widthOf(path)));
  } else if (value instanceof Uint8Array) {
    to.set(path, value.reduce((all, byte) => all << 8n | BigInt(byte), 0n));
  } else {
    for (const [name, part] of Object.entries(value)) {
      flatten(part, path === "" ? name : `${path}.${name}`, to);
    }
  }
  return to;
}

/** The packets that hit a flow. */
export class Covered {
  readonly #x: FlowKey;
  readonly #wanted: readonly (readonly [path: string, value: bigint, bits: bigint])[];

  /** `x` is the packet that made the flow. */
  constructor(x: FlowKey, mask: FlowMask) {
    this.#x = x;
    const values = flatten(x, "", new Map());
    const { packetType: _, unknown: __, ...fields } = mask;
    this.#wanted = [...flatten(fields, "", new Map())].map(([path, bits]) =>
      [path, values.get(path) ?? 0n, bits] as const
    );
  }

  /**
   * Whether a packet hits the flow. Datapaths match some things whatever the mask says: port,
   * recirculation, whether there is an Ethernet header or a tunnel, tags and their protocols, the
   * EtherType.
   */
  has(y: FlowKey): boolean {
    const x = this.#x;
    const isAlike = x.inPort === y.inPort && (x.recircId ?? 0) === (y.recircId ?? 0) &&
      x.etherType === y.etherType &&
      (x.ethernet === undefined) === (y.ethernet === undefined) &&
      (x.tunnel === undefined) === (y.tunnel === undefined) &&
      (x.vlans?.length ?? 0) === (y.vlans?.length ?? 0) &&
      (x.vlans ?? []).every(({ tpid }, i) => tpid === y.vlans?.[i]?.tpid);
    if (!isAlike) return false;
    // Which parts a tunnel key has is matched: its family is, and the flag that it has an id.
    const [a, b] = [x.tunnel, y.tunnel];
    if ((a?.ipv6Dst === undefined) !== (b?.ipv6Dst === undefined)) return false;
    if ((a?.id === undefined) !== (b?.id === undefined)) return false;
    const values = flatten(y, "", new Map());
    return this.#wanted.every(([path, value, bits]) =>
      (((values.get(path) ?? 0n) ^ value) & bits) === 0n
    );
  }
}

/** Whether a parser can yield a key: its headers are those that its types call for. */
export function isParsable(key: FlowKey): boolean {
  const ip = key.ipv4 ?? key.ipv6;
  const type = key.etherType ?? 0;
  if ((key.ipv4 !== undefined) !== (type === 0x0800)) return false;
  if ((key.ipv6 !== undefined) !== (type === 0x86dd)) return false;
  if ((key.arp !== undefined) !== (type === 0x0806 || type === 0x8035)) return false;
  if ((key.mpls !== undefined) !== (type === 0x8847 || type === 0x8848)) return false;
  if ((key.nsh !== undefined) !== (type === 0x894f)) return false;
  const proto = ip === undefined || ip.frag === "later" ? -1 : ip.proto;
  if ((key.tcp !== undefined) !== (proto === 6)) return false;
  if ((key.udp !== undefined) !== (proto === 17)) return false;
  if ((key.sctp !== undefined) !== (proto === 132)) return false;
  if ((key.icmp !== undefined) !== (proto === 1 && type === 0x0800)) return false;
  if ((key.icmpv6 !== undefined) !== (proto === 58 && type === 0x86dd)) return false;
  const { type: message, code } = key.icmpv6 ?? { type: 0, code: 0 };
  const isDiscovery = (message === 135 || message === 136) && code === 0;
  if (key.nd !== undefined ? !isDiscovery : isDiscovery && key.ctTuple6 === undefined) {
    return false;
  }
  // A packet of a connection has the tuple that it began with.
  const isTracked = ((key.ctState ?? 0) & 7) !== 0;
  if ((key.ctTuple4 !== undefined) !== (isTracked && type === 0x0800)) return false;
  if ((key.ctTuple6 !== undefined) !== (isTracked && type === 0x86dd)) return false;
  const { mpls, nsh } = key;
  if (mpls !== undefined) {
    const last = mpls.length - 1;
    if (mpls.some(({ bos }, i) => i < last && bos === 1)) return false;
    if (last < 2 && mpls[last]?.bos !== 1) return false;
  }
  if (nsh !== undefined && (nsh.mdtype === 1) !== (nsh.contexts !== undefined)) {
    return false;
  }
  if (key.arp !== undefined && key.arp.op > 255) return false;
  return (key.vlans ?? []).every(({ cfi }) => cfi === 1);
}

const id = (name: keyof typeof keyTable): number => keyTable[name].id;

/**
 * Attributes whose bits a flip leaves alone: another value would be a key of another shape, or of
 * no packet.
 */
const structural: ReadonlySet<number> = new Set([
  ENCAP,
  ETHERTYPE,
  id("tunnel"),
  id("nsh"),
  id("packetType"),
  id("inPort"),
  id("recircId"),
  id("icmpv6"),
]);
/** Bytes of a payload that flips leave alone, and bits of bytes that they may touch. */
const fixed = new Map<number, Readonly<Record<number, number>>>([
  [id("ipv4"), { 8: 0, 11: 0 }],
  [id("ipv6"), { 32: 0, 33: 0x0f, 36: 0, 39: 0 }],
  [id("tcpFlags"), { 0: 0x0f }],
  [id("arp"), { 8: 0, 22: 0, 23: 0 }],
  [id("ctState"), { 0: 0xff, 1: 0, 2: 0, 3: 0 }],
  [id("ctTuple4"), { 12: 0, 13: 0, 14: 0, 15: 0 }],
  [id("ctTuple6"), { 36: 0, 37: 0, 38: 0, 39: 0 }],
  [VLAN, { 0: 0xef }],
  [id("mpls"), { 2: 0xfe, 6: 0xfe, 10: 0xfe }],
]);

/**
 * Bits of a key that may take any value, by byte: those that the mask leaves open, and those that
 * it has.
 */
export interface FreeBits {
  /** Offsets in the key. */
  readonly at: readonly number[];
  /** Bits that the mask does not have. */
  readonly open: readonly number[];
  /** Bits that it has. */
  readonly closed: readonly number[];
  /** Id of the attribute. */
  readonly ids: readonly number[];
}

/** The bits of a key that do not tell its shape. */
export function freeBits(key: Uint8Array, mask: Uint8Array): FreeBits {
  const masks = splitLevels(mask, "mask");
  const at: number[] = [];
  const open: number[] = [];
  const closed: number[] = [];
  const ids: number[] = [];
  for (const [depth, level] of splitLevels(key, "key").entries()) {
    for (const [attribute, payload] of level) {
      if (structural.has(attribute)) continue;
      const bits = masks[depth]?.get(attribute);
      for (let i = 0; i < payload.length; i++) {
        const allowed = fixed.get(attribute)?.[i] ?? 0xff;
        const masked = bits?.[i] ?? 0;
        at.push(payload.byteOffset - key.byteOffset + i);
        open.push(allowed & ~masked);
        closed.push(allowed & masked);
        ids.push(attribute);
      }
    }
  }
  return { at, open, closed, ids };
}

/** Lays what a mask has of one key over another, where both have the attribute. */
export function overlay(x: Uint8Array, y: Uint8Array, mask: Uint8Array): Uint8Array {
  const made = y.slice();
  const from = splitLevels(x, "key");
  const masks = splitLevels(mask, "mask");
  for (const [depth, level] of splitLevels(made, "key").entries()) {
    for (const [attribute, payload] of level) {
      const mine = from[depth]?.get(attribute);
      const bits = masks[depth]?.get(attribute);
      if (mine === undefined || bits === undefined) continue;
      if (attribute === id("tunnel") || attribute === id("nsh")) continue;
      if (mine.length !== payload.length || bits.length !== payload.length) continue;
      for (let i = 0; i < payload.length; i++) {
        const masked = bits[i] as number;
        payload[i] = (payload[i] as number) & ~masked | (mine[i] as number) & masked;
      }
    }
  }
  return made;
}

/** Another packet of the same shape: one open bit flipped, some, most, in turn. */
export function flipped(
  key: Uint8Array,
  free: FreeBits,
  random: Random,
  round: number,
): Uint8Array {
  const other = key.slice();
  const { at, open } = free;
  if (at.length === 0) return other;
  const kind = round % 3;
  if (kind === 0) {
    const i = random(at.length);
    const bit = (open[i] as number) & 1 << random(8);
    other[at[i] as number] = (other[at[i] as number] as number) ^ bit;
    return other;
  }
  for (let i = 0; i < at.length; i++) {
    const bits = open[i] as number;
    if (bits === 0) continue;
    const flip = kind === 1 ? bits & random(256) : bits;
    if (kind === 2 && random(3) === 0) continue;
    other[at[i] as number] = (other[at[i] as number] as number) ^ flip;
  }
  return other;
}
