// SPDX-License-Identifier: Apache-2.0
/**
 * What is to be known of instructions before a flow has them.
 *
 * @module
 */
import type { Rule } from "../table/rule.ts";
import type { Field } from "../wire/field.ts";
import { actionsOf, type Instructions } from "../wire/action.ts";

/** What instructions name, and ask. */
export interface Facts {
  /** Groups and meters by number, each once. */
  readonly groups: readonly number[];
  readonly meters: readonly number[];
  /** Flows that they teach, and that go with them. */
  readonly taught: readonly Taught[];
}

/** Flows share instructions that came as the same bytes. */
const known = new WeakMap<Instructions, Facts>();
let last: Instructions | undefined;
let lastFacts: Facts | undefined;

/** The facts of instructions. */
export function factsOf(instructions: Instructions): Facts {
  if (instructions === last && lastFacts !== undefined) return lastFacts;
  let facts = known.get(instructions);
  if (facts === undefined) known.set(instructions, facts = find(instructions));
  last = instructions;
  return lastFacts = facts;
}

function find(instructions: Instructions): Facts {
  const [groups, meters] = [new Set<number>(), new Set<number>()];
  if (instructions.meter !== undefined) meters.add(instructions.meter);
  const taught: Taught[] = [];
  for (const action of actionsOf(instructions)) {
    const { type } = action;
    if (type === "learn" && action.deleteLearned) {
      taught.push({ table: action.table, cookie: action.cookie });
    }
    if (type === "group") groups.add(action.group);
    else if (type === "meter") meters.add(action.meter);
  }
  return { groups: [...groups], meters: [...meters], taught };
}

/** Flows that are learned, and go with those that learn them. */
export interface Taught {
  readonly table: number;
  readonly cookie: bigint;
}

/** What instructions teach that goes with them. */
export function taughtBy(instructions: Instructions): readonly Taught[] {
  return factsOf(instructions).taught;
}

/** How many rules learn flows of each table and cookie. */
export class Teachers {
  readonly #counts = new Map<string, number>();

  /** Counts what came and went; answers what nobody teaches any more. */
  count(come: readonly Instructions[], gone: readonly Instructions[]): Taught[] {
    const ended = new Map<string, Taught>();
    for (const [some, more] of [[gone, -1], [come, 1]] as const) {
      for (const instructions of some) {
        for (const taught of taughtBy(instructions)) {
          const key = `${taught.table} ${taught.cookie}`;
          const count = (this.#counts.get(key) ?? 0) + more;
          if (count > 0) {
            this.#counts.set(key, count);
            ended.delete(key);
          } else {
            this.#counts.delete(key);
            ended.set(key, taught);
          }
        }
      }
    }
    return [...ended.values()];
  }
}

/** Whether one of some rules names a field of an option. */
export function isNamed(rules: Iterable<Rule>, field: Field): boolean {
  for (const rule of rules) if (namesField(rule, field)) return true;
  return false;
}

/** Whether a rule names a field of an option, in its match or in what it does. */
function namesField({ match, instructions }: Rule, field: Field): boolean {
  const of = (value: unknown): boolean => {
    if (typeof value !== "object" || value === null) return false;
    if (ArrayBuffer.isView(value)) return false;
    if ("option" in value) return value.option === field.option;
    return "wordCount" in value ? false : Object.values(value).some(of);
  };
  const isIn = (word: number): boolean =>
    word >= field.word && word < field.word + field.wordCount;
  return match.shape.words.some(isIn) || of(instructions);
}

/** Groups or meters that rules may name. */
export interface Users {
  readonly groups?: ReadonlySet<number>;
  readonly meters?: ReadonlySet<number>;
}
