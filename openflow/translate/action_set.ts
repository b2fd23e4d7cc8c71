// SPDX-License-Identifier: Apache-2.0
/**
 * Action sets: one action of each kind, done at the end in an order of their own.
 *
 * Source: OpenFlow 1.5.1, "Action Set".
 *
 * @module
 */
import type { OfAction } from "../wire/action.ts";
import { Port } from "../wire/port_number.ts";

/** Kinds in the order in which they are done; what comes in between keeps its own. */
const ranks: Readonly<Partial<Record<OfAction["type"], number>>> = {
  popVlan: 0,
  popMpls: 1,
  pushMpls: 2,
  pushVlan: 3,
  decTtl: 4,
  decMplsTtl: 4,
};

/** Where a packet goes in the end: a group, before ports. */
const ends: readonly OfAction["type"][] = [
  "group",
  "output",
  "outputTrunc",
  "resubmit",
  "ctClear",
  "ct",
];

/** Changes of fields: all of them are done, in the order in which they were written. */
const changesFields: ReadonlySet<string> = new Set(["setField", "mod", "move"]);

/** What sets do not have: where it is written into one, as in a bucket, nothing comes of it. */
const notInSets: ReadonlySet<string> = new Set([
  "controller",
  "enqueue",
  "outputReg",
  "push",
  "pop",
  "note",
  "exit",
  "finTimeout",
  "clone",
  "popQueue",
  "nat",
  "conjunction",
  "learn",
  "multipath",
  "bundle",
  "sample",
  "deleteField",
  "checkPktLarger",
]);

/** A set with more actions written into it: of other kinds, one replaces that before it. */
export function addToSet(
  set: readonly OfAction[],
  more: readonly OfAction[],
): OfAction[] {
  const all = [...set, ...more].filter(({ type }) => !notInSets.has(type));
  const last = new Map(all.map(({ type }, i) => [type, i]));
  return all.filter(({ type }, i) => changesFields.has(type) || last.get(type) === i);
}

/** The port that a set sends to; `Port.unset` where a group does so, or nothing. */
export function outputOf(set: readonly OfAction[]): number {
  if (set.some(({ type }) => type === "group")) return Port.unset;
  const output = set.find((action) => action.type === "output");
  return output === undefined ? Port.unset : output.port;
}

/**
 * The actions of a set in the order in which they are done. Nothing is sent but by the first end.
 */
export function inOrder(set: readonly OfAction[]): OfAction[] {
  const end = ends.map((type) => set.find((action) => action.type === type)).find(
    Boolean,
  );
  const rankOf = ({ type }: OfAction): number => ranks[type] ?? 50;
  const changes = set.filter(({ type }) => !ends.includes(type))
    .sort((a, b) => rankOf(a) - rankOf(b));
  return end === undefined ? [] : [...changes, end];
}

/** Actions whose change of the packet another action cannot take back. */
export const keepsChange: ReadonlySet<string> = new Set(["pushMpls", "popMpls", "meter"]);
