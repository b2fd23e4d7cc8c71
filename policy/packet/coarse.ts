// SPDX-License-Identifier: Apache-2.0
/**
 * Coarser masks: prefixes that are rounded up, so that masks stay few.
 *
 * A mask with more bits than were read is as right as the one that was derived: the flow covers
 * fewer packets. What is rounded are addresses and ports, in which tests mask prefixes.
 *
 * @module
 */
import { AddressLeaf } from "../../providers/codec/leaf.ts";
import { type Place, places } from "./leaf.ts";
import type { Tracker } from "./tracker.ts";
import { words } from "./words.ts";

const rounded: readonly Place[] = Object.values(places).filter(({ name, wire }) =>
  wire instanceof AddressLeaf || /^((tcp|udp|sctp)\.(src|dst)|tunnel\..*Port)$/.test(name)
);

const bits = words();

/** Rounds the prefixes that a run masked up to multiples of `step` bits: 2 or 4. */
export function coarsen(tracker: Tracker, step: 2 | 4): void {
  const { mask } = tracker.layout;
  for (let i = 0; i < rounded.length; i++) {
    const place = rounded[i] as Place;
    if (mask[place.slot] === 0) continue;
    tracker.maskedOf(place, bits);
    for (let w = 0; w < 4; w++) bits[w] = filled(bits[w] as number, step);
    tracker.layBits(place, bits);
  }
}

/** Every group of bits of which one is set, whole. */
function filled(word: number, step: 2 | 4): number {
  const pairs = word | word >>> 1 & 0x55555555 | word << 1 & 0xaaaaaaaa;
  if (step === 2) return pairs;
  return pairs | pairs >>> 2 & 0x33333333 | pairs << 2 & 0xcccccccc;
}
