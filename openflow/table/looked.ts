// SPDX-License-Identifier: Apache-2.0
/**
 * How packets were looked up in a table: what flows of the datapath rest on.
 *
 * @module
 */
import { FLOW_WORDS, type FlowWords, flowWords, Word } from "../wire/flow.ts";
import { Port } from "../wire/port_number.ts";
import { mixWord, type PackedMatch, packMatch } from "../wire/packed/packed_match.ts";
import type { Rule } from "./rule.ts";

/** What a packet had become when it was looked up. */
export interface Became {
  /** Words as they were, where `known` has bits. */
  readonly value: FlowWords;
  /** Bits that are not the packet's own any more, or never were in it. */
  readonly mask: FlowWords;
  /** Those of them that are the same in all packets of the flow. */
  readonly known: FlowWords;
}

/** How packets of some flows were looked up. */
export interface Looked {
  /** What they found. */
  readonly rule: Rule | undefined;
  /** Rules of conjunctions that were met on the way. */
  readonly soft: readonly Rule[];
  /** What all of these packets are known to be when they are looked up. */
  readonly match: PackedMatch;
  /** What they had become. */
  readonly became: BecameKey;
  readonly hash: number;
  /** Of the dependency; 0 where there is none, or none any more. */
  id: number;
  /** Dependencies of which this is a part. */
  within: Set<{ readonly id: number }> | undefined;
}

/** Numbers that {@linkcode BecameKey.rows} has of each word of a flow. */
const STEP = 4;

/**
 * Registers and metadata that nobody wrote are zero in every packet, and its action set is empty;
 * none of that is in its bytes.
 */
function isUsual(word: number, value: number): boolean {
  return value === 0 && word >= Word.metadata && word < Word.tunId ||
    word === Word.actsetOutput && value === (Port.unset | 0);
}

/** What a packet had become, short: equal ones have the same rows. */
export interface BecameKey {
  /** Of each word its number, value in known bits, known bits, mask. */
  readonly rows: Int32Array;
  readonly hash: number;
}

const scratch = new Int32Array(STEP * FLOW_WORDS);
/** Keys that came last: the packets of a flow, and of those like it, have the same ones. */
const recent: (BecameKey | undefined)[] = new Array(256).fill(undefined);

/** That of a packet which is what it was when it came. */
export const NOTHING_BECAME: BecameKey = { rows: new Int32Array(), hash: 0 };
recent[0] = NOTHING_BECAME;

/** The key of what a packet has become. */
export function keyOf({ value, mask, known }: Became): BecameKey {
  let [hash, size] = [0, 0];
  for (let i = 0; i < FLOW_WORDS; i++) {
    const bits = (mask[i] as number) | 0;
    if (bits === 0) continue;
    const same = (known[i] as number) | 0;
    const word = (value[i] as number) & same;
    if (isUsual(i, word)) continue;
    hash = mixWord(mixWord(mixWord(hash, i ^ word), same), bits);
    scratch[size++] = i;
    scratch[size++] = word;
    scratch[size++] = same;
    scratch[size++] = bits;
  }
  const slot = (hash ^ hash >>> 8) & 255;
  const before = recent[slot];
  if (
    before !== undefined && before.hash === hash && isSame(before.rows, scratch, size)
  ) {
    return before;
  }
  return recent[slot] = { rows: scratch.slice(0, size), hash };
}

function isSame(a: Int32Array, b: Int32Array, size: number): boolean {
  if (a.length !== size) return false;
  for (let i = 0; i < size; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Whether two keys are the same. */
export function isSameKey(a: BecameKey, b: BecameKey): boolean {
  return a === b || a.hash === b.hash && isSame(a.rows, b.rows, b.rows.length);
}

/** A hash of what was found, and of what packets had become. */
export function hashOf(rule: Rule | undefined, { hash }: BecameKey): number {
  return mixWord(hash, rule?.serial ?? 0);
}

/** Whether packets that became something, and found a rule, were looked up in a known way. */
export function isLooked(
  looked: Looked,
  rule: Rule | undefined,
  key: BecameKey,
  soft: readonly Rule[],
): boolean {
  if (looked.rule !== rule || looked.soft.length !== soft.length) return false;
  for (let i = 0; i < soft.length; i++) if (looked.soft[i] !== soft[i]) return false;
  return isSameKey(looked.became, key);
}

/** Makes one, whose dependency is not made yet. */
export function makeLooked(
  rule: Rule | undefined,
  { value, known }: Became,
  became: BecameKey,
  hash: number,
  soft: readonly Rule[],
): Looked {
  const [all, bits] = [flowWords(), flowWords()];
  for (let i = 0; i < FLOW_WORDS; i++) {
    const same = (known[i] as number) | 0;
    bits[i] = same;
    all[i] = (value[i] as number) & same;
  }
  if (rule !== undefined) {
    const { shape: { words, bits: own }, values } = rule.match;
    for (let k = 0; k < words.length; k++) {
      const i = words[k] as number;
      // Which conjunction packets are in is not theirs.
      if (i === Word.conjId) continue;
      const more = (own[k] as number) & ~(bits[i] as number);
      bits[i] = (bits[i] as number) | more;
      all[i] = (all[i] as number) | (values[k] as number) & more;
    }
  }
  const match = packMatch({ value: all, mask: bits });
  return { rule, soft, match, became, hash, id: 0, within: undefined };
}

/** Bits of a word that were not the packet's own any more. */
export function becameMask({ became }: Looked, word: number): number {
  const { rows } = became;
  for (let at = 0; at < rows.length; at += STEP) {
    if (rows[at] === word) return rows[at + 3] as number;
  }
  return 0;
}

/** What the packets of a flow are known to be: its bits in `seen`, and what they had become. */
export function matchOf(
  { became }: Looked,
  flow: FlowWords,
  seen: FlowWords,
): PackedMatch {
  const [value, mask] = [flow.slice(), seen.slice()];
  const { rows } = became;
  for (let at = 0; at < rows.length; at += STEP) {
    const i = rows[at] as number;
    const same = rows[at + 2] as number;
    const own = ~(rows[at + 3] as number);
    value[i] = (value[i] as number) & own | (rows[at + 1] as number);
    mask[i] = (mask[i] as number) & own | same;
  }
  return packMatch({ value, mask });
}
