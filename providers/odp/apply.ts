// SPDX-License-Identifier: Apache-2.0
/**
 * What a set action makes of a key.
 *
 * @module
 */
import type { FlowKey } from "../types.ts";
import type { SetAction } from "../types_action.ts";
import { mixBits } from "./field_bits.ts";

/**
 * The key of a packet after a set action: the bits that the action's mask has are those of its
 * value, the others stay. Without a mask every part that the value names is set. Neither argument
 * is changed.
 */
export function applySet(key: FlowKey, { key: values, mask }: SetAction): FlowKey {
  const masks = mask as Record<string, unknown> | undefined;
  const changed = Object.entries(values).map(([name, value]) => [
    name,
    laidOver(key[name as keyof FlowKey], value, masks === undefined ? true : masks[name]),
  ]);
  return { ...key, ...Object.fromEntries(changed) };
}

/** `value` laid over `before`, in the bits of a mask. */
function laidOver(before: unknown, value: unknown, mask: unknown): unknown {
  if (mask === undefined || value === undefined) return before;
  if (value instanceof Uint8Array) {
    if (!(mask instanceof Uint8Array)) return value;
    const old = before instanceof Uint8Array ? before : new Uint8Array(value.length);
    return value.map((byte, i) => mix(old[i] ?? 0, byte, mask[i] ?? 0));
  }
  if (Array.isArray(value)) {
    const items = Array.isArray(before) ? before as readonly unknown[] : [];
    // What lies below the first tag, label or word is not touched.
    return [
      ...value.map((item, i) =>
        laidOver(items[i], item, Array.isArray(mask) ? mask[i] : mask)
      ),
      ...items.slice(value.length),
    ];
  }
  if (typeof value === "object" && value !== null) {
    const parts = Object.entries(value).map(([name, part]) => [
      name,
      laidOver(
        (before as Record<string, unknown> | undefined)?.[name],
        part,
        typeof mask === "object" ? (mask as Record<string, unknown>)[name] : mask,
      ),
    ]).filter(([, part]) => part !== undefined);
    return { ...before as object | undefined, ...Object.fromEntries(parts) };
  }
  return mask === true ? value : inBits(before, value, mask);
}

function mix(before: number, value: number, mask: number): number {
  return before & ~mask | value & mask;
}

/** A number or address in the bits of a mask, in its own form. */
function inBits(before: unknown, value: unknown, mask: unknown): unknown {
  if (typeof value === "boolean") return mask === false ? before : value;
  return mixBits(before, value, mask);
}
