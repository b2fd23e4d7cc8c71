// SPDX-License-Identifier: Apache-2.0
/**
 * Prefixes of packet fields, and pools of them as scenarios write them.
 *
 * A field is a row of 32-bit words, most significant first: one for IPv4, four for IPv6, and
 * one for a UDP port, which stands in the upper 16 bits of its word so that prefixes of
 * ports work like prefixes of addresses.
 *
 * @module
 */

/** Kinds of field: an address or a UDP port. */
export type FieldKind = "ipv4" | "ipv6" | "port";

/** A value of which only the first `length` bits are fixed. */
export interface Prefix {
  readonly kind: FieldKind;
  readonly words: readonly number[];
  readonly length: number;
}

/**
 * How a scenario writes the prefixes that a field takes:
 *
 * - `"10.0.0.0/8"`, `"2001:db8::/32"`, `"80"`: one prefix;
 * - `first`, `lengths`, `each`: for each length from the lower to the upper bound, `each` different
 *   prefixes whose first octet is that of `first`, plus one for each step of length;
 * - `diverge`, `lengths`: for each length, the prefix that agrees with the value except in
 *   its last bit: what a search for that value has to look at to tell them apart.
 */
export type PoolSpec =
  | string
  | {
    readonly first: string;
    readonly lengths: readonly [number, number];
    readonly each: number;
  }
  | { readonly diverge: string; readonly lengths: readonly [number, number] };

/** Random numbers that are the same on every machine: Marsaglia's xorshift on 128 bits. */
export class Random {
  #x: number;
  #y = 362436069;
  #z = 521288629;
  #w = 88675123;

  constructor(seed: number) {
    this.#x = (seed ^ 0x9e3779b9) >>> 0;
    for (let i = 0; i < 16; i++) this.next();
  }

  /** The next 32 bits. */
  next(): number {
    const t = this.#x ^ (this.#x << 11);
    this.#x = this.#y;
    this.#y = this.#z;
    this.#z = this.#w;
    this.#w = this.#w ^ (this.#w >>> 19) ^ t ^ (t >>> 8);
    return this.#w >>> 0;
  }

  /** An integer from 0 to `bound` - 1. */
  below(bound: number): number {
    return Math.floor(this.next() / 0x1_0000_0000 * bound);
  }

  /** Puts `items` in random order, in place. */
  shuffle<T extends unknown[] | Uint32Array>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }
}

/** Bits of a field. */
export function widthOf(kind: FieldKind): number {
  return kind === "ipv4" ? 32 : kind === "ipv6" ? 128 : 16;
}

/** The mask of word `index` of a prefix. */
export function maskWord(length: number, index: number): number {
  const bits = Math.min(32, Math.max(0, length - 32 * index));
  return bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
}

/** Reads `address` or `address/length`, or a port. */
export function parsePrefix(kind: FieldKind, text: string): Prefix {
  const [value = "", bits] = text.split("/");
  const length = bits === undefined ? widthOf(kind) : Number(bits);
  const words = kind === "ipv6"
    ? parseIpv6(value)
    : kind === "ipv4"
    ? parseIpv4(value)
    : [Number(value) * 0x10000];
  const fits = words.every((word) =>
    Number.isInteger(word) && word >= 0 && word <= 0xffffffff
  );
  if (!fits || !Number.isInteger(length) || length < 0 || length > widthOf(kind)) {
    throw new SyntaxError(`"${text}" is no prefix of an ${kind} field`);
  }
  return {
    kind,
    words: words.map((word, i) => (word & maskWord(length, i)) >>> 0),
    length,
  };
}

function parseIpv4(text: string): number[] {
  const octets = text.split(".").map(Number);
  const good = octets.length === 4 && octets.every((octet) => octet >= 0 && octet <= 255);
  return [good ? octets.reduce((sum, octet) => sum * 256 + octet, 0) : NaN];
}

function parseIpv6(text: string): number[] {
  const halves = text.split("::").map((half) =>
    half === "" ? [] : half.split(":").map((group) => parseInt(group, 16))
  );
  const [head = [], tail] = halves;
  const groups = tail === undefined
    ? head
    : [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  const words: number[] = [];
  for (let i = 0; i < 8; i += 2) {
    words.push((groups[i] ?? NaN) * 0x10000 + (groups[i + 1] ?? NaN));
  }
  return words;
}

/** The prefixes that `spec` describes. */
export function expandPool(kind: FieldKind, spec: PoolSpec, random: Random): Prefix[] {
  if (typeof spec === "string") return [parsePrefix(kind, spec)];
  const [low, high] = spec.lengths;
  const prefixes: Prefix[] = [];
  for (let length = low; length <= high; length++) {
    if ("diverge" in spec) {
      prefixes.push(diverging(parsePrefix(kind, spec.diverge), length));
    } else {
      const first = parsePrefix(kind, spec.first);
      prefixes.push(...siblings(first, length, length - low, spec.each, random));
    }
  }
  return prefixes;
}

function diverging(target: Prefix, length: number): Prefix {
  const at = Math.floor((length - 1) / 32);
  const flipped = target.words.map((word, i) =>
    ((i === at ? word ^ (1 << (31 - (length - 1) % 32)) : word) & maskWord(length, i)) >>>
    0
  );
  return { kind: target.kind, words: flipped, length };
}

function siblings(
  first: Prefix,
  length: number,
  step: number,
  count: number,
  random: Random,
): Prefix[] {
  const found = new Map<string, Prefix>();
  if (count > 2 ** Math.max(0, length - 8)) {
    throw new RangeError(
      `there are no ${count} prefixes of length ${length} in an octet`,
    );
  }
  while (found.size < count) {
    const words = first.words.map((word, i) => {
      const fixed = i === 0 ? 0xff000000 : 0;
      const top = i === 0 ? word + step * 0x1000000 : word;
      return (((top & fixed) | (random.next() & ~fixed)) & maskWord(length, i)) >>> 0;
    });
    found.set(words.join(), { kind: first.kind, words, length });
  }
  return [...found.values()];
}

/** `words` as the text of an address or port. */
export function formatValue(kind: FieldKind, words: ArrayLike<number>): string {
  if (kind === "port") return String((words[0] ?? 0) >>> 16);
  if (kind === "ipv4") {
    const word = words[0] ?? 0;
    return [24, 16, 8, 0].map((shift) => (word >>> shift) & 0xff).join(".");
  }
  const groups: string[] = [];
  for (let i = 0; i < 4; i++) {
    const word = words[i] ?? 0;
    groups.push((word >>> 16).toString(16), (word & 0xffff).toString(16));
  }
  // URLs carry IPv6 addresses in their canonical form.
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}

/** A prefix as ovs-dpctl writes it: the mask only where it is not all ones. */
export function formatMasked(prefix: Prefix): string {
  const value = formatValue(prefix.kind, prefix.words);
  if (prefix.length === widthOf(prefix.kind)) return value;
  if (prefix.kind === "port") {
    return `${value}/0x${(maskWord(prefix.length, 0) >>> 16).toString(16)}`;
  }
  const mask = prefix.words.map((_, i) => maskWord(prefix.length, i));
  return `${value}/${formatValue(prefix.kind, mask)}`;
}

/** A prefix as ovs-ofctl takes it. */
export function formatCidr(prefix: Prefix): string {
  return `${formatValue(prefix.kind, prefix.words)}/${prefix.length}`;
}

/** The bits of `value` under `mask`, both as ovs-dpctl(8) writes them. */
export function applyMask(value: string, mask: string): string {
  if (mask.startsWith("0x")) return String(Number(value) & Number(mask));
  const kind = value.includes(":") ? "ipv6" : "ipv4";
  const bits = parsePrefix(kind, mask).words;
  return formatValue(
    kind,
    parsePrefix(kind, value).words.map((word, i) => (word & (bits[i] ?? 0)) >>> 0),
  );
}
