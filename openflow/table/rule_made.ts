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
  const { match, priority, newCookie = 0n, idle, hard, importance, flags } = mod;
  const { learnedAs } = mod;
  const spec = {
    table,
    match,
    priority,
    cookie: newCookie,
    idle,
    hard,
    importance,
    flags,
  };
  const counter = flags & FlowFlag.resetCounts ? undefined : before?.counter;
  return new Rule({ ...spec, instructions, learnedAs }, nowMs, { counter });
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
  const counter = mod.flags & FlowFlag.resetCounts ? undefined : rule.counter;
  return new Rule({ ...spec, instructions }, nowMs, { createdMs, counter });
}
