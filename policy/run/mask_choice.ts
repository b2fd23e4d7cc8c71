// SPDX-License-Identifier: Apache-2.0
/**
 * Which mask a flow gets: what was read while there are few masks, then rather one that there is.
 *
 * Any mask that has all bits that were read is right. One with few bits beside costs few flows
 * more, and no mask; rounding every prefix up, as is done for a new mask only, costs flows also
 * where a mask would have been there.
 *
 * @module
 */
import { coarsen } from "../packet/coarse.ts";
import type { Tracker } from "../packet/tracker.ts";
import type { Mask, MaskTable } from "./mask_table.ts";

/** Bits that a flow may have beside what was read, for a mask that there is. */
const NEAR = 4;
/** The same where there can be no other: beyond that each packet would have a flow of its own. */
const FAR = 12;

/** How prefixes of a new mask are rounded: the more of the budget is used, the more coarsely. */
export function stepFor(masks: number, budget: number): 1 | 2 | 4 {
  return masks < budget / 2 ? 1 : masks < budget ? 2 : 4;
}

/** A mask that is chosen, and how its prefixes were rounded. */
export interface Chosen {
  readonly mask: Mask;
  readonly step: 1 | 2 | 4;
}

/** The mask for a flow of the run that `tracker` has, which masked no more than what it read. */
export function chooseMask(masks: MaskTable, budget: number, tracker: Tracker): Chosen {
  const { layout, maskWords, maskSize } = tracker;
  const held = masks.held(maskWords, maskSize);
  if (held !== undefined) return { mask: held, step: 1 };
  const step = stepFor(masks.size, budget);
  if (step === 1) return { mask: masks.of(maskWords, maskSize), step };
  const isFull = masks.size >= budget;
  const found = masks.closest(maskWords, maskSize, layout, isFull ? FAR : NEAR);
  if (found !== undefined && masks.bitsBeside <= NEAR) return { mask: found, step: 1 };
  coarsen(tracker, step);
  const coarse = masks.of(maskWords, maskSize);
  if (coarse.users > 0 || !isFull) return { mask: coarse, step };
  // The budget is used up: one that there is, if one has all that was read.
  return { mask: found ?? coarse, step };
}
