// SPDX-License-Identifier: Apache-2.0
/**
 * Rules by what requests ask them for: their cookie, and the groups and meters that they name.
 *
 * @module
 */
import type { Rule } from "../table/rule.ts";
import { actionsOf } from "../wire/action.ts";
import { factsOf, type Users } from "./facts.ts";

type Index<K> = Map<K, Set<Rule>>;

function put<K>(index: Index<K>, key: K, rule: Rule): void {
  const some = index.get(key);
  if (some === undefined) index.set(key, new Set([rule]));
  else some.add(rule);
}

function drop<K>(index: Index<K>, key: K, rule: Rule): void {
  const some = index.get(key);
  if (some?.delete(rule) && some.size === 0) index.delete(key);
}

/** How often a rule sends to a group. */
function timesNamed({ instructions }: Rule, group: number): number {
  return actionsOf(instructions)
    .filter((action) => action.type === "group" && action.group === group).length;
}

/** Rules of all tables and versions. */
export class RuleIndex {
  readonly #cookies: Index<bigint> = new Map();
  readonly #groups: Index<number> = new Map();
  readonly #meters: Index<number> = new Map();

  /** A rule came. */
  add(rule: Rule): void {
    // Most rules of those that say none have this one.
    if (rule.cookie !== 0n) put(this.#cookies, rule.cookie, rule);
    const { groups, meters } = factsOf(rule.instructions);
    for (const id of groups) put(this.#groups, id, rule);
    for (const id of meters) put(this.#meters, id, rule);
  }

  /** A rule went. */
  delete(rule: Rule): void {
    if (rule.cookie !== 0n) drop(this.#cookies, rule.cookie, rule);
    const { groups, meters } = factsOf(rule.instructions);
    for (const id of groups) drop(this.#groups, id, rule);
    for (const id of meters) drop(this.#meters, id, rule);
  }

  /** Rules with a cookie, which is not 0, the oldest first. */
  withCookie(cookie: bigint): Iterable<Rule> {
    return this.#cookies.get(cookie) ?? [];
  }

  /** How many rules of a version name a group, or a meter. */
  count(of: "groups" | "meters", id: number, version: number): number {
    const some = (of === "groups" ? this.#groups : this.#meters).get(id);
    let count = 0;
    for (const rule of some ?? []) {
      if (!rule.isIn(version)) continue;
      // As in Open vSwitch: a flow that names a group twice counts twice.
      count += of === "groups" ? timesNamed(rule, id) : 1;
    }
    return count;
  }

  /** Rules of a version that name one of some groups or meters. */
  users({ groups = new Set(), meters = new Set() }: Users, version: number): Set<Rule> {
    const found = new Set<Rule>();
    const sets = [
      ...[...groups].map((id) => this.#groups.get(id)),
      ...[...meters].map((id) => this.#meters.get(id)),
    ];
    for (const some of sets) {
      for (const rule of some ?? []) if (rule.isIn(version)) found.add(rule);
    }
    return found;
  }
}
