// SPDX-License-Identifier: Apache-2.0
/**
 * Which flow a key hits, found the plain way: one flow after the other.
 *
 * @module
 */
import type { Flow } from "../flow.ts";
import { decodeKey, decodeMask } from "./mod.ts";
import type { FlowKey, FlowMask } from "../types.ts";
import { bitsOf } from "./fields.ts";

/** Bits of a value that are compared when a mask says all. */
const all = (1n << 128n) - 1n;

/** Whether the part of a key that a mask is about equals the flow's. What a packet does not have counts as zero. */
function same(value: unknown, wanted: unknown, mask: unknown): boolean {
  if (mask === undefined) return true;
  if (wanted instanceof Uint8Array || value instanceof Uint8Array) {
    return `${value ?? ""}` === `${wanted ?? ""}`;
  }
  if (Array.isArray(wanted)) {
    const values = Array.isArray(value) ? value : [];
    if (mask === true && values.length !== wanted.length) return false;
    const count = Array.isArray(mask) ? mask.length : wanted.length;
    return Array.from(
      { length: count },
      (_, i) => same(values[i], wanted[i], Array.isArray(mask) ? mask[i] : mask),
    ).every(Boolean);
  }
  if (typeof wanted === "object" && wanted !== null) {
    const names = mask === true ? Object.keys(wanted) : Object.keys(mask as object);
    return names.every((name) =>
      same(
        (value as Record<string, unknown> | undefined)?.[name],
        (wanted as Record<string, unknown>)[name],
        mask === true ? true : (mask as Record<string, unknown>)[name],
      )
    );
  }
  if (typeof wanted === "boolean" || typeof value === "boolean") {
    return Boolean(value) === Boolean(wanted);
  }
  return sameBits(value, wanted, mask);
}

function sameBits(value: unknown, wanted: unknown, mask: unknown): boolean {
  const bits = width(wanted ?? value);
  const cares = mask === true ? all : bitsOf(mask, bits);
  return ((bitsOf(value, bits) ^ bitsOf(wanted, bits)) & cares) === 0n;
}

/** Bits of a value, by its form. */
function width(value: unknown): number {
  if (typeof value !== "string") return 128;
  return value.includes(".")
    ? 32
    : /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(value)
    ? 48
    : 128;
}

/** Fields that only some packets have: a flow that has them does not fit a packet without. */
const headers = [
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
  "nsh",
] as const satisfies readonly (keyof FlowKey)[];

/** Whether a flow with this key and mask covers a packet's key. */
export function covers(
  packet: FlowKey,
  flow: { readonly key: FlowKey; readonly mask: FlowMask },
): boolean {
  for (const name of headers) {
    if (flow.key[name] !== undefined && packet[name] === undefined) return false;
  }
  const { packetType: _, ...mask } = flow.mask;
  return Object.entries(mask).every(([name, bits]) =>
    same(packet[name as keyof FlowKey], flow.key[name as keyof FlowKey], bits)
  );
}

/** A flow with its key and mask made objects. */
export interface DecodedFlow {
  readonly flow: Flow;
  readonly key: FlowKey;
  readonly mask: FlowMask;
}

/** Decodes flows, to be looked through more than once. */
export function decodeFlows(flows: Iterable<Flow>): DecodedFlow[] {
  return Array.from(flows, (flow) => {
    const { key = new Uint8Array(), mask } = flow.raw;
    return {
      flow,
      key: decodeKey(key),
      mask: mask === undefined ? allOf(decodeKey(key)) : decodeMask(mask, key),
    };
  });
}

function allOf(key: FlowKey): FlowMask {
  return Object.fromEntries(Object.keys(key).map((name) => [name, true])) as FlowMask;
}
