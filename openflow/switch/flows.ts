// SPDX-License-Identifier: Apache-2.0
/**
 * The flows of a switch: what flow mods do to its tables.
 *
 * @module
 */
import { clockMs } from "../../policy/clock.ts";
import type { FlowTable } from "../table/flow_table.ts";
import type { PortOf } from "../table/packet_flow.ts";
import type { Clock } from "../table/passages.ts";
import { NEVER, type Rule } from "../table/rule.ts";
import { added, modified } from "../table/rule_made.ts";
import type { Instructions, OfAction } from "../wire/action.ts";
import { OfError } from "../wire/error.ts";
import { ALL_TABLES, FlowFlag, type FlowMod, RemovedReason } from "../wire/message.ts";
import { mayMeet, type PackedMatch, packMatch } from "../wire/packed/packed_match.ts";
import { ByTable, Change, type FlowEvent, type Known } from "./change.ts";
import { evict } from "./eviction.ts";
import type { Filter } from "./meant.ts";
import { type Taught, Teachers, type Users } from "./facts.ts";
import { checkFlowMod, checkNames } from "./flow_check.ts";
import { looking, Tables } from "./tables.ts";
import { TimedRules } from "./timed_rules.ts";
import { doNow, type Job, Turns } from "./turns.ts";

/** Flows at most, in all tables together, as each table tells it. */
export const MAX_FLOWS = 1_000_000;

/** How a flow mod is done. */
export interface FlowModOptions {
  /** OpenFlow 1.0 lets actions be about headers that packets may lack. */
  readonly isOld: boolean;
}

/** Looks that a rule in the place of one is worth. */
const MODIFIED = 4;

/** A change, all of it; where one is cut off by another one, again. */
export type Stage = (change: Change) => Job<void> | void;

/** Tables and their rules. */
export class Flows {
  readonly #tables: Tables;
  readonly #known: Known;
  /** Told of rules that went and whose going is told, with the reason, once that holds. */
  readonly #onRemoved: (rule: Rule, reason: number) => void;
  readonly #turns: Turns;
  /** The change that is made, of which nothing holds yet. */
  #staged: Change | undefined;
  /** Whether one that holds, or never will, is brought to its end. */
  #isEnding = false;
  readonly timed = new TimedRules();
  #size = 0;
  readonly #teachers = new Teachers();
  /** Flows whose last teacher went. */
  readonly #orphans: Taught[] = [];
  /** Told of tables whose rules changed. */
  onChanged: (tables: ReadonlySet<number>) => void = () => {};
  /** Told what becomes of flows, once that holds; the first says whether anybody is to be told. */
  isWatched: () => boolean = () => false;
  onEvents: (change: Change) => void = () => {};

  /** Begins without rules. */
  constructor(
    known: Known,
    onRemoved: (rule: Rule, reason: number) => void,
    { turns = new Turns(), portOf }: {
      readonly turns?: Turns;
      readonly portOf?: PortOf;
    } = {},
  ) {
    this.#tables = new Tables(portOf);
    this.#known = known;
    this.#onRemoved = onRemoved;
    this.#turns = turns;
  }

  /** A table by its number. */
  table(id: number): FlowTable {
    return this.#tables.get(id);
  }

  /** Which version of the rules holds; for tests that look for its end. */
  get clock(): Clock {
    return this.#tables.clock;
  }

  /** Tables that there are, in order. */
  tables(): FlowTable[] {
    return this.#tables.all();
  }

  /** All rules of the version that holds, in order of tables. */
  *rules(version?: number): IterableIterator<Rule> {
    for (const table of this.tables()) yield* table.rules(version);
  }

  /** The rules that a request is about, as they are when it begins. */
  select(filter: Filter): Job<Rule[]> {
    return this.#tables.select(filter);
  }

  /**
   * Does a change: all of what `stage` does, or nothing where that throws {@linkcode OfError}, or
   * where `isOff` says so before it holds. There is one at a time.
   */
  *changing(stage: Stage, isOff: () => boolean = () => false): Job<void> {
    let change: Change;
    try {
      do {
        yield* this.#tables.renew();
        change = new Change(this.#tables.clock.version + 1);
        this.#staged = change;
        try {
          yield* this.#staging(stage, change, isOff);
        } catch (error) {
          this.#staged = undefined;
          this.#isEnding = true;
          yield* this.#abandon(change);
          throw error;
        }
      } while (this.#staged !== change);
      this.#staged = undefined;
      this.#isEnding = true;
      yield* this.#publish(change);
    } finally {
      this.#isEnding = false;
    }
    const orphans = this.#orphans.splice(0);
    if (orphans.length > 0) yield* this.changing((next) => this.#removeOf(orphans, next));
  }

  /** Makes a change, until another one cuts it off. */
  *#staging(stage: Stage, change: Change, isOff: () => boolean): Job<void> {
    const job = stage(change);
    while (job !== undefined && this.#staged === change) {
      if (isOff()) throw new OfError("OFPBFC_UNKNOWN", "the peer hung up");
      if (job.next().done) return;
      yield;
    }
  }

  /** Has flows go that were learned, once no flow is there that learned them. */
  *#removeOf(orphans: readonly Taught[], change: Change): Job<void> {
    for (const { table, cookie } of orphans) {
      const learned = cookie === 0n
        ? this.table(table).rules(change.version)
        : this.#tables.index.withCookie(cookie);
      for (const rule of [...learned]) {
        const isMeant = rule.cookie === cookie && rule.table === table;
        if (isMeant && rule.isIn(change.version)) {
          this.remove(rule, RemovedReason.delete, change);
        }
        yield;
      }
    }
  }

  /**
   * Does a change at once. One that is under way begins anew behind it; one that holds already is
   * brought to its end before. Throws `TypeError` within another change.
   */
  now(stage: Stage): void {
    if (this.#turns.isAtIt) throw new TypeError("there is a change under way");
    const cut = this.#staged;
    if (this.#isEnding) this.#turns.finishFirst();
    else if (cut !== undefined) {
      this.#staged = undefined;
      doNow(this.#abandon(cut));
    }
    doNow(this.changing(stage));
  }

  /** Does a change behind those that wait, now if none does. Throws or rejects as `stage` does. */
  soon(stage: Stage, isOff?: () => boolean): void | Promise<void> {
    return this.#turns.run(this.changing(stage, isOff));
  }

  /** Does a flow mod. Throws {@linkcode OfError}, and then nothing has changed. */
  apply(mod: FlowMod, options: FlowModOptions): void {
    this.now((change) => this.stage(mod, options, change));
  }

  /** Does a flow mod in a change, which is to be abandoned where it throws {@linkcode OfError}. */
  *stage(mod: FlowMod, { isOld }: FlowModOptions, change: Change): Job<void> {
    const nowMs = clockMs();
    const { command } = mod;
    const instructions = checkFlowMod(mod, isOld);
    switch (command) {
      case "add":
        return yield* this.#add(mod, instructions, nowMs, change);
      case "modify":
      case "modifyStrict": {
        const rules = command === "modify"
          ? yield* this.#tables.meant(mod, change)
          : this.#tables.strictly(mod, change);
        if (rules.length === 0 && mod.mayAdd) {
          return yield* this.#add(mod, instructions, nowMs, change);
        }
        // As in Open vSwitch: where nothing is modified, nothing need be there.
        if (rules.length > 0) checkNames(instructions, this.#known, change);
        for (const rule of rules) {
          change.look(MODIFIED);
          this.#modify(rule, mod, instructions, nowMs, change);
          yield;
        }
        return;
      }
      case "delete":
        for (const rule of yield* this.#tables.meant(mod, change)) {
          this.remove(rule, RemovedReason.delete, change);
          yield;
        }
        return;
      case "deleteStrict":
        for (const rule of this.#tables.strictly(mod, change)) {
          this.remove(rule, RemovedReason.delete, change);
        }
    }
  }

  *#add(
    mod: FlowMod,
    instructions: Instructions,
    nowMs: number,
    change: Change,
  ): Job<void> {
    checkNames(instructions, this.#known, change);
    const table = this.table(mod.table === ALL_TABLES ? 0 : mod.table);
    const match = packMatch(mod.match);
    const before = table.get(match, mod.priority, change.version);
    // As in Open vSwitch, and in OpenFlow since 1.4: one that replaces another overlaps nothing.
    if (mod.flags & FlowFlag.checkOverlap && before === undefined) {
      yield* looking(table.rules(change.version), (rule) => {
        if (rule.priority === mod.priority && mayMeet(rule.match, match)) {
          throw new OfError("OFPFMFC_OVERLAP");
        }
      }, change);
    }
    if (before === undefined) yield* this.#makeRoom(table, change);
    this.#place(mod, instructions, table, before, nowMs, change);
  }

  /**
   * Does a flow mod in a change, at once; false for one that takes longer, and is not done. Throws
   * as {@linkcode stage} does.
   */
  stageAtOnce(mod: FlowMod, { isOld }: FlowModOptions, change: Change): boolean {
    if (mod.command !== "add" || mod.flags & FlowFlag.checkOverlap) return false;
    const instructions = checkFlowMod(mod, isOld);
    const table = this.table(mod.table === ALL_TABLES ? 0 : mod.table);
    const before = table.get(packMatch(mod.match), mod.priority, change.version);
    if (before === undefined && !this.#hasRoom(table, change)) return false;
    checkNames(instructions, this.#known, change);
    this.#place(mod, instructions, table, before, clockMs(), change);
    return true;
  }

  /** Checks what the actions of a packet name. Throws {@linkcode OfError}. */
  checkActions(apply: readonly OfAction[], change: Change): void {
    checkNames({ apply }, this.#known, change);
  }

  #place(
    mod: FlowMod,
    instructions: Instructions,
    table: FlowTable,
    before: Rule | undefined,
    nowMs: number,
    change: Change,
  ): void {
    const rule = added(mod, instructions, table.id, before, nowMs);
    this.#put(rule, before, change);
    if (this.isWatched()) this.#note({ event: "added", rule, reason: 0 }, change);
  }

  #hasRoom(table: FlowTable, change: Change): boolean {
    const { most = MAX_FLOWS } = table.limits;
    return this.#size + change.more < MAX_FLOWS && table.planned < most;
  }

  #note(event: FlowEvent, change: Change): void {
    if (this.isWatched()) change.events.push(event);
  }

  /** Throws {@linkcode OfError} where there is no room for one more rule, and none may go. */
  *#makeRoom(table: FlowTable, change: Change): Job<void> {
    if (this.#hasRoom(table, change)) return;
    if (!(yield* evict(this, table, change))) throw new OfError("OFPFMFC_TABLE_FULL");
  }

  #modify(
    rule: Rule,
    mod: FlowMod,
    instructions: Instructions,
    nowMs: number,
    change: Change,
  ): void {
    const now = modified(rule, mod, instructions, nowMs);
    this.#put(now, rule, change);
    this.#note({ event: "modified", rule: now, before: rule, reason: 0 }, change);
  }

  /** Has a rule come, into the place of another one if that is there. */
  #put(rule: Rule, before: Rule | undefined, change: Change): void {
    const { version } = change;
    const table = this.table(rule.table);
    rule.addedIn = version;
    change.come.push(rule);
    change.more++;
    change.touch(table);
    table.planned++;
    this.#tables.index.add(rule);
    change.ranked.get(rule.table)?.add(rule);
    if (before === undefined || before.addedIn !== version) {
      rule.isFresh = before === undefined;
      table.insert(rule, before);
      if (before !== undefined) this.#retire(before, change);
      return;
    }
    // It replaces one that came by this change: what that replaced, if anything, it does.
    const { beside, isFresh } = before;
    this.#retire(before, change);
    rule.isFresh = isFresh;
    table.insert(rule, beside);
  }

  #retire(rule: Rule, change: Change): void {
    rule.removedIn = change.version;
    change.more--;
    if (change.ranked.has(rule.table)) change.ranked.set(rule.table, undefined);
    const table = this.table(rule.table);
    change.touch(table);
    table.planned--;
    table.changesIn(change.version);
    // What no lookup has seen need not wait until none sees it.
    if (rule.addedIn === change.version) this.#tables.delete(rule);
    else change.gone.push(rule);
  }

  /** Has a rule go. */
  remove(rule: Rule, reason: number, change: Change): void {
    this.#retire(rule, change);
    this.#note({ event: "removed", rule, reason }, change);
    if (!(rule.flags & FlowFlag.sendFlowRemoved)) return;
    change.after.push(() => this.#onRemoved(rule, reason));
  }

  /** Has a change hold, at once; then has flows run again, does the rest, and forgets what went. */
  *#publish(change: Change): Job<void> {
    this.#tables.clock.version = change.version;
    this.#size += change.more;
    for (const table of change.tables) table.size = table.planned;
    for (const act of change.with) act();
    if (change.events.length > 0) this.onEvents(change);
    const { gone, version, tables } = change;
    const [went, came] = [new ByTable(), new ByTable()];
    yield* looking(gone, (rule) => {
      this.timed.delete(rule);
      went.add(rule);
    });
    yield* looking(change.come, (rule) => {
      if (rule.removedIn === version) return;
      rule.beside = undefined;
      this.timed.add(rule);
      came.add(rule);
    });
    this.#orphans.push(...this.#teachers.count(came.teachers, went.teachers));
    this.onChanged(new Set([...tables].map(({ id }) => id)));
    for (const table of tables) {
      const fresh = came.of(table.id).filter(({ isFresh }) => isFresh);
      yield* table.changed(went.of(table.id), fresh);
    }
    let failed: unknown;
    for (const act of change.after) {
      try {
        act();
      } catch (error) {
        failed ??= error;
      }
      yield;
    }
    yield* looking(gone, (rule) => this.#tables.delete(rule));
    if (failed !== undefined) throw failed;
  }

  /** Lets a change go as if it had never begun. */
  *#abandon({ come, gone, version }: Change): Job<void> {
    for (const rule of come) {
      if (rule.removedIn !== version) {
        this.#tables.delete(rule);
        this.table(rule.table).planned--;
      }
      yield;
    }
    yield* looking(gone, (rule) => {
      rule.removedIn = NEVER;
      this.table(rule.table).planned++;
    });
  }

  /** Rules of a version, that which holds if none is said, that name some groups or meters. */
  users(users: Users, version = this.#tables.clock.version): ReadonlySet<Rule> {
    return this.#tables.index.users(users, version);
  }

  /** How many rules name a group, or a meter. */
  references(of: "groups" | "meters", id: number): number {
    return this.#tables.index.count(of, id, this.#tables.clock.version);
  }

  /** The rule of a table with this very match and priority. */
  find(table: number, match: PackedMatch, priority: number): Rule | undefined {
    return this.table(table).get(match, priority, this.#tables.clock.version);
  }

  /** Has a rule's timeouts be no longer than some, s; 0 leaves one. */
  reduceTimeouts(rule: Rule, idle: number, hard: number): void {
    if (rule.reduce(idle, hard) && rule.isIn(this.#tables.clock.version)) {
      this.timed.add(rule);
    }
  }
}
