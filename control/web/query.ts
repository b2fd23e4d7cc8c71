// SPDX-License-Identifier: Apache-2.0
/**
 * What a page of a list is asked for, from the query of an address.
 *
 * @module
 */

/** A question that cannot be answered; the message says why. */
export class QueryError extends Error {
  override readonly name = "QueryError";
}

/** Which part of a list. */
export interface Page {
  /** Items before it. */
  readonly offset: number;
  /** Items at most. */
  readonly limit: number;
}

/** Items of a page at most. */
const maxLimit = 200;
/**
 * Items that may stand before a page: twice as many are kept in memory while they are sorted
 * (`FirstOf`).
 */
const maxOffset = 50_000;

/** A whole number of a query. */
export function numberOf(
  query: URLSearchParams,
  name: string,
  { usual, max, min = 0 }: {
    readonly usual: number;
    readonly max: number;
    readonly min?: number;
  },
): number {
  const text = query.get(name);
  if (text === null) return usual;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw new QueryError(`${name} must be a number from ${min} to ${max}`);
}

/** `offset` and `limit`. */
export function pageOf(query: URLSearchParams): Page {
  return {
    offset: numberOf(query, "offset", { usual: 0, max: maxOffset }),
    limit: numberOf(query, "limit", { usual: 50, max: maxLimit, min: 1 }),
  };
}

/** One of some words; the first if absent. */
export function wordOf<W extends string>(
  query: URLSearchParams,
  name: string,
  words: readonly [W, ...W[]],
): W {
  const text = query.get(name) ?? words[0];
  const word = words.find((one) => one === text);
  if (word === undefined) {
    throw new QueryError(`${name} must be one of ${words.join(", ")}`);
  }
  return word;
}
