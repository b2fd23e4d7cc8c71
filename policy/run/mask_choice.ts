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
import type { Layout } from "../packet/layout.ts";
import type { Tracker } from "../packet/tracker.ts";
import {
  areEqual,
  hashWords,
  type Mask,
  type MaskTable,
  wordsFor,
} from "./mask_table.ts";

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

/** What was chosen for what a run had read, while there were the masks that there are. */
class Choice {
  /** Set right after it is made: what chooses may round what the run read. */
  chosen: Chosen | undefined;
  readonly #words: Uint32Array;
  readonly #size: number;
  readonly #layout: Layout;
  readonly #changes: number;
  readonly #budget: number;

  constructor(masks: MaskTable, budget: number, tracker: Tracker) {
    const { layout, maskWords, maskSize } = tracker;
    this.#words = maskWords.slice(0, wordsFor(maskSize));
    this.#size = maskSize;
    this.#layout = layout;
    this.#changes = masks.changes;
    this.#budget = budget;
  }

  /** Whether the same would be chosen now for what a run has read. */
  isFor(masks: MaskTable, budget: number, tracker: Tracker): boolean {
    const { layout, maskWords, maskSize } = tracker;
    return this.#changes === masks.changes && this.#budget === budget &&
      this.#layout === layout && this.#size === maskSize &&
      areEqual(this.#words, maskWords, wordsFor(maskSize));
  }
}

/** Choices that are kept: a table of rules makes some hundreds of masks over and over. */
const CHOICES = 2048;

/** Chooses masks for flows, of those that a table has. */
export class MaskChooser {
  readonly #masks: MaskTable;
  /** By the hash of what was read. */
  readonly #choices: (Choice | undefined)[] = [];

  constructor(masks: MaskTable) {
    this.#masks = masks;
  }

  /** The mask for a flow of the run that `tracker` has, which masked no more than what it read. */
  choose(budget: number, tracker: Tracker): Chosen {
    const { maskWords, maskSize } = tracker;
    const masks = this.#masks;
    const held = masks.held(maskWords, maskSize);
    if (held !== undefined) return { mask: held, step: 1 };
    if (masks.size < budget) return this.#anew(budget, tracker);
    // Masks come and go seldom once there are as many as there may be, and packets read what
    // others read.
    const at = (hashWords(maskWords, wordsFor(maskSize)) >>> 0) % CHOICES;
    const known = this.#choices[at];
    if (known?.chosen !== undefined && known.isFor(masks, budget, tracker)) {
      return known.chosen;
    }
    const choice = this.#choices[at] = new Choice(masks, budget, tracker);
    return choice.chosen = this.#anew(budget, tracker);
  }

  #anew(budget: number, tracker: Tracker): Chosen {
    const { layout, maskWords, maskSize } = tracker;
    const masks = this.#masks;
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
}
