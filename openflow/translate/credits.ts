// SPDX-License-Identifier: Apache-2.0
/**
 * All counters that a packet is for, as one: flows keep a list of what their packets credit, and a
 * way through twenty tables has sixty.
 *
 * Packets that come one after the other mostly are for the same counters: their flows share one
 * object, which need not be made, and takes no memory, for each.
 *
 * @module
 */
import type { Credited, Effect } from "../../policy/packet/effect.ts";
import type { Counter } from "../table/tally.ts";

/** Counters that are credited together. */
export class Credits implements Credited {
  readonly #all: readonly Counter[];
  /** Itself, as the list of what a packet leaves behind; not to be changed. */
  readonly effects: readonly Effect[];

  /** Those of a list, which is kept. */
  constructor(all: readonly Counter[]) {
    this.#all = all;
    this.effects = [{ kind: "credit", counter: this }];
  }

  /** Whether it is for the first `count` counters of a list. */
  isOf(counters: readonly Counter[], count: number): boolean {
    const all = this.#all;
    if (all.length !== count) return false;
    // The last one is that of the rule that decided, and tells most.
    for (let i = count - 1; i >= 0; i--) if (all[i] !== counters[i]) return false;
    return true;
  }

  /** Names of all of them. */
  get name(): string {
    return this.#all.map(({ name }) => name).join(", ");
  }

  /** Credits each of them. */
  add(packets: bigint, bytes: bigint, usedMs: number, tcpFlags: number): void {
    const [some, size] = [Number(packets), Number(bytes)];
    const all = this.#all;
    for (let i = 0; i < all.length; i++) {
      (all[i] as Counter).count(some, size, usedMs, tcpFlags);
    }
  }
}

/** Credits that came last and are looked through. */
const RECENT = 8;

/** Finds the counters of one packet after the other. */
export class Crediting {
  readonly #now: Counter[] = [];
  #count = 0;
  readonly #recent: Credits[] = [];

  /** Begins with a packet. */
  begin(): void {
    this.#count = 0;
  }

  /** Adds a counter. */
  put(counter: Counter): void {
    this.#now[this.#count++] = counter;
  }

  /** All of them; undefined if there is none. */
  end(): Credits | undefined {
    const [now, count, recent] = [this.#now, this.#count, this.#recent];
    if (count === 0) return undefined;
    for (let i = 0; i < recent.length; i++) {
      const one = recent[i] as Credits;
      if (!one.isOf(now, count)) continue;
      if (i > 0) {
        recent[i] = recent[i - 1] as Credits;
        recent[i - 1] = one;
      }
      return one;
    }
    const made = new Credits(now.slice(0, count));
    if (recent.length === RECENT) recent.pop();
    recent.unshift(made);
    return made;
  }
}
