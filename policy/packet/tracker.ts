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
import { NumberLeaf } from "../../providers/codec/leaf.ts";
import { dropUnused } from "../state/dependency.ts";
import type { Effect } from "./effect.ts";
import { callSite } from "./call_site.ts";
import { Layout, Layouts } from "./layout.ts";
import {
  commonBits,
  lay,
  load,
  type Place,
  placeOf,
  prefixMask,
  type Words,
  words,
} from "./leaf.ts";

/** What a policy asked the packet for. */
export interface Read {
  /** The leaf. */
  readonly leaf: string;
  /** How: the value, a test with its operand, or presence. */
  readonly how: string;
  /** Where in the policy, if the run looked. */
  readonly at: string | undefined;
}

const protocolPlaces = { 4: placeOf("ipv4.proto"), 6: placeOf("ipv6.proto") };
const fragmentPlaces = { 4: placeOf("ipv4.frag"), 6: placeOf("ipv6.frag") };
const icmpType = placeOf("icmpv6.type");
const icmpCode = placeOf("icmpv6.code");
const ctState = placeOf("ctState");
const ctTupleProtocols = { 4: placeOf("ctTuple4.proto"), 6: placeOf("ctTuple6.proto") };
const IPV4 = protocolPlaces[4].slot;
const IPV6 = protocolPlaces[6].slot;
const tracked = Uint32Array.of(0x20 << 24, 0, 0, 0);

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
  /** The key of the packet. */
  key: Uint8Array = new Uint8Array();
  /** The mask so far, `maskSize` bytes of it. */
  readonly mask: Uint8Array = new Uint8Array(2048);
  readonly #maskWords = new Uint32Array(this.mask.buffer);
  maskSize = 0;
  layout: Layout = emptyLayout;
  /** Dependencies that were read, each once. */
  dependencies: number[] = [];
  /** What is to be done for each such packet. */
  readonly effects: Effect[] = [];
  /** Why there can be no flow, if the run said or read something that no mask can express. */
  uncacheable: string | undefined;
  /** Metadata that was read though the key lacks it. */
  readonly missing: Set<number> = new Set();
  /** When the verdict ends, ms since 1970; infinite unless the policy said. */
  deadline = Infinity;
  /** The clock of this run. */
  nowMs = 0;
  /** Whether the clock was read. */
  readClock = false;
  /** Reads in their order, when somebody wants to know them. */
  reads: Read[] | undefined;
  /** Round lengths of prefixes up to multiples of this, so that masks stay few. */
  step = 1;

  /** The layout of a key. Throws `AttributeError` when it is malformed. */
  layoutOf(key: Uint8Array): Layout {
    const last = this.layout;
    return last.isShared && last.fits(key) ? last : this.#layouts.of(key);
  }

  /** As `layoutOf`, for a key on which a run begins next, which need not ask again. */
  prepare(key: Uint8Array): Layout {
    this.#prepared = key;
    return this.layout = this.layoutOf(key);
  }
  #prepared: Uint8Array | undefined;

  /** Begins a run on a key: the mask is that of its layout, or `fence`, what is masked already. */
  begin(key: Uint8Array, nowMs: number, fence?: Uint8Array): void {
    if (current !== undefined) {
      throw new TypeError("a policy runs: another run cannot begin within it");
    }
    this.dependencies = [];
    this.key = key;
    const layout = key === this.#prepared ? this.layout : this.prepare(key);
    this.#prepared = undefined;
    const start = fence ?? layout.template;
    this.maskSize = start.length;
    if (start.length > this.mask.length) throw new RangeError("mask is too long");
    this.mask.set(start);
    this.effects.length = 0;
    if (this.missing.size > 0) this.missing.clear();
    this.uncacheable = undefined;
    this.deadline = Infinity;
    this.nowMs = nowMs;
    this.readClock = false;
    current = this;
  }

  /** Ends the run: the packet cannot be read any more. */
  end(): void {
    current = undefined;
    if (this.readClock && this.deadline === Infinity) this.uncacheable ??= "clock";
  }

  /** Whether a run is under way. */
  get running(): boolean {
    return current === this;
  }

  /** Whether the mask is this one of `size` bytes, given as words; `size` is a multiple of 4. */
  hasMask(words: Uint32Array, size: number): boolean {
    if (size !== this.maskSize) return false;
    for (let i = 0; i < size >> 2; i++) if (words[i] !== this.#maskWords[i]) return false;
    return true;
  }

  /** Notes a dependency. */
  depend(id: number): void {
    // Few in any run: looking through them costs less than a set.
    if (!this.dependencies.includes(id)) this.dependencies.push(id);
  }

  /** Lets go of dependencies that nothing kept. */
  dropDependencies(): void {
    for (const id of this.dependencies) dropUnused(id);
    this.dependencies = [];
  }

  /** Tells what was read, where somebody listens. */
  note(leaf: string, how: string): void {
    this.reads?.push({ leaf, how, at: callSite() });
  }

  #check(): void {
    if (current !== this) {
      throw new TypeError("a packet can be read only while its policy runs");
    }
  }

  /** Whether the packet has the value; what tells so is masked. */
  present(place: Place): boolean {
    this.#check();
    const at = this.layout.key[place.slot] as number;
    switch (place.told) {
      case "protocol":
        return this.#presentByProtocol(place.protocol, at !== 0);
      case "discovery":
        return this.#presentDiscovery(at !== 0);
      case "label":
        return this.#presentLabel(place);
      case "tracked":
        return this.#presentTuple(place, at !== 0);
      default:
        if (at === 0 && place.zero && place.slot < 40) this.missing.add(place.slot);
        return at !== 0;
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
      this.mask[at] = (this.mask[at] as number) | 1;
    }
    return index < labels;
  }

  /** A tracked packet's tuple is told by the state of its connection. */
  #presentTuple(place: Place, isThere: boolean): boolean {
    this.#layAll(ctState);
    if (!isThere) return false;
    this.#layAll(ctTupleProtocols[place.name.startsWith("ctTuple4") ? 4 : 6]);
    return true;
  }

  /** Masks all bits of a value that is there. */
  #layAll(place: Place): void {
    const at = this.layout.mask[place.slot] as number;
    if (at === 0) {
      if (place.zero && place.slot < 40) this.missing.add(place.slot);
      return;
    }
    lay(place, this.mask, at + place.at, prefixMask(place.width));
  }

  /** Masks leading bits of a value, rounded up to the step. */
  layPrefix(place: Place, length: number): void {
    const rounded = this.step === 1 || length === 0
      ? length
      : Math.min(place.width, Math.ceil(length / this.step) * this.step);
    this.layBits(place, prefixMask(rounded));
  }

  /** Masks bits of a value. Who reads any state of a connection reads whether there is one. */
  layBits(place: Place, bits: Words): void {
    const at = this.layout.mask[place.slot] as number;
    if (at === 0) {
      if (place.zero && place.slot < 40) this.missing.add(place.slot);
      return;
    }
    if (place === ctState && bits[0] !== 0) lay(place, this.mask, at, tracked);
    lay(place, this.mask, at + place.at, bits);
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

function compare(a: Words, b: Words): number {
  for (let i = 0; i < 4; i++) {
    if (a[i] !== b[i]) return (a[i] as number) < (b[i] as number) ? -1 : 1;
  }
  return 0;
}

const from = words();
const to = words();

/** Whether all values that share the first `length` bits are in the range, or all out of it. */
function isDecided(
  value: Words,
  length: number,
  low: Words,
  high: Words,
  inside: boolean,
): boolean {
  const kept = prefixMask(length);
  for (let i = 0; i < 4; i++) {
    from[i] = (value[i] as number) & (kept[i] as number);
    to[i] = (value[i] as number) | ~(kept[i] as number);
  }
  return inside
    ? compare(from, low) >= 0 && compare(to, high) <= 0
    : compare(to, low) < 0 || compare(from, high) > 0;
}

const emptyLayout = new Layout(new Uint8Array());

/** Whether a place holds a number of 32 bits at most. */
export function isNumber(place: Place): boolean {
  return place.wire instanceof NumberLeaf;
}

/** How many of the leading bits of a value are masked. */
export function leadingMasked(tracker: Tracker, place: Place): number {
  const masked = tracker.maskedOf(place, scratch);
  for (let i = 0; i < 4; i++) {
    const zeros = ~(masked[i] as number);
    if (zeros !== 0) return Math.min(place.width, 32 * i + Math.clz32(zeros));
  }
  return place.width;
}

const scratch = words();
