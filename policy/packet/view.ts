// SPDX-License-Identifier: Apache-2.0
/**
 * Parts of a packet as objects, whose fields are read when they are looked at.
 *
 * @module
 */
import type { Place } from "./leaf.ts";
import type { Tracker } from "./tracker.ts";

/** Objects that are other values in the next run. */
const views = new WeakSet<object>();

/** A value without parts of the packet in it: these are copied, and so is what has them. */
export function detached<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (views.has(value)) {
    const parts = Object.entries(value).filter(([, part]) => part !== undefined);
    return Object.fromEntries(parts) as T;
  }
  const isList = Array.isArray(value);
  if (!isList && Object.getPrototypeOf(value) !== Object.prototype) return value;
  const parts = Object.entries(value).map(([name, part]) => [name, detached(part)]);
  const hasNone = parts.every(([name, part]) =>
    Object.is(part, (value as Record<string, unknown>)[name as string])
  );
  if (hasNone) return value;
  return (isList ? parts.map(([, part]) => part) : Object.fromEntries(parts)) as T;
}

/**
 * An object whose fields are read when they are looked at; they are its own, so that it can be
 * spread.
 */
export function view(tracker: Tracker, fields: Readonly<Record<string, Place>>): object {
  const made = {};
  views.add(made);
  for (const [name, place] of Object.entries(fields)) {
    Object.defineProperty(made, name, {
      enumerable: true,
      configurable: false,
      get: () => tracker.read(place),
    });
  }
  return Object.freeze(made);
}
