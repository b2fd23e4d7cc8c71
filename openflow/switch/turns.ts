// SPDX-License-Identifier: Apache-2.0
/**
 * Work that is done one after the other, in turns of the event loop. A peer has one job at a time
 * here, so that peers take turns by jobs.
 *
 * @module
 */
import { setImmediate } from "node:timers";

/** Work is done for so long at a time, ms. */
export const TURN_MS = 4;
/** Steps that are done before that is asked. */
const STEPS = 8;

/** Work, which yields where others may have their turn. */
export type Job<T> = IterableIterator<void, T>;

/** Does work to its end at once. */
export function doNow<T>(job: Job<T>): T {
  for (;;) {
    const step = job.next();
    if (step.done) return step.value;
  }
}

/** Resolves when others had their turn. */
export function othersTurn(): Promise<void> {
  // A timer would wait a millisecond or two.
  return new Promise((resolve) => void setImmediate(resolve));
}

function* once<T>(act: () => T): Job<T> {
  yield;
  return act();
}

interface Waiting {
  readonly job: Job<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** What is done one after the other. */
export class Turns {
  readonly #waiting: Waiting[] = [];
  #isScheduled = false;
  #isAtIt = false;

  /** Whether nothing waits or is under way. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && !this.#isAtIt;
  }

  /** Whether a step of a job is under way, within which this is asked. */
  get isAtIt(): boolean {
    return this.#isAtIt;
  }

  #step<T>(job: Job<T>): IteratorResult<void, T> {
    this.#isAtIt = true;
    try {
      return job.next();
    } finally {
      this.#isAtIt = false;
    }
  }

  /**
   * Does work behind what waits. What ends within its first turn, and waits for nothing, is done
   * when this returns; the rest is promised. Throws, or rejects with, what the work throws.
   */
  run<T>(job: Job<T>): T | Promise<T> {
    const isFirst = this.isIdle;
    if (isFirst) {
      const end = performance.now() + TURN_MS;
      do {
        for (let i = 0; i < STEPS; i++) {
          const step = this.#step(job);
          if (step.done) return step.value;
        }
      } while (performance.now() < end);
    }
    const made = Promise.withResolvers<unknown>();
    const waiting = { job, resolve: made.resolve, reject: made.reject };
    // What came to wait within its first turn is behind it.
    if (isFirst) this.#waiting.unshift(waiting);
    else this.#waiting.push(waiting);
    this.#schedule();
    return made.promise as Promise<T>;
  }

  /** Does what takes no time, behind what waits. Throws, or rejects with, what it throws. */
  soon<T>(act: () => T): T | Promise<T> {
    return this.isIdle ? act() : this.run(once(act));
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    void othersTurn().then(() => {
      this.#isScheduled = false;
      this.#until(performance.now() + TURN_MS);
      if (!this.isIdle) this.#schedule();
    });
  }

  #until(end: number): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (!this.#first(first, end) || performance.now() >= end) return;
    }
  }

  /** Goes on with the first one until a time; false if that comes before its end. */
  #first({ job, resolve, reject }: Waiting, end: number): boolean {
    try {
      for (let i = 1;; i++) {
        const step = this.#step(job);
        if (step.done) {
          resolve(step.value);
          break;
        }
        if (i % STEPS === 0 && performance.now() >= end) return false;
      }
    } catch (error) {
      reject(error);
    }
    this.#waiting.shift();
    return true;
  }

  /** Brings what is under way to its end, now; what waits behind it goes on to wait. */
  finishFirst(): void {
    const [first] = this.#waiting;
    if (first !== undefined) this.#first(first, Infinity);
  }
}
