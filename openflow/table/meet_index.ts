// SPDX-License-Identifier: Apache-2.0
/**
 * Things with a match, found by matches that some packet of theirs may fit too.
 *
 * Things of one mask are a crowd. Which of a crowd a match can meet is told by the bits that both
 * masks have: a crowd keeps its things by the hash of those bits, for the few masks that it was
 * asked with last.
 *
 * @module
 */
import {
  isSameShape,
  mayMeet,
  mixWord,
  type PackedMatch,
  type Shape,
} from "../wire/packed/packed_match.ts";

/** A thing with a match. */
export interface Matching {
  readonly match: PackedMatch;
}

/** Crowds that are looked through one by one. */
const FEW = 16;
/** Masks that a crowd is kept for. */
const MAX_VIEWS = 4;

/** A crowd by the bits that its mask has in common with another one. */
interface View<T> {
  /** Bits of each of the crowd's words. */
  readonly common: Int32Array;
  readonly byHash: Map<number, Set<T>>;
}

/** Things of one mask. */
class Crowd<T extends Matching> {
  readonly shape: Shape;
  readonly all = new Set<T>();
  #views: View<T>[] = [];
  readonly #common: Int32Array;

  constructor(shape: Shape) {
    this.shape = shape;
    this.#common = new Int32Array(shape.words.length);
  }

  add(one: T): void {
    this.all.add(one);
    for (const view of this.#views) put(view, one);
  }

  delete(one: T): void {
    this.all.delete(one);
    for (const { common, byHash } of this.#views) {
      const hash = hashOf(common, one.match.values);
      const same = byHash.get(hash);
      if (same?.delete(one) && same.size === 0) byHash.delete(hash);
    }
  }

  /** Those that may meet a match, and perhaps others. */
  near(match: PackedMatch): Iterable<T> {
    if (this.all.size <= FEW) return this.all;
    const common = this.#common;
    const { words, bits } = match.shape;
    let [hash, any, k] = [0, 0, 0];
    for (let i = 0; i < common.length; i++) {
      const word = this.shape.words[i] as number;
      while (k < words.length && (words[k] as number) < word) k++;
      const isThere = k < words.length && words[k] === word;
      const both = isThere ? (bits[k] as number) & (this.shape.bits[i] as number) : 0;
      common[i] = both;
      any |= both;
      if (both !== 0) hash = mixWord(hash, (match.values[k] as number) & both);
    }
    if (any === 0) return this.all;
    return this.#view(common).byHash.get(hash) ?? [];
  }

  #view(common: Int32Array): View<T> {
    const at = this.#views.findIndex((one) => isSame(one.common, common));
    const found = this.#views[at];
    if (found !== undefined) {
      if (at > 0) this.#views.unshift(...this.#views.splice(at, 1));
      return found;
    }
    const made: View<T> = { common: common.slice(), byHash: new Map() };
    for (const one of this.all) put(made, one);
    this.#views = [made, ...this.#views.slice(0, MAX_VIEWS - 1)];
    return made;
  }
}

function put<T extends Matching>({ common, byHash }: View<T>, one: T): void {
  const hash = hashOf(common, one.match.values);
  const same = byHash.get(hash);
  if (same === undefined) byHash.set(hash, new Set([one]));
  else same.add(one);
}

function hashOf(common: Int32Array, values: readonly number[]): number {
  let hash = 0;
  for (let i = 0; i < common.length; i++) {
    const both = common[i] as number;
    if (both !== 0) hash = mixWord(hash, (values[i] as number) & both);
  }
  return hash;
}

function isSame(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Things by their matches. */
export class MeetIndex<T extends Matching> {
  readonly #crowds = new Map<number, Crowd<T>[]>();

  /** Adds a thing. */
  add(one: T): void {
    const { shape } = one.match;
    const same = this.#crowds.get(shape.hash);
    let crowd = same?.find((crowd) => isSameShape(crowd.shape, shape));
    if (crowd === undefined) {
      crowd = new Crowd(shape);
      if (same === undefined) this.#crowds.set(shape.hash, [crowd]);
      else same.push(crowd);
    }
    crowd.add(one);
  }

  /** Removes a thing that was added. */
  delete(one: T): void {
    const { shape } = one.match;
    const same = this.#crowds.get(shape.hash);
    const crowd = same?.find((crowd) => isSameShape(crowd.shape, shape));
    if (same === undefined || crowd === undefined) return;
    crowd.delete(one);
    if (crowd.all.size > 0) return;
    if (same.length === 1) this.#crowds.delete(shape.hash);
    else same.splice(same.indexOf(crowd), 1);
  }

  /** The things that some packet may fit which fits a match too. */
  *meeting(match: PackedMatch): IterableIterator<T> {
    for (const same of this.#crowds.values()) {
      for (const crowd of same) {
        for (const one of crowd.near(match)) {
          if (mayMeet(one.match, match)) yield one;
        }
      }
    }
  }
}
