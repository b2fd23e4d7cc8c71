// SPDX-License-Identifier: Apache-2.0
/**
 * All counters that a packet is for, as one: flows keep a list of what their packets credit, and a
 * way through twenty tables has sixty.
 *
 * @module
 */
import type { Credited } from "../../policy/mod.ts";
import type { Counter } from "../table/tally.ts";

/** Counters that are credited together. */
export class Credits implements Credited {
  readonly #all: Counter[] = [];

  /** Adds a counter. */
  put(counter: Counter): void {
    this.#all.push(counter);
  }

  /** Whether there is none. */
  get isEmpty(): boolean {
    return this.#all.length === 0;
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
