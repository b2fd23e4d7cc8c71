// SPDX-License-Identifier: Apache-2.0
/**
 * What an earlier run on a key rested on: a run again mostly reads the same in the same order, and
 * need not look for it.
 *
 * @module
 */

const NOTHING = new Int32Array();

/** Dependencies of an earlier run, for the one run to come. */
export class Former {
  #ids: Int32Array = NOTHING;
  #count = 0;
  /**
   * Changes of what packets are looked up in that there had been at that run (`changesSoFar` of
   * `state/dependency.ts`). -1: there was none, or the mask may not have all that it read.
   */
  changes = -1;

  /**
   * The run to come is on the key of an earlier one, which rested on the first `count` of `ids`,
   * the last that was read first: they are the caller's, and stay as they are until that run has
   * ended. Where `changes` says when the earlier one was, the run to come begins with a mask that
   * has all which it read.
   */
  recall(ids: Int32Array, count: number, changes: number): void {
    this.#ids = ids;
    this.#count = count;
    this.changes = changes;
  }

  /** The run to come is like none before. */
  forget(): void {
    this.#count = 0;
    this.changes = -1;
  }

  /** The dependency that was read at a place in the order; 0 if none is known. */
  at(place: number): number {
    return place < this.#count ? this.#ids[this.#count - 1 - place] as number : 0;
  }
}
