// SPDX-License-Identifier: Apache-2.0
/**
 * Tables that packets go through one behind the other, taken together.
 *
 * Where all that a rule does is to say which table is next, what packets are looked up by does not
 * change. Those that have the bits which several such lookups looked at are told so at once, rest
 * on all of them by one dependency, and are counted in all of these tables by one counter.
 *
 * Passages are found as packets go by: of answers that were known in every one of some tables. Two
 * that begin alike and go on otherwise are cut where they part.
 *
 * @module
 */
import {
  holdDependency,
  makeDependency,
  type Owner,
  releaseDependency,
} from "../../policy/state/dependency.ts";
import type { FlowWords } from "../wire/flow.ts";
import { bringForward, joinedTests, type Kept, passes, Worth } from "./answers.ts";
import { type BecameKey, isSameKey } from "./looked.ts";
import type { Rule } from "./rule.ts";
import type { Counter } from "./tally.ts";

/** A table that packets go through. */
export interface Passed {
  readonly id: number;
  readonly lookups: Counter;
  readonly matched: Counter;
  /** Whether what was found in a version, when so many rules had been deleted, still is found. */
  holds(version: number, deletions: number): boolean;
  /** Notes a way that begins here; answers what of it begins elsewhere. */
  passed(steps: readonly Step[]): readonly Step[];
  /** What a lookup is, for people. */
  describe(key: unknown): string;
}

/** A lookup on the way: the table, and what it answered. */
export interface Step {
  readonly table: Passed;
  readonly kept: Kept & { readonly rule: Rule };
}

/** Which version of the rules holds, and how many rules of tables were ever deleted. */
export interface Clock {
  version: number;
  deletions: number;
}

/** Some lookups, one behind the other. */
export class Passage implements Counter {
  readonly steps: readonly Step[];
  readonly became: BecameKey;
  readonly #tests: Int32Array;
  /** Words that the answers rest on, and their bits. */
  readonly words: readonly number[];
  readonly bits: readonly number[];
  /** The last table, and the rule that was found there. */
  readonly table: number;
  readonly rule: Rule;
  /** The first rule on the way, the last one aside, that goes on by `resubmit`; and its table. */
  readonly left: { readonly table: number; readonly rule: Rule } | undefined;
  /** How many of them do. */
  readonly resubmits: number;
  #version: number;
  #deletions: number;
  /** Of the dependency; 0 where there is none. */
  id = 0;

  /** Made of two steps or more. */
  constructor(steps: readonly Step[], { version, deletions }: Clock) {
    const [{ table, kept: { rule } }] = steps.slice(-1) as [Step];
    const all = steps.map(({ kept }) => kept);
    this.steps = steps;
    this.became = (all[0] as Kept).became;
    this.#tests = joinedTests(all);
    const rested = new Map<number, number>();
    for (const { words, bits } of all) {
      for (let i = 0; i < words.length; i++) {
        const word = words[i] as number;
        rested.set(word, (rested.get(word) ?? 0) | (bits[i] as number));
      }
    }
    this.words = [...rested.keys()];
    this.bits = [...rested.values()];
    this.table = table.id;
    this.rule = rule;
    const again = steps.slice(0, -1).filter((step) => step.kept.rule.onward?.isResubmit);
    const [first] = again;
    this.left = first && { table: first.table.id, rule: first.kept.rule };
    this.resubmits = again.length;
    this.#version = version;
    this.#deletions = deletions;
  }

  /** Whether packets that have become something go this way. */
  isOf(flow: FlowWords, became: BecameKey): boolean {
    return passes(this.#tests, flow) && isSameKey(this.became, became);
  }

  /** Whether it is still the way. */
  holds(clock: Clock): boolean {
    const { version, deletions } = clock;
    if (version === this.#version && deletions === this.#deletions) return true;
    for (const { table } of this.steps) {
      if (!table.holds(this.#version, this.#deletions)) return false;
    }
    this.#version = version;
    this.#deletions = deletions;
    return true;
  }

  /** Names of all counters. */
  get name(): string {
    return this.steps.flatMap(({ table, kept }) =>
      [table.lookups, table.matched, kept.rule.counter].map(({ name }) => name)
    ).join(", ");
  }

  /** @ignore */
  count(packets: number, bytes: number, usedMs: number, tcpFlags: number): void {
    for (const { table, kept } of this.steps) {
      table.lookups.count(packets, bytes, usedMs, tcpFlags);
      table.matched.count(packets, bytes, usedMs, tcpFlags);
      kept.rule.counter.count(packets, bytes, usedMs);
    }
  }
}

/** Passages that a table keeps. */
const KEPT = 4;
/** Tables in one. */
const MAX_STEPS = 64;

/** The passages that begin in a table. */
export class Passages implements Owner {
  readonly #clock: Clock;
  #kept: Passage[] = [];
  readonly #worth = new Worth();

  /** Without any. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The way of packets like this, if some were here. What rests on it depends on its `id`. */
  find(flow: FlowWords, became: BecameKey): Passage | undefined {
    const kept = this.#kept;
    if (kept.length === 0) return undefined;
    if (this.#worth.asked()) this.#kept = [];
    for (let i = 0; i < kept.length; i++) {
      const one = kept[i] as Passage;
      if (!one.isOf(flow, became)) continue;
      if (!one.holds(this.#clock) || one.id === 0 && !this.#hold(one)) {
        this.#kept = [];
        return undefined;
      }
      bringForward(kept, i);
      this.#worth.met();
      return one;
    }
    return undefined;
  }

  /** Forgets all of them. */
  clear(): void {
    this.#kept = [];
  }

  /** Keeps the way of a packet. Answers the steps behind those that others have in common. */
  put(steps: readonly Step[]): readonly Step[] {
    if (steps.length < 2 || !this.#worth.mayKeep()) return [];
    let common = Math.min(steps.length, MAX_STEPS);
    const kept = this.#kept;
    for (let i = 0; i < kept.length; i++) {
      const same = inCommon(steps, (kept[i] as Passage).steps);
      if (same < 2) continue;
      common = Math.min(common, same);
      kept.splice(i--, 1);
    }
    if (kept.length === KEPT) kept.pop();
    kept.unshift(new Passage(steps.slice(0, common), this.#clock));
    return steps.slice(common);
  }

  /** Makes the dependency of a passage; false where nothing rests any more on one of its steps. */
  #hold(passage: Passage): boolean {
    const { steps } = passage;
    if (steps.some(({ kept }) => kept.looked.id === 0)) return false;
    for (const { kept: { looked } } of steps) {
      holdDependency(looked.id);
      (looked.within ??= new Set()).add(passage);
    }
    passage.id = makeDependency(this, passage);
    return true;
  }

  /** @ignore */
  forget(_id: number, key: unknown): void {
    const passage = key as Passage;
    passage.id = 0;
    for (const { kept: { looked } } of passage.steps) {
      looked.within?.delete(passage);
      releaseDependency(looked.id);
    }
  }

  /** @ignore */
  describe(key: unknown): readonly string[] {
    return (key as Passage).steps.flatMap(({ table, kept }) =>
      table.describe(kept.looked)
    );
  }
}

/** How many steps two ways have in common, from their start. */
function inCommon(a: readonly Step[], b: readonly Step[]): number {
  let same = 0;
  while (same < a.length && same < b.length && a[same]?.kept === b[same]?.kept) same++;
  return same;
}
