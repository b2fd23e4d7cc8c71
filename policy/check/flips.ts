// SPDX-License-Identifier: Apache-2.0
/**
 * Packets of the same shape as one, that differ from it in bits which its flow leaves open.
 *
 * There are many of them for each packet, so that they are cheap: a mutant is the packet's own
 * object, with those fields before it whose bytes were changed.
 *
 * @module
 */
import { decodeKey, keyById, VLAN } from "../../providers/odp/key.ts";
import type { FlowKey } from "../../providers/types.ts";
import { type FreeBits, nameOf } from "./model.ts";
import type { Random } from "./random.ts";

/** Bytes of one attribute. */
interface Span {
  readonly id: number;
  /** Where its bytes are in the lists of free bits: first, and behind the last. */
  readonly from: number;
  readonly to: number;
}

function spansOf({ at, ids }: FreeBits): Span[] {
  const spans: Span[] = [];
  let from = 0;
  for (let i = 1; i <= at.length; i++) {
    const isOne = ids[i] === ids[from] && at[i] === (at[i - 1] as number) + 1;
    if (isOne) continue;
    spans.push({ id: ids[from] as number, from, to: i });
    from = i;
  }
  return spans;
}

/** A random one of the bits that are set. */
function oneOf(bits: number, random: Random): number {
  for (;;) {
    const bit = bits & 1 << random(8);
    if (bit !== 0) return bit;
  }
}

/** Makes mutants of one packet. */
export class Flips {
  readonly #x: FlowKey;
  readonly #key: Uint8Array;
  readonly #free: FreeBits;
  /** The bytes of the last mutant. */
  readonly #bytes: Uint8Array;
  /** Bytes with open bits, by their place in the lists. */
  readonly #any: readonly number[];
  /** Those of them that are in fields which were read. */
  readonly #read: readonly number[];
  readonly #spanOf: readonly Span[];

  /** `x` is the packet, `key` its bytes; `read` names the fields of which values were read. */
  constructor(x: FlowKey, key: Uint8Array, free: FreeBits, read: ReadonlySet<string>) {
    this.#x = x;
    this.#key = key;
    this.#free = free;
    this.#bytes = key.slice();
    const spanOf: Span[] = [];
    for (const span of spansOf(free)) {
      for (let i = span.from; i < span.to; i++) spanOf[i] = span;
    }
    this.#spanOf = spanOf;
    this.#any = free.open.flatMap((bits, i) => bits === 0 ? [] : [i]);
    this.#read = this.#any.filter((i) => read.has(fieldOf(free.ids[i] as number)));
  }

  /** Whether a bit that was read is open: else every mutant has the packet's own verdict. */
  get matters(): boolean {
    return this.#read.length > 0;
  }

  /**
   * Another packet: one open bit flipped, some, most, in turn. `isAny` flips bits that nobody read,
   * too.
   */
  next(random: Random, round: number, isAny: boolean): FlowKey {
    const places = isAny ? this.#any : this.#read;
    this.#bytes.set(this.#key);
    if (places.length === 0) return this.#x;
    const changed = new Set<Span>();
    const { open } = this.#free;
    const kind = round % 3;
    if (kind === 0) {
      const i = places[random(places.length)] as number;
      this.#flip(i, oneOf(open[i] as number, random), changed);
    } else {
      for (const i of places) {
        const bits = open[i] as number;
        if (kind === 1) this.#flip(i, bits & random(256), changed);
        else if (random(3) > 0) this.#flip(i, bits, changed);
      }
    }
    return this.#keyOf(changed);
  }

  /** Places of two bytes that were read, of which some bits are open and others are not. */
  get halfOpen(): number[] {
    const { closed, ids } = this.#free;
    return this.#read.filter((i) =>
      ids[i + 1] === ids[i] && ((closed[i] as number) | (closed[i + 1] as number)) !== 0
    );
  }

  /** Every packet with other open bits in the two bytes at a place, 1,024 at most. */
  *valuesAt(place: number): Generator<FlowKey, void, undefined> {
    const { at, open } = this.#free;
    const openBits = (open[place] as number) << 8 | (open[place + 1] as number);
    const changed = new Set([this.#spanOf[place] as Span]);
    let value = 0;
    for (let n = 0; n < 1024; n++) {
      this.#bytes.set(this.#key);
      for (const [i, bits] of [[place, value >> 8], [place + 1, value & 0xff]] as const) {
        const to = at[i] as number;
        this.#bytes[to] = (this.#bytes[to] as number) & ~(open[i] as number) | bits;
      }
      yield this.#keyOf(changed);
      // The next value that has only open bits.
      value = (value | ~openBits) + 1 & openBits;
      if (value === 0) break;
    }
  }

  /** The packet with one bit flipped that the flow has. */
  closedAt(i: number): FlowKey {
    const bits = this.#free.closed[i] as number;
    const changed = new Set<Span>();
    this.#bytes.set(this.#key);
    this.#flip(i, bits & -bits, changed);
    return this.#keyOf(changed);
  }

  #flip(i: number, bits: number, changed: Set<Span>): void {
    const to = this.#free.at[i] as number;
    this.#bytes[to] = (this.#bytes[to] as number) ^ bits;
    changed.add(this.#spanOf[i] as Span);
  }

  /** The packet that the bytes are, of which these attributes are others. */
  #keyOf(changed: ReadonlySet<Span>): FlowKey {
    const key = Object.create(this.#x) as Record<string, unknown>;
    for (const { id, from, to } of changed) {
      const line = keyById[id];
      if (id === VLAN || line === undefined) return decodeKey(this.#bytes);
      const at = this.#free.at[from] as number;
      key[line.name] = line.wire.read(this.#bytes, at, to - from);
    }
    return key as unknown as FlowKey;
  }

  /** A copy of the bytes of the last mutant. */
  bytes(): Uint8Array {
    return this.#bytes.slice();
  }
}

function fieldOf(id: number): string {
  return id === VLAN ? "vlans" : nameOf(id);
}
