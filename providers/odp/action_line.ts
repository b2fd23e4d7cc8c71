// SPDX-License-Identifier: Apache-2.0
/**
 * Lines of the table of actions, by the shape of the payload; and the two whose shape is their own.
 *
 * @module
 */

import type { Action, HashAction, TunnelPushAction } from "../types.ts";
import type { AttributeSet, KnownTo } from "./attributes.ts";
import type { Codec } from "../codec/codec.ts";
import { AttributeError } from "../codec/errors.ts";
import { type Leaf, u32, wrong } from "../codec/leaf.ts";
import { HEADER_SIZE, type Writer } from "../codec/writer.ts";

/** One field in the text of an action, `name=value`. */
export interface FormField<A> {
  /** The action's field. */
  readonly field: Exclude<keyof A, "type"> & string;
  /** Name in text; the field's own when absent. */
  readonly text?: string;
  /** Largest value. */
  readonly max: number;
  /**
   * Printed as `0x` and this many digits at least; 0: as C's `%#x`, so that 0 is "0"; absent:
   * decimal.
   */
  readonly hex?: number;
  /** What it is when it is not given; absent: it must be given. */
  readonly default?: number;
  /** Printed only when it is not the default. */
  readonly rare?: boolean;
}

/**
 * How the text of an action looks whose payload is numbers, after its name: nothing (`pop_vlan`),
 * an empty pair of parentheses (`pop_nsh()`), one number (`trunc(64)`, `recirc(0x1)`) or the name
 * of a port (`tnl_pop(3)`) in parentheses, or fields with names (`pop_mpls(eth_type=0x800)`).
 */
export type ActionForm<A> =
  | { readonly kind: "word" | "call" }
  | {
    readonly kind: "decimal" | "hex" | "port";
    readonly field: Exclude<keyof A, "type"> & string;
  }
  | { readonly kind: "fields"; readonly fields: readonly FormField<A>[] };

/** Which attributes of a payload hold lists of actions: by id, or the payload itself is one. */
export type ActionLists = readonly number[] | "payload";

/** A list of actions as the payload of an attribute. */
export abstract class ListCodec implements Codec<readonly Action[]> {
  readonly min = 0;
  readonly max = 0xfffb;

  abstract read(bytes: Uint8Array, at: number, size: number): readonly Action[];
  abstract write(writer: Writer, actions: readonly Action[]): void;

  readMask(): never {
    throw new TypeError("actions have no mask");
  }

  writeMask(): never {
    throw new TypeError("actions have no mask");
  }
}

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
  /** How its text looks; absent: a syntax of its own, in `text/`. */
  readonly form?: ActionForm<A>;
  /** Where its payload holds lists of actions. */
  readonly lists?: ActionLists;
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
  fields?: readonly FormField<A>[],
): ActionLine<A> {
  return {
    id,
    min: wire.min,
    max: wire.max,
    text,
    ...(fields && { form: { kind: "fields", fields } }),
    knownTo: "both",
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
  options: {
    readonly form?: "decimal" | "hex" | "port" | Omit<FormField<A>, "field">;
    readonly knownTo?: KnownTo;
  } = {},
): ActionLine<A> {
  const what = `${text}.${field}`;
  const { form, knownTo = "both" } = options;
  return {
    id,
    min: leaf.size,
    max: leaf.size,
    text,
    ...(form !== undefined && {
      form: typeof form === "string"
        ? { kind: form, field }
        : { kind: "fields", fields: [{ ...form, field }] },
    }),
    knownTo,
    read: (bytes, at) => ({ [field]: leaf.get(bytes, at) }) as never,
    write(writer, action): void {
      const at = writer.alloc(leaf.size);
      leaf.put(writer.bytes, at, action[field] as number, what);
    },
  };
}

/** Makes a line for an action without payload. */
export function bare<A>(
  id: number,
  text: string,
  kind: "word" | "call" = "word",
): ActionLine<A> {
  return {
    id,
    min: 0,
    max: 0,
    text,
    form: { kind },
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
    lists: set.attributes.filter(({ wire }) => wire instanceof ListCodec)
      .map(({ id }) => id),
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

const hashNames = ["l4", "symL4"] as const;
/** `struct ovs_action_hash` */
export const hashLine: ActionLine<HashAction> = {
  id: 8,
  min: 8,
  max: 8,
  text: "hash",
  knownTo: "both",
  read(bytes, at): Omit<HashAction, "type"> {
    const algorithm = u32.get(bytes, at);
    return {
      algorithm: hashNames[algorithm] ?? algorithm,
      basis: u32.get(bytes, at + 4),
    };
  },
  write(writer, { algorithm, basis }): void {
    const at = writer.alloc(8);
    const number = typeof algorithm === "string"
      ? hashNames.indexOf(algorithm)
      : algorithm;
    u32.put(writer.bytes, at, number, "hash.algorithm");
    u32.put(writer.bytes, at + 4, basis ?? 0, "hash.basis");
  },
};

/** Most bytes of headers that `tnl_push` puts before a packet. */
export const TUNNEL_HEADER_MAX = 512;
/** `struct ovs_action_push_tnl`: four words and a buffer for the headers. */
export const tunnelPushLine: ActionLine<TunnelPushAction> = {
  id: 26,
  min: 16 + TUNNEL_HEADER_MAX,
  max: 16 + TUNNEL_HEADER_MAX,
  text: "tnl_push",
  knownTo: "netdev",
  read(bytes, at): Omit<TunnelPushAction, "type"> {
    const size = u32.get(bytes, at + 8);
    if (size > TUNNEL_HEADER_MAX) throw new RangeError(`header of ${size} bytes`);
    return {
      tunnelPort: u32.get(bytes, at),
      outPort: u32.get(bytes, at + 4),
      tunnelType: u32.get(bytes, at + 12),
      header: bytes.slice(at + 16, at + 16 + size),
    };
  },
  write(writer, { tunnelPort, outPort, tunnelType, header }): void {
    if (!(header instanceof Uint8Array) || header.length > TUNNEL_HEADER_MAX) {
      throw wrong("tnl_push.header", "a Uint8Array of at most 512 bytes", header);
    }
    const at = writer.alloc(16 + TUNNEL_HEADER_MAX);
    u32.put(writer.bytes, at, tunnelPort, "tnl_push.tunnelPort");
    u32.put(writer.bytes, at + 4, outPort, "tnl_push.outPort");
    u32.put(writer.bytes, at + 8, header.length, "tnl_push.header");
    u32.put(writer.bytes, at + 12, tunnelType, "tnl_push.tunnelType");
    writer.bytes.set(header, at + 16);
  },
};
