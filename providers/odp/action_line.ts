// SPDX-License-Identifier: Apache-2.0
/**
 * Lines of the table of actions, by the shape of the payload.
 *
 * @module
 */

import type { AttributeSet, KnownTo } from "./attributes.ts";
import type { Codec } from "../codec/codec.ts";
import { AttributeError } from "../codec/errors.ts";
import { type Leaf, wrong } from "../codec/leaf.ts";
import { HEADER_SIZE, type Writer } from "../codec/writer.ts";

/** One line of the table of actions. */
export interface ActionLine<A> {
  /** `nla_type` on the wire. */
  readonly id: number;
  /** Fewest bytes of payload. */
  readonly min: number;
  /** Most bytes of payload. */
  readonly max: number;
  /** Name in text, where there is one. */
  readonly text: string;
  /** Who understands it. */
  readonly knownTo: KnownTo;
  /** Reads a payload. */
  read(bytes: Uint8Array, at: number, size: number, path: string): Omit<A, "type">;
  /** Appends the payload. */
  write(writer: Writer, action: A): void;
}

/** Makes a line for a payload that a codec knows and whose fields are the action's. */
export function plain<A>(
  id: number,
  text: string,
  wire: Codec<Omit<A, "type">>,
  knownTo: KnownTo = "both",
): ActionLine<A> {
  return {
    id,
    min: wire.min,
    max: wire.max,
    text,
    knownTo,
    read: (bytes, at, size) => wire.read(bytes, at, size),
    write: (writer, action) => wire.write(writer, action as never, text),
  };
}

/** Makes a line for a payload of one field. */
export function single<A>(
  id: number,
  text: string,
  field: Exclude<keyof A, "type"> & string,
  leaf: Leaf<number>,
  knownTo: KnownTo = "both",
): ActionLine<A> {
  const what = `${text}.${field}`;
  return {
    id,
    min: leaf.size,
    max: leaf.size,
    text,
    knownTo,
    read: (bytes, at) => ({ [field]: leaf.get(bytes, at) }) as never,
    write(writer, action): void {
      const at = writer.alloc(leaf.size);
      leaf.put(writer.bytes, at, action[field] as number, what);
    },
  };
}

/** Makes a line for an action without payload. */
export function bare<A>(id: number, text: string): ActionLine<A> {
  return {
    id,
    min: 0,
    max: 0,
    text,
    knownTo: "both",
    read: () => ({}) as never,
    write: () => {},
  };
}

/** Makes a line for a nest in which some attributes must be present. */
export function nest<A extends object>(
  id: number,
  set: AttributeSet<Omit<A, "type">>,
  required: readonly (keyof A & string)[],
  knownTo: KnownTo = "both",
): ActionLine<A> {
  return {
    id,
    min: 0,
    max: 0xfffb,
    text: set.name,
    knownTo,
    read(bytes, at, size, path): Omit<A, "type"> {
      const value = set.read(bytes, at, size);
      const missing = required.find((name) => !(name in value));
      if (missing !== undefined) {
        throw new AttributeError(
          path,
          at - HEADER_SIZE,
          `attribute ${missing} is missing`,
        );
      }
      return value;
    },
    write(writer, action): void {
      for (const name of required) {
        if (action[name] === undefined) {
          throw wrong(`${set.name}.${name}`, "given", undefined);
        }
      }
      set.write(writer, action);
    },
  };
}
