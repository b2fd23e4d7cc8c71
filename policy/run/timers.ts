// SPDX-License-Identifier: Apache-2.0
/**
 * Deadlines: what ends at a time, the earliest first.
 *
 * @module
 */

/** A binary heap of things by time. */
export class Deadlines<T> {
  readonly #at: number[] = [];
  readonly #of: T[] = [];

  /** How many there are. */
  get size(): number {
    return this.#at.length;
  }

  /** The earliest time; infinite if there is none. */
  get next(): number {
    return this.#at[0] ?? Infinity;
  }

  /** Adds one. */
  add(atMs: number, what: T): void {
    let i = this.#at.push(atMs) - 1;
    this.#of.push(what);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if ((this.#at[parent] as number) <= atMs) break;
      this.#swap(i, parent);
      i = parent;
    }
  }

  /** Takes out those whose time has come. */
  *due(nowMs: number): Generator<T, void, undefined> {
    while (this.next <= nowMs) yield this.#pop();
  }

  #pop(): T {
    const first = this.#of[0] as T;
    const lastAt = this.#at.pop() as number;
    const last = this.#of.pop() as T;
    const size = this.#at.length;
    if (size === 0) return first;
    this.#at[0] = lastAt;
    this.#of[0] = last;
    for (let i = 0;;) {
      const left = 2 * i + 1;
      if (left >= size) break;
      const right = left + 1;
      const isRight = right < size &&
        (this.#at[right] as number) < (this.#at[left] as number);
      const child = isRight ? right : left;
      if ((this.#at[child] as number) >= (this.#at[i] as number)) break;
      this.#swap(i, child);
      i = child;
    }
    return first;
  }

  #swap(a: number, b: number): void {
    const at = this.#at[a] as number;
    const of = this.#of[a] as T;
    this.#at[a] = this.#at[b] as number;
    this.#of[a] = this.#of[b] as T;
    this.#at[b] = at;
    this.#of[b] = of;
  }
}
