// SPDX-License-Identifier: Apache-2.0
/**
 * Prefixes of addresses, looked up by the longest that fits.
 *
 * @module
 */
import { makeDependency, notify, type Owner } from "./dependency.ts";
import {
  type Leaf,
  parsePrefix,
  type Place,
  placeOf,
  type Words,
  words,
} from "../packet/leaf.ts";
import { type Packet, type Tracked, TRACKER } from "../packet/packet.ts";
import { isSameForever, noteThings, safeText } from "../copy.ts";
import { dependOn, refuseFlow, refuseInRun } from "./state.ts";
import { wrote } from "./state_event.ts";
import { leadingMasked } from "../packet/leading.ts";
import { Trie } from "./trie.ts";

/** A prefix and its value, as they are found: what was found once stays as it was. */
interface Found<V> {
  readonly prefix: string;
  readonly value: V;
}

/** The same as it is kept. */
interface Entry<V> {
  found: Found<V>;
  readonly bits: Words;
  readonly length: number;
  dependency: number;
}

interface Block {
  readonly bits: Words;
  readonly length: number;
}

const samples = {
  ipv4: placeOf("ipv4.dst"),
  ipv6: placeOf("ipv6.dst"),
  ethernet: placeOf("ethernet.dst"),
} as const;

const scratch = words();
const COUNT = "count";
/** What runs rest on while the map takes addresses of any kind. */
const KIND = "kind";

function placeFor(prefix: string): Place {
  const [address = ""] = prefix.split("/");
  if (/^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(address)) return samples.ethernet;
  return address.includes(":") ? samples.ipv6 : samples.ipv4;
}

/** A routing table. Prefixes of one kind of address: IPv4, IPv6 or Ethernet. */
export class PrefixMap<V> implements Owner {
  /** Its name, for `explain`. */
  readonly name: string;
  #kind: string | undefined;
  /** Dependency on how many there are. */
  #count = 0;
  /** Dependency on there being no kind of address yet. */
  #anyKind = 0;
  #trie: Trie<Entry<V>> = new Trie(128);
  /** Dependencies on blocks whose longest prefix is known. */
  #blocks: Trie<number> = new Trie(128);

  /** Makes an empty map. */
  constructor(options: { readonly name?: string } = {}) {
    this.name = options.name ?? "prefixes";
  }

  /** Number of prefixes; a run that asks depends on it. */
  get size(): number {
    this.#count = dependOn(this, COUNT, this.#count);
    return this.#trie.size;
  }

  /**
   * Adds a prefix, or gives it another value. Throws `SyntaxError` for bad text, `TypeError` for
   * another kind of address.
   */
  set(prefix: string, value: V): this {
    refuseInRun(this.name);
    const place = placeFor(prefix);
    if ((this.#kind ?? place.kind) !== place.kind) {
      throw new TypeError(`${this.name} has addresses of another kind than ${prefix}`);
    }
    const { bits, length } = parsePrefix(place, prefix);
    wrote({ name: this.name, op: "set", key: prefix, value });
    if (this.#kind === undefined) this.#become(place.kind);
    const known = this.#trie.get(bits, length);
    if (known !== undefined) {
      if (isSameForever(known.found.value, value)) return this;
      known.found = Object.freeze({ prefix: known.found.prefix, value });
      if (known.dependency !== 0) notify(known.dependency);
      return this;
    }
    const found = Object.freeze({ prefix, value });
    this.#trie.set(bits, length, { found, bits, length, dependency: 0 });
    if (this.#count !== 0) notify(this.#count);
    // Blocks that the prefix is in, or that are in it: a longer prefix than theirs may have come.
    this.#blocks.above(bits, length, (id) => notify(id));
    this.#blocks.below(bits, length, (id) => notify(id));
    return this;
  }

  /** From now on lookups by addresses of another kind throw, which found nothing until now. */
  #become(kind: string): void {
    this.#kind = kind;
    if (this.#anyKind !== 0) notify(this.#anyKind);
  }

  /** Removes a prefix; false if it is not there. */
  delete(prefix: string): boolean {
    refuseInRun(this.name);
    const place = placeFor(prefix);
    if (this.#kind !== place.kind) return false;
    const { bits, length } = parsePrefix(place, prefix);
    const known = this.#trie.get(bits, length);
    if (known === undefined) return false;
    wrote({ name: this.name, op: "delete", key: prefix });
    this.#trie.delete(bits, length);
    if (known.dependency !== 0) notify(known.dependency);
    if (this.#count !== 0) notify(this.#count);
    return true;
  }

  /** The longest prefix of the packet's address. What tells it is masked, and no more. */
  lookup(
    packet: Packet,
    leaf: Leaf,
  ): { readonly prefix: string; readonly value: V } | undefined {
    const place = placeOf(leaf);
    if (this.#kind !== undefined && this.#kind !== place.kind) {
      throw new TypeError(`${this.name} has addresses of another kind than ${leaf}`);
    }
    const tracker = (packet as Packet & Tracked)[TRACKER];
    if (tracker === undefined) return this.#scan(packet, leaf)?.found;
    if (this.#kind === undefined) {
      this.#anyKind ||= makeDependency(this, KIND);
      tracker.depend(this.#anyKind);
    }
    if (tracker.reads !== undefined) tracker.note(leaf, `in ${this.name}`);
    if (!tracker.present(place) && !place.zero) return undefined;
    const bits = tracker.valueOf(place, scratch);
    const { value: entry, proof, length } = this.#trie.find(bits);
    tracker.layPrefix(place, Math.max(proof, length));
    const masked = leadingMasked(tracker, place);
    let id = this.#blocks.get(bits, masked);
    if (id === undefined) {
      const block: Block = { bits: bits.slice(), length: masked };
      id = makeDependency(this, block);
      this.#blocks.set(bits, masked, id);
    }
    tracker.depend(id);
    if (entry === undefined) return undefined;
    entry.dependency ||= makeDependency(this, entry);
    tracker.depend(entry.dependency);
    return entry.found;
  }

  /** For packets that nobody tracks: the plain way. */
  #scan(packet: Packet, leaf: Leaf): Entry<V> | undefined {
    let best: Entry<V> | undefined;
    for (const entry of this.#all()) {
      if (best !== undefined && best.length >= entry.length) continue;
      if (packet.within(leaf, entry.found.prefix)) best = entry;
    }
    return best;
  }

  #all(): Entry<V>[] {
    const found: Entry<V>[] = [];
    const none = words();
    this.#trie.above(none, 0, (entry) => found.push(entry));
    this.#trie.below(none, 0, (entry) => found.push(entry));
    return found;
  }

  /** @ignore */
  forget(_id: number, key: unknown): void {
    if (key === COUNT || key === KIND) {
      if (key === COUNT) this.#count = 0;
      else this.#anyKind = 0;
      return;
    }
    const made = key as Entry<V> | Block;
    if ("found" in made) made.dependency = 0;
    else this.#blocks.delete(made.bits, made.length);
  }

  /** @ignore */
  describe(key: unknown): string {
    refuseFlow("described");
    if (key === KIND) return `${this.name} has had no prefix yet`;
    if (key === COUNT) return `${this.name} has ${this.#trie.size} prefixes`;
    const made = key as Entry<V> | Block;
    return "found" in made
      ? `${this.name}[${made.found.prefix}] = ${safeText(made.found.value)}`
      : `${this.name} has no longer prefix within /${made.length} of the packet's address`;
  }
}

noteThings(PrefixMap);
