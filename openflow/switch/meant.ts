// SPDX-License-Identifier: Apache-2.0
/**
 * Which rules a request means, their matches aside.
 *
 * @module
 */
import type { Rule } from "../table/rule.ts";
import { actionsOf } from "../wire/action.ts";
import type { FlowFilter } from "../wire/multipart_types.ts";
import { ANY_GROUP } from "../wire/object.ts";
import { Port } from "../wire/port_number.ts";

/** Which flows are meant. */
export type Filter = Pick<
  FlowFilter,
  "table" | "match" | "cookie" | "cookieMask" | "outPort" | "outGroup"
>;

/** Whether a rule is one that a filter means, its match aside. */
export function isMeant(
  rule: Rule,
  { cookie, cookieMask, outPort, outGroup }: Filter,
): boolean {
  if (((rule.cookie ^ cookie) & cookieMask) !== 0n) return false;
  if (outPort === Port.none && outGroup === ANY_GROUP) return true;
  const actions = actionsOf(rule.instructions);
  const hasPort = outPort === Port.none ||
    actions.some((action) =>
      (action.type === "output" || action.type === "enqueue") &&
        action.port === outPort ||
      action.type === "controller" && outPort === Port.controller
    );
  const hasGroup = outGroup === ANY_GROUP ||
    actions.some((action) => action.type === "group" && action.group === outGroup);
  return hasPort && hasGroup;
}
