// SPDX-License-Identifier: Apache-2.0
/**
 * What tables answered last: packets that have the bits which a lookup looked at are looked up in
 * the same way, and need not be.
 *
 * @module
 */
import { FLOW_WORDS, type FlowWords } from "../wire/flow.ts";
import { type BecameKey, isSameKey, type Looked } from "./looked.ts";
import type { Rule } from "./rule.ts";
import { TRIE_WORDS } from "./subtable.ts";

/** What a table answered. */
export interface Answer {
  readonly rule: Rule | undefined;
  /** Words that the answer rests on, `count` of them, and their bits. */
  readonly count: number;
  readonly words: Uint8Array;
  readonly bits: Int32Array;
}

/** An answer that is kept. */
class Kept implements Answer {
  readonly rule: Rule | undefined;
  readonly count: number;
  readonly words: Uint8Array;
  readonly bits: Int32Array;
  /** Values of these words, as far as the lookup looked at them: `walked` has more bits. */
  readonly values: Int32Array;
  readonly walked: Int32Array;
  /** The version of the tables that it is of. */
  readonly version: number;
  readonly became: BecameKey;
  readonly looked: Looked;

  constructor(
    { rule, count, words, bits }: Answer,
    flow: FlowWords,
    walked: Uint32Array,
    { version, became, looked }: {
      readonly version: number;
      readonly became: BecameKey;
      readonly looked: Looked;
    },
  ) {
    this.rule = rule;
    this.count = count;
    this.words = words.slice(0, count);
    this.bits = bits.slice(0, count);
    this.values = Int32Array.from(
      this.words,
      (word, i) => (flow[word] as number) & (this.bits[i] as number),
    );
    this.walked = new Int32Array(2 * TRIE_WORDS.length);
    for (const [i, word] of TRIE_WORDS.entries()) {
      this.walked[2 * i] = walked[i] as number;
      this.walked[2 * i + 1] = (flow[word] as number) & (walked[i] as number);
    }
    this.version = version;
    this.became = became;
    this.looked = looked;
  }

  /** Whether a packet is looked up in the same way. */
  isOf(flow: FlowWords): boolean {
    const { words, bits, values, walked } = this;
    for (let i = 0; i < words.length; i++) {
      const word = (flow[words[i] as number] as number) & (bits[i] as number);
      if (word !== values[i]) return false;
    }
    for (let i = 0; i < TRIE_WORDS.length; i++) {
      const word = flow[TRIE_WORDS[i] as number] as number;
      if ((word & (walked[2 * i] as number)) !== walked[2 * i + 1]) return false;
    }
    return true;
  }
}

/** Answers that a table keeps. */
const KEPT = 4;
/** Lookups after which a table that answers few again stops to keep any, and for how many. */
const TRIED = 256;
const PAUSE = 4096;

/** The answers of a table that came last. */
export class Answers {
  #kept: Kept[] = [];
  #tried = 0;
  #met = 0;
  #paused = 0;

  /** The answer that packets like this had, if that still is it. */
  find(
    flow: FlowWords,
    became: BecameKey,
    isValid: (version: number) => boolean,
  ): (Answer & { readonly looked: Looked }) | undefined {
    const kept = this.#kept;
    if (kept.length === 0) return undefined;
    if (++this.#tried > TRIED) {
      if (8 * this.#met < this.#tried) {
        this.#paused = PAUSE;
        this.#kept = [];
      }
      this.#tried = this.#met = 0;
    }
    for (let i = 0; i < kept.length; i++) {
      const one = kept[i] as Kept;
      if (!one.isOf(flow) || !isSameKey(one.became, became)) continue;
      // Nothing rests on it any more where it has no dependency: it is made anew.
      if (one.looked.id === 0 || !isValid(one.version)) {
        this.clear();
        return undefined;
      }
      if (i > 0) {
        kept[i] = kept[i - 1] as Kept;
        kept[i - 1] = one;
      }
      this.#met++;
      return one;
    }
    return undefined;
  }

  /** Keeps an answer. */
  put(
    answer: Answer,
    flow: FlowWords,
    walked: Uint32Array,
    of: ConstructorParameters<typeof Kept>[3],
  ): void {
    if (this.#paused > 0) this.#paused--;
    else {
      if (this.#kept.length === KEPT) this.#kept.pop();
      this.#kept.unshift(new Kept(answer, flow, walked, of));
    }
  }

  /** Forgets all of them. */
  clear(): void {
    if (this.#kept.length > 0) this.#kept = [];
  }
}

const words = new Uint8Array(FLOW_WORDS);
const bits = new Int32Array(FLOW_WORDS);

/** An answer of the bits in `seen`, which are zero then. It is overwritten by the next one. */
export function answerOf(rule: Rule | undefined, seen: FlowWords): Answer {
  let count = 0;
  for (let i = 0; i < FLOW_WORDS; i++) {
    const some = (seen[i] as number) | 0;
    if (some === 0) continue;
    seen[i] = 0;
    words[count] = i;
    bits[count++] = some;
  }
  return { rule, count, words, bits };
}
