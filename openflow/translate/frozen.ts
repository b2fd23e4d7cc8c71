// SPDX-License-Identifier: Apache-2.0
/**
 * A packet's way that stops, and goes on when the packet is looked up again: what is known of it
 * then, as plain data.
 *
 * @module
 */
import type { Carry, Stage } from "../../policy/mod.ts";
import type { Instructions, OfAction } from "../wire/action.ts";
import { OfError } from "../wire/error.ts";
import type { OptionFields } from "../wire/field.ts";
import { plainOf, valueOf } from "../text/plain.ts";

/** A list that was not done to its end, and whose it is. */
export interface Rest {
  readonly table: number;
  /** The cookie of the flow whose list it is; undefined for that of no flow. */
  readonly cookie: bigint | undefined;
  readonly what: Instructions;
}

/** The same as data: instructions as text. */
export type FrozenRest = {
  readonly table: number;
  readonly cookie: bigint | null;
  readonly what: string;
};

/** Where a packet goes on, and what is known of it that is not in its key. */
export type Frozen = {
  /** The number of the switch that it is in. */
  readonly of: number;
  /** The table that it is looked up in; `NO_TABLE` for none. */
  readonly table: number;
  /** The port that it came by, as flows see it. */
  readonly inPort: number;
  /** Words that are not the packet's own, or not whole: value and mask. */
  readonly words: readonly (readonly [word: number, value: number, mask: number])[];
  /** The top comes last. */
  readonly stack: readonly bigint[];
  /** The action set, as text. */
  readonly set: string;
  /** Lists to be done, in order. */
  readonly rests: readonly FrozenRest[];
  /** Which hash the datapath has computed of it, `symL4 0`; empty for none. */
  readonly hashed: string;
  /** The bond that it leaves by, by a hash; empty for none. */
  readonly bond: string;
  /** Mirrors that have a copy of it, as bits. */
  readonly mirrored: number;
  /** Whether the connection tracker said something of it. */
  readonly tracked: boolean;
  /** How often it was looked up again before. */
  readonly depth: number;
} & { readonly [name: string]: Carry };

/** The stage that goes on with frozen packets. */
export type Thaw = Stage<Frozen>;

/** Actions as text. */
export function textOfActions(list: readonly OfAction[]): string {
  return list.length === 0 ? "" : plainOf(list);
}

/** Actions of text. Throws `OfError` for an option that is gone. */
export function actionsOfText(text: string, options: OptionFields): OfAction[] {
  return text === "" ? [] : valueOf(text, options) as OfAction[];
}

/** A rest as data. */
export function freezeRest({ table, cookie, what }: Rest): FrozenRest {
  return { table, cookie: cookie ?? null, what: plainOf(what) };
}

/** A rest of data. Throws `OfError` for an option that is gone. */
export function thawRest(
  { table, cookie, what }: FrozenRest,
  options: OptionFields,
): Rest {
  const thawed = valueOf(what, options) as Instructions;
  return { table, cookie: cookie ?? undefined, what: thawed };
}

/** Action set and lists of a frozen packet; undefined where an option of tunnels is gone. */
export function thaw(
  { set, rests }: Frozen,
  options: OptionFields,
): { readonly set: OfAction[]; readonly rests: Rest[] } | undefined {
  try {
    return {
      set: actionsOfText(set, options),
      rests: rests.map((rest) => thawRest(rest, options)),
    };
  } catch (error) {
    if (error instanceof OfError) return undefined;
    throw error;
  }
}
