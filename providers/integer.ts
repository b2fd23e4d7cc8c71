// SPDX-License-Identifier: Apache-2.0
/**
 * The one check of whole numbers, for whatever takes a number from a program.
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
