// SPDX-License-Identifier: Apache-2.0
/**
 * How the values of keys come into flows, as numbers in a row: keys of one layout have each value
 * at one place, and a packet that comes up is read as a flow before all else.
 *
 * @module
 */
import type { Place } from "../../policy/packet/leaf.ts";
import type { FlowWords } from "../wire/flow.ts";

/**
 * Numbers of a step: where its bytes begin, how many they are (below zero: the lowest comes first),
 * how far they are shifted to the right, which bits are left, the word, how far to the left.
 */
const STEP = 6;

/** Where the bits of a value go in a flow. */
export interface Goal {
  readonly place: Place;
  readonly word: number;
  readonly shift: number;
  /** Those that it has there, of up to 32. */
  readonly ones: number;
}

/** Appends the steps of a value that begins at an offset. */
function addSteps(to: number[], { place, word, shift, ones }: Goal, at: number): void {
  const { number, size, isLittle, width } = place;
  if (number !== undefined) {
    const signed = number.little ? -number.size : number.size;
    const own = number.width === 32 ? -1 : 2 ** number.width - 1;
    to.push(at, signed, number.shift, own & ones, word, shift);
    return;
  }
  // Whole words from the left, of a longer value; one of 48 bits begins with two bytes.
  let bytes = size % 4 === 0 ? 4 : size % 4;
  let next = word;
  for (let from = 0; from < size; from += bytes, bytes = 4) {
    const start = isLittle ? at + size - from - bytes : at + from;
    const isShort = width <= 32;
    to.push(start, isLittle ? -bytes : bytes, 0);
    to.push(isShort ? ones : -1, next++, isShort ? shift : 0);
  }
}

/** How keys of a layout are read; `at` is where each value begins in them. */
export class KeyPlan {
  readonly #steps: Int32Array;

  /** Of these values. */
  constructor(goals: readonly Goal[], at: (place: Place) => number) {
    const steps: number[] = [];
    for (const goal of goals) addSteps(steps, goal, at(goal.place));
    this.#steps = Int32Array.from(steps);
  }

  /** Lays the values of a key that begins at `from` into a flow. */
  read(key: Uint8Array, from: number, flow: FlowWords): void {
    const steps = this.#steps;
    for (let i = 0; i < steps.length; i += STEP) {
      const at = from + (steps[i] as number);
      let value = key[at] as number;
      switch (steps[i + 1]) {
        case 1:
          break;
        case 2:
          value = value << 8 | (key[at + 1] as number);
          break;
        case -2:
          value |= (key[at + 1] as number) << 8;
          break;
        case 4:
          value = value << 24 | (key[at + 1] as number) << 16 |
            (key[at + 2] as number) << 8 | (key[at + 3] as number);
          break;
        case -4:
          value |= (key[at + 1] as number) << 8 | (key[at + 2] as number) << 16 |
            (key[at + 3] as number) << 24;
      }
      value = value >>> (steps[i + 2] as number) & (steps[i + 3] as number);
      const word = steps[i + 4] as number;
      flow[word] = (flow[word] as number) | value << (steps[i + 5] as number);
    }
  }
}
