// SPDX-License-Identifier: Apache-2.0
/**
 * What a map has: keys with their values, and keys as bits for lookups by a packet.
 *
 * @module
 */
import type { Place, Words } from "../packet/leaf.ts";
import { notify } from "./dependency.ts";
import { Trie } from "./trie.ts";

/** A key that is in the map, or that flows rest on though it is not. */
export class Entry<K, V> {
  readonly key: K;
  /** Undefined, among others, where the key is not in the map. */
  value: V | undefined = undefined;
  isThere = false;
  usedMs = 0;
  /** When its value became another one. */
  movedMs = -Infinity;
  /** When it got its value. */
  writtenMs = 0;
  dependency = 0;
  /** Neighbours among those that are there, in the order in which they came. */
  before: Entry<K, V> | undefined = undefined;
  after: Entry<K, V> | undefined = undefined;

  constructor(key: K) {
    this.key = key;
  }
}

/** Values of which no key has any. */
export class Block<K, V> {
  constructor(
    readonly index: Index<K, V>,
    readonly bits: Words,
    readonly length: number,
  ) {}
}

/** The keys of a map as bits, for lookups by a packet. */
export interface Index<K, V> {
  readonly place: Place;
  readonly trie: Trie<Entry<K, V>>;
  /** Dependencies on blocks without keys. */
  readonly blocks: Trie<number>;
  /**
   * Entries behind those of the trie that are the same value in another spelling: the one that came
   * last is found.
   */
  readonly behind: Map<Entry<K, V>, Entry<K, V>>;
  /** Bits of the key that is put in or taken out. */
  readonly bits: Words;
}

/** Puts an entry into an index. */
export function enter<K, V>(index: Index<K, V>, bits: Words, entry: Entry<K, V>): void {
  const { trie, behind, place: { width } } = index;
  const before = trie.set(bits, width, entry);
  if (before === undefined) return;
  behind.set(entry, before);
  if (before.dependency !== 0) notify(before.dependency);
}

/** Takes an entry out of an index. */
export function leave<K, V>(index: Index<K, V>, bits: Words, entry: Entry<K, V>): void {
  const { trie, behind, place: { width } } = index;
  const next = behind.get(entry);
  behind.delete(entry);
  let above = trie.get(bits, width);
  if (above === entry) {
    if (next === undefined) trie.delete(bits, width);
    else trie.set(bits, width, next);
    return;
  }
  while (above !== undefined && behind.get(above) !== entry) above = behind.get(above);
  if (above === undefined) return;
  if (next === undefined) behind.delete(above);
  else behind.set(above, next);
}

/** Checks the bounds of a map. Throws `RangeError` for one that is none. */
export function checkBounds(
  { max = 1, idleMs = 1, holdMs = 0 }: {
    readonly max?: number;
    readonly idleMs?: number;
    readonly holdMs?: number;
  },
): void {
  if (!(max >= 1)) throw new RangeError(`max must be 1 or more: it is ${max}`);
  if (!(idleMs > 0)) throw new RangeError(`idleMs must be above 0: it is ${idleMs}`);
  if (!(holdMs >= 0)) throw new RangeError(`holdMs must be 0 or more: it is ${holdMs}`);
}
