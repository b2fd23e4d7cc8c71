// SPDX-License-Identifier: Apache-2.0
/**
 * What no action of a datapath sets: headers of ARP, of ICMP, and of neighbour discovery. The
 * program writes them into each packet.
 *
 * @module
 */
import { parseIpv6 } from "../../providers/codec/address.ts";
import type { Action } from "../../providers/types_action.ts";
import type { Field } from "../wire/field.ts";
import { type FlowWords, Word } from "../wire/flow.ts";
import { hasWhatItNeeds, isArp } from "../wire/match.ts";

/** What is written into a frame. */
export interface HeaderEdit {
  /** Of ARP. */
  readonly op?: number;
  readonly sha?: string;
  readonly tha?: string;
  readonly sip?: string;
  readonly tip?: string;
  /** Of ICMP, for IPv4 or IPv6. */
  readonly type?: number;
  readonly code?: number;
  /** Of neighbour discovery: addresses of IPv6, and of Ethernet in options that are there. */
  readonly target?: string;
  readonly sll?: string;
  readonly tll?: string;
}

/** The field that each part is. */
export const editFields = {
  op: "arp_op",
  sha: "arp_sha",
  tha: "arp_tha",
  sip: "arp_spa",
  tip: "arp_tpa",
  type: "icmp_type",
  code: "icmp_code",
  target: "nd_target",
  sll: "nd_sll",
  tll: "nd_tll",
} as const satisfies Record<keyof HeaderEdit, string>;

const edited: ReadonlySet<string> = new Set([
  ...Object.values(editFields),
  "icmpv6_type",
  "icmpv6_code",
]);

/** Whether no action sets a field of a packet. */
export function isEdited({ word, name, needs }: Field, flow: FlowWords): boolean {
  return word >= Word.nwSrc && edited.has(name) && hasWhatItNeeds(needs, flow);
}

/** Actions for which it is all one whether ARP or ICMP was written before them, or behind. */
const indifferent: ReadonlySet<Action["type"]> = new Set<Action["type"]>([
  "set",
  "pushVlan",
  "popVlan",
  "ctClear",
  "meter",
]);

/** Whether an action has to do with what ARP or ICMP of the packet says. */
export function usesEdited({ type }: Action): boolean {
  return !indifferent.has(type);
}

const [IPV4, IPV6, ICMP, ICMPV6, FRAGMENT] = [0x0800, 0x86dd, 1, 58, 44] as const;
/** Headers of IPv6 between the first one and what it carries: hop by hop, routing, destination. */
const EXTENSIONS: readonly number[] = [0, 43, 60];
/** Options of neighbour discovery. */
const [SOURCE, TARGET] = [1, 2] as const;

function bytesOf(address: string): readonly number[] {
  return address.includes(":")
    ? address.split(":").map((part) => Number.parseInt(part, 16))
    : address.split(".").map(Number);
}

function editArp(frame: Uint8Array, view: DataView, at: number, edit: HeaderEdit): void {
  if (frame.length < at + 28) return;
  if (edit.op !== undefined) view.setUint16(at + 6, edit.op);
  const put = (value: string | undefined, to: number): void => {
    if (value !== undefined) frame.set(bytesOf(value), to);
  };
  put(edit.sha, at + 8);
  put(edit.sip, at + 14);
  put(edit.tha, at + 18);
  put(edit.tip, at + 24);
}

/** Where ICMP begins in a frame whose IP header begins at `at`; undefined where none is whole. */
function icmpAt(view: DataView, type: number, at: number): number | undefined {
  const end = view.byteLength;
  if (type === IPV4) {
    if (end < at + 20 || view.getUint8(at + 9) !== ICMP) return undefined;
    const start = at + 4 * (view.getUint8(at) & 15);
    const isLater = (view.getUint16(at + 6) & 0x1fff) !== 0;
    return isLater || end < start + 4 ? undefined : start;
  }
  if (type !== IPV6 || end < at + 40) return undefined;
  let next = view.getUint8(at + 6);
  let start = at + 40;
  while (next !== ICMPV6) {
    const isFragment = next === FRAGMENT;
    if (!isFragment && !EXTENSIONS.includes(next) || end < start + 8) return undefined;
    if (isFragment && (view.getUint16(start + 2) & 0xfff8) !== 0) return undefined;
    next = view.getUint8(start);
    start += isFragment ? 8 : 8 * (view.getUint8(start + 1) + 1);
  }
  return end < start + 4 ? undefined : start;
}

/** Writes bytes at an even offset of what a sum covers, and has the sum be right again. */
function put(view: DataView, sumAt: number, at: number, bytes: readonly number[]): void {
  let sum = ~view.getUint16(sumAt) & 0xffff;
  for (let i = 0; i < bytes.length; i += 2) {
    const word = (bytes[i] as number) << 8 | (bytes[i + 1] as number);
    sum += (~view.getUint16(at + i) & 0xffff) + word;
    view.setUint16(at + i, word);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(sumAt, ~sum & 0xffff);
}

function editIcmp(view: DataView, start: number, edit: HeaderEdit): void {
  const { type = view.getUint8(start), code = view.getUint8(start + 1) } = edit;
  const sumAt = start + 2;
  const end = view.byteLength;
  if (edit.target !== undefined && end >= start + 24) {
    const address = new Uint8Array(16);
    parseIpv6(edit.target, 0, address, 0);
    put(view, sumAt, start + 8, [...address]);
  }
  for (let at = start + 24; at + 8 <= end;) {
    const size = 8 * view.getUint8(at + 1);
    if (size === 0 || at + size > end) break;
    const option = view.getUint8(at);
    const mac = option === SOURCE ? edit.sll : option === TARGET ? edit.tll : undefined;
    if (mac !== undefined) put(view, sumAt, at + 2, bytesOf(mac));
    at += size;
  }
  put(view, sumAt, start, [type, code]);
}

/** Writes what is set into a frame; a frame that has no such header stays as it is. */
export function editFrame(frame: Uint8Array, edit: HeaderEdit): Uint8Array {
  let at = 12;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  while (at + 2 <= frame.length && [0x8100, 0x88a8].includes(view.getUint16(at))) at += 4;
  if (at + 2 > frame.length) return frame;
  const type = view.getUint16(at);
  if (isArp(type)) editArp(frame, view, at + 2, edit);
  else {
    const start = icmpAt(view, type, at + 2);
    if (start !== undefined) editIcmp(view, start, edit);
  }
  return frame;
}
