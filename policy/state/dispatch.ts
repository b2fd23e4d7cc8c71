// SPDX-License-Identifier: Apache-2.0
/**
 * Which subtables of a table of rules a packet can match in, found out for all of them at once.
 *
 * A walk through the tries of prefixes says which lengths fit the packet, and its headers say which
 * leaves it has: each is a set of subtables that it rules out, as bits. Only what is left is looked
 * through. What ruled the others out is masked afterwards, as far as it is not masked already, and
 * only of those that could have won.
 *
 * @module
 */
import type { Tracker } from "../packet/tracker.ts";
import type { Field } from "./field.ts";
import type { Kept, Subtable } from "./subtable.ts";

/** Subtables that want a prefix of a length. */
interface AskedLength {
  readonly length: number;
  readonly by: Int32Array;
}

/** A leaf, and the subtables that ask for it. */
interface Asked {
  readonly field: Field;
  /** Subtables that want any of it. */
  readonly by: Int32Array;
  /** Those that want a prefix of it, by its length. */
  readonly lengths: readonly AskedLength[];
}

/** Subtables in the order of their best priority. */
export class Dispatch<R> {
  readonly #ordered: readonly Subtable<R>[];
  readonly #priorities: Float64Array;
  readonly #asked: readonly Asked[];
  readonly #all: Int32Array;
  /** Subtables that are left. */
  readonly #left: Int32Array;

  /** Takes the subtables of a table as they are: for other ones, another is made. */
  constructor(subtables: Iterable<Subtable<R>>) {
    const ordered = [...subtables].sort((a, b) => b.maxPriority - a.maxPriority);
    this.#ordered = ordered;
    this.#priorities = Float64Array.from(ordered, ({ maxPriority }) => maxPriority);
    const count = ordered.length + 31 >> 5;
    const none = (): Int32Array => new Int32Array(count);
    this.#all = none();
    this.#left = none();
    const asked = new Map<Field, { by: Int32Array; lengths: Map<number, Int32Array> }>();
    for (const [i, subtable] of ordered.entries()) {
      add(this.#all, i);
      subtable.eachField((field, length) => {
        let one = asked.get(field);
        if (one === undefined) asked.set(field, one = { by: none(), lengths: new Map() });
        add(one.by, i);
        if (length === undefined) return;
        let by = one.lengths.get(length);
        if (by === undefined) one.lengths.set(length, by = none());
        add(by, i);
      });
    }
    this.#asked = [...asked].map(([field, { by, lengths }], at) => {
      field.at = at;
      return { field, by, lengths: [...lengths].map(([length, by]) => ({ length, by })) };
    });
  }

  /** The best rule that the packet matches; what told so is masked. */
  find(tracker: Tracker): Kept<R> | undefined {
    const left = this.#left;
    left.set(this.#all);
    this.#look(tracker);
    let best: Kept<R> | undefined;
    search: for (let w = 0; w < left.length; w++) {
      for (let word = left[w] as number; word !== 0; word &= word - 1) {
        const subtable = this.#ordered[32 * w + lowest(word)] as Subtable<R>;
        if (best !== undefined && best.priority > subtable.maxPriority) break search;
        if (!subtable.isTold(tracker)) continue;
        const found = subtable.find(tracker);
        if (found !== undefined && (best === undefined || isBetter(found, best))) {
          best = found;
        }
      }
    }
    this.#prove(tracker, best);
    return best;
  }

  /** Takes away what the packet rules out; nothing is masked. */
  #look(tracker: Tracker): void {
    const left = this.#left;
    for (let i = 0; i < this.#asked.length; i++) {
      const { field, by, lengths } = this.#asked[i] as Asked;
      if (!field.look(tracker)) {
        remove(left, by);
        continue;
      }
      for (let n = 0; n < lengths.length; n++) {
        const one = lengths[n] as AskedLength;
        if (!field.fits(one.length)) remove(left, one.by);
      }
    }
  }

  /** Masks what rules out the subtables that are not left and could have won. */
  #prove(tracker: Tracker, best: Kept<R> | undefined): void {
    const left = this.#left;
    const end = best === undefined ? this.#ordered.length : this.#endFor(best.priority);
    for (let w = 0; w < left.length; w++) {
      const within = end - 32 * w;
      const kept = within >= 32 ? -1 : within <= 0 ? 0 : (1 << within) - 1;
      left[w] = (this.#all[w] as number) & ~(left[w] as number) & kept;
    }
    const asked = this.#asked;
    for (let i = 0; i < asked.length; i++) {
      const { field, by } = asked[i] as Asked;
      if (field.isThere || !overlaps(left, by)) continue;
      field.tell(tracker);
      remove(left, by);
    }
    for (let i = 0; i < asked.length; i++) this.#removeProven(tracker, asked[i] as Asked);
    for (let w = 0; w < left.length; w++) {
      while (left[w] !== 0) {
        const word = left[w] as number;
        left[w] = word & word - 1;
        const subtable = this.#ordered[32 * w + lowest(word)] as Subtable<R>;
        const field = subtable.ruleOut(tracker);
        if (field !== undefined) this.#removeProven(tracker, asked[field.at] as Asked);
      }
    }
  }

  /** Takes away the subtables that what is masked of a leaf rules out. */
  #removeProven(tracker: Tracker, { field, lengths }: Asked): void {
    if (!field.isThere || lengths.length === 0) return;
    const masked = field.masked(tracker);
    const isAll = field.isProven(masked);
    for (let n = 0; n < lengths.length; n++) {
      const { length, by } = lengths[n] as AskedLength;
      if ((isAll || masked >= length) && !field.fits(length)) remove(this.#left, by);
    }
  }

  /** The first subtable that a rule of this priority beats whatever is in it. */
  #endFor(priority: number): number {
    let [low, high] = [0, this.#priorities.length];
    while (low < high) {
      const middle = low + high >> 1;
      if ((this.#priorities[middle] as number) >= priority) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Whether a rule goes before another that matches, too. */
export function isBetter(a: Kept<unknown>, b: Kept<unknown>): boolean {
  return a.priority > b.priority || a.priority === b.priority && a.order < b.order;
}

function add(set: Int32Array, i: number): void {
  set[i >> 5] = (set[i >> 5] as number) | 1 << (i & 31);
}

function remove(set: Int32Array, others: Int32Array): void {
  for (let w = 0; w < set.length; w++) {
    set[w] = (set[w] as number) & ~(others[w] as number);
  }
}

function overlaps(set: Int32Array, others: Int32Array): boolean {
  for (let w = 0; w < set.length; w++) {
    if (((set[w] as number) & (others[w] as number)) !== 0) return true;
  }
  return false;
}

/** The lowest bit that is set. */
function lowest(word: number): number {
  return 31 - Math.clz32(word & -word);
}
