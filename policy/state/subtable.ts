// SPDX-License-Identifier: Apache-2.0
/**
 * Subtables: rules that want the same bits, found by a hash of them.
 *
 * @module
 */
import {
  type Leaf,
  parse,
  parseMask,
  parsePrefix,
  type Place,
  placeOf,
  prefixMask,
  type Value,
  type Words,
} from "../packet/leaf.ts";
import type { Tracker } from "../packet/tracker.ts";
import type { Field } from "./field.ts";
import { Trie } from "./trie.ts";

/** What a rule wants of a leaf: a value, a prefix as text (`"10.0.0.0/8"`), or value and mask. */
export type Wanted = Value | readonly [value: Value, mask: Value];

/**
 * What a rule wants of packets: what is not named does not matter. A leaf that a packet lacks is
 * not matched.
 */
export type Match = { readonly [L in Leaf]?: Wanted };

/** What a rule wants of one leaf, as bits. */
export interface Part {
  /** Where. */
  readonly place: Place;
  /** Which bits, cleared outside the mask. */
  readonly value: Words;
  /** Which of them matter. */
  readonly mask: Words;
}

/** A rule as the table keeps it. */
export interface Kept<R> {
  readonly rule: R;
  readonly order: number;
  readonly priority: number;
  readonly parts: readonly Part[];
  dependency: number;
}

const stageOf: Readonly<Record<string, number>> = {
  ethernet: 1,
  vlan: 1,
  innerVlan: 1,
  etherType: 1,
  mpls: 1,
  ipv4: 2,
  ipv6: 2,
  arp: 2,
  nsh: 2,
  tcp: 3,
  tcpFlags: 3,
  udp: 3,
  sctp: 3,
  icmp: 3,
  icmpv6: 3,
  nd: 3,
};
/** Metadata; Ethernet; network; transport. */
const STAGES = 4;

function stage({ name }: Place): number {
  return stageOf[name.split(".")[0] ?? ""] ?? 0;
}

/**
 * Reads what a rule wants, in the order of stages. Throws `TypeError`, `RangeError` or
 * `SyntaxError`.
 */
export function parseMatch(match: Match): Part[] {
  const parts = Object.entries(match).flatMap(([name, wanted]): Part[] => {
    if (wanted === undefined) return [];
    const place = placeOf(name);
    const { value, mask } = readWanted(place, wanted);
    for (let i = 0; i < 4; i++) value[i] = (value[i] as number) & (mask[i] as number);
    return [{ place, value, mask }];
  });
  return parts.sort((a, b) =>
    stage(a.place) - stage(b.place) || (a.place.name < b.place.name ? -1 : 1)
  );
}

function readWanted(place: Place, wanted: Wanted): { value: Words; mask: Words } {
  if (Array.isArray(wanted)) {
    const [value, mask] = wanted as readonly [Value, Value];
    return { value: parse(place, value), mask: parseMask(place, mask) };
  }
  if (typeof wanted === "string" && wanted.includes("/")) {
    const [address = "", mask = ""] = wanted.split("/");
    if (!/^\d+$/.test(mask)) {
      return { value: parse(place, address), mask: parseMask(place, mask) };
    }
    const { bits, length } = parsePrefix(place, wanted);
    return { value: bits, mask: prefixMask(length) };
  }
  return { value: parse(place, wanted as Value), mask: prefixMask(place.width) };
}

/** Text that is the same for rules of one subtable. */
export function signatureOf(parts: readonly Part[]): string {
  return parts.map(({ place, mask }) => `${place.name}/${mask.join()}`).join(" ");
}

/**
 * Length of the prefix that a part is, of a field whose prefixes are kept; undefined if it is none.
 */
function prefixLength(field: Field, { mask }: Part): number | undefined {
  if (field.prefixes === undefined) return undefined;
  let length = 0;
  for (let i = 0; i < 4; i++) {
    const zeros = ~(mask[i] as number);
    const ones = zeros === 0 ? 32 : Math.clz32(zeros);
    length += ones;
    if (ones < 32) break;
  }
  const kept = prefixMask(length);
  return mask.every((word, i) => word === kept[i]) ? length : undefined;
}

/** A prefix of one length that rules of a subtable want. */
interface Wish {
  /** Which part it is. */
  readonly at: number;
  readonly length: number;
  /** How many rules want each. */
  readonly counts: Trie<number>;
}

/** Rules of one mask. */
export class Subtable<R> {
  /** What their mask is. */
  readonly #parts: readonly Part[];
  /** What each part is about. */
  readonly #fields: readonly Field[];
  /** Those of which it is a prefix, and what rules want of them. */
  readonly #wishes: readonly Wish[];
  /** Best priority in it. */
  maxPriority = -Infinity;
  /** First part behind each stage but the last that has any. */
  readonly #ends: readonly number[];
  /** Hashes of the stages, with how many rules have them. */
  readonly #stages: readonly Map<number, number>[];
  readonly #rules = new Map<number, Kept<R>[]>();
  #size = 0;

  /**
   * Makes the subtable of rules with the mask of `parts`, which are about `fields`. Its `number` is
   * its own in the table.
   */
  constructor(
    readonly number: number,
    parts: readonly Part[],
    fields: readonly Field[],
  ) {
    this.#parts = parts;
    this.#fields = fields;
    this.#wishes = fields.flatMap((field, at): Wish[] => {
      const length = prefixLength(field, parts[at] as Part);
      const counts = new Trie<number>(field.place.width);
      return length === undefined ? [] : [{ at, length, counts }];
    });
    const ends: number[] = [];
    for (let s = 0; s < STAGES; s++) {
      const end = parts.findLastIndex(({ place }) => stage(place) === s) + 1;
      if (end > 0 && end < parts.length) ends.push(end);
    }
    this.#ends = ends;
    this.#stages = ends.map(() => new Map());
  }

  /** Rules in it. */
  get size(): number {
    return this.#size;
  }

  /** Adds a rule. */
  add(kept: Kept<R>): void {
    this.#size++;
    this.maxPriority = Math.max(this.maxPriority, kept.priority);
    this.#count(kept, 1);
    for (const [i, stage] of this.#stages.entries()) {
      const hash = hashOf(kept.parts, this.#ends[i] as number);
      stage.set(hash, (stage.get(hash) ?? 0) + 1);
    }
    const hash = hashOf(kept.parts, kept.parts.length);
    const same = this.#rules.get(hash);
    if (same === undefined) this.#rules.set(hash, [kept]);
    else same.push(kept);
  }

  /** Counts the prefixes of a rule more or less often; their fields know which there are. */
  #count({ parts }: Kept<R>, by: number): void {
    for (const { at, length, counts } of this.#wishes) {
      const { value } = parts[at] as Part;
      const before = counts.get(value, length) ?? 0;
      const { prefixes } = this.#fields[at] as Field;
      if (before + by > 0) counts.set(value, length, before + by);
      else counts.delete(value, length);
      if (before === 0) prefixes?.add(value, length, this.number);
      if (before + by === 0) prefixes?.remove(value, length, this.number, counts);
    }
  }

  /** Removes a rule that was added. */
  delete(kept: Kept<R>): void {
    this.#size--;
    this.#count(kept, -1);
    for (const [i, stage] of this.#stages.entries()) {
      const hash = hashOf(kept.parts, this.#ends[i] as number);
      const left = (stage.get(hash) ?? 1) - 1;
      if (left === 0) stage.delete(hash);
      else stage.set(hash, left);
    }
    const hash = hashOf(kept.parts, kept.parts.length);
    const rest = (this.#rules.get(hash) ?? []).filter((one) => one !== kept);
    if (rest.length === 0) this.#rules.delete(hash);
    else this.#rules.set(hash, rest);
    if (kept.priority < this.maxPriority) return;
    this.maxPriority = -Infinity;
    for (const rules of this.#rules.values()) {
      for (const { priority } of rules) {
        this.maxPriority = Math.max(this.maxPriority, priority);
      }
    }
  }

  /** The leaves that it asks for. */
  get fields(): readonly Field[] {
    return this.#fields;
  }

  /** Masks what tells that the packet has all leaves that it asks for; false if it lacks one. */
  isTold(tracker: Tracker): boolean {
    const fields = this.#fields;
    for (let i = 0; i < fields.length; i++) {
      if (!(fields[i] as Field).tell(tracker)) return false;
    }
    return true;
  }

  /**
   * The best rule that the packet matches; what told so is masked. For one that is not ruled out.
   */
  find(tracker: Tracker): Kept<R> | undefined {
    const parts = this.#parts;
    let hash = 0;
    let next = 0;
    for (let i = 0; i < parts.length; i++) {
      const { mask } = parts[i] as Part;
      const { value, count } = this.#fields[i] as Field;
      for (let w = 0; w < count; w++) {
        hash = mix(hash, (value[w] as number) & (mask[w] as number));
      }
      if (this.#ends[next] !== i + 1) continue;
      if (this.#stages[next]?.has(hash) !== true) {
        this.#lay(tracker, i + 1);
        return undefined;
      }
      next++;
    }
    this.#lay(tracker, parts.length);
    return this.#bestOf(this.#rules.get(hash));
  }

  #bestOf(rules: readonly Kept<R>[] | undefined): Kept<R> | undefined {
    if (rules === undefined) return undefined;
    let best: Kept<R> | undefined;
    for (let i = 0; i < rules.length; i++) {
      const kept = rules[i] as Kept<R>;
      if (best !== undefined && best.priority >= kept.priority) continue;
      if (this.#fits(kept.parts)) best = kept;
    }
    return best;
  }

  #fits(parts: readonly Part[]): boolean {
    for (let i = 0; i < parts.length; i++) {
      const { value: wanted, mask } = parts[i] as Part;
      const { value, count } = this.#fields[i] as Field;
      for (let w = 0; w < count; w++) {
        const cared = ((value[w] as number) & (mask[w] as number)) >>> 0;
        if (cared !== wanted[w]) return false;
      }
    }
    return true;
  }

  #lay(tracker: Tracker, end: number): void {
    for (let i = 0; i < end; i++) {
      const { place, mask } = this.#parts[i] as Part;
      tracker.layBits(place, mask);
    }
  }
}

/** Small integers: others would be objects to a map. */
function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e3779b1);
  return (mixed ^ mixed >>> 15) & 0x3fffffff;
}

function hashOf(parts: readonly Part[], end: number): number {
  let hash = 0;
  for (let i = 0; i < end; i++) {
    const { value, place } = parts[i] as Part;
    const count = place.width + 31 >> 5;
    for (let w = 0; w < count; w++) hash = mix(hash, (value[w] as number) | 0);
  }
  return hash;
}
