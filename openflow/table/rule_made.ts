// SPDX-License-Identifier: Apache-2.0
/**
 * Rules that flow mods make.
 *
 * @module
 */
import type { Instructions } from "../wire/action.ts";
import { FlowFlag, type FlowMod } from "../wire/message.ts";
import { Rule } from "./rule.ts";

/** The rule that is added, in the place of one of its match and priority if that is there. */
export function added(
  mod: FlowMod,
  instructions: Instructions,
  table: number,
  before: Rule | undefined,
  nowMs: number,
): Rule {
  const spec = {
    table,
    match: mod.match,
    priority: mod.priority,
    cookie: mod.newCookie ?? 0n,
    idle: mod.idle,
    hard: mod.hard,
    importance: mod.importance,
    flags: mod.flags,
    instructions,
    learnedAs: mod.learnedAs,
  };
  const countsOn = mod.flags & FlowFlag.resetCounts ? undefined : before;
  return new Rule(spec, nowMs, nowMs, countsOn);
}

/** What a rule is once it is modified. */
export function modified(
  rule: Rule,
  mod: FlowMod,
  instructions: Instructions,
  nowMs: number,
): Rule {
  const { table, match, priority, idle, hard, importance, flags, createdMs } = rule;
  const cookie = mod.keepsCookies ? rule.cookie : mod.newCookie ?? rule.cookie;
  const spec = { table, match, priority, cookie, idle, hard, importance, flags };
  const countsOn = mod.flags & FlowFlag.resetCounts ? undefined : rule;
  return new Rule({ ...spec, instructions }, nowMs, createdMs, countsOn);
}
