// SPDX-License-Identifier: Apache-2.0
/**
 * What a complaint says in its second line: the reason, and what to do about it. The first line is
 * Open vSwitch's, which programs may read; the second is for people.
 *
 * @module
 */
import { DatapathError } from "../../providers/errors.ts";

/** The second line of a complaint. */
export interface Advice {
  /** Why, where the first line does not say it. */
  readonly reason?: string | undefined;
  /** What to do. */
  readonly hint?: string | undefined;
}

/** Advice as text: whole lines, or nothing. */
export function adviceText({ reason, hint }: Advice): string {
  const words = reason === undefined
    ? hint && `hint: ${hint}`
    : `reason: ${reason}${hint === undefined ? "" : `; ${hint}`}`;
  return words === undefined ? "" : `  ${words}\n`;
}

/** Matches such lines, for programs and tests that compare with Open vSwitch. */
export const adviceLines = /^ {2}(?:reason|hint): .*\n?/gm;

/**
 * The advice that an error carries: what it says beside its errno. An error that lists the known
 * words also suggests the nearest one.
 */
export function adviceOf(error: unknown): Advice {
  const reason = error instanceof DatapathError
    ? error.detail
    : error instanceof SyntaxError || error instanceof TypeError
    ? error.message
    : undefined;
  if (reason === undefined) return {};
  const hint = suggestionIn(reason);
  return { reason, ...(hint !== undefined && { hint }) };
}

/** What was meant, in a text such as `no type "tpa" (there are: tap, ring)`. */
export function suggestionIn(text: string): string | undefined {
  const [, word, list] = /"([^"]+)" \(there are: ([^)]+)\)/.exec(text) ?? [];
  if (word === undefined || list === undefined || list === "none") return undefined;
  return didYouMean(word, list.split(/[,\s]+/));
}

/** `did you mean "tap"?`, if a word is like one of those that there are. */
export function didYouMean(
  word: string,
  candidates: readonly string[],
): string | undefined {
  const meant = nearest(word, candidates);
  return meant === undefined ? undefined : `did you mean "${meant}"?`;
}

/** The candidate that a word was probably meant to be. */
export function nearest(
  word: string,
  candidates: readonly string[],
): string | undefined {
  // A slip in every three letters, and no more, for then it is another word.
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  let found: string | undefined;
  for (const candidate of candidates) {
    const slips = distance(word.toLowerCase(), candidate.toLowerCase(), least);
    if (slips < least) [least, found] = [slips, candidate];
  }
  return found ?? candidates.find((one) => word.length > 2 && one.startsWith(word));
}

/** Longer words are no slips of the keyboard. */
const maxLength = 64;

/**
 * How many letters must be put in, left out, replaced or swapped with the next one; `limit` if it
 * is so many or more.
 */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  if (Math.max(a.length, b.length) > maxLength) return a === b ? 0 : limit;
  let rows: readonly [number[], number[]] = [[], [...Array(b.length + 1).keys()]];
  for (let i = 1; i <= a.length; i++) {
    const [before, last] = rows;
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row[j] = Math.min(
        (last[j] ?? limit) + 1,
        (row[j - 1] ?? limit) + 1,
        (last[j - 1] ?? limit) + cost,
        isSwap ? (before[j - 2] ?? limit) + 1 : limit,
      );
    }
    rows = [last, row];
  }
  return Math.min(limit, rows[1][b.length] ?? limit);
}
