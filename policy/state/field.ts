// SPDX-License-Identifier: Apache-2.0
/**
 * What the packet that is looked up in a table of rules has in one of the leaves that rules care
 * for: found out once for all subtables.
 *
 * @module
 */
import { type Place, type Words, words } from "../packet/leaf.ts";
import { leadingMasked } from "../packet/leading.ts";
import type { Tracker } from "../packet/tracker.ts";
import { Trie } from "./trie.ts";

/** Whether a leaf has a trie: those whose prefixes rules mostly differ in. */
function hasTrie({ name }: Place): boolean {
  return /^(ipv[46]\.(src|dst)|(tcp|udp|sctp)\.(src|dst))$/.test(name);
}

/** A leaf that rules of a table care for. */
export class Field {
  /** Prefixes that rules want, with how many rules want each. */
  readonly trie: Trie<number> | undefined;
  /** The value of the packet, where it has the leaf. */
  readonly value: Words = words();
  /** Words of it that count. */
  readonly count: number;
  /** Whether the packet has the leaf. */
  isThere = false;
  /** Whether what tells that it is there is masked, and whether that said so, too. */
  #isTold = false;
  #isThereTold = false;
  /** A bit for each length of which a prefix fits the packet. */
  readonly #lengths = new Uint32Array(5);
  /** Leading bits that prove which prefixes fit. */
  #proof = 0;
  /** Those that are masked; -1 while that is not known. */
  #masked = -1;
  /** Where the table's dispatch has it. */
  at = 0;

  /** Makes the field of a leaf. */
  constructor(readonly place: Place) {
    this.count = place.width + 31 >> 5;
    if (hasTrie(place)) this.trie = new Trie(place.width);
  }

  /** Looks at another packet: whether it has the leaf. Nothing is masked. */
  look(tracker: Tracker): boolean {
    this.#isTold = false;
    this.#masked = -1;
    const { place, trie } = this;
    this.isThere = tracker.layout.key[place.slot] !== 0 || place.zero;
    if (!this.isThere) return false;
    tracker.valueOf(place, this.value);
    if (trie !== undefined) this.#proof = trie.lengths(this.value, this.#lengths);
    return true;
  }

  /** Masks what tells whether the packet has the leaf, and says it. */
  tell(tracker: Tracker): boolean {
    if (!this.#isTold) {
      this.#isTold = true;
      this.#isThereTold = tracker.present(this.place) || this.place.zero;
    }
    return this.#isThereTold;
  }

  /** Whether some rule wants a prefix of this length that fits the packet. */
  fits(length: number): boolean {
    return ((this.#lengths[length >> 5] as number) >>> (length & 31) & 1) !== 0;
  }

  /** Whether so many leading bits prove of every length that no rule wants a prefix of it. */
  isProven(masked: number): boolean {
    return masked >= this.#proof;
  }

  /** How many leading bits are masked, once the lookup has only proofs to find. */
  masked(tracker: Tracker): number {
    if (this.#masked < 0) this.#masked = leadingMasked(tracker, this.place);
    return this.#masked;
  }

  /**
   * Masks what proves that no rule wants a prefix of this length, where none does. Of the rules of
   * one subtable, whose prefixes are in `own`, fewer bits may tell it.
   */
  prove(tracker: Tracker, length: number, own: Trie<number>): void {
    const masked = this.masked(tracker);
    const needed = Math.min(this.#proof, length);
    if (masked >= needed) return;
    const enough = Math.min(needed, own.find(this.value).proof);
    if (masked >= enough) return;
    tracker.layPrefix(this.place, enough);
    this.#masked = -1;
  }
}
