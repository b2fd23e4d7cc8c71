// SPDX-License-Identifier: Apache-2.0
/**
 * Codecs: whole payloads of attributes, as values and as masks.
 *
 * @module
 */

import {
  be16,
  be16x4,
  be32,
  be64,
  ipv4,
  ipv6,
  type Leaf,
  mac,
  u128,
  u16,
  u16x,
  u32,
  u32x,
  u64,
  u8,
  u8x,
  wrong,
} from "./leaf.ts";
import type { Writer } from "./writer.ts";

/** A whole payload. */
export interface Codec<T> {
  /** Fewest bytes. */
  readonly min: number;
  /** Most bytes. */
  readonly max: number;
  /** Reads a payload whose size was checked. */
  read(bytes: Uint8Array, at: number, size: number): T;
  /** Appends the payload. */
  write(writer: Writer, value: T, what: string): void;
  /** Reads a mask of the payload; `shape` as in `writeMask`. */
  readMask(bytes: Uint8Array, at: number, size: number, shape?: Uint8Array): unknown;
  /** Appends a mask; `shape` is the payload of the key that it masks, when there is one. */
  writeMask(writer: Writer, mask: unknown, what: string, shape?: Uint8Array): void;
  /**
   * The mask of what `value` names: `true` if it names all that there is, otherwise all bits of
   * its parts.  A payload without this has no parts.
   */
  named?(value: unknown): unknown;
}

/** A payload that is one leaf. */
export class LeafCodec<T> implements Codec<T> {
  readonly min: number;
  readonly max: number;

  constructor(readonly leaf: Leaf<T>) {
    this.min = this.max = leaf.size;
  }

  read(bytes: Uint8Array, at: number): T {
    return this.leaf.get(bytes, at);
  }

  write(writer: Writer, value: T, what: string): void {
    const at = writer.alloc(this.leaf.size);
    this.leaf.put(writer.bytes, at, value, what);
  }

  readMask(bytes: Uint8Array, at: number): unknown {
    return this.leaf.getMask(bytes, at);
  }

  writeMask(writer: Writer, mask: unknown, what: string): void {
    const at = writer.alloc(this.leaf.size);
    this.leaf.putMask(writer.bytes, at, mask, what);
  }
}

/** Payloads that are one leaf, by the leaf's name. */
export const one = {
  u8: new LeafCodec(u8),
  u8x: new LeafCodec(u8x),
  u16: new LeafCodec(u16),
  u16x: new LeafCodec(u16x),
  u32: new LeafCodec(u32),
  u32x: new LeafCodec(u32x),
  u64: new LeafCodec(u64),
  u128: new LeafCodec(u128),
  be16: new LeafCodec(be16),
  be16x4: new LeafCodec(be16x4),
  be32: new LeafCodec(be32),
  be64: new LeafCodec(be64),
  mac: new LeafCodec(mac),
  ipv4: new LeafCodec(ipv4),
  ipv6: new LeafCodec(ipv6),
} as const;

/** One field of a structure. */
export interface StructField<T> {
  /** Offset in the structure. */
  readonly at: number;
  /** Its value. */
  readonly leaf: Leaf<T>;
  /** Name in text, when it is not the field's own. */
  readonly text?: string;
}

/** A field as the structure's codec keeps it. */
export interface NamedField extends StructField<unknown> {
  readonly name: string;
  readonly what: string;
  readonly text: string;
}

/** A payload that is a structure of fixed size; what no field covers is padding, zero. */
export class StructCodec<T> implements Codec<T> {
  readonly min: number;
  readonly max: number;
  /** The fields in the order of the text form. */
  readonly fields: readonly NamedField[];
  readonly #names: ReadonlySet<string>;

  /** `name` is for errors; the order of `table` is that of the text. */
  constructor(
    readonly name: string,
    readonly size: number,
    table: { readonly [K in keyof T]-?: StructField<T[K]> },
  ) {
    this.min = this.max = size;
    this.fields = Object.entries<StructField<unknown>>(table).map(([key, field]) => ({
      ...field,
      name: key,
      what: `${name}.${key}`,
      text: field.text ?? key,
    }));
    this.#names = new Set(["type", ...this.fields.map((field) => field.name)]);
  }

  read(bytes: Uint8Array, at: number): T {
    const value: Record<string, unknown> = {};
    for (const field of this.fields) {
      value[field.name] = field.leaf.get(bytes, at + field.at);
    }
    return value as T;
  }

  write(writer: Writer, value: T): void {
    const at = writer.alloc(this.size);
    this.put(writer.bytes, at, value);
  }

  /** Writes the fields that `value` has, over zeros. */
  put(bytes: Uint8Array, at: number, value: T): void {
    const record = this.#record(value, "an object");
    for (const field of this.fields) {
      const part = record[field.name];
      if (part !== undefined) field.leaf.put(bytes, at + field.at, part, field.what);
    }
  }

  readMask(bytes: Uint8Array, at: number): unknown {
    const mask: Record<string, unknown> = {};
    for (const field of this.fields) {
      mask[field.name] = field.leaf.getMask(bytes, at + field.at);
    }
    return mask;
  }

  writeMask(writer: Writer, mask: unknown): void {
    const at = writer.alloc(this.size);
    this.putMask(writer.bytes, at, mask);
  }

  /** Writes a mask over zeros: all bits of all fields for `true`. */
  putMask(bytes: Uint8Array, at: number, mask: unknown): void {
    const record = mask === true ? {} : this.#record(mask, "true or an object");
    for (const field of this.fields) {
      const part = mask === true ? true : record[field.name];
      if (part !== undefined) field.leaf.putMask(bytes, at + field.at, part, field.what);
    }
  }

  /** All bits of the fields that `value` has. */
  named(value: unknown): unknown {
    const record = this.#record(value, "an object");
    const mask: Record<string, true> = {};
    let all = true;
    for (const { name } of this.fields) {
      if (record[name] === undefined) all = false;
      else mask[name] = true;
    }
    return all ? true : mask;
  }

  /** Refuses fields that the structure has not: a misspelt one would silently be zero. */
  #record(value: unknown, expected: string): Readonly<Record<string, unknown>> {
    if (typeof value !== "object" || value === null) {
      throw wrong(this.name, expected, value);
    }
    for (const name in value) {
      if (!this.#names.has(name)) {
        throw new TypeError(`${this.name} has no field "${name}"`);
      }
    }
    return value as Readonly<Record<string, unknown>>;
  }
}

/** A payload of bytes that have no meaning here. */
export class BytesCodec implements Codec<Uint8Array> {
  constructor(readonly min = 0, readonly max = 0xfffb) {}

  read(bytes: Uint8Array, at: number, size: number): Uint8Array {
    return bytes.slice(at, at + size);
  }

  write(writer: Writer, value: Uint8Array, what: string): void {
    if (!(value instanceof Uint8Array)) throw wrong(what, "a Uint8Array", value);
    if (value.length < this.min || value.length > this.max) {
      throw new RangeError(
        `${what} must have ${this.min} to ${this.max} bytes: it has ${value.length}`,
      );
    }
    writer.append(value);
  }

  readMask(bytes: Uint8Array, at: number, size: number): Uint8Array {
    return this.read(bytes, at, size);
  }

  writeMask(writer: Writer, mask: unknown, what: string, shape?: Uint8Array): void {
    if (mask !== true) return this.write(writer, mask as Uint8Array, what);
    const size = shape?.length ?? 0;
    const at = writer.alloc(size);
    writer.bytes.fill(0xff, at, at + size);
  }
}

/** Bytes that are not copied when read. */
export class ViewCodec extends BytesCodec {
  override read(bytes: Uint8Array, at: number, size: number): Uint8Array {
    return bytes.subarray(at, at + size);
  }
}

/** A string with its terminating NUL. */
export class StringCodec implements Codec<string> {
  readonly min = 1;
  readonly #decoder = new TextDecoder();
  readonly #encoder = new TextEncoder();

  /** `max` counts the NUL. */
  constructor(readonly max: number) {}

  read(bytes: Uint8Array, at: number, size: number): string {
    const end = bytes.indexOf(0, at);
    const stop = end < 0 || end > at + size ? at + size : end;
    return this.#decoder.decode(bytes.subarray(at, stop));
  }

  write(writer: Writer, value: string, what: string): void {
    if (typeof value !== "string" || value.includes("\0")) {
      throw wrong(what, "a string without NUL", value);
    }
    const text = this.#encoder.encode(value);
    if (text.length >= this.max) {
      throw new RangeError(`${what} must have at most ${this.max - 1} bytes: "${value}"`);
    }
    writer.append(text);
    writer.alloc(1);
  }

  readMask(): never {
    throw new TypeError("a string has no mask");
  }

  writeMask(): never {
    throw new TypeError("a string has no mask");
  }
}

/** A payload that has no bytes: the attribute's presence is the value. */
export class FlagCodec implements Codec<boolean> {
  readonly min = 0;
  readonly max = 0;

  read(): boolean {
    return true;
  }

  write(): void {}

  readMask(): boolean {
    return true;
  }

  writeMask(): void {}
}

/** The one flag codec. */
export const flag: FlagCodec = new FlagCodec();
