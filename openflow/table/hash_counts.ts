// SPDX-License-Identifier: Apache-2.0
/**
 * How often hashes were added: a set of numbers that costs two words each.
 *
 * @module
 */

/** Counts of hashes, which are 32-bit numbers. */
export class HashCounts {
  #keys = new Int32Array(16);
  #counts = new Int32Array(16);
  /** Places in use, by hashes that are gone too. */
  #used = 0;

  /** The place of a hash, or the free one where it would be. */
  #place(hash: number): number {
    const keys = this.#keys;
    const counts = this.#counts;
    const last = keys.length - 1;
    // A hash that is gone keeps its place with a count of -1; 0 is a place that is free.
    for (let at = hash & last;; at = at + 1 & last) {
      if (counts[at] === 0 || keys[at] === hash) return at;
    }
  }

  /** Whether a hash was added more often than it was taken away. */
  has(hash: number): boolean {
    return (this.#counts[this.#place(hash)] as number) > 0;
  }

  /** Adds a hash once. */
  add(hash: number): void {
    if (4 * this.#used >= 3 * this.#keys.length) this.#grow();
    const at = this.#place(hash);
    const count = this.#counts[at] as number;
    if (count === 0) {
      this.#keys[at] = hash;
      this.#used++;
    }
    this.#counts[at] = count < 0 ? 1 : count + 1;
  }

  /** Takes a hash away that was added. */
  delete(hash: number): void {
    const at = this.#place(hash);
    const count = this.#counts[at] as number;
    if (count > 0) this.#counts[at] = count === 1 ? -1 : count - 1;
  }

  #grow(): void {
    const [keys, counts] = [this.#keys, this.#counts];
    const live = counts.reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0);
    let size = 16;
    while (size < 2 * live + 2) size *= 2;
    this.#keys = new Int32Array(size);
    this.#counts = new Int32Array(size);
    this.#used = live;
    for (let i = 0; i < keys.length; i++) {
      const count = counts[i] as number;
      if (count <= 0) continue;
      const at = this.#place(keys[i] as number);
      this.#keys[at] = keys[i] as number;
      this.#counts[at] = count;
    }
  }
}
