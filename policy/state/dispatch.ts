// SPDX-License-Identifier: Apache-2.0
/**
 * Which subtables of a table of rules a packet can match in, found out for all of them at once.
 *
 * A walk through the prefixes of a leaf says which subtables want one that fits the packet, and its
 * headers say which leaves it has: each is a set of subtables that it rules out, as bits. Only what
 * is left is looked through. What ruled the others out is masked afterwards, as far as it is not
 * masked already, and only of those that could have won: for each the leaf that takes the fewest
 * bits, which mostly prove the same of many.
 *
 * @module
 */
import type { Tracker } from "../packet/tracker.ts";
import type { Field } from "./field.ts";
import type { Kept, Subtable } from "./subtable.ts";

/** A leaf, and the subtables that ask for any of it. */
interface Asked {
  readonly field: Field;
  readonly by: Int32Array;
}

/** Subtables in the order of their best priority. */
export class Dispatch<R> {
  readonly #ordered: readonly Subtable<R>[];
  readonly #priorities: Float64Array;
  /** Place in that order by number. */
  readonly #rank: Int32Array;
  readonly #asked: readonly Asked[];
  /** Those of them whose prefixes are kept: by these alone one subtable is proven not to match. */
  readonly #prefixed: readonly Asked[];
  readonly #all: Int32Array;
  /** Sets of the first 32 in the order, of the first 64 … */
  readonly #first: readonly Int32Array[];
  /** Those in which the packet may match, and those that are to be proven not to. */
  readonly #left: Int32Array;
  readonly #open: Int32Array;
  /** Places in the order of those that are left. */
  readonly #found: Int32Array;

  /** Takes the subtables of a table as they are: for other ones, another is made. */
  constructor(subtables: Iterable<Subtable<R>>) {
    const ordered = [...subtables].sort((a, b) => b.maxPriority - a.maxPriority);
    this.#ordered = ordered;
    this.#priorities = Float64Array.from(ordered, ({ maxPriority }) => maxPriority);
    this.#found = new Int32Array(ordered.length);
    const most = ordered.reduce((most, { number }) => Math.max(most, number), -1);
    const none = (): Int32Array => new Int32Array((most >> 5) + 1);
    this.#all = none();
    this.#left = none();
    this.#open = none();
    this.#rank = new Int32Array(most + 1);
    const asked = new Map<Field, Int32Array>();
    const first: Int32Array[] = [];
    for (const [rank, { number, fields }] of ordered.entries()) {
      if ((rank & 31) === 0) first.push(this.#all.slice());
      add(this.#all, number);
      this.#rank[number] = rank;
      for (const field of fields) {
        let by = asked.get(field);
        if (by === undefined) asked.set(field, by = none());
        add(by, number);
      }
    }
    this.#first = first;
    this.#asked = [...asked].map(([field, by]) => ({ field, by }));
    this.#prefixed = this.#asked.filter(({ field }) => field.prefixes !== undefined);
  }

  /** The best rule that the packet matches; what told so is masked. */
  find(tracker: Tracker): Kept<R> | undefined {
    this.#look(tracker);
    let best: Kept<R> | undefined;
    const count = this.#order();
    for (let i = 0; i < count; i++) {
      const subtable = this.#ordered[this.#found[i] as number] as Subtable<R>;
      if (best !== undefined && best.priority > subtable.maxPriority) break;
      if (!subtable.isTold(tracker)) continue;
      const found = subtable.find(tracker);
      if (found !== undefined && (best === undefined || isBetter(found, best))) {
        best = found;
      }
    }
    this.#prove(tracker, best);
    return best;
  }

  /** Takes away what the packet rules out; nothing is masked. */
  #look(tracker: Tracker): void {
    const left = this.#left;
    for (let w = 0; w < left.length; w++) left[w] = this.#all[w] as number;
    for (let i = 0; i < this.#asked.length; i++) {
      const { field, by } = this.#asked[i] as Asked;
      if (!field.look(tracker)) remove(left, by);
      else field.prefixes?.keepLeft(left, field.prefixes.steps - 1);
    }
  }

  /** Puts the places of those that are left in their order; how many there are. */
  #order(): number {
    const [left, found] = [this.#left, this.#found];
    let count = 0;
    for (let w = 0; w < left.length; w++) {
      for (let word = left[w] as number; word !== 0; word &= word - 1) {
        found[count++] = this.#rank[32 * w + lowest(word)] as number;
      }
    }
    if (count > FEW) {
      found.subarray(0, count).sort();
      return count;
    }
    for (let i = 1; i < count; i++) {
      const one = found[i] as number;
      let at = i;
      for (; at > 0 && (found[at - 1] as number) > one; at--) {
        found[at] = found[at - 1] as number;
      }
      found[at] = one;
    }
    return count;
  }

  /** Masks what rules out the subtables that are not left and could have won. */
  #prove(tracker: Tracker, best: Kept<R> | undefined): void {
    const open = this.#couldWin(best);
    for (let w = 0; w < open.length; w++) {
      open[w] = (open[w] as number) & ~(this.#left[w] as number);
    }
    const asked = this.#asked;
    for (let i = 0; i < asked.length; i++) {
      const { field, by } = asked[i] as Asked;
      if (field.isThere || !overlaps(open, by)) continue;
      field.tell(tracker);
      remove(open, by);
    }
    const prefixed = this.#prefixed;
    for (let i = 0; i < prefixed.length; i++) {
      (prefixed[i] as Asked).field.keepUnproven(tracker, open);
    }
    for (let w = 0; w < open.length; w++) {
      while (open[w] !== 0) this.#proveOne(tracker, 32 * w + lowest(open[w] as number));
    }
  }

  /** Masks what rules out one subtable, by the leaf that takes the fewest bits. */
  #proveOne(tracker: Tracker, subtable: number): void {
    let least = Infinity;
    let cheapest: Asked | undefined;
    for (let i = 0; i < this.#prefixed.length; i++) {
      const asked = this.#prefixed[i] as Asked;
      const bits = asked.field.bitsAgainst(subtable);
      if (bits >= least) continue;
      least = bits;
      cheapest = asked;
    }
    if (cheapest === undefined) throw new Error("a subtable was ruled out by nothing");
    const { field, by } = cheapest;
    if (field.tell(tracker)) field.prove(tracker, least, this.#open);
    else remove(this.#open, by); // A key that no parser makes.
  }

  /** The set of those that may have a rule which goes before the best that was found. */
  #couldWin(best: Kept<R> | undefined): Int32Array {
    const open = this.#open;
    const end = best === undefined ? this.#ordered.length : this.#endFor(best.priority);
    const from = end === this.#ordered.length ? this.#all : this.#first[end >> 5];
    for (let w = 0; w < open.length; w++) open[w] = from?.[w] as number;
    if (from === this.#all) return open;
    for (let rank = end & ~31; rank < end; rank++) {
      add(open, (this.#ordered[rank] as Subtable<R>).number);
    }
    return open;
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

/** So many are put in order one by one. */
const FEW = 24;

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
