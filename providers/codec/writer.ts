// SPDX-License-Identifier: Apache-2.0
/**
 * A growing buffer of netlink attributes.
 *
 * @module
 */

import { AttributeError } from "./errors.ts";

/** Bytes of an attribute's header: length and type, both u16 in host order. */
export const HEADER_SIZE = 4;
/** Longest attribute: the length is 16 bits wide and counts the header. */
export const MAX_ATTRIBUTE_SIZE = 0xffff;
/** `nla_type` without its nested and byte order flags. */
export const TYPE_MASK = 0x3fff;

/**
 * Writes attributes one after the other.
 *
 * Every byte is zero before it is written, so what a codec skips, and all padding, is zero
 * whatever the buffer held before.
 */
export class Writer {
  /** The buffer; only the bytes before `at` count. It is replaced when it grows. */
  bytes: Uint8Array;
  /** Where the next byte goes. */
  at = 0;

  /** Makes an empty writer with room for `capacity` bytes. */
  constructor(capacity = 1024) {
    this.bytes = new Uint8Array(capacity);
  }

  /** Forgets everything written. */
  reset(): void {
    this.at = 0;
  }

  /** Takes `size` bytes at `at` out again. */
  cut(at: number, size: number): void {
    this.bytes.copyWithin(at, at + size, this.at);
    this.at -= size;
  }

  /** Appends `size` zero bytes and returns the offset of the first. */
  alloc(size: number): number {
    const at = this.at;
    const end = at + size;
    if (end > this.bytes.length) this.#grow(end);
    const bytes = this.bytes;
    if (size > 32) bytes.fill(0, at, end);
    else for (let i = at; i < end; i++) bytes[i] = 0;
    this.at = end;
    return at;
  }

  /** Appends a copy of `bytes`. */
  append(bytes: Uint8Array): void {
    const at = this.at;
    const end = at + bytes.length;
    if (end > this.bytes.length) this.#grow(end);
    this.bytes.set(bytes, at);
    this.at = end;
  }

  /** Starts an attribute and returns its offset, which `end` wants. */
  begin(id: number): number {
    const at = this.alloc(HEADER_SIZE);
    this.bytes[at + 2] = id;
    this.bytes[at + 3] = id >>> 8;
    return at;
  }

  /** Ends the attribute that began at `start`: writes its length, pads to 4 bytes. */
  end(start: number, path: string): void {
    const size = this.at - start;
    if (size > MAX_ATTRIBUTE_SIZE) {
      throw new AttributeError(
        path,
        start,
        `${size} bytes do not fit into an attribute of at most ${MAX_ATTRIBUTE_SIZE}`,
        "EMSGSIZE",
      );
    }
    this.bytes[start] = size;
    this.bytes[start + 1] = size >>> 8;
    const padding = -size & 3;
    if (padding > 0) this.alloc(padding);
  }

  /** Appends an attribute with a copy of `payload`. */
  attribute(id: number, payload: Uint8Array, path: string): void {
    const start = this.begin(id);
    this.append(payload);
    this.end(start, path);
  }

  /** A copy of the bytes from `from` on. */
  slice(from = 0): Uint8Array<ArrayBuffer> {
    const size = this.at - from;
    if (size > 64) return this.bytes.slice(from, this.at) as Uint8Array<ArrayBuffer>;
    // For a few attributes a loop costs less.
    const copy = new Uint8Array(size);
    for (let i = 0; i < size; i++) copy[i] = this.bytes[from + i] as number;
    return copy;
  }

  #grow(end: number): void {
    const bytes = new Uint8Array(Math.max(end, this.bytes.length * 2));
    bytes.set(this.bytes.subarray(0, this.at));
    this.bytes = bytes;
  }
}

const spare: Writer[] = [];

/**
 * Runs `write` on an empty writer and returns the bytes it wrote.
 *
 * Writers are used again, also by calls from within `write`; nothing of one call can be seen in
 * the result of another.
 */
export function written(write: (writer: Writer) => void): Uint8Array<ArrayBuffer> {
  const writer = spare.pop() ?? new Writer();
  writer.reset();
  try {
    write(writer);
    return writer.slice();
  } finally {
    if (writer.bytes.length <= 1 << 17) spare.push(writer);
  }
}
