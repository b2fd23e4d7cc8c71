// SPDX-License-Identifier: Apache-2.0
/**
 * Rules of one mask.
 *
 * @module
 */
import { type FlowWords, STAGE_ENDS, Word } from "../wire/flow.ts";
import { mixWord, type PackedMatch, type Shape } from "../wire/packed/packed_match.ts";
import { HashCounts } from "./hash_counts.ts";
import { Prefixes } from "./prefixes.ts";
import type { Rule } from "./rule.ts";

/** Words whose prefixes are in tries. */
export const TRIE_WORDS: readonly number[] = [Word.nwDst, Word.nwSrc];

/** A word whose prefixes are in a trie. */
export interface Prefixed {
  readonly word: number;
  /** Its place in {@linkcode TRIE_WORDS}. */
  readonly trie: number;
  /** Its place in the shape. */
  readonly place: number;
  readonly length: number;
}

/** Length of the prefix that a mask of 32 bits is; undefined for one that is none, or empty. */
function prefixOf(mask: number): number | undefined {
  if (mask === 0) return undefined;
  const inverted = ~mask >>> 0;
  if ((inverted & (inverted + 1)) !== 0) return undefined;
  return inverted === 0 ? 32 : Math.clz32(inverted);
}

/** Says of the words `from` to `to` of a subtable whether tries rule it out by one of them. */
export type IsOut = (
  subtable: Subtable,
  flow: FlowWords,
  seen: FlowWords | undefined,
  from: number,
  to: number,
) => boolean;

/** Rules of one mask. */
export class Subtable {
  readonly shape: Shape;
  /** How many words of the shape come before the end of each stage but the last that has any. */
  readonly #ends: readonly number[];
  readonly #stages: readonly HashCounts[];
  /** The first of the rules that have a hash: by priority, the highest first. */
  readonly #rules = new Map<number, Rule>();
  /** Prefixes that the mask has of words with tries. */
  readonly prefixes: readonly Prefixed[];
  /** Prefixes of ports that its rules have, if they have any: a miss is told by fewer bits. */
  readonly #ports: Prefixes | undefined;
  readonly #portsLength: number;
  readonly #portsPlace: number;
  maxPriority = -1;
  /** How many rules have a priority. */
  readonly #priorities = new Map<number, number>();
  size = 0;

  /** Without rules. */
  constructor(shape: Shape) {
    this.shape = shape;
    const words = [...shape.words];
    const ends = STAGE_ENDS.map((end) => words.filter((word) => word < end).length);
    this.#ends = [...new Set(ends)].filter((end) => end > 0 && end < words.length);
    this.#stages = this.#ends.map(() => new HashCounts());
    this.prefixes = TRIE_WORDS.flatMap((word, trie) => {
      const place = words.indexOf(word);
      const length = place < 0 ? undefined : prefixOf(shape.bits[place] as number);
      return length === undefined ? [] : [{ word, trie, place, length }];
    });
    this.#portsPlace = words.indexOf(Word.tp);
    const ports = this.#portsPlace < 0 ? 0 : shape.bits[this.#portsPlace] as number;
    this.#portsLength = ports === 0 ? 0 : 1 + Math.clz32(ports & -ports);
    this.#ports = ports === 0 ? undefined : new Prefixes();
  }

  #portsOf({ match }: Rule): number {
    return match.values[this.#portsPlace] as number;
  }

  /** The hash of a rule's words; adds those of its stages, or takes them away. */
  #hash({ values }: PackedMatch, more: -1 | 0 | 1): number {
    const ends = this.#ends;
    let [hash, stage] = [0, 0];
    for (let i = 0; i < values.length; i++) {
      if (more !== 0 && i === ends[stage]) {
        const counts = this.#stages[stage++] as HashCounts;
        if (more > 0) counts.add(hash);
        else counts.delete(hash);
      }
      hash = mixWord(hash, values[i] as number);
    }
    return hash;
  }

  /** Adds a rule. Whether the highest priority changed is answered. */
  add(rule: Rule): boolean {
    this.size++;
    this.#ports?.add(this.#portsOf(rule), this.#portsLength);
    const { priority } = rule;
    this.#priorities.set(priority, (this.#priorities.get(priority) ?? 0) + 1);
    this.#link(rule, this.#hash(rule.match, 1));
    if (priority <= this.maxPriority) return false;
    this.maxPriority = priority;
    return true;
  }

  /** Adds a rule beside one of the same match and priority, whose place it is to take. */
  addBeside(rule: Rule): void {
    this.#link(rule, this.#hash(rule.match, 0));
  }

  /** Removes one of two rules of the same match and priority. */
  deleteBeside(rule: Rule): void {
    this.#unlink(rule, this.#hash(rule.match, 0));
  }

  #link(rule: Rule, hash: number): void {
    const { priority, serial } = rule;
    const first = this.#rules.get(hash);
    const isBefore = (one: Rule): boolean =>
      one.priority > priority || one.priority === priority && one.serial < serial;
    if (first === undefined || !isBefore(first)) {
      rule.chained = first;
      this.#rules.set(hash, rule);
    } else {
      let last = first;
      while (last.chained !== undefined && isBefore(last.chained)) last = last.chained;
      rule.chained = last.chained;
      last.chained = rule;
    }
  }

  #unlink(rule: Rule, hash: number): void {
    const first = this.#rules.get(hash);
    if (first === rule) {
      if (rule.chained === undefined) this.#rules.delete(hash);
      else this.#rules.set(hash, rule.chained);
    } else {
      for (let one = first; one !== undefined; one = one.chained) {
        if (one.chained === rule) one.chained = rule.chained;
      }
    }
    rule.chained = undefined;
  }

  /** Removes a rule that was added. Whether the highest priority changed is answered. */
  delete(rule: Rule): boolean {
    this.size--;
    this.#ports?.delete(this.#portsOf(rule), this.#portsLength);
    this.#unlink(rule, this.#hash(rule.match, -1));
    const left = (this.#priorities.get(rule.priority) ?? 1) - 1;
    if (left > 0) {
      this.#priorities.set(rule.priority, left);
      return false;
    }
    this.#priorities.delete(rule.priority);
    if (rule.priority !== this.maxPriority) return false;
    this.maxPriority = -1;
    for (const one of this.#priorities.keys()) {
      if (one > this.maxPriority) this.maxPriority = one;
    }
    return true;
  }

  /** The rule of a version with these words and this priority. */
  exact(match: PackedMatch, priority: number, version: number): Rule | undefined {
    const { values } = match;
    const hash = this.#hash(match, 0);
    for (let rule = this.#rules.get(hash); rule !== undefined; rule = rule.chained) {
      if (rule.priority !== priority || !rule.isIn(version)) continue;
      if (isSame(rule.match.values, values)) return rule;
    }
    return undefined;
  }

  /**
   * The best rule of a version that a packet fits; the bits that told so are added to `seen`.
   * `isOut` says whether tries rule the subtable out.
   */
  find(
    flow: FlowWords,
    seen: FlowWords | undefined,
    version: number,
    isOut: IsOut,
  ): Rule | undefined {
    const { words, bits } = this.shape;
    const ends = this.#ends;
    let [hash, from] = [0, 0];
    for (let stage = 0; stage <= ends.length; stage++) {
      const end = stage < ends.length ? ends[stage] as number : words.length;
      if (end > from) {
        const [first, last] = [words[from] as number, words[end - 1] as number];
        if (this.prefixes.length > 0 && isOut(this, flow, seen, first, last)) {
          if (seen !== undefined) this.#lay(seen, from);
          return undefined;
        }
      }
      for (let i = from; i < end; i++) {
        const word = (flow[words[i] as number] as number) & (bits[i] as number);
        hash = mixWord(hash, word);
      }
      from = end;
      if (stage < ends.length && !(this.#stages[stage] as HashCounts).has(hash)) {
        if (seen !== undefined) this.#lay(seen, end);
        return undefined;
      }
    }
    for (let rule = this.#rules.get(hash); rule !== undefined; rule = rule.chained) {
      if (!rule.isIn(version) || !this.#fits(rule.match.values, flow)) continue;
      if (seen !== undefined) this.#lay(seen, words.length);
      return rule;
    }
    if (seen !== undefined) this.#lay(seen, words.length, this.#portsSeen(flow));
    return undefined;
  }

  /** The next rule of a version that is like another one but for a lower priority. */
  after(rule: Rule, version: number): Rule | undefined {
    for (let one = rule.chained; one !== undefined; one = one.chained) {
      if (one.isIn(version) && isSame(one.match.values, rule.match.values)) return one;
    }
    return undefined;
  }

  /** The bits of ports that tell that no rule has these. */
  #portsSeen(flow: FlowWords): number {
    if (this.#ports === undefined) return 0;
    const mask = this.shape.bits[this.#portsPlace] as number;
    const proof = this.#ports.proof((flow[Word.tp] as number) & mask);
    return proof === 0 ? 0 : mask & 0xffffffff << 32 - Math.min(32, proof);
  }

  #fits(values: readonly number[], flow: FlowWords): boolean {
    const { words, bits } = this.shape;
    for (let i = 0; i < values.length; i++) {
      const differ = (values[i] as number) ^ (flow[words[i] as number] as number);
      if (differ & (bits[i] as number)) return false;
    }
    return true;
  }

  /** Adds the first `count` words of the mask; of ports other bits, where that is said. */
  #lay(seen: FlowWords, count: number, ports?: number): void {
    const { words, bits } = this.shape;
    for (let i = 0; i < count; i++) {
      const word = words[i] as number;
      const mask = word === Word.tp && ports !== undefined ? ports : bits[i] as number;
      seen[word] = (seen[word] as number) | mask;
    }
  }
}

function isSame(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
