// SPDX-License-Identifier: Apache-2.0
/**
 * Parts of fields and numbers of actions, in the notation of ovs-ofctl(8), both ways.
 *
 * @module
 */
import type { SubField } from "../wire/action.ts";
import { fieldNamed, fieldOfNxmName, nxmName, partBits } from "../wire/field.ts";
import { parseBig } from "./value.ts";

/** A part of a field: `NXM_NX_REG0[0..15]`. */
export function formatSubField({ field, offset, bits }: SubField): string {
  const name = nxmName(field);
  if (offset === 0 && bits === partBits(field)) return `${name}[]`;
  return bits === 1 ? `${name}[${offset}]` : `${name}[${offset}..${offset + bits - 1}]`;
}

/** Reads a part of a field: `NXM_NX_REG0[0..15]`, `reg0[3]`, `eth_src`. */
export function parseSubField(text: string): SubField {
  const found = /^(\w+)(?:\[(?:(\d+)(?:\.\.(\d+))?)?\])?$/.exec(text);
  const field = found &&
    (fieldOfNxmName(found[1] as string) ?? fieldNamed(found[1] as string));
  if (field === null || field === undefined) throw new SyntaxError(`${text} is no field`);
  const [, , first, last] = found as RegExpExecArray;
  if (first === undefined) return { field, offset: 0, bits: partBits(field) };
  const offset = Number(first);
  const bits = Number(last ?? first) - offset + 1;
  if (bits < 1 || offset + bits > partBits(field)) {
    throw new SyntaxError(`${text} is not within ${partBits(field)} bits`);
  }
  return { field, offset, bits };
}

/** Reads a number. Throws `SyntaxError` for one above `most`. */
export function numberOf(text: string, most: number): number {
  const value = parseBig(text);
  if (value > BigInt(most)) throw new SyntaxError(`${text} is above ${most}`);
  return Number(value);
}

/** Cuts `a->b` in two. Throws `SyntaxError` for what has no arrow. */
export function halves(text: string): readonly [from: string, to: string] {
  const at = text.indexOf("->");
  if (at < 0) throw new SyntaxError(`${text} says no destination`);
  return [text.slice(0, at), text.slice(at + 2)];
}
