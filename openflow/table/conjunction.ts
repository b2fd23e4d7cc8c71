// SPDX-License-Identifier: Apache-2.0
/**
 * Conjunctions: flows that fit only together, one of each clause.
 *
 * A flow whose actions are `conjunction(id,k/n)` is soft: by itself it decides nothing. Where soft
 * flows of one priority have all n clauses of an id, the packet is looked up again, with that id.
 *
 * @module
 */
import type { Instructions, OfAction } from "../wire/action.ts";

/** A part of a conjunction. */
export type Clause = OfAction & { readonly type: "conjunction" };

const none: readonly Clause[] = [];
const known = new WeakMap<Instructions, readonly Clause[]>();

/** The clauses that instructions are of; empty for those that decide by themselves. */
export function clausesOf(instructions: Instructions): readonly Clause[] {
  const { apply } = instructions;
  if (apply === undefined || !apply.some(isClause)) return none;
  let found = known.get(instructions);
  if (found === undefined) known.set(instructions, found = apply.filter(isClause));
  return found;
}

function isClause(action: OfAction): action is Clause {
  return action.type === "conjunction";
}

/** The id of which some rules have all clauses; undefined if there is none. */
export function wholeId(
  rules: readonly { readonly clauses: readonly Clause[] }[],
): number | undefined {
  const met = new Map<string, Set<number>>();
  for (const { clauses } of rules) {
    for (const { id, clause, clauses: count } of clauses) {
      const key = `${id}/${count}`;
      const some = met.get(key) ?? new Set();
      some.add(clause);
      met.set(key, some);
      if (some.size === count) return id;
    }
  }
  return undefined;
}
