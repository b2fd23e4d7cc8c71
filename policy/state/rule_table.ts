// SPDX-License-Identifier: Apache-2.0
/**
 * Rules with priorities, looked up so that few bits of the packet matter.
 *
 * Tuple space search with staged lookup, as Open vSwitch's classifier does it (`lib/classifier.c`
 * of 3.1): rules with one mask are a subtable, subtables come in the order of their best priority,
 * and a lookup ends when none that is left can win. Tries of prefixes rule subtables out before
 * they are visited, many at a time, and hashes of the first stages end a visit early, with only
 * those bits masked that told so.
 *
 * @module
 */
import {
  isHeld,
  keyIn,
  makeDependency,
  noteChange,
  notify,
  type Owner,
  type Touches,
} from "./dependency.ts";
import { type Leaf, load, type Place, toBig, words } from "../packet/leaf.ts";
import { type Packet, type Tracked, TRACKER } from "../packet/packet.ts";
import {
  type Kept,
  type Match,
  parseMatch,
  type Part,
  signatureOf,
  Subtable,
} from "./subtable.ts";
import { noteThings } from "../copy.ts";
import { type Counter, dependOn, refuseFlow, refuseInRun } from "./state.ts";
import { wrote } from "./state_event.ts";
import type { Tracker } from "../packet/tracker.ts";
import { Dispatch, isBetter } from "./dispatch.ts";
import { Field } from "./field.ts";

/** A rule. Programs add fields of their own: what it is for. */
export interface Rule {
  /** Which packets. */
  readonly match: Match;
  /** The highest wins; of equal ones that which was added first. */
  readonly priority: number;
  /** Counts what matches it, while it decides. */
  readonly counter?: Counter;
}

/** Changes of one transaction. */
export interface RuleChanges<R extends Rule> {
  /** Adds a rule. */
  add(rule: R): void;
  /** Removes a rule: the object that was added. False if it is not there. */
  delete(rule: R): boolean;
  /** Removes all. */
  clear(): void;
}

/** More rules than this in one transaction, and all flows that looked in the table run again. */
const MANY = 256;
const MISS = "no rule";
const COUNT = "count";

/** Rules with priorities. */
export class RuleTable<R extends Rule> implements Owner {
  /** Its name, for `explain`. */
  readonly name: string;
  readonly #kept = new Map<R, Kept<R>>();
  readonly #subtables = new Map<string, Subtable<R>>();
  /** Numbers below theirs that none of them has. */
  readonly #unused: number[] = [];
  /** Made when a packet is looked up first after a change. */
  #dispatch: Dispatch<R> | undefined;
  readonly #fields = new Map<string, Field>();
  #order = 0;
  #miss = 0;
  /** Dependency on how many there are. */
  #count = 0;
  #isChanging = false;
  /** Number of its last change. */
  #changed = 0;

  /** Makes an empty table. */
  constructor(options: { readonly name?: string } = {}) {
    this.name = options.name ?? "rules";
  }

  /** Number of rules; a run that asks depends on it. */
  get size(): number {
    this.#count = dependOn(this, COUNT, this.#count);
    return this.#kept.size;
  }

  /**
   * Changes rules together: no run sees a part of it. Throws `TypeError` or `SyntaxError` for a bad
   * match, and changes nothing.
   */
  transact(change: (changes: RuleChanges<R>) => void): void {
    refuseInRun(this.name);
    if (this.#isChanging) {
      throw new TypeError(`${this.name} is being changed: one transaction at a time`);
    }
    this.#isChanging = true;
    try {
      this.#transact(change);
    } finally {
      this.#isChanging = false;
    }
  }

  #transact(change: (changes: RuleChanges<R>) => void): void {
    const added = new Map<R, readonly Part[]>();
    const deleted = new Set<R>();
    change({
      add: (rule) => {
        if (this.#kept.has(rule) && !deleted.has(rule) || added.has(rule)) {
          throw new TypeError(`the rule is in ${this.name} already`);
        }
        if (!Number.isFinite(rule.priority)) {
          throw new RangeError(`priority must be a number: it is ${rule.priority}`);
        }
        added.set(rule, parseMatch(rule.match));
      },
      delete: (rule) => {
        if (added.delete(rule)) return true;
        if (!this.#kept.has(rule) || deleted.has(rule)) return false;
        deleted.add(rule);
        return true;
      },
      clear: () => {
        added.clear();
        for (const rule of this.#kept.keys()) deleted.add(rule);
      },
    });
    const orders = [...deleted].map((rule) => this.#kept.get(rule)?.order);
    wrote({ name: this.name, op: "rules", key: orders, value: [...added.keys()] });
    this.#changed = noteChange();
    const gone = [...deleted].map((rule) => this.#remove(rule));
    const come = [...added].map(([rule, parts]) => this.#insert(rule, parts));
    this.#dispatch = undefined;
    for (const { dependency } of gone) if (dependency !== 0) notify(dependency);
    if (this.#count !== 0 && gone.length !== come.length) notify(this.#count);
    if (come.length > MANY) this.#notifyAll();
    else for (const kept of come) this.#notifyOf(kept);
  }

  #insert(rule: R, parts: readonly Part[]): Kept<R> {
    const kept: Kept<R> = {
      rule,
      order: this.#order++,
      priority: rule.priority,
      parts,
      dependency: 0,
    };
    this.#kept.set(rule, kept);
    const signature = signatureOf(parts);
    let subtable = this.#subtables.get(signature);
    const fields = parts.map(({ place }) => this.#fieldOf(place));
    if (subtable === undefined) {
      const number = this.#unused.pop() ?? this.#subtables.size;
      this.#subtables.set(signature, subtable = new Subtable(number, parts, fields));
    }
    subtable.add(kept);
    return kept;
  }

  #fieldOf(place: Place): Field {
    let field = this.#fields.get(place.name);
    if (field === undefined) this.#fields.set(place.name, field = new Field(place));
    return field;
  }

  #remove(rule: R): Kept<R> {
    const kept = this.#kept.get(rule) as Kept<R>;
    this.#kept.delete(rule);
    const signature = signatureOf(kept.parts);
    const subtable = this.#subtables.get(signature);
    subtable?.delete(kept);
    if (subtable?.size !== 0) return kept;
    this.#subtables.delete(signature);
    this.#unused.push(subtable.number);
    return kept;
  }

  #notifyAll(): void {
    for (const { dependency } of this.#kept.values()) {
      if (dependency !== 0) notify(dependency);
    }
    if (this.#miss !== 0) notify(this.#miss);
  }

  /** Tells flows whose rule may lose to a new one. */
  #notifyOf(added: Kept<R>): void {
    const touches = this.#touches(added);
    for (const kept of this.#kept.values()) {
      if (kept.dependency === 0 || kept.priority >= added.priority) continue;
      if (!isHeld(kept.dependency) || areDisjoint(kept.parts, added.parts)) continue;
      notify(kept.dependency, touches);
    }
    if (this.#miss !== 0) notify(this.#miss, touches);
  }

  /** A flow cannot meet a rule that differs from it in a bit that both care for. */
  #touches({ parts }: Kept<R>): Touches {
    const value = words();
    const masked = words();
    return ({ keyBytes, keyFrom, layout, maskBytes }) => {
      for (const { place, value: wanted, mask: of } of parts) {
        const at = layout.key[place.slot] as number;
        const maskAt = layout.mask[place.slot] as number;
        if (at === 0 || maskAt === 0) continue;
        load(place, keyBytes, keyFrom + at + place.at, value);
        load(place, maskBytes, maskAt + place.at, masked);
        for (let i = 0; i < 4; i++) {
          const differ = (value[i] as number) ^ (wanted[i] as number);
          if ((differ & (of[i] as number) & (masked[i] as number)) !== 0) return false;
        }
      }
      return true;
    };
  }

  /** @ignore The rule that was added as the `order`th. */
  at(order: number): R | undefined {
    refuseFlow("described");
    for (const kept of this.#kept.values()) if (kept.order === order) return kept.rule;
    return undefined;
  }

  /** The rule that a packet matches; undefined if it matches none. */
  match(packet: Packet): R | undefined {
    const tracker = (packet as Packet & Tracked)[TRACKER];
    if (tracker === undefined) return this.#scan(packet)?.rule;
    void tracker.checked;
    if (tracker.reads !== undefined) tracker.note(this.name, "rules");
    const before = this.#before(tracker);
    const found = before === undefined
      ? this.#find(tracker)
      : before === MISS
      ? undefined
      : before;
    if (found === undefined) {
      this.#miss ||= makeDependency(this, MISS);
      tracker.depend(this.#miss);
      return undefined;
    }
    found.dependency ||= makeDependency(this, found);
    tracker.depend(found.dependency);
    if (found.rule.counter !== undefined) packet.credit(found.rule.counter);
    return found.rule;
  }

  /**
   * What an earlier run on the packet found, where the table is as it was: what told so is masked
   * already. Undefined if that is not known.
   */
  #before(tracker: Tracker): Kept<R> | typeof MISS | undefined {
    if (tracker.former.changes < this.#changed) return undefined;
    const before = keyIn(tracker.expected, this);
    return before === COUNT ? undefined : before as Kept<R> | typeof MISS | undefined;
  }

  #find(tracker: Tracker): Kept<R> | undefined {
    this.#dispatch ??= new Dispatch(this.#subtables.values());
    return this.#dispatch.find(tracker);
  }

  /** For packets that nobody tracks: the plain way. */
  #scan(packet: Packet): Kept<R> | undefined {
    let best: Kept<R> | undefined;
    for (const kept of this.#kept.values()) {
      if (best !== undefined && !isBetter(kept, best)) continue;
      let plain = this.#plain.get(kept);
      if (plain === undefined) this.#plain.set(kept, plain = kept.parts.map(plainly));
      const fits = plain.every(([leaf, value, mask]) => packet.equals(leaf, value, mask));
      if (fits) best = kept;
    }
    if (best?.rule.counter !== undefined) packet.credit(best.rule.counter);
    return best;
  }

  /** What rules want, as packets that nobody tracks are asked for it. */
  readonly #plain = new WeakMap<Kept<R>, readonly PlainPart[]>();

  /** @ignore */
  forget(_id: number, key: unknown): void {
    if (key === MISS) this.#miss = 0;
    else if (key === COUNT) this.#count = 0;
    else (key as Kept<R>).dependency = 0;
  }

  /** @ignore */
  describe(key: unknown): string {
    refuseFlow("described");
    if (key === MISS) return `no rule of ${this.name} fits`;
    if (key === COUNT) return `${this.name} has ${this.#kept.size} rules`;
    const { rule } = key as Kept<R>;
    return `${this.name}: priority ${rule.priority}, ${JSON.stringify(rule.match)}`;
  }
}

noteThings(RuleTable);

type PlainPart = readonly [leaf: Leaf, value: bigint, mask: bigint];

function plainly({ place, value, mask }: Part): PlainPart {
  const { name, width } = place;
  return [name as Leaf, toBig(value, width), toBig(mask, width)];
}

/** Whether no packet can match both. */
function areDisjoint(a: readonly Part[], b: readonly Part[]): boolean {
  for (const one of a) {
    const other = b.find(({ place }) => place === one.place);
    if (other === undefined) continue;
    for (let i = 0; i < 4; i++) {
      const differ = (one.value[i] as number) ^ (other.value[i] as number);
      if ((differ & (one.mask[i] as number) & (other.mask[i] as number)) !== 0) {
        return true;
      }
    }
  }
  return false;
}
