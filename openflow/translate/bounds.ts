// SPDX-License-Identifier: Apache-2.0
/**
 * How much work a packet may be: a controller's flows end, whatever they say.
 *
 * @module
 */

import { encodeActions } from "../../providers/odp/action.ts";
import type { Action } from "../../providers/types_action.ts";

/** Resubmits to the same table or an earlier one, within each other. */
const MAX_DEPTH = 64;
const TOO_DEEP = "too many resubmits";
/** Tables that a packet is looked up in. */
const MAX_LOOKUPS = 4096;
/** Lists within lists, which are calls within calls here: the stack is not to end before. */
const MAX_NESTED = 512;
/** Actions, buckets and ports of a flood that a packet is put through, all lists together. */
const MAX_WORK = 8192;

/** Bytes of actions: they are an attribute of a message. */
const MAX_TOLD = 65_000;
/** As many actions, and bytes to controllers, surely fit. */
const [FEW, FEW_BYTES] = [256, 32_768];
/** Recirculations, one behind the other: the datapath does eight at once. */
const MAX_RECIRCULATIONS = 16;

function fits(actions: readonly Action[]): boolean {
  try {
    return encodeActions(actions).length <= MAX_TOLD;
  } catch {
    return false;
  }
}

/** What a packet has cost so far. Where a bound is reached, nothing goes on in any list. */
export class Bounds {
  #depth = 0;
  #lookups = 0;
  #nested = 0;
  #work = 0;
  /** Which bound was reached. */
  reached: string | undefined;

  #check(isWithin: boolean, reason: string): boolean {
    if (!isWithin) this.reached ??= reason;
    return this.reached === undefined;
  }

  /** Whether the packet may be put through so many more actions or buckets. */
  spend(count: number): boolean {
    this.#work += count;
    return this.#check(this.#work <= MAX_WORK, "too many actions");
  }

  /** Whether what the datapath is told fits into a message. */
  told(actions: readonly Action[], handedBytes: number): boolean {
    if (this.#work < FEW && handedBytes < FEW_BYTES) return true;
    return this.#check(fits(actions), "over 64 kB of actions");
  }

  /** Whether it may be looked up again, by the datapath, so many times in all. */
  recirculate(count: number): boolean {
    return this.#check(count <= MAX_RECIRCULATIONS, "too many recirculations");
  }

  /** Whether its stack has room. */
  stacked(hasRoom: boolean): boolean {
    return this.#check(hasRoom, "over 64 kB of stack");
  }

  /** Whether it may be looked up so many times more. */
  lookUp(count = 1): boolean {
    this.#lookups += count;
    return this.#check(this.#lookups <= MAX_LOOKUPS, "too many lookups");
  }

  /**
   * Whether it may go on in another table by so many lists, one within the other, of one action
   * each; {@linkcode leave} is told when it comes back.
   */
  goOn(lists: number): boolean {
    this.#nested += lists;
    this.spend(lists);
    return this.#check(this.#nested <= MAX_NESTED, "too many lists within lists");
  }

  /** It comes back from so many lists. */
  leave(lists: number): void {
    this.#nested -= lists;
  }

  /** Whether a list may be done within another one; {@linkcode leave} is told in any case. */
  enter(): boolean {
    const mayBe = this.#nested < MAX_NESTED;
    this.#nested++;
    return this.#check(mayBe, "too many lists within lists");
  }

  /** Notes that it goes back to where it was, again and again, and would reach the bound. */
  goesRound(): void {
    this.#check(false, TOO_DEEP);
  }

  /** Goes back to a table, if that may be. */
  back(what: () => void): void {
    if (!this.#check(this.#depth < MAX_DEPTH, TOO_DEEP)) return;
    this.#depth++;
    what();
    this.#depth--;
  }
}
