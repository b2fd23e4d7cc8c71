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

/** Numbers of a test: a word, its bits that are looked at, what they are. */
const TEST = 3;

/** An answer that is kept. */
export class Kept implements Answer {
  readonly rule: Rule | undefined;
  readonly count: number;
  readonly words: Uint8Array;
  readonly bits: Int32Array;
  /** What the lookup looked at, whether the answer rests on it or not. */
  readonly tests: Int32Array;
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
    this.tests = testsOf(this, flow, walked);
    this.version = version;
    this.became = became;
    this.looked = looked;
  }
}

/** What a lookup looked at of a packet: `walked` are the bits of {@linkcode TRIE_WORDS}. */
function testsOf(
  { words, bits }: Kept,
  flow: FlowWords,
  walked: Uint32Array,
): Int32Array {
  const made: number[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as number;
    const trie = TRIE_WORDS.indexOf(word);
    const more = trie < 0 ? 0 : walked[trie] as number;
    addTest(made, flow, word, (bits[i] as number) | more);
  }
  for (const [i, word] of TRIE_WORDS.entries()) {
    if (!words.includes(word)) addTest(made, flow, word, walked[i] as number);
  }
  return Int32Array.from(made);
}

function addTest(to: number[], flow: FlowWords, word: number, bits: number): void {
  if (bits !== 0) to.push(word, bits | 0, (flow[word] as number) & bits);
}

/** All that some answers looked at of a packet. */
export function joinedTests(some: readonly Kept[]): Int32Array {
  const found = new Map<number, [bits: number, value: number]>();
  for (const { tests } of some) {
    for (let i = 0; i < tests.length; i += TEST) {
      const word = tests[i] as number;
      const [bits, value] = found.get(word) ?? [0, 0];
      found.set(word, [
        bits | (tests[i + 1] as number),
        value | (tests[i + 2] as number),
      ]);
    }
  }
  return Int32Array.from(
    [...found].flatMap(([word, [bits, value]]) => [word, bits, value]),
  );
}

/** Whether a packet has the bits that tests ask for. */
export function passes(tests: Int32Array, flow: FlowWords): boolean {
  for (let i = 0; i < tests.length; i += TEST) {
    const word = (flow[tests[i] as number] as number) & (tests[i + 1] as number);
    if (word !== tests[i + 2]) return false;
  }
  return true;
}

/** Answers that a table keeps. */
const KEPT = 4;

/** Lookups after which what answers few of them again stops to be kept, and for how many. */
const TRIED = 256;
const PAUSE = 4096;

/** Whether keeping anything is worth it: what comes seldom again is not kept for a while. */
export class Worth {
  #tried = 0;
  #met = 0;
  #paused = 0;

  /** Notes that one is asked for; true where what is kept is to be let go. */
  asked(): boolean {
    if (++this.#tried <= TRIED) return false;
    const isIdle = 8 * this.#met < this.#tried;
    if (isIdle) this.#paused = PAUSE;
    this.#tried = this.#met = 0;
    return isIdle;
  }

  /** Notes that it was there. */
  met(): void {
    this.#met++;
  }

  /** Whether one more may be kept. */
  mayKeep(): boolean {
    if (this.#paused === 0) return true;
    this.#paused--;
    return false;
  }
}

/** Has what is at a place of a list be one place further ahead. */
export function bringForward<T>(list: T[], at: number): void {
  if (at === 0) return;
  const one = list[at] as T;
  list[at] = list[at - 1] as T;
  list[at - 1] = one;
}

/** The answers of a table that came last. */
export class Answers {
  #kept: Kept[] = [];
  readonly #worth = new Worth();

  /** The answer that packets like this had, if that still is it. */
  find(
    flow: FlowWords,
    became: BecameKey,
    isValid: (version: number) => boolean,
  ): Kept | undefined {
    const kept = this.#kept;
    if (kept.length === 0) return undefined;
    if (this.#worth.asked()) this.#kept = [];
    for (let i = 0; i < kept.length; i++) {
      const one = kept[i] as Kept;
      if (!passes(one.tests, flow) || !isSameKey(one.became, became)) continue;
      // Nothing rests on it any more where it has no dependency: it is made anew.
      if (one.looked.id === 0 || !isValid(one.version)) {
        this.clear();
        return undefined;
      }
      bringForward(kept, i);
      this.#worth.met();
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
    if (!this.#worth.mayKeep()) return;
    if (this.#kept.length === KEPT) this.#kept.pop();
    this.#kept.unshift(new Kept(answer, flow, walked, of));
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
