// SPDX-License-Identifier: Apache-2.0
/**
 * JSON with integers of 64 bits, as databases have them: those that a number cannot hold are
 * `bigint`.
 *
 * @module
 */

/** A value of JSON. */
export type Json =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Json[]
  | { readonly [name: string]: Json };

/** So many digits, and an integer may be too large for a number. */
const mayBeLarge = /\d{16}/;
const isInteger = /^-?\d+$/;

/** Reads a value. Throws `SyntaxError`. */
export function parseJson(text: string): Json {
  if (!mayBeLarge.test(text)) return JSON.parse(text) as Json;
  const revive = (_: string, value: unknown, context?: { source?: string }): unknown => {
    const source = context?.source;
    return typeof value === "number" && !Number.isSafeInteger(value) &&
        source !== undefined && isInteger.test(source)
      ? BigInt(source)
      : value;
  };
  return JSON.parse(text, revive as Parameters<typeof JSON.parse>[1]) as Json;
}

const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

/** Writes a value. */
export function formatJson(value: Json): string {
  return JSON.stringify(
    value,
    (_, one: unknown) => typeof one === "bigint" ? rawJSON(`${one}`) : one,
  );
}
