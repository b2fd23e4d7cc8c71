// SPDX-License-Identifier: Apache-2.0
/**
 * What is left of lists of actions, and whether that can be done at once.
 *
 * @module
 */
import type { Instructions, OfAction } from "../wire/action.ts";
import { Word } from "../wire/flow.ts";

/** Whether instructions have more than actions that are applied. */
export function isMore({ clear, write, metadata, goto }: Instructions): boolean {
  return clear === true || write !== undefined || metadata !== undefined ||
    goto !== undefined;
}

/** What is left of instructions, whose meter is behind, from a place in their list on. */
export function restOf(
  { meter: _, ...then }: Instructions,
  list: readonly OfAction[],
  at: number,
): Instructions {
  return { ...then, apply: list.slice(at) };
}

/** Actions that are about no header behind Ethernet's and its tags. */
const above: ReadonlySet<string> = new Set([
  "output",
  "outputTrunc",
  "outputReg",
  "enqueue",
  "setQueue",
  "setTunnel",
  "group",
]);

/** Whether an action is done only when what is below a label is known, as in Open vSwitch. */
export function looksBelow(action: OfAction): boolean {
  if (action.type === "setField") return action.field.word >= Word.mpls;
  if (action.type === "mod") return !/^(vlan|dl)_/.test(action.name);
  return !above.has(action.type);
}
