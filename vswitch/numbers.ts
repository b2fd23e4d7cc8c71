// SPDX-License-Identifier: Apache-2.0
/**
 * Numbers of ports in OpenFlow.
 *
 * A number that a port had is not given to another soon, because flows of controllers may still
 * mean the port that it was. Numbers from 32,768 on are for those that ask for them.
 *
 * Source: `alloc_ofp_port()` of Open vSwitch 3.1, ofproto/ofproto.c.
 *
 * @module
 */

import { clockMs } from "../policy/clock.ts";

/** A port that is to have a number. */
export interface Numbered {
  readonly name: string;
  /** The number that it asks for. */
  readonly wanted: number | undefined;
  /** The number that it had before the program began, as the database tells. */
  readonly had: number | undefined;
}

const MAX_GIVEN = 32_768;
/** Highest number of a port. */
const MAX_NUMBER = 0xfeff;
const RESERVE_MS = 3_600_000;

/** Numbers of a switch's ports. */
export class Numbers {
  readonly #now: () => number;
  #current = new Map<string, number>();
  /** When numbers became free, ms. */
  readonly #freed = new Map<number, number>();
  #last = 0;

  /** `now` is the time, ms. */
  constructor(now: () => number = clockMs) {
    this.#now = now;
  }

  /** The number of a port. */
  get(name: string): number | undefined {
    return this.#current.get(name);
  }

  /**
   * Numbers the ports that there are: what they ask for first, then what they have and had, then
   * others. A port for which there is no number is left out.
   */
  assign(ports: readonly Numbered[]): ReadonlyMap<string, number> {
    const before = this.#current;
    const taken = new Map<number, string>();
    const take = (name: string, number: number | undefined): boolean => {
      const isGood = number !== undefined && number >= 1 && number <= MAX_NUMBER;
      if (!isGood || taken.has(number)) return false;
      taken.set(number, name);
      return true;
    };
    const rest = (
      list: readonly Numbered[],
      of: (port: Numbered) => number | undefined,
    ) => list.filter((port) => !take(port.name, of(port)));
    const unasked = rest(ports, ({ wanted }) => wanted);
    const strangers = rest(unasked, ({ name }) => before.get(name));
    const fresh = rest(strangers, ({ name, had }) => before.has(name) ? undefined : had);
    for (const { name } of fresh) take(name, this.#free(taken));
    const nowMs = this.#now();
    const now = new Map([...taken].map(([number, name]) => [name, number]));
    for (const [name, number] of before) {
      if (now.get(name) !== number && !taken.has(number)) this.#freed.set(number, nowMs);
    }
    for (const number of taken.keys()) this.#freed.delete(number);
    this.#current = now;
    return now;
  }

  #free(taken: ReadonlyMap<number, string>): number | undefined {
    const nowMs = this.#now();
    let oldest: number | undefined;
    let oldestMs = Infinity;
    for (let tried = 1; tried < MAX_GIVEN; tried++) {
      if (++this.#last >= MAX_GIVEN) this.#last = 1;
      if (taken.has(this.#last)) continue;
      const freedMs = this.#freed.get(this.#last);
      if (freedMs === undefined || nowMs - freedMs > RESERVE_MS) return this.#last;
      if (freedMs < oldestMs) [oldest, oldestMs] = [this.#last, freedMs];
    }
    return oldest;
  }
}
