// SPDX-License-Identifier: Apache-2.0
/**
 * Copies of what policies hand over: programs use their objects again, and parts of a packet are
 * other values in the next run.
 *
 * @module
 */

/** Whether an object is a plain one. */
export function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * Whether nothing of a value can change: of lists and plain objects neither they nor what is in
 * them. Bytes always can, and so can what is computed for each who looks.
 */
export function isForever(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true;
  if (!Object.isFrozen(value)) return false;
  if (!Array.isArray(value) && !isPlain(value)) return false;
  return Object.values(Object.getOwnPropertyDescriptors(value)).every((part) =>
    part.get === undefined && isForever(part.value)
  );
}

/** Whether writing a value over another one changes nothing, whatever was done to it meanwhile. */
export function isSameForever(a: unknown, b: unknown): boolean {
  return Object.is(a, b) && (isForever(a) || isThing(a as object));
}

/** Text of a value that a program made; never throws. */
export function safeText(value: unknown): string {
  try {
    return String(value);
  } catch {
    return `a ${typeof value} that has no text`;
  }
}

/** What was thrown, in words; never throws. */
export function textOfThrown(cause: unknown): string {
  try {
    if (cause instanceof Error) return String(cause.message);
  } catch {
    // Its text says as much.
  }
  return safeText(cause);
}

/** Kinds of objects that are one thing whatever they hold, by their prototypes. */
const things = new Set<object>();

/** Says that objects of a class need no copy, because their reads are noted. */
export function noteThings(kind: { readonly prototype: object }): void {
  things.add(kind.prototype);
}

function isThing(value: object): boolean {
  let kind: object | null = Object.getPrototypeOf(value);
  while (kind !== null && !things.has(kind)) kind = Object.getPrototypeOf(kind);
  return kind !== null;
}

/**
 * A value as it is now, whatever becomes of its object: lists, plain objects and bytes are copied,
 * state of policies and functions are themselves. Throws `TypeError` for what cannot be copied.
 */
export function valueNow<T>(value: T, what: string): T {
  if (typeof value !== "object" || value === null || isForever(value)) return value;
  if (Array.isArray(value)) {
    return Object.freeze(value.map((part) => valueNow(part, what))) as T;
  }
  if (value instanceof Uint8Array) return value.slice() as T;
  if (isThing(value)) return value;
  if (!isPlain(value)) {
    const kind = (value as { constructor?: { name?: string } }).constructor?.name;
    throw new TypeError(`${what} must be plain data: current value is a ${kind}`);
  }
  const parts = Object.entries(value);
  return Object.freeze(
    Object.fromEntries(parts.map(([name, part]) => [name, valueNow(part, what)])),
  ) as T;
}

/** Whether two values are made of the same; false where that is not known. */
export function areAlike(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    return false;
  }
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!areAlike(a[i], b[i])) return false;
    return true;
  }
  const [of, others] = [a, b] as [Fields, Fields];
  if (Object.getPrototypeOf(a) !== Object.prototype) return false;
  if (Object.getPrototypeOf(b) !== Object.prototype) return false;
  let count = 0;
  for (const name in of) {
    count++;
    if (!areAlike(of[name], others[name])) return false;
  }
  for (const _ in others) count--;
  return count === 0;
}

type Fields = Record<string, unknown>;

/**
 * A copy that nothing changes any more, of lists and plain objects; what is so already or has
 * functions is given back as it is.
 */
export function frozenCopy<T>(value: T): T {
  if (typeof value !== "object" || value === null || isForever(value)) return value;
  if (Array.isArray(value)) return Object.freeze(value.map(frozenCopy)) as T;
  if (value instanceof Uint8Array) return value.slice() as T;
  if (!isPlain(value)) return value;
  const parts = Object.entries(value);
  if (parts.some(([, part]) => typeof part === "function")) return value;
  return Object.freeze(
    Object.fromEntries(parts.map(([name, part]) => [name, frozenCopy(part)])),
  ) as T;
}
