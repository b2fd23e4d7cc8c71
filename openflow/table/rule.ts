// SPDX-License-Identifier: Apache-2.0
/**
 * Rules: flows of OpenFlow as tables keep them.
 *
 * @module
 */
import { type Instructions, NO_TABLE } from "../wire/action.ts";
import type { Match } from "../wire/flow.ts";
import { type PackedMatch, packMatch } from "../wire/packed/packed_match.ts";
import { Port } from "../wire/port_number.ts";
import { type Clause, clausesOf } from "./conjunction.ts";
import { type Counter, Tally } from "./tally.ts";

/** What a rule has counted. */
export class RuleCounter implements Counter {
  readonly #label: string | number;
  readonly #packets = new Tally();
  readonly #bytes = new Tally();
  /** When a packet was seen last, ms since 1970. */
  usedMs: number;

  /** Counts from zero. `label` is its name, or the number of its rule. */
  constructor(label: string | number, nowMs: number) {
    this.#label = label;
    this.usedMs = nowMs;
  }

  /** What it counts for. */
  get name(): string {
    return typeof this.#label === "number" ? `rule ${this.#label}` : this.#label;
  }

  /** Packets so far. */
  get packets(): bigint {
    return this.#packets.value;
  }

  /** Their bytes. */
  get bytes(): bigint {
    return this.#bytes.value;
  }

  /** @ignore */
  count(packets: number, bytes: number, usedMs: number): void {
    this.#packets.add(packets);
    this.#bytes.add(bytes);
    if (packets > 0 && usedMs > this.usedMs) this.usedMs = usedMs;
  }
}

/** What a rule is made of. */
export interface RuleSpec {
  readonly table: number;
  readonly match: Match;
  readonly priority: number;
  readonly cookie: bigint;
  readonly idle: number;
  readonly hard: number;
  readonly importance: number;
  readonly flags: number;
  readonly instructions: Instructions;
  /** Of a flow that a packet added, its text. */
  readonly learnedAs?: string | undefined;
}

/** The table to which a rule has packets go on, when it does nothing else with them. */
export interface Onward {
  readonly table: number;
  readonly isResubmit: boolean;
}

/** The same of instructions that are those of a rule in a table. */
function onwardOf(
  { apply = [], goto, meter, clear, write, metadata }: Instructions,
  from: number,
): Onward | undefined {
  if (meter !== undefined || clear || write !== undefined || metadata !== undefined) {
    return undefined;
  }
  if (apply.length === 0) {
    return goto === undefined ? undefined : { table: goto, isResubmit: false };
  }
  const [one] = apply;
  if (apply.length > 1 || goto !== undefined || one?.type !== "resubmit") {
    return undefined;
  }
  const { table, port, isOfConnection = false } = one;
  // Back to where packets were they go in other ways, and not for ever.
  if (table === NO_TABLE || table <= from || port !== Port.inPort || isOfConnection) {
    return undefined;
  }
  return { table, isResubmit: true };
}

/** The version in which a rule goes of which nothing says that it will. */
export const NEVER = 0x3fffffff;

let serials = 0;

/**
 * A rule. It does not change, timeouts aside: a modification puts another one into its place.
 * Lookups see it from the version on in which it came, until the one in which it goes.
 */
export class Rule {
  /** Its number: no two rules of a program have the same one. */
  readonly serial: number = ++serials;
  readonly table: number;
  readonly match: PackedMatch;
  readonly priority: number;
  readonly cookie: bigint;
  idle: number;
  hard: number;
  readonly importance: number;
  readonly flags: number;
  readonly instructions: Instructions;
  /** Clauses of conjunctions that it is of; empty for a rule that decides by itself. */
  readonly clauses: readonly Clause[];
  /** What it counts; the rule that it goes on counting with; neither before it is asked. */
  #counts: RuleCounter | Rule | undefined;
  #onward: Onward | undefined | null = null;
  /** When it was added, and when it was changed last, ms since 1970. */
  readonly createdMs: number;
  modifiedMs: number;
  /** Of a flow that a packet added, its text. */
  readonly learnedAs: string | undefined;
  addedIn = 0;
  removedIn: number = NEVER;
  /** Whether it came into no other's place: it may take packets from rules that they fitted. */
  isFresh = true;
  /**
   * The rule whose place it takes, as long as that is there: they are beside each other in the
   * classifier. The other one's `isReplaced` says so.
   */
  beside: Rule | undefined = undefined;
  isReplaced = false;
  /** The next rule of its subtable that has its hash; kept by the classifier. */
  chained: Rule | undefined = undefined;
  /** The second that it is kept under while it has a timeout; kept by those who look at that. */
  keptUnder = -1;
  /** Its neighbours in its table; kept by the table. */
  before: Rule | undefined = undefined;
  after: Rule | undefined = undefined;

  /**
   * Made at `nowMs`; a modification keeps when it was added. It counts on with another one's
   * counter, if one is given.
   */
  constructor(
    spec: RuleSpec,
    nowMs: number,
    createdMs: number = nowMs,
    countsOn: Rule | undefined = undefined,
  ) {
    this.table = spec.table;
    this.match = packMatch(spec.match);
    this.priority = spec.priority;
    this.cookie = spec.cookie;
    this.idle = spec.idle;
    this.hard = spec.hard;
    this.importance = spec.importance;
    this.flags = spec.flags;
    this.instructions = spec.instructions;
    this.learnedAs = spec.learnedAs;
    this.clauses = clausesOf(spec.instructions);
    // Of rules that came one in the place of the other only the first one is held.
    this.#counts = countsOn === undefined ? undefined : countsOn.#counts ?? countsOn;
    this.createdMs = createdMs;
    this.modifiedMs = nowMs;
    if (countsOn === undefined && createdMs !== nowMs) {
      this.#counts = new RuleCounter(this.serial, nowMs);
    }
  }

  /** What it has counted. Most of many rules are never asked: it is made for those that are. */
  get counter(): RuleCounter {
    const counts = this.#counts;
    if (counts instanceof RuleCounter) return counts;
    return this.#counts = counts?.counter ?? new RuleCounter(this.serial, this.createdMs);
  }

  /** Packets that it has counted. */
  get packets(): bigint {
    return this.#counts?.packets ?? 0n;
  }

  /** Their bytes. */
  get bytes(): bigint {
    return this.#counts?.bytes ?? 0n;
  }

  /** When a packet was seen last, or it came, ms since 1970. */
  get usedMs(): number {
    const counts = this.#counts;
    const sinceMs = counts === undefined ? 0 : counts.usedMs;
    return Math.max(sinceMs, this.createdMs);
  }

  /** Where packets go on to, if that is all that it does with them. */
  get onward(): Onward | undefined {
    if (this.#onward === null) this.#onward = onwardOf(this.instructions, this.table);
    return this.#onward;
  }

  /** When its time is over, whatever its packets do, ms since 1970; infinite if never. */
  get hardMs(): number {
    return this.hard === 0 ? Infinity : this.modifiedMs + 1000 * this.hard;
  }

  /** When it goes if no packet comes any more. */
  get endMs(): number {
    if (this.idle === 0) return this.hardMs;
    return Math.min(this.hardMs, this.usedMs + 1000 * this.idle);
  }

  /** Has its timeouts be no longer than some; 0 leaves one. Whether that made them shorter. */
  reduce(idle: number, hard: number): boolean {
    const least = (one: number, most: number): number =>
      most === 0 || one !== 0 && one <= most ? one : most;
    const before = [this.idle, this.hard];
    [this.idle, this.hard] = [least(this.idle, idle), least(this.hard, hard)];
    return before[0] !== this.idle || before[1] !== this.hard;
  }

  /** Whether lookups of a version see it. */
  isIn(version: number): boolean {
    return this.addedIn <= version && version < this.removedIn;
  }
}
