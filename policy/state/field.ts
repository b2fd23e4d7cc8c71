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
import { PrefixSets } from "./prefix_sets.ts";

/** Whether prefixes of a leaf are kept apart: of those in which rules mostly differ. */
function hasPrefixes({ name }: Place): boolean {
  return /^(ipv[46]\.(src|dst)|(tcp|udp|sctp)\.(src|dst))$/.test(name);
}

/** A leaf that rules of a table care for. */
export class Field {
  /** Which subtables want which prefixes of it. */
  readonly prefixes: PrefixSets | undefined;
  /** The value of the packet, where it has the leaf. */
  readonly value: Words = words();
  /** Words of it that count. */
  readonly count: number;
  /** Whether the packet has the leaf. */
  isThere = false;
  /** Leading bits that are masked, once the lookup has only proofs to find. */
  masked = 0;
  /** Whether what tells that it is there is masked, and whether that said so, too. */
  #isTold = false;
  #isThereTold = false;

  /** Makes the field of a leaf. */
  constructor(readonly place: Place) {
    this.count = place.width + 31 >> 5;
    if (hasPrefixes(place)) this.prefixes = new PrefixSets();
  }

  /** Looks at another packet: whether it has the leaf. Nothing is masked. */
  look(tracker: Tracker): boolean {
    this.#isTold = false;
    const { place, prefixes } = this;
    this.isThere = tracker.layout.key[place.slot] !== 0 || place.zero;
    if (!this.isThere) return false;
    tracker.valueOf(place, this.value);
    if (prefixes !== undefined) prefixes.look(this.value);
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

  /** Takes those out of a set that what is masked of the leaf rules out. */
  keepUnproven(tracker: Tracker, set: Int32Array): void {
    const { prefixes } = this;
    if (!this.isThere || prefixes === undefined) return;
    this.masked = leadingMasked(tracker, this.place);
    const step = prefixes.stepAt(this.masked);
    if (step > 0) prefixes.keepLeft(set, step);
  }

  /** How many bits more have to be masked to rule a subtable out; infinite where none can. */
  bitsAgainst(subtable: number): number {
    const { prefixes } = this;
    if (!this.isThere || prefixes === undefined) return Infinity;
    const step = prefixes.stepWithout(subtable);
    return step < prefixes.steps
      ? (prefixes.from[step] as number) - this.masked
      : Infinity;
  }

  /**
   * Masks so many bits more of a leaf that is told to be there, and takes those out of a set that
   * they rule out.
   */
  prove(tracker: Tracker, bits: number, set: Int32Array): void {
    this.masked += bits;
    tracker.layPrefix(this.place, this.masked);
    const step = this.prefixes?.stepAt(this.masked) ?? 0;
    this.prefixes?.keepLeft(set, step);
  }
}
