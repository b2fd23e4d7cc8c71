// SPDX-License-Identifier: Apache-2.0
/**
 * How matches are read that are like one that was read before.
 *
 * Flows come in crowds whose matches name the same fields with the same masks, and differ in
 * addresses, ports and registers. Of the first ones a plan is made: which bytes such a match has in
 * any case, and which words the others fill. What decides whether a match is right at all
 * (prerequisites, masks, what headers there are) is among the former, so that matches which have
 * them need no more than to be copied.
 *
 * @module
 */
import type { Reader } from "../bytes.ts";
import { type Field, fieldOfHeader } from "../field.ts";
import { Word } from "../flow.ts";
import { mixWord, PackedMatch } from "./packed_match.ts";

/** Numbers of a piece: where it begins, its bytes, the place of its word, how far it is shifted. */
const PIECE = 4;

/** How some matches are read. */
export class MatchPlan {
  /** The bytes of one of them, from its type on, without padding. */
  readonly bytes: Uint8Array;
  /** Bits that all of them have in common. */
  readonly fixed: Uint8Array;
  readonly pieces: Uint16Array;
  /** One of them, without what the pieces fill. */
  readonly rest: PackedMatch;

  /** Made by {@linkcode planOf}. */
  constructor(
    bytes: Uint8Array,
    fixed: Uint8Array,
    pieces: readonly number[],
    rest: PackedMatch,
  ) {
    this.bytes = bytes;
    this.fixed = fixed;
    this.pieces = Uint16Array.from(pieces);
    this.rest = rest;
  }

  /** Whether the bytes from `at` on are a match like this. */
  fits(all: Uint8Array, at: number): boolean {
    const { bytes, fixed } = this;
    for (let i = 0; i < bytes.length; i++) {
      const differ = (bytes[i] as number) ^ (all[at + i] as number);
      if (differ & (fixed[i] as number)) return false;
    }
    return true;
  }

  /** Reads a match like this. */
  read(all: Uint8Array, at: number): PackedMatch {
    const { pieces, rest: { shape, values: rest, likeness } } = this;
    const values = rest.slice();
    for (let i = 0; i < pieces.length; i += PIECE) {
      const from = at + (pieces[i] as number);
      const place = pieces[i + 2] as number;
      let word = 0;
      for (let k = from; k < from + (pieces[i + 1] as number); k++) {
        word = word << 8 | (all[k] as number);
      }
      word <<= pieces[i + 3] as number;
      values[place] = (values[place] as number) | word;
    }
    return new PackedMatch(shape, values, likeness);
  }
}

/** Bits of a value that are the same in all matches of a plan; undefined where all of them are. */
function fixedBits(
  { name, word, bits, size, wireShift, needs }: Field,
): number | undefined {
  if (name === "in_port_oxm") return ~0xff;
  if (name === "vlan_vid") return 0xf000;
  // What these say decides whether other fields may be named.
  const decides = word === Word.dlType || word === Word.vlan || word === Word.mpls ||
    word === Word.nw || word === Word.ctState || word === Word.packetType;
  if (decides || wireShift !== 0 || bits !== 8 * size) return undefined;
  const isPort = needs === "tcp" || needs === "udp" || needs === "sctp";
  return word === Word.tp && !isPort || name === "in_port" ? undefined : 0;
}

/**
 * The plan of matches like one of `length` bytes that was read, its header included; undefined
 * where each of them is to be looked at.
 */
function planOf(
  all: Uint8Array,
  start: number,
  length: number,
  match: PackedMatch,
): MatchPlan | undefined {
  const bytes = all.slice(start, start + length);
  const fixed = new Uint8Array(length).fill(0xff);
  const pieces: number[] = [];
  const values = match.values.slice();
  for (let at = 4; at + 4 <= length;) {
    const header = headerAt(bytes, at);
    const hasMask = (header & 0x100) !== 0;
    const field = header >>> 16 === 0xffff ? undefined : fieldOfHeader(header);
    at += 4;
    const more = header & 0xff;
    const size = hasMask ? more >> 1 : more;
    if (field === undefined || field.option !== undefined || size !== field.size) {
      return undefined;
    }
    const same = fixedBits(field);
    if (same !== undefined) {
      for (let i = 0; i < size; i++) {
        const own = same >> 8 * (size - 1 - i) & 0xff;
        const unmasked = hasMask ? ~(bytes[at + size + i] as number) : 0;
        fixed[at + i] = own | unmasked;
      }
      addPieces(pieces, field, at, match.shape.words, values);
    }
    at += more;
  }
  const likeness = { asked: undefined };
  return new MatchPlan(
    bytes,
    fixed,
    pieces,
    new PackedMatch(match.shape, values, likeness),
  );
}

/** Adds the words of a field whose value is at an offset, and takes them out of `values`. */
function addPieces(
  to: number[],
  { word, wordCount, size, shift, topMask }: Field,
  from: number,
  words: Uint16Array,
  values: number[],
): void {
  let at = from;
  for (let i = 0; i < wordCount; i++) {
    const bytes = i === 0 ? size - 4 * (wordCount - 1) : 4;
    const place = words.indexOf(word + i);
    // A word of which no bit matters is not there.
    if (place >= 0) {
      to.push(at, bytes, place, shift);
      const own = i === 0 ? topMask << shift : -1;
      values[place] = (values[place] as number) & ~own;
    }
    at += bytes;
  }
}

function headerAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) << 24 | (bytes[at + 1] as number) << 16 |
    (bytes[at + 2] as number) << 8 | (bytes[at + 3] as number);
}

/** Headers of fields by whose values plans are told apart: EtherType, protocol. */
const [ETH_TYPE, IP_PROTO] = [0x80000a02 | 0, 0x80001401 | 0];

/** A number that matches have in common which have the same fields and masks. */
function kindOf(all: Uint8Array, start: number, length: number): number {
  const end = start + length;
  let hash = length;
  for (let at = start + 4; at + 4 <= end;) {
    const header = headerAt(all, at);
    hash = mixWord(hash, header);
    at += 4;
    const size = header & 0xff;
    if (header & 0x100) {
      for (let i = at + (size >> 1); i < at + size; i++) {
        hash = Math.imul(hash, 31) + (all[i] as number) | 0;
      }
    } else if (header === ETH_TYPE) {
      hash = mixWord(hash, (all[at] as number) << 8 | (all[at + 1] as number));
    } else if (header === IP_PROTO) hash = mixWord(hash, all[at] as number);
    at += size;
  }
  return hash ^ hash >>> 15;
}

/** Plans of matches that came last, and of what kind matches came for which there is none. */
const plans: (MatchPlan | undefined)[] = new Array(512).fill(undefined);
const kinds = new Int32Array(512);

/**
 * Reads a match of OpenFlow 1.2 and later, with its padding, by the plan of others like it. Without
 * one `read` reads it.
 */
export function readPlanned(reader: Reader, read: () => PackedMatch): PackedMatch {
  const { bytes, at, end } = reader;
  const length = end - at < 4 || headerAt(bytes, at) >>> 16 !== 1
    ? 0
    : headerAt(bytes, at) & 0xffff;
  const whole = length + 7 & ~7;
  if (length < 4 || at + whole > end) return read();
  const kind = kindOf(bytes, at, length);
  const slot = kind & 511;
  const plan = plans[slot];
  if (plan !== undefined && plan.bytes.length === length && plan.fits(bytes, at)) {
    reader.at = at + whole;
    return plan.read(bytes, at);
  }
  const match = read();
  // One that comes once is not worth a plan.
  if (kinds[slot] === kind) plans[slot] = planOf(bytes, at, length, match);
  kinds[slot] = kind;
  return match;
}
