// SPDX-License-Identifier: Apache-2.0
/**
 * Bytes of messages: a reader that never leaves its part, and a writer that grows. Big endian.
 *
 * @module
 */
import { type ErrorName, OfError } from "./error.ts";
import type { OptionFields } from "./field.ts";

const halves = new Uint32Array(2);
const joined = new BigUint64Array(halves.buffer);
/** Which half is the low one: the machine's order. */
const [LOW, HIGH] = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? [0, 1] : [1, 0];

/** 64 bits from their halves. */
export function joinWords(high: number, low: number): bigint {
  if (high === 0 && low === 0) return 0n;
  halves[LOW] = low;
  halves[HIGH] = high;
  return joined[0] as bigint;
}

/** Reads a part of a message. What is not there throws {@linkcode OfError}, and nothing else. */
export class Reader {
  readonly bytes: Uint8Array;
  /** Offset of what is read next. */
  at: number;
  /** Offset behind the part. */
  readonly end: number;
  /** What is thrown when the part is too short. */
  readonly short: ErrorName;
  /** Fields of options, where some are known. */
  readonly options: OptionFields | undefined;

  /** Reads `bytes` from `at` to `end`. */
  constructor(
    bytes: Uint8Array,
    { at = 0, end = bytes.length, short = "OFPBRC_BAD_LEN", options }: {
      readonly at?: number;
      readonly end?: number;
      readonly short?: ErrorName;
      readonly options?: OptionFields | undefined;
    } = {},
  ) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    this.short = short;
    this.options = options;
  }

  /** Bytes that are left. */
  get left(): number {
    return this.end - this.at;
  }

  #take(size: number): number {
    const { at } = this;
    if (!(size >= 0 && size <= this.end - at)) throw new OfError(this.short);
    this.at = at + size;
    return at;
  }

  /** An unsigned byte. */
  u8(): number {
    return this.bytes[this.#take(1)] as number;
  }

  /** 16 bits. */
  u16(): number {
    const at = this.#take(2);
    const { bytes } = this;
    return (bytes[at] as number) << 8 | (bytes[at + 1] as number);
  }

  /** 32 bits as a signed number: for words of flows, which know no sign. */
  i32(): number {
    const at = this.#take(4);
    const { bytes } = this;
    return (bytes[at] as number) << 24 | (bytes[at + 1] as number) << 16 |
      (bytes[at + 2] as number) << 8 | (bytes[at + 3] as number);
  }

  /** 32 bits. */
  u32(): number {
    return this.i32() >>> 0;
  }

  /** 64 bits. */
  u64(): bigint {
    return joinWords(this.u32(), this.u32());
  }

  /** A number of `size` bytes, however many. */
  big(size: number): bigint {
    const at = this.#take(size);
    let value = 0n;
    for (let i = at; i < at + size; i++) {
      value = value << 8n | BigInt(this.bytes[i] as number);
    }
    return value;
  }

  /** The next `size` bytes as they lie there: no copy. */
  view(size: number): Uint8Array {
    const at = this.#take(size);
    return this.bytes.subarray(at, at + size);
  }

  /** A copy of the next `size` bytes. */
  take(size: number): Uint8Array {
    const at = this.#take(size);
    return this.bytes.slice(at, at + size);
  }

  /** A copy of what is left. */
  rest(): Uint8Array {
    return this.take(this.left);
  }

  /** Skips bytes. */
  skip(size: number): this {
    this.#take(size);
    return this;
  }

  /** Skips bytes that must be zero. */
  zeros(size: number, otherwise: ErrorName): void {
    const at = this.#take(size);
    for (let i = at; i < at + size; i++) {
      if (this.bytes[i] !== 0) throw new OfError(otherwise);
    }
  }

  /** A reader of the next `size` bytes, which are skipped here. */
  part(size: number, short: ErrorName = this.short): Reader {
    if (size > this.left) throw new OfError(short);
    const at = this.#take(size);
    return new Reader(this.bytes, { at, end: at + size, short, options: this.options });
  }

  /** Text of `size` bytes that ends with the first zero. */
  text(size: number): string {
    const bytes = this.take(size);
    const end = bytes.indexOf(0);
    return new TextDecoder("latin1").decode(end < 0 ? bytes : bytes.subarray(0, end));
  }
}

/** Writes a message. */
export class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  /** Bytes so far. */
  size = 0;
  /** Fields of options, where some are known. */
  readonly options: OptionFields | undefined;

  /** Writes from the start; `options` are what matches may have. */
  constructor(options?: OptionFields) {
    this.options = options;
  }

  /** Makes room; `#bytes` and `#view` may be others behind it. */
  #room(size: number): number {
    const at = this.size;
    if (at + size > this.#bytes.length) {
      const more = new Uint8Array(Math.max(2 * this.#bytes.length, at + size));
      more.set(this.#bytes);
      this.#bytes = more;
      this.#view = new DataView(more.buffer);
    }
    this.size = at + size;
    return at;
  }

  /** A byte. */
  u8(value: number): this {
    const at = this.#room(1);
    this.#view.setUint8(at, value);
    return this;
  }

  /** 16 bits. */
  u16(value: number): this {
    const at = this.#room(2);
    this.#view.setUint16(at, value);
    return this;
  }

  /** 32 bits. */
  u32(value: number): this {
    const at = this.#room(4);
    this.#view.setUint32(at, value);
    return this;
  }

  /** 64 bits. */
  u64(value: bigint): this {
    const at = this.#room(8);
    this.#view.setBigUint64(at, value);
    return this;
  }

  /** A number in `size` bytes. */
  big(value: bigint, size: number): this {
    const at = this.#room(size);
    let rest = value;
    for (let i = at + size - 1; i >= at; i--) {
      this.#bytes[i] = Number(rest & 0xffn);
      rest >>= 8n;
    }
    return this;
  }

  /** Bytes as they are. */
  put(bytes: Uint8Array): this {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** Zeros. */
  zeros(size: number): this {
    const at = this.#room(size);
    this.#bytes.fill(0, at, at + size);
    return this;
  }

  /** Zeros until the bytes from `start` on are a multiple of 8. */
  pad8(start = 0): this {
    return this.zeros(-(this.size - start) & 7);
  }

  /** Text in `size` bytes, cut if it is longer, with a zero at its end. */
  text(value: string, size: number): this {
    const bytes = new TextEncoder().encode(value).subarray(0, size - 1);
    return this.put(bytes).zeros(size - bytes.length);
  }

  /** Writes 16 bits over those at `at`. */
  set16(at: number, value: number): this {
    this.#view.setUint16(at, value);
    return this;
  }

  /** Writes 32 bits over those at `at`. */
  set32(at: number, value: number): this {
    this.#view.setUint32(at, value);
    return this;
  }

  /** Lets go of what was written from `at` on. */
  cut(at: number): this {
    this.size = at;
    return this;
  }

  /** A copy of what was written. */
  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.size);
  }
}
