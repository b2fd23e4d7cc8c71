// SPDX-License-Identifier: Apache-2.0
/**
 * Copies of what policies hand over: programs use their objects again, and parts of a packet are
 * other values in the next run.
 *
 * @module
 */

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * Whether nothing of a value can change: of lists and plain objects neither they nor what is in
 * them. Bytes always can.
 */
export function isForever(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true;
  if (!Object.isFrozen(value)) return false;
  return Array.isArray(value)
    ? value.every(isForever)
    : isPlain(value) && Object.values(value).every(isForever);
}

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
