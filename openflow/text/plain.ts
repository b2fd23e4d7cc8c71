// SPDX-License-Identifier: Apache-2.0
/**
 * Actions and the like as text, and back: with all that they say, whichever version of OpenFlow
 * they came in. Messages of one version cannot have all actions of the others.
 *
 * @module
 */
import { OfError } from "../wire/error.ts";
import { type Field, fieldOfName, type OptionFields } from "../wire/field.ts";

/** Begins strings that stand for something else: `#n` a number in hex, `#b` bytes, `#f` a field. */
const MARK = "#";

function isField(value: unknown): value is Field {
  return typeof value === "object" && value !== null && "wordCount" in value &&
    "needs" in value;
}

function special(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return `#n${value.toString(16)}`;
  if (typeof value === "string") return value.startsWith(MARK) ? MARK + value : value;
  if (value instanceof Uint8Array) return `#b${value.toHex()}`;
  if (!isField(value)) return value;
  return value.option === undefined ? `#f${value.name}` : `#o${value.option}`;
}

/** A value as text: data of objects, lists, numbers, strings, bytes and fields. */
export function plainOf(value: unknown): string {
  return JSON.stringify(value, special);
}

/**
 * The value of a text that {@linkcode plainOf} made. Throws {@linkcode OfError} for an option of
 * tunnels that no field stands for any more.
 */
export function valueOf(text: string, options: OptionFields): unknown {
  return JSON.parse(text, (_, value: unknown) => {
    if (typeof value !== "string" || !value.startsWith(MARK)) return value;
    const rest = value.slice(2);
    switch (value[1]) {
      case "n":
        return BigInt(`0x${rest}`);
      case "b":
        return Uint8Array.fromHex(rest);
      case "f":
        return fieldOfName(rest);
      case "o": {
        const field = options.optionField(Number(rest));
        if (field !== undefined) return field;
        throw new OfError("OFPBAC_BAD_SET_ARGUMENT", `tun_metadata${rest} is gone`);
      }
      default:
        return value.slice(1);
    }
  });
}
