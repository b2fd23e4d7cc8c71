// SPDX-License-Identifier: Apache-2.0
/**
 * Which flows go where a table has no room for others.
 *
 * @module
 */
import type { FlowTable } from "../table/flow_table.ts";
import type { Rule } from "../table/rule.ts";
import { RemovedReason } from "../wire/message.ts";
import type { Change } from "./change.ts";
import { Ranked } from "./ranked.ts";
import { looking } from "./tables.ts";
import type { Job } from "./turns.ts";

/** Where rules are taken away. */
interface Removes {
  remove(rule: Rule, reason: number, change: Change): void;
}

/** Ranks the rules of a table that may go. */
function* rank(table: FlowTable, change: Change): Job<Ranked> {
  const { evicts, keeps } = table.limits;
  const ranked = new Ranked(keeps?.groups ?? []);
  if (!evicts && keeps === undefined) return ranked;
  // Once in a change that is no more work than the change may be; what makes it void, is.
  const counted = change.ranked.has(table.id) ? change : undefined;
  const rules = table.rules(change.version);
  yield* looking(rules, (rule) => ranked.add(rule), counted);
  return ranked;
}

/** Has the rule of a table go that goes for another one; false where none may. */
export function* evict(flows: Removes, table: FlowTable, change: Change): Job<boolean> {
  const ranked = change.ranked.get(table.id) ?? (yield* rank(table, change));
  const victim = ranked.take();
  if (victim !== undefined) flows.remove(victim, RemovedReason.eviction, change);
  // It is that of the table without the victim.
  change.ranked.set(table.id, ranked);
  return victim !== undefined;
}

/** Has rules go of which a table has more than it may have, as far as they may be evicted. */
export function* shrink(flows: Removes, table: FlowTable, change: Change): Job<void> {
  const excess = table.planned - (table.limits.most ?? Infinity);
  if (!(excess > 0)) return;
  const ranked = yield* rank(table, change);
  for (let i = 0; i < excess; i++) {
    const rule = ranked.take();
    if (rule === undefined) return;
    flows.remove(rule, RemovedReason.eviction, change);
    yield;
  }
}
