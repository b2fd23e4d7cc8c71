// SPDX-License-Identifier: Apache-2.0
/**
 * How far a value is masked from its first bit on.
 *
 * @module
 */
import type { Place } from "./leaf.ts";
import type { Tracker } from "./tracker.ts";
import { commonBits, prefixMask, words } from "./words.ts";

const scratch = words();

/** How many of the leading bits of a value are masked. */
export function leadingMasked(tracker: Tracker, place: Place): number {
  const ones = commonBits(tracker.maskedOf(place, scratch), prefixMask(128));
  return Math.min(place.width, ones);
}
