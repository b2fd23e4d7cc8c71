// SPDX-License-Identifier: Apache-2.0
/**
 * Sums of 64 bits to which little is added at a time.
 *
 * @module
 */

/** Above this, sums of numbers would not be exact for long. */
const FULL = 2 ** 52;

/** A sum. */
export class Tally {
  #low = 0;
  #high = 0n;

  /** Adds a whole number below 2^52. */
  add(more: number): void {
    this.#low += more;
    if (this.#low < FULL) return;
    this.#high += BigInt(this.#low);
    this.#low = 0;
  }

  /** The sum. */
  get value(): bigint {
    return this.#high + BigInt(this.#low);
  }
}

/** What counts what goes by. */
export interface Counter {
  readonly name: string;
  /** Adds packets and bytes; `tcpFlags` are those that packets of the flow had so far. */
  count(packets: number, bytes: number, usedMs: number, tcpFlags: number): void;
}
