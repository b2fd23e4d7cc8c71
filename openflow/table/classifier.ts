// SPDX-License-Identifier: Apache-2.0
/**
 * Rules by what they match: tuple space search in stages, as Open vSwitch's classifier.
 *
 * Rules of one mask are a subtable. A lookup visits subtables in the order of their best priority,
 * and looks at each in stages: metadata, Ethernet, network, transport. Where no rule of a subtable
 * has the bits of a stage, the rest of it does not matter, and only the stages that were looked at
 * are added to what the answer rests on. Prefixes of IPv4 addresses are in tries, which rule
 * subtables out by fewer bits.
 *
 * Rules of versions that come and go are here beside each other: those that a lookup does not see
 * cost it bits at most.
 *
 * @module
 */
import { type FlowWords, Word } from "../wire/flow.ts";
import {
  isSameShape,
  type PackedMatch,
  type Shape,
} from "../wire/packed/packed_match.ts";
import { wholeId } from "./conjunction.ts";
import type { Rule } from "./rule.ts";
import { Prefixes } from "./prefixes.ts";
import { type IsOut, type Prefixed, Subtable, TRIE_WORDS } from "./subtable.ts";

/** A rule of a conjunction that a packet fits. */
interface Met {
  readonly rule: Rule;
  readonly subtable: Subtable;
}

/** A walk through a trie. */
interface Walk {
  /** The lookup that it is of. */
  lookup: number;
  /** Leading bits that tell what was found. */
  proof: number;
  /** A bit for each length of which there is a prefix. */
  readonly has: Uint32Array;
}

const NONE: readonly Rule[] = [];
/** Subtables that are found by a glance; a power of two. */
const RECENT = 64;

/** Rules, looked up by packets. */
export class Classifier {
  /** By the hash of their shapes. */
  readonly #subtables = new Map<number, Subtable[]>();
  #ordered: readonly Subtable[] | undefined = [];
  readonly #tries = TRIE_WORDS.map(() => new Prefixes());
  /** Walks of the lookup that is under way through each trie. */
  readonly #walks: readonly Walk[] = TRIE_WORDS.map(() => ({
    lookup: 0,
    proof: 0,
    has: new Uint32Array(2),
  }));
  #lookup = 0;
  /** Subtables that were asked for last, by the hash of their shapes: rules come in crowds. */
  readonly #recent: (Subtable | undefined)[] = new Array(RECENT).fill(undefined);
  readonly #isOut: IsOut = (subtable, flow, seen, from, to) =>
    this.#isRuledOut(subtable, flow, seen, from, to);

  #of(shape: Shape): Subtable | undefined {
    const recent = this.#recent[shape.hash & RECENT - 1];
    if (recent !== undefined && recent.shape === shape) return recent;
    const found = this.#subtables.get(shape.hash)?.find((one) =>
      isSameShape(one.shape, shape)
    );
    return this.#recent[shape.hash & RECENT - 1] = found;
  }

  #made(shape: Shape): Subtable {
    const made = new Subtable(shape);
    const same = this.#subtables.get(shape.hash);
    if (same === undefined) this.#subtables.set(shape.hash, [made]);
    else same.push(made);
    this.#ordered = undefined;
    return this.#recent[shape.hash & RECENT - 1] = made;
  }

  /** Adds a rule. */
  add(rule: Rule): void {
    const { shape, values } = rule.match;
    const subtable = this.#of(shape) ?? this.#made(shape);
    if (subtable.add(rule)) this.#ordered = undefined;
    for (const { trie, place, length } of subtable.prefixes) {
      (this.#tries[trie] as Prefixes).add(values[place] as number, length);
    }
  }

  /** Removes a rule that was added. */
  delete(rule: Rule): void {
    const { shape, values } = rule.match;
    const subtable = this.#of(shape);
    if (subtable === undefined) return;
    if (subtable.delete(rule)) this.#ordered = undefined;
    if (subtable.size === 0) {
      const rest = (this.#subtables.get(shape.hash) ?? []).filter((one) =>
        one !== subtable
      );
      if (rest.length === 0) this.#subtables.delete(shape.hash);
      else this.#subtables.set(shape.hash, rest);
      this.#recent[shape.hash & RECENT - 1] = undefined;
      this.#ordered = undefined;
    }
    for (const { trie, place, length } of subtable.prefixes) {
      (this.#tries[trie] as Prefixes).delete(values[place] as number, length);
    }
  }

  /** Adds a rule beside one of the same match and priority, whose place it is to take. */
  addBeside(rule: Rule): void {
    this.#of(rule.match.shape)?.addBeside(rule);
  }

  /** Removes one of two rules of the same match and priority, each of which was added. */
  deleteBeside(rule: Rule): void {
    this.#of(rule.match.shape)?.deleteBeside(rule);
  }

  /** The rule of a version with this very match and priority. */
  exact(match: PackedMatch, priority: number, version: number): Rule | undefined {
    return this.#of(match.shape)?.exact(match, priority, version);
  }

  /** Rules of conjunctions that the last lookup met: what it found rests on them, too. */
  soft: readonly Rule[] = NONE;
  /**
   * Bits of {@linkcode TRIE_WORDS} that the last lookup looked at, whether the answer rests on them
   * or not: packets that have these and those that it rests on are looked up in the same way.
   */
  readonly walked: Uint32Array = new Uint32Array(TRIE_WORDS.length);

  /**
   * The rule of a version with the highest priority that a packet fits; undefined if it fits none.
   * The bits of the packet that the answer rests on are added to `seen`.
   */
  find(flow: FlowWords, seen: FlowWords | undefined, version: number): Rule | undefined {
    this.soft = NONE;
    this.walked.fill(0);
    this.#lookup++;
    return this.#find(flow, seen, version, true);
  }

  #find(
    flow: FlowWords,
    seen: FlowWords | undefined,
    version: number,
    takesSoft: boolean,
  ): Rule | undefined {
    const ordered = this.#ordered ??= [...this.#subtables.values()].flat()
      .sort((a, b) => b.maxPriority - a.maxPriority);
    let best: Rule | undefined;
    let soft: Met[] | undefined;
    for (let i = 0; i < ordered.length; i++) {
      const subtable = ordered[i] as Subtable;
      if (best !== undefined && best.priority >= subtable.maxPriority) break;
      const found = subtable.find(flow, seen, version, this.#isOut);
      if (found === undefined) continue;
      if (best !== undefined && found.priority <= best.priority) continue;
      if (found.clauses.length === 0) best = found;
      else if (takesSoft) (soft ??= []).push({ rule: found, subtable });
    }
    return soft === undefined ? best : this.#together(flow, seen, version, soft, best);
  }

  /** The rule that a packet fits, of which soft ones were met beside `hard`. */
  #together(
    flow: FlowWords,
    seen: FlowWords | undefined,
    version: number,
    met: readonly Met[],
    hard: Rule | undefined,
  ): Rule | undefined {
    let best = hard;
    const all: Rule[] = met.map(({ rule }) => rule);
    for (let rest = met;;) {
      const least = best?.priority ?? -1;
      rest = rest.filter(({ rule }) => rule.priority > least);
      if (rest.length === 0) break;
      const top = Math.max(...rest.map(({ rule }) => rule.priority));
      const first = rest.filter(({ rule }) => rule.priority === top);
      const id = wholeId(first.map(({ rule }) => rule));
      if (id !== undefined) {
        const before = flow[Word.conjId] as number;
        flow[Word.conjId] = id;
        const found = this.#find(flow, seen, version, false);
        flow[Word.conjId] = before;
        if (found !== undefined) {
          this.soft = all;
          return found;
        }
      }
      // Without one that is whole, those of the same match and a lower priority have their turn.
      rest = rest.flatMap((one): Met[] => {
        if (one.rule.priority !== top) return [one];
        const next = one.subtable.after(one.rule, version);
        if (next === undefined) return [];
        all.push(next);
        if (next.clauses.length > 0) return [{ rule: next, subtable: one.subtable }];
        if (best === undefined || next.priority > best.priority) best = next;
        return [];
      });
    }
    this.soft = all;
    return best;
  }

  /**
   * Whether no prefix of the subtable's length fits the packet's address, and that costs no more
   * bits than a look at the subtable would.
   */
  #isRuledOut(
    { prefixes }: Subtable,
    flow: FlowWords,
    seen: FlowWords | undefined,
    from: number,
    to: number,
  ): boolean {
    for (let i = 0; i < prefixes.length; i++) {
      const { word, trie, length } = prefixes[i] as Prefixed;
      if (word < from || word > to) continue;
      const walk = this.#walks[trie] as Walk;
      if (walk.lookup !== this.#lookup) {
        walk.lookup = this.#lookup;
        const tried = this.#tries[trie] as Prefixes;
        walk.proof = tried.lengths(flow[word] as number, walk.has);
      }
      const { proof, has } = walk;
      const proving = proof === 0 ? 0 : 0xffffffff << 32 - Math.min(32, proof);
      this.walked[trie] = proving;
      if ((has[length >> 5] as number) >>> (length & 31) & 1) continue;
      const isSeen = seen !== undefined && (proving & ~(seen[word] as number)) === 0;
      if (proof > length && !isSeen) continue;
      if (seen !== undefined) seen[word] = (seen[word] as number) | proving;
      return true;
    }
    return false;
  }
}
