// SPDX-License-Identifier: Apache-2.0
/**
 * Where the attributes of a key are: found in one pass, read later.
 *
 * @module
 */

import { checkEnd, checkSize } from "./attributes.ts";
import { AttributeError } from "../codec/errors.ts";
import { ENCAP, ETHERTYPE, keyById, MAX_ENCAP_DEPTH, VLAN } from "./key.ts";
import { HEADER_SIZE, TYPE_MASK } from "../codec/writer.ts";

/** Largest id that the index has a place for. */
export const MAX_ID = 32;

/**
 * All that an index says of bytes; it depends on nothing but their length and the headers in them.
 */
interface Layout {
  readonly size: number;
  /** Where headers are, in the order in which they were read ... */
  readonly headersAt: readonly number[];
  /** ... and what is in them, as i32. */
  readonly headers: readonly number[];
  readonly offsets: readonly number[];
  readonly depth: number;
  readonly hasUnknown: boolean;
  readonly shape: number;
}

/**
 * Keys of one kind of packet have one layout: looking it over costs a third of reading it, and
 * nothing is made.
 */
const RECENT = 8;
/** Layouts that were read lately, by length. */
const recent: (Layout | undefined)[] = new Array(RECENT).fill(undefined);

function header(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | (bytes[at + 1] as number) << 8 |
    (bytes[at + 2] as number) << 16 | (bytes[at + 3] as number) << 24;
}

function hasLayout(bytes: Uint8Array, layout: Layout): boolean {
  if (bytes.length !== layout.size) return false;
  const { headersAt, headers } = layout;
  for (let i = 0; i < headersAt.length; i++) {
    if (header(bytes, headersAt[i] as number) !== headers[i]) return false;
  }
  return true;
}

function readLayout(bytes: Uint8Array): Layout {
  const offsets = new Array<number>(MAX_ID + 1).fill(0);
  const headersAt: number[] = [];
  const headers: number[] = [];
  let present = 0;
  let depth = 0;
  let unknown = false;
  let at = 0;
  let to = bytes.length;
  for (;;) {
    let encap = 0;
    let encapEnd = 0;
    let level = 0;
    while (at + HEADER_SIZE <= to) {
      const head = header(bytes, at);
      const size = head & 0xffff;
      const id = head >>> 16 & TYPE_MASK;
      if (size < HEADER_SIZE || at + size > to) checkSize(size, at, to, "key");
      headersAt.push(at);
      headers.push(head);
      if (id <= MAX_ID && keyById[id] !== undefined) {
        const bit = 1 << (id & 31);
        if ((level & bit) !== 0) duplicated(id, at);
        level |= bit;
        offsets[id] = at + HEADER_SIZE;
      } else if (id === ENCAP) {
        if (encap !== 0) duplicated(id, at);
        encap = at + HEADER_SIZE;
        encapEnd = at + size;
      } else if (id === VLAN) {
        offsets[VLAN] = at + HEADER_SIZE;
      } else {
        unknown = true;
      }
      at += size + 3 & ~3;
    }
    checkEnd(at, to, "key");
    present |= level;
    if (encap === 0) break;
    if (++depth > MAX_ENCAP_DEPTH) {
      throw new AttributeError("key", encap, "nested too deep", "EOVERFLOW");
    }
    offsets[ETHERTYPE] = 0;
    present &= ~(1 << ETHERTYPE);
    at = encap;
    to = encapEnd;
  }
  if (depth === 0 && offsets[VLAN] !== 0) depth = 1;
  return {
    size: bytes.length,
    headersAt,
    headers,
    offsets,
    depth,
    hasUnknown: unknown,
    shape: (present >>> 0) + depth * 0x100000000,
  };
}

/**
 * An index of key or mask bytes.
 *
 * Attributes behind VLAN tags are found under their own ids; ETHERTYPE is the innermost one.
 * The bytes must not change while the index is in use.
 */
export class KeyIndex {
  /** The indexed bytes. */
  readonly bytes: Uint8Array;
  /** Offset of each attribute's payload by id; 0 when it is absent. */
  readonly offsets: readonly number[];
  /** VLAN tags, that is, levels of nesting. */
  readonly depth: number;
  /** Whether there are attributes without a name here. */
  readonly hasUnknown: boolean;
  /** One number for what is present and how deep: keys with the same masks share it. */
  readonly shape: number;
  readonly #layout: Layout;

  /** Indexes `bytes`. Throws `AttributeError` when they are malformed. */
  constructor(bytes: Uint8Array) {
    const slot = bytes.length % RECENT;
    let layout = recent[slot];
    if (layout === undefined || !hasLayout(bytes, layout)) {
      layout = recent[slot] = readLayout(bytes);
    }
    this.bytes = bytes;
    this.#layout = layout;
    this.offsets = layout.offsets;
    this.depth = layout.depth;
    this.hasUnknown = layout.hasUnknown;
    this.shape = layout.shape;
  }

  /**
   * Whether the `size` bytes at `at` of the buffer that `words` is about, a multiple of 4, have the
   * same headers at the same places.
   */
  isLike(words: Uint32Array, at: number, size: number): boolean {
    const { headersAt, headers } = this.#layout;
    if (size !== this.#layout.size) return false;
    for (let i = 0; i < headersAt.length; i++) {
      const word = words[(at + (headersAt[i] as number)) >> 2] as number;
      if ((word | 0) !== headers[i]) return false;
    }
    return true;
  }

  /** Whether the attribute is present. */
  has(id: number): boolean {
    return this.offsets[id] !== 0;
  }

  /** Bytes of an attribute's payload; 0 when it is absent. */
  size(id: number): number {
    const at = this.offsets[id] as number;
    if (at === 0) return 0;
    return ((this.bytes[at - 4] as number) | (this.bytes[at - 3] as number) << 8) -
      HEADER_SIZE;
  }

  /** A view of an attribute's payload; undefined when it is absent. */
  payload(id: number): Uint8Array | undefined {
    const at = this.offsets[id] as number;
    return at === 0 ? undefined : this.bytes.subarray(at, at + this.size(id));
  }
}

function duplicated(id: number, at: number): never {
  throw new AttributeError(keyById[id]?.name ?? "encap", at, "attribute is duplicated");
}
