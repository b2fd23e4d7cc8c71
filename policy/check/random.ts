// SPDX-License-Identifier: Apache-2.0
/**
 * Random numbers from a seed.
 *
 * @module
 */

/** Gives numbers from 0 to one less than it is asked for. */
export type Random = (below: number) => number;

/** A sequence of its own for each seed. */
export function seeded(seed: number): Random {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
