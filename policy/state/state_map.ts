// SPDX-License-Identifier: Apache-2.0
/**
 * Maps that policies read by key or by packet, and that packets teach.
 *
 * @module
 */
import { clockMs } from "../clock.ts";
import { areAlike, isSameForever, noteThings, safeText } from "../copy.ts";
import { keyIn, makeDependency, notify, type Owner } from "./dependency.ts";
import { type Leaf, parse, type Place, placeOf, type Value } from "../packet/leaf.ts";
import { words } from "../packet/leaf.ts";
import { numberOf, widthOf } from "../packet/plain.ts";
import { type Packet, PLAIN, type Tracked, TRACKER } from "../packet/packet.ts";
import { type Keepable, noteNamed } from "./keep.ts";
import { Block, checkBounds, enter, Entry, type Index, leave } from "./map_entry.ts";
import { dependOn, nameOf, refuseFlow, refuseInRun } from "./state.ts";
import { wrote } from "./state_event.ts";
import type { Learner } from "../packet/effect.ts";
import { leadingMasked } from "../packet/leading.ts";
import { currentTracker, type Tracker } from "../packet/tracker.ts";
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
  /**
   * Whether to write one value over the other changes nothing. If absent: frozen, and the same.
   */
  readonly equals?: (a: V, b: V) => boolean;
  /**
   * A key that a packet moved stays where it is for so long, ms, whatever packets say; 1,000 if
   * absent.
   */
  readonly holdMs?: number;
}

const scratch = words();

/** What a run that asks for all keys rests on. */
const ALL = "all";

/** A map that policies read and packets teach. */
export class StateMap<K, V> implements Owner, Learner, Keepable {
  /** Its name. */
  readonly name: string;
  /**
   * Entries that were refused or evicted because the map was full, and packets that moved a key too
   * often. As a `Counter` that a policy reads, they give its packet no flow.
   */
  get counters(): {
    readonly refused: number;
    readonly evicted: number;
    readonly expired: number;
    readonly added: number;
    readonly flapping: number;
  } {
    refuseFlow("counter");
    return Object.freeze({ ...this.#counters });
  }
  readonly #counters = { refused: 0, evicted: 0, expired: 0, added: 0, flapping: 0 };
  readonly #options: StateMapOptions<V>;
  readonly #entries = new Map<K, Entry<K, V>>();
  /** How many of them are there, the first that came, and the last. */
  #size = 0;
  #first: Entry<K, V> | undefined;
  #last: Entry<K, V> | undefined;
  readonly #indexes = new Map<string, Index<K, V>>();
  /** Entries by their keys as numbers of so many bits, for packets that nobody tracks. */
  readonly #numbers = new Map<number, Map<bigint, Entry<K, V>>>();
  #whole = 0;

  /** Makes an empty map. Throws `RangeError` for a bound that is none. */
  constructor(options: StateMapOptions<V> = {}) {
    checkBounds(options);
    this.#options = options;
    this.name = nameOf("map", options.name);
    if (options.name !== undefined) noteNamed(this);
  }

  /** @ignore */
  takeOver(before: unknown): void {
    if (!(before instanceof StateMap)) return;
    for (const { key, value, usedMs } of before.#all()) {
      this.#set(key as K, value as V, usedMs, this.#entries.get(key as K));
    }
  }

  /** The value of a key. */
  get(key: K): V | undefined {
    const tracker = currentTracker();
    if (tracker === undefined) return this.#entries.get(key)?.value;
    return this.#read(tracker, key).value;
  }

  /** Whether there is a key. */
  has(key: K): boolean {
    const tracker = currentTracker();
    if (tracker === undefined) return this.#entries.get(key)?.isThere === true;
    return this.#read(tracker, key).isThere;
  }

  /** The entry of a key that a run reads, there or not. */
  #read(tracker: Tracker, key: K): Entry<K, V> {
    // An entry on which something rests is in the map: one that was read before need not be found.
    const before = keyIn(tracker.expected, this);
    let entry = before instanceof Entry && before.key === key
      ? before as Entry<K, V>
      : this.#entries.get(key);
    if (entry === undefined) this.#entries.set(key, entry = new Entry(key));
    entry.dependency ||= makeDependency(this, entry);
    tracker.depend(entry.dependency);
    return entry;
  }

  /** Those that are there, as they are now. */
  #all(): Entry<K, V>[] {
    const found: Entry<K, V>[] = [];
    for (let one = this.#first; one !== undefined; one = one.after) found.push(one);
    return found;
  }

  /** When a key was written or seen last, as `clockMs()` tells; no run may rest on that. */
  usedMs(key: K): number | undefined {
    refuseInRun(this.name);
    const entry = this.#entries.get(key);
    return entry?.isThere === true ? entry.usedMs : undefined;
  }

  /** Number of entries; a run that asks depends on every key. */
  get size(): number {
    this.#dependOnAll();
    return this.#size;
  }

  /** Keys and values; a run that asks depends on all of them. */
  *entries(): IterableIterator<[K, V]> {
    this.#dependOnAll();
    for (const { key, value, isThere } of this.#all()) {
      if (isThere) yield [key, value as V];
      this.#dependOnAll(); // What goes on in a run may have begun before it.
    }
  }

  /** As `entries`. */
  [Symbol.iterator](): IterableIterator<[K, V]> {
    return this.entries();
  }

  #dependOnAll(): void {
    this.#whole = dependOn(this, ALL, this.#whole);
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
      entry.dependency ||= makeDependency(this, entry);
      tracker.depend(entry.dependency);
      return entry.value;
    }
    const length = leadingMasked(tracker, place);
    let id = index.blocks.get(bits, length);
    if (id === undefined) {
      id = makeDependency(this, new Block(index, bits.slice(), length));
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
      for (const entry of this.#all()) numbers.set(numberOf(entry.key, width), entry);
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
      bits: words(),
    };
    try {
      for (const entry of this.#all()) {
        enter(made, parse(place, entry.key as Value), entry);
      }
    } catch (error) {
      this.#dependOnAll(); // A run may make an end of that, until the key is gone.
      throw error;
    }
    this.#indexes.set(kind, made);
    return made;
  }

  /** Writes a value. */
  set(key: K, value: V): this {
    refuseInRun(this.name);
    wrote({ name: this.name, op: "set", key, value });
    this.#set(key, value, clockMs(), this.#entries.get(key));
    return this;
  }

  /** @ignore As `set`, but at a time that is given. */
  setAt(key: K, value: V, atMs: number): void {
    refuseInRun(this.name);
    wrote({ name: this.name, op: "set", key, value });
    this.#set(key, value, atMs, this.#entries.get(key));
  }

  /** @ignore Has all that is there count as written long ago: a time before now begins. */
  age(): void {
    refuseInRun(this.name);
    for (const entry of this.#all()) {
      entry.usedMs = entry.writtenMs = 0;
      entry.movedMs = -Infinity;
    }
  }

  /** @ignore */
  hear(key: unknown, value: unknown, atMs: number, sinceMs = atMs): void {
    refuseInRun(this.name);
    const entry = this.#entries.get(key as K);
    if (entry?.isThere) {
      if (this.#isTaught(entry.value as V, value as V)) {
        entry.usedMs = Math.max(entry.usedMs, atMs);
        return;
      }
      // The packet may be older than what is known: a station has moved since it sent it.
      if (sinceMs < entry.writtenMs) return;
      if (atMs - entry.movedMs < (this.#options.holdMs ?? 1000)) {
        this.#counters.flapping++;
        return;
      }
    }
    this.#set(key as K, value as V, atMs, entry);
  }

  /** Whether what a packet teaches is what is known: it is a copy, which no other one is. */
  #isTaught(known: V, taught: V): boolean {
    const { equals } = this.#options;
    return equals === undefined ? areAlike(known, taught) : equals(known, taught);
  }

  #isSame(a: V, b: V): boolean {
    const { equals } = this.#options;
    return equals === undefined ? isSameForever(a, b) : equals(a, b);
  }

  #set(key: K, value: V, atMs: number, entry: Entry<K, V> | undefined): void {
    if (entry?.isThere !== true) return this.#add(key, value, atMs, entry);
    if (this.#isSame(entry.value as V, value)) {
      entry.usedMs = Math.max(entry.usedMs, atMs);
      return;
    }
    entry.usedMs = atMs;
    entry.movedMs = atMs;
    entry.writtenMs = atMs;
    entry.value = value;
    this.#tell(entry);
  }

  /** Tells who rests on a key, and who rests on all. */
  #tell(entry: Entry<K, V>): void {
    if (entry.dependency !== 0) notify(entry.dependency);
    if (this.#whole !== 0) notify(this.#whole);
  }

  #add(key: K, value: V, atMs: number, entry: Entry<K, V> | undefined): void {
    const { max = 65_536, full = "evict" } = this.#options;
    if (this.#size >= max) {
      if (full === "refuse") {
        this.#counters.refused++;
        return;
      }
      this.#evict();
      entry = this.#entries.get(key);
    }
    // A key that an index cannot have throws here, before anything is changed.
    for (const { place, bits } of this.#indexes.values()) {
      parse(place, key as Value, bits);
    }
    if (entry === undefined) this.#entries.set(key, entry = new Entry(key));
    entry.value = value;
    entry.isThere = true;
    entry.usedMs = atMs;
    entry.writtenMs = atMs;
    entry.movedMs = -Infinity;
    entry.before = this.#last;
    if (this.#last === undefined) this.#first = entry;
    else this.#last.after = entry;
    this.#last = entry;
    this.#size++;
    this.#counters.added++;
    if (this.#numbers.size > 0) this.#numbers.clear();
    for (const index of this.#indexes.values()) {
      const { bits, blocks, place: { width } } = index;
      enter(index, bits, entry);
      if (blocks.size > 0) blocks.above(bits, width, (id) => notify(id));
    }
    this.#tell(entry);
  }

  /**
   * Makes room: of the entries that are in the map longest, the one that was silent longest goes.
   */
  #evict(): void {
    let oldest = this.#first;
    let next = oldest;
    for (let seen = 0; next !== undefined && seen < 16; seen++, next = next.after) {
      if (next.usedMs < (oldest as Entry<K, V>).usedMs) oldest = next;
    }
    if (oldest === undefined) return;
    this.#counters.evicted++;
    this.#remove(oldest);
  }

  /** Removes a key; false if there is none. */
  delete(key: K): boolean {
    refuseInRun(this.name);
    const entry = this.#entries.get(key);
    if (!entry?.isThere) return false;
    wrote({ name: this.name, op: "delete", key });
    this.#remove(entry);
    return true;
  }

  /** Removes every key. */
  clear(): void {
    refuseInRun(this.name);
    wrote({ name: this.name, op: "clear" });
    for (const entry of this.#all()) this.#remove(entry);
  }

  #remove(entry: Entry<K, V>): void {
    const { before, after } = entry;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    entry.before = entry.after = entry.value = undefined;
    entry.isThere = false;
    this.#size--;
    if (this.#numbers.size > 0) this.#numbers.clear();
    for (const index of this.#indexes.values()) {
      leave(index, parse(index.place, entry.key as Value, index.bits), entry);
    }
    if (entry.dependency === 0) this.#entries.delete(entry.key);
    this.#tell(entry);
  }

  /**
   * Removes what was silent for longer than `idleMs`; answers when to look again, ms since 1970.
   */
  expire(nowMs: number): number {
    refuseInRun(this.name);
    const { idleMs } = this.#options;
    if (idleMs === undefined) return Infinity;
    let next = nowMs + idleMs;
    for (const entry of this.#all()) {
      const end = entry.usedMs + idleMs;
      if (end <= nowMs) {
        this.#counters.expired++;
        wrote({ name: this.name, op: "delete", key: entry.key });
        this.#remove(entry);
      } else next = Math.min(next, end);
    }
    return next;
  }

  /** @ignore */
  forget(_id: number, key: unknown): void {
    if (key instanceof Entry) {
      key.dependency = 0;
      if (!key.isThere) this.#entries.delete(key.key);
    } else if (key instanceof Block) key.index.blocks.delete(key.bits, key.length);
    else this.#whole = 0;
  }

  /** @ignore */
  describe(key: unknown): string {
    refuseFlow("described");
    if (key instanceof Entry) {
      const name = safeText(key.key);
      if (!key.isThere) return `${this.name} has no ${name}`;
      return `${this.name}[${name}] = ${safeText(key.value)}`;
    }
    if (!(key instanceof Block)) return `all of ${this.name}`;
    const { length, index: { place } } = key;
    if (length === 0) return `${this.name} is empty`;
    return `${this.name} has nothing within /${length} of the packet's ${place.name}`;
  }
}

noteThings(StateMap);
