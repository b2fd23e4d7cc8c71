// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a flow covers a packet: all bits of the packet's key that the flow's mask has are those
 * of the flow's key.
 *
 * A packet's key counts as complete. Metadata that it does not have is 0, and a flow of another
 * header does not cover it. `maskedEqual()` compares keys of attribute bytes, strictly.
 *
 * @module
 */
import type { FlowKey, FlowMask } from "../types.ts";
import { allBits, bitsOf, isFragment, widthOf } from "./field_bits.ts";
import { decodeKey } from "./key.ts";
import { decodeMask } from "./mask.ts";

/** A flow's key, and the bits of it that matter. */
export interface FlowMatch {
  readonly key: FlowKey;
  readonly mask: FlowMask;
}

/** Fields that only some packets have: a flow that has them does not fit a packet without. */
const headers = [
  "tunnel",
  "ethernet",
  "mpls",
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

/** Whether a flow covers the key of a packet. */
export function covers(packet: FlowKey, flow: FlowMatch): boolean {
  for (const name of headers) {
    if (flow.key[name] !== undefined && packet[name] === undefined) return false;
  }
  // Datapaths compare the number of tags, whatever the mask says of them.
  if ((packet.vlans?.length ?? 0) !== (flow.key.vlans?.length ?? 0)) return false;
  // It says what the other fields are. A key made by hand, or the kernel's, lacks it.
  const { packetType: _, ...mask } = flow.mask;
  return Object.entries(mask).every(([name, bits]) =>
    agrees(packet[name as keyof FlowKey], flow.key[name as keyof FlowKey], bits)
  );
}

/** Whether two values of a field agree in the bits of a mask. What a key lacks counts as zero. */
function agrees(value: unknown, wanted: unknown, mask: unknown): boolean {
  if (mask === undefined) return true;
  if (wanted instanceof Uint8Array || value instanceof Uint8Array) {
    return agreesInBytes(value, wanted, mask);
  }
  if (Array.isArray(wanted) || Array.isArray(value)) {
    return agreesInItems(listOf(value), listOf(wanted), mask);
  }
  if (isRecord(wanted) || isRecord(value)) {
    const parts = isRecord(mask)
      ? Object.keys(mask)
      : Object.keys({ ...recordOf(wanted), ...recordOf(value) });
    return parts.every((part) =>
      agrees(
        recordOf(value)[part],
        recordOf(wanted)[part],
        isRecord(mask) ? mask[part] : mask,
      )
    );
  }
  if (typeof wanted === "boolean" || typeof value === "boolean") {
    return mask === false || Boolean(value) === Boolean(wanted);
  }
  const bits = widthOf(wanted ?? value);
  // Datapaths match a fragment type as a whole.
  const cares = isFragment(wanted ?? value) && bitsOf(mask, bits) !== 0n
    ? allBits(bits)
    : bitsOf(mask, bits);
  return ((bitsOf(value, bits) ^ bitsOf(wanted, bits)) & cares) === 0n;
}

function agreesInBytes(value: unknown, wanted: unknown, mask: unknown): boolean {
  const [left, right] = [bytesOf(value), bytesOf(wanted)];
  if (mask === true && left.length !== right.length) return false;
  const length = Math.max(left.length, right.length);
  for (let i = 0; i < length; i++) {
    const cares = mask instanceof Uint8Array ? mask[i] ?? 0 : 0xff;
    if ((((left[i] ?? 0) ^ (right[i] ?? 0)) & cares) !== 0) return false;
  }
  return true;
}

function agreesInItems(
  values: readonly unknown[],
  wanted: readonly unknown[],
  mask: unknown,
): boolean {
  const masks = Array.isArray(mask) ? mask as readonly unknown[] : undefined;
  if (masks === undefined && values.length !== wanted.length) return false;
  const count = masks?.length ?? wanted.length;
  for (let i = 0; i < count; i++) {
    if (!agrees(values[i], wanted[i], masks === undefined ? mask : masks[i])) {
      return false;
    }
  }
  return true;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Uint8Array);
}

const recordOf = (value: unknown): Record<string, unknown> =>
  isRecord(value) ? value : {};
const listOf = (value: unknown): readonly unknown[] => Array.isArray(value) ? value : [];
const bytesOf = (value: unknown): Uint8Array =>
  value instanceof Uint8Array ? value : new Uint8Array();

/** A flow as attribute bytes; without a mask every bit of the key matters. */
export interface EncodedFlow {
  readonly raw: {
    readonly key?: Uint8Array | undefined;
    readonly mask?: Uint8Array | undefined;
  };
}

/** A flow with its key and mask made objects, to be compared with more than one packet. */
export interface DecodedFlow<F extends EncodedFlow> extends FlowMatch {
  readonly flow: F;
}

/** Decodes flows. */
export function decodeFlows<F extends EncodedFlow>(flows: Iterable<F>): DecodedFlow<F>[] {
  return Array.from(flows, (flow) => {
    const { key: bytes = new Uint8Array(), mask } = flow.raw;
    const key = decodeKey(bytes);
    const all = Object.fromEntries(Object.keys(key).map((name) => [name, true]));
    return {
      flow,
      key,
      mask: mask === undefined ? all as FlowMask : decodeMask(mask, bytes),
    };
  });
}
