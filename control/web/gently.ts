// SPDX-License-Identifier: Apache-2.0
/**
 * Long walks that let the rest of the program go on: upcalls wait for nobody's dashboard.
 *
 * @module
 */

/** So long a walk may go on without letting others, milliseconds. */
const sliceMs = 4;

/** The items of `items`; other tasks get their turn between them. */
export async function* gently<T>(items: Iterable<T>): AsyncGenerator<T, void, undefined> {
  let end = performance.now() + sliceMs;
  let seen = 0;
  for (const item of items) {
    yield item;
    if ((++seen & 31) !== 0 || performance.now() < end) continue;
    await new Promise((resolve) => setTimeout(resolve, 0));
    end = performance.now() + sliceMs;
  }
}

/** Keeps the first of many in an order, those from `offset` to `offset + limit`. */
export class FirstOf<T> {
  readonly #compare: (a: T, b: T) => number;
  readonly #offset: number;
  readonly #keep: number;
  #items: T[] = [];
  /** Items that were added. */
  count = 0;

  /** `compare` as for `Array.sort`. */
  constructor(
    compare: (a: T, b: T) => number,
    { offset, limit }: { readonly offset: number; readonly limit: number },
  ) {
    this.#compare = compare;
    this.#offset = offset;
    this.#keep = offset + limit;
  }

  /** Adds one. */
  add(item: T): void {
    this.count++;
    // Sorted whenever there are twice as many as are kept: each item costs a few comparisons.
    if (this.#items.push(item) > 2 * this.#keep + 64) this.#prune();
  }

  /** Those that were wanted, in order. */
  get page(): T[] {
    this.#prune();
    return this.#items.slice(this.#offset);
  }

  #prune(): void {
    this.#items.sort(this.#compare);
    this.#items.length = Math.min(this.#items.length, this.#keep);
  }
}

/** Runs one task after the other. */
export class OneByOne {
  readonly #max: number;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** With so many that may wait. */
  constructor(max: number) {
    this.#max = max;
  }

  /** Runs a task when its turn comes; undefined when too many wait already. */
  run<T>(task: () => Promise<T>): Promise<T> | undefined {
    if (this.#waiting >= this.#max) return undefined;
    this.#waiting++;
    const result = this.#last.then(task, task).finally(() => this.#waiting--);
    this.#last = result.catch(() => {});
    return result;
  }
}
