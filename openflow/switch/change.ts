// SPDX-License-Identifier: Apache-2.0
/**
 * A change of a switch: what is made beside that which holds, until all of it holds together.
 *
 * @module
 */
import type { FlowTable } from "../table/flow_table.ts";
import type { Rule } from "../table/rule.ts";
import type { Group } from "../translate/pipeline.ts";
import type { Instructions } from "../wire/action.ts";
import { OfError } from "../wire/error.ts";
import { taughtBy } from "./facts.ts";
import type { Peer } from "./peer.ts";
import type { Ranked } from "./ranked.ts";

/** A group as a change leaves it. */
export interface StagedGroup {
  readonly content: Group["content"]["value"];
  /** Whether it comes by this change, and counts from zero. */
  readonly isNew: boolean;
}

/** Rules by their tables; and what those of them do that teach others. */
export class ByTable {
  readonly #rules = new Map<number, Rule[]>();
  /** What some of them do. */
  readonly teachers: Instructions[] = [];

  /** Adds a rule. */
  add(rule: Rule): void {
    const some = this.#rules.get(rule.table);
    if (some === undefined) this.#rules.set(rule.table, [rule]);
    else some.push(rule);
    const { instructions } = rule;
    if (taughtBy(instructions).length > 0) this.teachers.push(instructions);
  }

  /** Those of a table. */
  of(table: number): readonly Rule[] {
    return this.#rules.get(table) ?? [];
  }
}

/** Who makes a change, by which of its messages. */
export interface By {
  readonly peer: Peer;
  readonly xid: number;
}

/** What becomes of a flow. */
export interface FlowEvent {
  readonly event: "added" | "removed" | "modified";
  readonly rule: Rule;
  /** What it was, if it is modified. */
  readonly before?: Rule | undefined;
  /** Why it goes. */
  readonly reason: number;
}

/**
 * Rules that are looked at for a change at most: others wait for it. Open vSwitch has no bound.
 */
const MAX_LOOKED = 1 << 23;

/** What changes together. */
export class Change {
  /** Of the tables that it makes. */
  readonly version: number;
  readonly come: Rule[] = [];
  readonly gone: Rule[] = [];
  /** Tables in which rules come or go. */
  readonly tables: Set<FlowTable> = new Set();
  #touched: FlowTable | undefined;
  /** Groups by number; undefined for those that go. */
  readonly groups: Map<number, StagedGroup | undefined> = new Map();
  /**
   * Which rules of a table go for others, by its number, where one had to; undefined where rules
   * went since in another way.
   */
  readonly ranked: Map<number, Ranked | undefined> = new Map();
  /** What is done once it holds: at once with it, and behind that. */
  readonly with: (() => void)[] = [];
  readonly after: (() => void)[] = [];
  /** Who makes it, if a peer does. */
  by: By | undefined;
  /** What becomes of flows, in order, where somebody is told. */
  readonly events: FlowEvent[] = [];
  /** Rules that it adds more than it takes away. */
  more = 0;
  /** The same of groups, and of their buckets. */
  moreGroups = 0;
  moreBuckets = 0;
  /** Rules that were looked at for it. */
  #looked = 0;

  /** Begins without anything. */
  constructor(version: number) {
    this.version = version;
  }

  /** Rules come or go in a table. */
  touch(table: FlowTable): void {
    if (table === this.#touched) return;
    this.#touched = table;
    this.tables.add(table);
  }

  /** Takes the work of so many rules; throws {@linkcode OfError} where that is too much. */
  look(rules: number): void {
    this.#looked += rules;
    if (this.#looked > MAX_LOOKED) {
      throw new OfError("OFPFMFC_UNKNOWN", "the change looks at too many flows");
    }
  }
}

/** What instructions may name, once a change holds. */
export interface Known {
  hasGroup(id: number, change: Change): boolean;
  hasMeter(id: number): boolean;
}
