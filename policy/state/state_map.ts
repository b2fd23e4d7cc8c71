// SPDX-License-Identifier: Apache-2.0
/**
 * Maps that policies read by key or by packet, and that packets teach.
 *
 * @module
 */
import { makeDependency, notify, type Owner } from "./dependency.ts";
import {
  type Leaf,
  parse,
  type Place,
  placeOf,
  type Value,
  type Words,
} from "../packet/leaf.ts";
import { words } from "../packet/leaf.ts";
import { numberOf, widthOf } from "../packet/plain.ts";
import { type Packet, PLAIN, type Tracked, TRACKER } from "../packet/packet.ts";
import { type Keepable, noteNamed } from "./keep.ts";
import { dependOn, nameOf, refuseInRun } from "./state.ts";
import { wrote } from "./state_event.ts";
import type { Learner } from "../packet/effect.ts";
import { currentTracker, leadingMasked, type Tracker } from "../packet/tracker.ts";
import { Trie } from "./trie.ts";

/** What a map may be told. */
export interface StateMapOptions<V> {
  /** Name, for `explain` and reload. */
  readonly name?: string;
  /** Entries that nobody wrote for so long go, ms. */
  readonly idleMs?: number;
  /** Most entries; 65,536 if absent. */
  readonly max?: number;
  /**
   * What a new entry does to a full map: takes the place of an old one (the default), or is
   * refused.
   */
  readonly full?: "evict" | "refuse";
  /** Whether two values are the same, so that writing one over the other changes nothing. */
  readonly equals?: (a: V, b: V) => boolean;
  /**
   * A key that a packet moved stays where it is for so long, ms, whatever packets say; 1,000 if
   * absent.
   */
  readonly holdMs?: number;
}

const scratch = words();

/** A key and its value. */
interface Entry<K, V> {
  readonly key: K;
  value: V;
  usedMs: number;
  /** When its value became another one. */
  movedMs: number;
  /** When it got its value. */
  writtenMs: number;
  dependency: number;
}

type Key<K, V> =
  | { readonly of: "entry"; readonly entry: Entry<K, V> }
  | { readonly of: "absent"; readonly key: K }
  | { readonly of: "block"; readonly index: Index<K, V>; bits: Words; length: number }
  | { readonly of: "all" };

/** The keys of a map as bits, for lookups by a packet. */
interface Index<K, V> {
  readonly place: Place;
  readonly trie: Trie<Entry<K, V>>;
  /** Dependencies on blocks without keys. */
  readonly blocks: Trie<number>;
  /**
   * Entries behind those of the trie that are the same value in another spelling: the one that came
   * last is found.
   */
  readonly behind: Map<Entry<K, V>, Entry<K, V>>;
}

/** Puts an entry into an index. */
function enter<K, V>(index: Index<K, V>, bits: Words, entry: Entry<K, V>): void {
  const { trie, behind, place: { width } } = index;
  const before = trie.get(bits, width);
  trie.set(bits, width, entry);
  if (before === undefined) return;
  behind.set(entry, before);
  if (before.dependency !== 0) notify(before.dependency);
}

/** Takes an entry out of an index. */
function leave<K, V>(index: Index<K, V>, bits: Words, entry: Entry<K, V>): void {
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

/** A map that policies read and packets teach. */
export class StateMap<K, V> implements Owner, Learner, Keepable {
  /** Its name. */
  readonly name: string;
  /**
   * Entries that were refused or evicted because the map was full, and packets that moved a key too
   * often.
   */
  readonly counters = { refused: 0, evicted: 0, expired: 0, flapping: 0 };
  readonly #options: StateMapOptions<V>;
  readonly #entries = new Map<K, Entry<K, V>>();
  readonly #absent = new Map<K, number>();
  readonly #indexes = new Map<string, Index<K, V>>();
  /** Entries by their keys as numbers of so many bits, for packets that nobody tracks. */
  readonly #numbers = new Map<number, Map<bigint, Entry<K, V>>>();
  #all = 0;

  /** Makes an empty map. */
  constructor(options: StateMapOptions<V> = {}) {
    this.#options = options;
    this.name = nameOf("map", options.name);
    if (options.name !== undefined) noteNamed(this);
  }

  /** @ignore */
  takeOver(before: unknown): void {
    if (!(before instanceof StateMap)) return;
    for (const { key, value, usedMs } of before.#entries.values()) {
      this.#set(key as K, value as V, usedMs);
    }
  }

  /** The value of a key. */
  get(key: K): V | undefined {
    const entry = this.#entries.get(key);
    const tracker = currentTracker();
    if (tracker !== undefined) this.#depend(tracker, key, entry);
    return entry?.value;
  }

  /** Whether there is a key. */
  has(key: K): boolean {
    const entry = this.#entries.get(key);
    const tracker = currentTracker();
    if (tracker !== undefined) this.#depend(tracker, key, entry);
    return entry !== undefined;
  }

  #depend(tracker: Tracker, key: K, entry: Entry<K, V> | undefined): void {
    if (entry !== undefined) {
      entry.dependency ||= makeDependency(this, { of: "entry", entry });
      return tracker.depend(entry.dependency);
    }
    let id = this.#absent.get(key);
    if (id === undefined) {
      this.#absent.set(key, id = makeDependency(this, { of: "absent", key }));
    }
    tracker.depend(id);
  }

  /** Number of entries; a run that asks depends on every key. */
  get size(): number {
    this.#dependOnAll();
    return this.#entries.size;
  }

  /** Keys and values; a run that asks depends on all of them. */
  *entries(): IterableIterator<[K, V]> {
    this.#dependOnAll();
    for (const { key, value } of this.#entries.values()) {
      yield [key, value];
      this.#dependOnAll(); // What goes on in a run may have begun before it.
    }
  }

  /** As `entries`. */
  [Symbol.iterator](): IterableIterator<[K, V]> {
    return this.entries();
  }

  #dependOnAll(): void {
    this.#all = dependOn(this, { of: "all" }, this.#all);
  }

  /**
   * The value of the key that a packet has: `stations.lookup(packet, "ethernet.dst")`. A hit masks
   * the whole value, a miss only what proves that no key is like it; the flow then depends on that
   * whole block having none.
   */
  lookup(packet: Packet, leaf: Leaf): V | undefined {
    const tracked = packet as Packet & Tracked;
    const tracker = tracked[TRACKER];
    const place = placeOf(leaf);
    if (tracker === undefined) return this.#scan(tracked, leaf);
    if (tracker.reads !== undefined) tracker.note(leaf, `in ${this.name}`);
    if (!tracker.present(place) && !place.zero) return undefined;
    const index = this.#indexFor(place);
    const bits = tracker.valueOf(place, scratch);
    const { value: entry, proof } = index.trie.find(bits);
    tracker.layPrefix(place, proof);
    if (entry !== undefined) {
      entry.dependency ||= makeDependency(this, { of: "entry", entry });
      tracker.depend(entry.dependency);
      return entry.value;
    }
    const length = leadingMasked(tracker, place);
    let id = index.blocks.get(bits, length);
    if (id === undefined) {
      const block = { of: "block", index, bits: bits.slice(), length };
      id = makeDependency(this, block);
      index.blocks.set(bits, length, id);
    }
    tracker.depend(id);
    return undefined;
  }

  /** For packets that nobody tracks: by the value as a number, whatever the key's spelling. */
  #scan(packet: Packet & Tracked, leaf: Leaf): V | undefined {
    const asked = packet[PLAIN]?.(leaf);
    if (asked === undefined) return undefined;
    const width = widthOf(leaf);
    let numbers = this.#numbers.get(width);
    if (numbers === undefined) {
      numbers = new Map();
      for (const entry of this.#entries.values()) {
        numbers.set(numberOf(entry.key, width), entry);
      }
      this.#numbers.set(width, numbers);
    }
    return numbers.get(numberOf(asked, width))?.value;
  }

  #indexFor(place: Place): Index<K, V> {
    const { kind } = place;
    const known = this.#indexes.get(kind);
    if (known !== undefined) return known;
    const made: Index<K, V> = {
      place,
      trie: new Trie(place.width),
      blocks: new Trie(place.width),
      behind: new Map(),
    };
    for (const entry of this.#entries.values()) {
      enter(made, parse(place, entry.key as Value), entry);
    }
    this.#indexes.set(kind, made);
    return made;
  }

  /** Writes a value. */
  set(key: K, value: V): this {
    refuseInRun(this.name);
    wrote({ name: this.name, op: "set", key, value });
    this.#set(key, value, Date.now());
    return this;
  }

  /** @ignore */
  hear(key: unknown, value: unknown, atMs: number, sinceMs = atMs): void {
    const entry = this.#entries.get(key as K);
    const same = this.#options.equals ?? Object.is;
    if (entry !== undefined && !same(entry.value, value as V)) {
      // The packet may be older than what is known: a station has moved since it sent it.
      if (sinceMs < entry.writtenMs) return;
      if (atMs - entry.movedMs < (this.#options.holdMs ?? 1000)) {
        this.counters.flapping++;
        return;
      }
    }
    this.#set(key as K, value as V, atMs);
  }

  #set(key: K, value: V, atMs: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return this.#add(key, value, atMs);
    const same = this.#options.equals ?? Object.is;
    if (same(entry.value, value)) {
      entry.usedMs = Math.max(entry.usedMs, atMs);
      return;
    }
    entry.usedMs = atMs;
    entry.movedMs = atMs;
    entry.writtenMs = atMs;
    entry.value = value;
    if (entry.dependency !== 0) notify(entry.dependency);
    if (this.#all !== 0) notify(this.#all);
  }

  #add(key: K, value: V, atMs: number): void {
    const { max = 65_536, full = "evict" } = this.#options;
    if (this.#entries.size >= max) {
      if (full === "refuse") {
        this.counters.refused++;
        return;
      }
      this.#evict();
    }
    // A key that an index cannot have throws here, before anything is changed.
    const bits: Words[] = [];
    for (const { place } of this.#indexes.values()) bits.push(parse(place, key as Value));
    const entry: Entry<K, V> = {
      key,
      value,
      usedMs: atMs,
      movedMs: -Infinity,
      writtenMs: atMs,
      dependency: 0,
    };
    this.#entries.set(key, entry);
    this.#numbers.clear();
    let i = 0;
    for (const index of this.#indexes.values()) {
      const { width } = index.place;
      const at = bits[i++] as Words;
      enter(index, at, entry);
      if (index.blocks.size > 0) index.blocks.above(at, width, (id) => notify(id));
    }
    const absent = this.#absent.get(key);
    if (absent !== undefined) notify(absent);
    if (this.#all !== 0) notify(this.#all);
  }

  /**
   * Makes room: of the entries that are in the map longest, the one that was silent longest goes.
   */
  #evict(): void {
    let oldest: Entry<K, V> | undefined;
    let seen = 0;
    for (const entry of this.#entries.values()) {
      if (oldest === undefined || entry.usedMs < oldest.usedMs) oldest = entry;
      if (++seen === 16) break;
    }
    if (oldest === undefined) return;
    this.counters.evicted++;
    this.#remove(oldest);
  }

  /** Removes a key; false if there is none. */
  delete(key: K): boolean {
    refuseInRun(this.name);
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    wrote({ name: this.name, op: "delete", key });
    this.#remove(entry);
    return true;
  }

  /** Removes every key. */
  clear(): void {
    refuseInRun(this.name);
    wrote({ name: this.name, op: "clear" });
    for (const entry of [...this.#entries.values()]) this.#remove(entry);
  }

  #remove(entry: Entry<K, V>): void {
    this.#entries.delete(entry.key);
    this.#numbers.clear();
    for (const index of this.#indexes.values()) {
      leave(index, parse(index.place, entry.key as Value), entry);
    }
    if (entry.dependency !== 0) notify(entry.dependency);
    if (this.#all !== 0) notify(this.#all);
  }

  /**
   * Removes what was silent for longer than `idleMs`; answers when to look again, ms since 1970.
   */
  expire(nowMs: number): number {
    const { idleMs } = this.#options;
    if (idleMs === undefined) return Infinity;
    let next = nowMs + idleMs;
    for (const entry of [...this.#entries.values()]) {
      const end = entry.usedMs + idleMs;
      if (end <= nowMs) {
        this.counters.expired++;
        wrote({ name: this.name, op: "delete", key: entry.key });
        this.#remove(entry);
      } else next = Math.min(next, end);
    }
    return next;
  }

  /** @ignore */
  forget(_id: number, key: unknown): void {
    const made = key as Key<K, V>;
    if (made.of === "entry") made.entry.dependency = 0;
    else if (made.of === "absent") this.#absent.delete(made.key);
    else if (made.of === "block") made.index.blocks.delete(made.bits, made.length);
    else this.#all = 0;
  }

  /** @ignore */
  describe(key: unknown): string {
    const made = key as Key<K, V>;
    switch (made.of) {
      case "entry":
        return `${this.name}[${String(made.entry.key)}] = ${String(made.entry.value)}`;
      case "absent":
        return `${this.name} has no ${String(made.key)}`;
      case "block":
        return `${this.name} has nothing within /${made.length} of the packet's ${made.index.place.name}`;
      default:
        return `all of ${this.name}`;
    }
  }
}
