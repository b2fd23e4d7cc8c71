// SPDX-License-Identifier: Apache-2.0
/**
 * Trackers: what a run reads of its packet, and the mask that follows from it.
 *
 * A tracker has the key and a mask of the same shape. A read of a value masks all its bits; a test
 * masks what proves its answer: for "yes" all bits that were asked for, for "no" the leading bits
 * up to the first that differs, and nothing where bits that are masked already differ. Prefixes are
 * masked rather than single bits: several tests of one field then share one.
 *
 * Soundness, the one law: for every key that agrees with this one on the mask, the run would have
 * gone the same way.
 *
 * **Threads:** a tracker serves one run at a time, of the isolate that made it.
 *
 * @module
 */
import { dropUnused } from "../state/dependency.ts";
import { type Effect, NO_EFFECTS } from "./effect.ts";
import { callSite, type Read } from "./call_site.ts";
import { Former } from "./former.ts";
import { Layout, Layouts } from "./layout.ts";
import { RunTime } from "./run_time.ts";
import { lay, layWhole, load, type Place } from "./leaf.ts";
import {
  ctState,
  ctTupleProtocols,
  discovery,
  fragmentPlaces,
  icmpCode,
  icmpType,
  IPV4,
  IPV6,
  protocolPlaces,
  tracked,
} from "./telling.ts";
import {
  commonBits,
  compare,
  isDecided,
  prefixMask,
  type Words,
  words,
} from "./words.ts";

/** Bytes that there is room for at first; few keys have more than 400. */
const ROOM = 1 << 11;

let current: Tracker | undefined;

/** The tracker whose run is under way. */
export function currentTracker(): Tracker | undefined {
  return current;
}

/** What one run of a policy reads. */
export class Tracker {
  readonly #layouts = new Layouts();
  readonly #value = words();
  readonly #masked = words();
  readonly #bits = words();
  /** The key of the packet, `keySize` bytes of it; zeros up to a multiple of four follow. */
  key: Uint8Array = new Uint8Array(ROOM);
  /** The same as words in host order. */
  keyWords: Uint32Array = new Uint32Array(this.key.buffer);
  keySize = 0;
  /** The mask so far, `maskSize` bytes of it. */
  mask: Uint8Array = new Uint8Array(ROOM);
  /** The same as words in host order. */
  maskWords: Uint32Array = new Uint32Array(this.mask.buffer);
  maskSize = 0;
  /** Whether bits were masked that were not when the run began. */
  grew = false;
  layout: Layout = emptyLayout;
  /** Dependencies that were read, each once: the first `dependencyCount`. */
  dependencyIds: Int32Array = new Int32Array(64);
  dependencyCount = 0;
  /** What is to be done for each such packet. A run that has some makes its own list. */
  effects: readonly Effect[] = NO_EFFECTS;
  /** Why there can be no flow, if the run said or read something that no mask can express. */
  uncacheable: string | undefined;
  /** Metadata that was read though the key lacks it. */
  readonly missing: Set<number> = new Set();
  /** The clock of this run, and how long its verdict holds. */
  readonly time: RunTime = new RunTime();
  /** Reads in their order, when somebody wants to know them. */
  reads: Read[] | undefined;
  /** What an earlier run on this key rested on. */
  readonly former: Former = new Former();

  /** The layout of a key. Throws `AttributeError` when it is malformed. */
  layoutOf(key: Uint8Array): Layout {
    const last = this.layout;
    return last.isShared && last.fits(key) ? last : this.#layouts.of(key);
  }

  /** Takes a copy of the key that the next run is about. Throws `AttributeError`. */
  take(key: Uint8Array): Layout {
    const size = key.length;
    this.#makeRoom(size);
    if ((size & 3) !== 0) this.keyWords[size >> 2] = 0;
    this.key.set(key);
    this.keySize = size;
    const last = this.layout;
    const isLast = last.isShared && last.size === size && last.fitsWords(this.keyWords);
    return isLast ? last : this.layout = this.#layouts.of(key);
  }

  /** As `take`, of a key that is kept as words, whose layout is known. */
  takeStored(words: Uint32Array, at: number, layout: Layout): void {
    const { size } = layout;
    this.#makeRoom(size);
    const { keyWords } = this;
    const count = size + 3 >> 2;
    for (let i = 0; i < count; i++) keyWords[i] = words[at + i] as number;
    this.keySize = size;
    this.layout = layout;
  }

  /**
   * Begins a run on the key that was taken: the mask is that of its layout, or `fence`, words of
   * what is masked already, `size` bytes.
   */
  begin(nowMs: number, fence?: Uint32Array, size = 0): void {
    const start = fence ?? this.layout.templateWords;
    this.maskSize = fence === undefined ? this.layout.template.length : size;
    this.#makeRoom(this.maskSize);
    const { maskWords } = this;
    const count = this.maskSize + 3 >> 2;
    for (let i = 0; i < count; i++) maskWords[i] = start[i] as number;
    if (fence === undefined) this.former.forget();
    this.grew = false;
    this.dependencyCount = 0;
    this.effects = NO_EFFECTS;
    if (this.missing.size > 0) this.missing.clear();
    this.uncacheable = undefined;
    this.time.begin(nowMs);
    current = this;
  }

  /** Makes room for a run on so many bytes. Throws where one is under way. */
  #makeRoom(size: number): void {
    if (current !== undefined) {
      throw new TypeError("a policy runs: another run cannot begin within it");
    }
    if (size <= this.key.length && size <= this.mask.length) return;
    const room = size + 3 & ~3;
    const { key } = this;
    this.key = new Uint8Array(room);
    this.key.set(key.subarray(0, this.keySize));
    this.keyWords = new Uint32Array(this.key.buffer);
    this.mask = new Uint8Array(room);
    this.maskWords = new Uint32Array(this.mask.buffer);
  }

  /** Ends the run: the packet cannot be read any more. */
  end(): void {
    current = undefined;
    this.former.forget();
  }

  /** When the verdict ends, ms since 1970; infinite unless the policy said. */
  get deadline(): number {
    return this.time.deadline;
  }

  /** Why there is to be no flow, by what the run read and said; undefined if there may be one. */
  get whyNone(): string | undefined {
    return this.time.whyNone ?? this.uncacheable;
  }

  /** What the earlier run read here; 0 if that is not known. */
  get expected(): number {
    return this.former.at(this.dependencyCount);
  }

  /** Notes a dependency. */
  depend(id: number): void {
    const ids = this.dependencyIds;
    const count = this.dependencyCount;
    // Few in any run: looking through them costs less than a set.
    for (let i = 0; i < count; i++) if (ids[i] === id) return;
    if (count === ids.length) {
      this.dependencyIds = new Int32Array(2 * count);
      this.dependencyIds.set(ids);
    }
    this.dependencyIds[count] = id;
    this.dependencyCount = count + 1;
  }

  /** Dependencies that were read, as a list of their own. */
  get dependencies(): number[] {
    return [...this.dependencyIds.subarray(0, this.dependencyCount)];
  }

  /** Lets go of dependencies that nothing kept. */
  dropDependencies(): void {
    const count = this.dependencyCount;
    this.dependencyCount = 0;
    for (let i = 0; i < count; i++) dropUnused(this.dependencyIds[i] as number);
  }

  /** Tells what was read, where somebody listens. */
  note(leaf: string, how: string): void {
    this.reads?.push({ leaf, how, at: callSite() });
  }

  /** This one, whose run is under way. Throws `TypeError` where it is not. */
  get checked(): this {
    if (current !== this) {
      throw new TypeError("a packet can be read only while its policy runs");
    }
    return this;
  }

  /** Whether the packet has the value; what tells so is masked. */
  present(place: Place): boolean {
    void this.checked;
    const at = this.layout.key[place.slot] as number;
    if (place.told === "always") {
      if (at === 0 && place.zero && place.slot < 40) this.missing.add(place.slot);
      return at !== 0;
    }
    switch (place.told) {
      case "protocol":
        return this.#presentByProtocol(place.protocol, at !== 0);
      case "discovery":
        return this.#presentDiscovery(at !== 0);
      case "label":
        return this.#presentLabel(place);
      case "tracked":
        return this.#presentTuple(at !== 0);
    }
  }

  /**
   * Layer 4 is told by the protocol; that a later fragment has none, by the fragment type, which is
   * masked always.
   */
  #presentByProtocol(protocol: number, isThere: boolean): boolean {
    const family = this.#family();
    if (family === undefined) return false; // Told by the EtherType.
    const place = protocolPlaces[family];
    const isOther = protocol === 1 && family === 6 || protocol === 58 && family === 4;
    if (isOther) return false;
    if (isThere) {
      this.#layAll(place);
      return true;
    }
    const at = this.layout.key[place.slot] as number;
    if (this.key[at + fragmentPlaces[family].at] === 2) return false;
    this.#bits.fill(0);
    this.#bits[0] = protocol << 24;
    this.#differs(place, this.#bits);
    return false;
  }

  #family(): 4 | 6 | undefined {
    const { key } = this.layout;
    return key[IPV4] !== 0 ? 4 : key[IPV6] !== 0 ? 6 : undefined;
  }

  /**
   * Told by type and code; and by the state of the connection, for a key has either this or the
   * tuple that a tracked IPv6 packet began with.
   */
  #presentDiscovery(isThere: boolean): boolean {
    if (!this.present(icmpType)) return false;
    this.#layAll(icmpType);
    this.#layAll(icmpCode);
    const at = this.layout.key[icmpType.slot] as number;
    const type = this.key[at] as number;
    if ((type === 135 || type === 136) && this.key[at + 1] === 0) this.#layAll(ctState);
    return isThere;
  }

  /** A label is there if none above it is the bottom of the stack. */
  #presentLabel(place: Place): boolean {
    const { key, mask, labels } = this.layout;
    const index = place.at >> 2;
    if (key[place.slot] === 0) return false;
    for (let above = 0; above < Math.min(index, labels); above++) {
      const at = (mask[place.slot] as number) + 4 * above + 2;
      if (((this.mask[at] as number) & 1) === 0) this.grew = true;
      this.mask[at] = (this.mask[at] as number) | 1;
    }
    return index < labels;
  }

  /** Told by the connection's state; of IPv6 also by there being no neighbour discovery. */
  #presentTuple(isThere: boolean): boolean {
    this.#layAll(ctState);
    if (this.#family() === 6) this.present(discovery);
    if (isThere) this.#layAll(ctTupleProtocols[this.#family() ?? 4]);
    return isThere;
  }

  /** Masks all bits of a value that is there. */
  #layAll(place: Place): void {
    const at = this.layout.mask[place.slot] as number;
    if (at !== 0) {
      if (layWhole(place, this.mask, at + place.at)) this.grew = true;
    } else if (place.zero && place.slot < 40) this.missing.add(place.slot);
  }

  /** Masks leading bits of a value. */
  layPrefix(place: Place, length: number): void {
    this.layBits(place, prefixMask(length));
  }

  /** Masks bits of a value. Who reads any state of a connection reads whether there is one. */
  layBits(place: Place, bits: Words): void {
    const at = this.layout.mask[place.slot] as number;
    if (at === 0) {
      if (place.zero && place.slot < 40) this.missing.add(place.slot);
      return;
    }
    if (place === ctState && bits[0] !== 0 && lay(place, this.mask, at, tracked)) {
      this.grew = true;
    }
    if (lay(place, this.mask, at + place.at, bits)) this.grew = true;
  }

  /** The bits of a value that is there, or zeros. */
  valueOf(place: Place, to: Words): Words {
    const at = this.layout.key[place.slot] as number;
    if (at === 0) return to.fill(0);
    load(place, this.key, at + place.at, to);
    return to;
  }

  /** The bits of a value that are masked so far. */
  maskedOf(place: Place, to: Words): Words {
    const at = this.layout.mask[place.slot] as number;
    if (at === 0) return to.fill(0);
    load(place, this.mask, at + place.at, to);
    return to;
  }

  /** Masks what proves that a value differs from another one; it must. */
  #differs(place: Place, other: Words): void {
    const value = this.valueOf(place, this.#value);
    const masked = this.maskedOf(place, this.#masked);
    for (let i = 0; i < 4; i++) {
      const differ = (value[i] as number) ^ (other[i] as number);
      if ((differ & (masked[i] as number)) !== 0) return;
    }
    const common = commonBits(value, other);
    this.layPrefix(place, Math.min(common + 1, place.width));
    // A key that says a protocol and lacks its header comes from no parser: no mask can tell it
    // apart.
    if (common >= place.width) this.uncacheable ??= "malformed key";
  }

  /** Reads a value and masks all of it; undefined if the packet has none. */
  read(place: Place): unknown {
    if (this.reads !== undefined) this.note(place.name, "value");
    if (!this.present(place) && !place.zero) return undefined;
    if (place.slot === ctState.slot) this.layBits(ctState, prefixMask(8));
    else this.#layAll(place);
    const at = this.layout.key[place.slot] as number;
    if (at !== 0) return place.wire.get(this.key, at + place.at);
    return place.name === "ctLabels" ? 0n : 0;
  }

  /**
   * Whether a value equals another in the bits of `of`, all bits if absent; false if the packet has
   * none.
   */
  equals(place: Place, other: Words, of?: Words): boolean {
    if (!this.present(place) && !place.zero) return false;
    const value = this.valueOf(place, this.#value);
    const masked = this.maskedOf(place, this.#masked);
    const all = of ?? prefixMask(place.width);
    let first = -1;
    for (let i = 0; i < 4; i++) {
      const differ = ((value[i] as number) ^ (other[i] as number)) & (all[i] as number);
      if (differ === 0) continue;
      if ((differ & (masked[i] as number)) !== 0) return false;
      if (first < 0) first = 32 * i + Math.clz32(differ);
    }
    if (first < 0) {
      this.layBits(place, all);
      return true;
    }
    if (of === undefined) {
      this.layPrefix(place, first + 1);
      return false;
    }
    const proof = this.#bits;
    const leading = prefixMask(first + 1);
    for (let i = 0; i < 4; i++) proof[i] = (of[i] as number) & (leading[i] as number);
    this.layBits(place, proof);
    return false;
  }

  /** Whether a value has a prefix. */
  within(place: Place, prefix: Words, length: number): boolean {
    if (!this.present(place) && !place.zero) return false;
    const value = this.valueOf(place, this.#value);
    const common = commonBits(value, prefix);
    if (common >= length) {
      this.layPrefix(place, length);
      return true;
    }
    const masked = this.maskedOf(place, this.#masked);
    const kept = prefixMask(length);
    for (let i = 0; i < 4; i++) {
      const differ = ((value[i] as number) ^ (prefix[i] as number)) & (kept[i] as number);
      if ((differ & (masked[i] as number)) !== 0) return false;
    }
    this.layPrefix(place, common + 1);
    return false;
  }

  /**
   * Whether a value is in a range, both ends included: the shortest prefix is masked whose block
   * lies on one side.
   */
  between(place: Place, low: Words, high: Words): boolean {
    if (!this.present(place) && !place.zero) return false;
    const value = this.valueOf(place, this.#value);
    const inside = compare(value, low) >= 0 && compare(value, high) <= 0;
    let length = 0;
    while (length < place.width && !isDecided(value, length, low, high, inside)) length++;
    this.layPrefix(place, length);
    return inside;
  }
}

const emptyLayout = new Layout(new Uint8Array());
