// SPDX-License-Identifier: Apache-2.0
/**
 * The time of a run, and how long what it says holds.
 *
 * @module
 */

/** What a run reads of its clock, and says of the end of its verdict. */
export class RunTime {
  #nowMs = 0;
  #isRead = false;
  #isSaid = false;
  /** When the verdict ends, ms since 1970; infinite unless the policy said. */
  deadline = Infinity;

  /** A run begins. */
  begin(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#isRead = this.#isSaid = false;
    this.deadline = Infinity;
  }

  /** Reads the clock. */
  read(): number {
    this.#isRead = true;
    return this.#nowMs;
  }

  /** The verdict ends at a time: the earliest that was said counts. */
  until(atMs: number): void {
    this.#isSaid = true;
    this.deadline = Math.min(this.deadline, atMs);
  }

  /** Why there can be no flow; undefined if there may be one. */
  get whyNone(): string | undefined {
    if (this.#isRead && !this.#isSaid) return "clock";
    return this.deadline <= this.#nowMs ? "expired" : undefined;
  }
}
