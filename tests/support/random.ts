// SPDX-License-Identifier: Apache-2.0
/**
 * Random numbers that a seed repeats, so that a test which fails can be had again.
 *
 * @module
 */

/** Gives numbers from 0 to one less than it is asked for. */
export type Random = (below: number) => number;

/** A sequence of its own for each seed (xorshift32). */
export function random(seed: number): Random {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** So many random bytes. */
export function randomBytes(next: Random, size: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: size }, () => next(256));
}
