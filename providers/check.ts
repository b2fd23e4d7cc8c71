// SPDX-License-Identifier: Apache-2.0
/**
 * The checks of numbers and names that programs give, each in one place.
 *
 * @module
 */

/**
 * Checks a whole number that a program gives. Throws `TypeError` for what is no number,
 * `RangeError` for NaN, a fraction, and what is below `min` or above `max`: a field of a message
 * would hold something else in its place.
 */
export function integer(what: string, value: number, max: number, min = 0): number {
  if (
    typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
  ) {
    return value;
  }
  const shown = typeof value === "bigint" ? `${value}n` : String(value);
  const message =
    `${what} must be an integer from ${min} to ${max}: current value is ${shown}`;
  throw typeof value === "number" ? new RangeError(message) : new TypeError(message);
}

const encoder = new TextEncoder();

/** Bytes of a name in UTF-8, which is what C and the kernel count. */
export function nameSize(name: string): number {
  return encoder.encode(name).length;
}

/**
 * Checks a name that a program gives. Throws `TypeError` for what is no text, is empty, or has a
 * zero, behind which C and the kernel would not look.
 */
export function plainName(what: string, name: string): string {
  if (typeof name === "string" && name !== "" && !name.includes("\0")) return name;
  const shown = typeof name === "string" ? JSON.stringify(name) : String(name);
  throw new TypeError(
    `${what} must be text, not empty and without a zero: current value is ${shown}`,
  );
}
