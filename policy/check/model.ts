// SPDX-License-Identifier: Apache-2.0
/**
 * What packets there are, for the oracle: which keys a parser can yield, and which bits of one may
 * have any value.
 *
 * @module
 */
import type { FlowKey } from "../../providers/types.ts";
import { ENCAP, ETHERTYPE, keyById, keyTable, VLAN } from "../../providers/odp/key.ts";
import { splitLevels } from "../../providers/odp/levels.ts";

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

/** The name of an attribute of a key. */
export function nameOf(id: number): string {
  return keyById[id]?.name ?? "vlan";
}
