// SPDX-License-Identifier: Apache-2.0
/**
 * The tables of a switch, and which of their rules a request means.
 *
 * @module
 */
import { FlowTable } from "../table/flow_table.ts";
import type { PortOf } from "../table/packet_flow.ts";
import type { Clock } from "../table/passages.ts";
import type { Rule } from "../table/rule.ts";
import { TABLES } from "../translate/pipeline.ts";
import { OfError } from "../wire/error.ts";
import { ALL_TABLES, type FlowMod } from "../wire/message.ts";
import { isWithin, packMatch } from "../wire/packed/packed_match.ts";
import type { Change } from "./change.ts";
import { type Filter, isMeant } from "./meant.ts";
import { RuleIndex } from "./rule_index.ts";
import type { Job } from "./turns.ts";

/** The version behind which they begin anew. */
const RENEWED = 1 << 29;
/** Rules that are looked at before others may have their turn. */
const SOME = 64;

/** Rules one after the other, with the turns of others, as work of a change if one is given. */
export function* looking(
  rules: Iterable<Rule>,
  act: (rule: Rule) => void,
  change?: Change,
): Job<void> {
  let count = 0;
  for (const rule of rules) {
    if (++count % SOME === 0) {
      change?.look(SOME);
      yield;
    }
    act(rule);
  }
}

/** Tables by number, and their rules by what requests ask them for. */
export class Tables {
  readonly #tables: (FlowTable | undefined)[] = [];
  readonly #portOf: PortOf | undefined;
  /** Which version of the rules holds. */
  readonly clock: Clock = { version: 0, deletions: 0 };
  readonly index: RuleIndex = new RuleIndex();

  /** Without rules. */
  constructor(portOf: PortOf | undefined) {
    this.#portOf = portOf;
  }

  /** A table by its number. */
  get(id: number): FlowTable {
    return this.#tables[id] ??= new FlowTable(id, this.clock, this.#portOf);
  }

  /** Tables that there are, in order. */
  all(): FlowTable[] {
    return this.#tables.filter((table) => table !== undefined);
  }

  #of(id: number): FlowTable[] {
    if (id === ALL_TABLES) return this.all();
    if (id >= TABLES) throw new OfError("OFPBRC_BAD_TABLE_ID");
    return [this.get(id)];
  }

  /**
   * Has versions begin anew before there are no more of them, which a busy switch would come to
   * within days. Called where no rule is there that the version which holds does not see.
   */
  *renew(): Job<void> {
    if (this.clock.version < RENEWED) return;
    for (const table of this.all()) {
      yield* looking(table.rules(), (rule) => void (rule.addedIn = 0));
    }
    // A change that was made at once meanwhile has done the same.
    if (this.clock.version < RENEWED) return;
    this.clock.version = 0;
    for (const table of this.all()) table.renew();
  }

  /** Takes a rule out that no lookup sees. */
  delete(rule: Rule): void {
    this.get(rule.table).delete(rule);
    this.index.delete(rule);
  }

  /** Rules of a version, of which a filter may mean some, in order of tables. */
  #candidates(filter: Filter, version: number): Iterable<Rule> {
    const tables = this.#of(filter.table);
    const isOne = filter.cookie !== 0n && BigInt.asUintN(64, ~filter.cookieMask) === 0n;
    const [first] = tables;
    if (!isOne && first !== undefined && tables.length === 1) return first.rules(version);
    if (!isOne) return tables.values().flatMap((table) => table.rules(version));
    const ids = new Set(tables.map(({ id }) => id));
    return [...this.index.withCookie(filter.cookie)]
      .filter((rule) => ids.has(rule.table) && rule.isIn(version))
      .sort((a, b) => a.table - b.table);
  }

  /** The rules that a request is about, as they are when this begins. */
  *select(filter: Filter): Job<Rule[]> {
    return yield* this.#select(filter, [
      ...this.#candidates(filter, this.clock.version),
    ]);
  }

  /** The rules that a flow mod is about, as a change leaves them. */
  meant(mod: FlowMod, change: Change): Job<Rule[]> {
    return this.#select(mod, this.#candidates(mod, change.version), change);
  }

  *#select(filter: Filter, rules: Iterable<Rule>, change?: Change): Job<Rule[]> {
    const wanted = packMatch(filter.match);
    const found: Rule[] = [];
    yield* looking(rules, (rule) => {
      if (isWithin(rule.match, wanted) && isMeant(rule, filter)) found.push(rule);
    }, change);
    return found;
  }

  /** The same of a strict one. */
  strictly(mod: FlowMod, { version }: Change): Rule[] {
    const match = packMatch(mod.match);
    return this.#of(mod.table).flatMap((table) => {
      const rule = table.get(match, mod.priority, version);
      return rule !== undefined && isMeant(rule, mod) ? [rule] : [];
    });
  }
}
