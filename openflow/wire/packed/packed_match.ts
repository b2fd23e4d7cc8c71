// SPDX-License-Identifier: Apache-2.0
/**
 * Matches as rules keep them: only the words that matter, beside a shape that rules of one mask
 * share.
 *
 * A match of all words takes 700 bytes and a walk over all of them; most rules are about three or
 * four. Words are signed here, as arithmetic on bits has them.
 *
 * @module
 */
import { FLOW_WORDS, type FlowWords, flowWords, type Match } from "../flow.ts";

/** A step of the hash of words, as a number that needs no heap. */
export function mixWord(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e3779b1);
  return mixed ^ mixed >>> 15;
}

/** Which bits matter. */
export class Shape {
  /** Numbers of the words that have some, ascending. */
  readonly words: Uint16Array;
  /** Their bits. */
  readonly bits: Int32Array;
  /** The same for shapes that are the same. */
  readonly hash: number;
  #mask: FlowWords | undefined;
  /** Whether there are bits in some words; asked for few ranges of them. */
  readonly #hasIn = new Map<number, boolean>();

  /** Made by {@linkcode shapeOf}. */
  constructor(words: Uint16Array, bits: Int32Array, hash: number) {
    this.words = words;
    this.bits = bits;
    this.hash = hash;
  }

  /** As a mask of a flow, which is not to be written. */
  get mask(): FlowWords {
    return this.#mask ??= laid(this.words, this.bits);
  }

  /** Whether bits of words from one to before another one matter. */
  hasIn(from: number, to: number): boolean {
    const key = from << 8 | to;
    let found = this.#hasIn.get(key);
    if (found === undefined) {
      found = this.words.some((word) => word >= from && word < to);
      this.#hasIn.set(key, found);
    }
    return found;
  }
}

function laid(words: Uint16Array, bits: ArrayLike<number>): FlowWords {
  const made = flowWords();
  for (let i = 0; i < words.length; i++) made[words[i] as number] = bits[i] as number;
  return made;
}

/** Whether two shapes are the same. */
export function isSameShape(a: Shape, b: Shape): boolean {
  if (a === b) return true;
  if (a.hash !== b.hash || a.words.length !== b.words.length) return false;
  for (let i = 0; i < a.words.length; i++) {
    if (a.words[i] !== b.words[i] || a.bits[i] !== b.bits[i]) return false;
  }
  return true;
}

/**
 * What matches have in common that differ in addresses and the like only: what holds of the actions
 * of one flow holds of those of the others.
 */
export interface Likeness {
  /** Instructions that were looked at last for one of them, and what they were found to be. */
  asked: {
    readonly what: object;
    readonly strict: boolean;
    readonly table: number;
    readonly made: object;
  } | undefined;
}

/** A match of which only the words that matter are kept. It does not change. */
export class PackedMatch implements Match {
  readonly shape: Shape;
  /** Words by their place in the shape; bits that do not matter are zero. */
  readonly values: readonly number[];
  readonly #likeness: Likeness | undefined;

  /** `values` is as long as the shape's words. */
  constructor(shape: Shape, values: readonly number[], likeness?: Likeness) {
    this.shape = shape;
    this.values = values;
    this.#likeness = likeness;
  }

  /** Shared with matches that are like this one, where some are known. */
  get likeness(): Likeness | undefined {
    return this.#likeness;
  }

  /** As a flow: a copy. */
  get value(): FlowWords {
    return laid(this.shape.words, this.values);
  }

  /** As a mask of a flow, which is not to be written. */
  get mask(): FlowWords {
    return this.shape.mask;
  }
}

/** Shapes that came last: rules come in crowds that have the same ones. */
const recent: (Shape | undefined)[] = new Array(1024).fill(undefined);
const foundWords = new Uint16Array(FLOW_WORDS);
const foundBits = new Int32Array(FLOW_WORDS);

/** The shape of a mask. Two of one mask may be two objects, see {@linkcode isSameShape}. */
export function shapeOf(mask: FlowWords): Shape {
  let count = 0;
  let hash = 0;
  for (let i = 0; i < FLOW_WORDS; i++) {
    const bits = (mask[i] as number) | 0;
    if (bits === 0) continue;
    foundWords[count] = i;
    foundBits[count++] = bits;
    hash = mixWord(mixWord(hash, i), bits);
  }
  const slot = (hash ^ hash >>> 10) & 1023;
  const known = recent[slot];
  if (known !== undefined && known.hash === hash && isFound(known, count)) return known;
  return recent[slot] = new Shape(
    foundWords.slice(0, count),
    foundBits.slice(0, count),
    hash,
  );
}

function isFound({ words, bits }: Shape, count: number): boolean {
  if (words.length !== count) return false;
  for (let i = 0; i < count; i++) {
    if (words[i] !== foundWords[i] || bits[i] !== foundBits[i]) return false;
  }
  return true;
}

/** A match as rules keep it. */
export function packMatch(match: Match): PackedMatch {
  if (match instanceof PackedMatch) return match;
  const { value, mask } = match;
  const shape = shapeOf(mask);
  const { words, bits } = shape;
  // A small array of small integers: a typed one takes several times as long to make.
  const values = new Array<number>(words.length);
  for (let i = 0; i < words.length; i++) {
    values[i] = (value[words[i] as number] as number) & (bits[i] as number);
  }
  return new PackedMatch(shape, values);
}

/** Whether two matches are the same. */
export function isSameMatch(a: PackedMatch, b: PackedMatch): boolean {
  if (!isSameShape(a.shape, b.shape)) return false;
  for (let i = 0; i < a.values.length; i++) if (a.values[i] !== b.values[i]) return false;
  return true;
}

/** Whether some packet may fit both. */
export function mayMeet(a: PackedMatch, b: PackedMatch): boolean {
  const [aWords, bWords] = [a.shape.words, b.shape.words];
  let [i, k] = [0, 0];
  while (i < aWords.length && k < bWords.length) {
    const [one, other] = [aWords[i] as number, bWords[k] as number];
    if (one < other) i++;
    else if (one > other) k++;
    else {
      const both = (a.shape.bits[i] as number) & (b.shape.bits[k] as number);
      if (((a.values[i] as number) ^ (b.values[k] as number)) & both) return false;
      i++;
      k++;
    }
  }
  return true;
}

/** Whether every packet of match `inner` is one of `outer`. */
export function isWithin(inner: PackedMatch, outer: PackedMatch): boolean {
  const [wanted, words] = [outer.shape.words, inner.shape.words];
  let k = 0;
  for (let i = 0; i < wanted.length; i++) {
    const word = wanted[i] as number;
    while (k < words.length && (words[k] as number) < word) k++;
    if (k === words.length || words[k] !== word) return false;
    const bits = outer.shape.bits[i] as number;
    if (bits & ~(inner.shape.bits[k] as number)) return false;
    if (((outer.values[i] as number) ^ (inner.values[k] as number)) & bits) return false;
  }
  return true;
}
