// SPDX-License-Identifier: Apache-2.0
/**
 * Sets of attributes, declared as tables: one line for each field.
 *
 * The compiler proves that a table has a line for every field of its interface and that the
 * payload has the field's type.
 *
 * @module
 */

import type { UnknownAttribute } from "../types.ts";
import type { Codec } from "../codec/codec.ts";
import { AttributeError, joinPath } from "../codec/errors.ts";
import { wrong } from "../codec/leaf.ts";
import { HEADER_SIZE, TYPE_MASK, type Writer } from "../codec/writer.ts";

/** Who understands an attribute. */
export type KnownTo = "kernel" | "netdev" | "both";

/** What a mask of an attribute may be: any bits, all or none, a nest of masks, or nothing. */
export type Maskable = "any" | "exact" | "nested" | "never";

/** One line of an attribute table. */
export interface Attribute<T> {
  /** `nla_type` on the wire. Always written out: numbering has gaps and forks. */
  readonly id: number;
  /** Layout of the payload. */
  readonly wire: Codec<T>;
  /** Name in the text of ovs-dpctl(8); empty where the text has none. */
  readonly text: string;
  /** What masks it may have. */
  readonly mask: Maskable;
  /** Who understands it. */
  readonly knownTo: KnownTo;
}

/** One line for each field of `T` but `unknown`: none missing, none mistyped. */
export type AttributeTable<T> = {
  readonly [K in Exclude<keyof T, "unknown">]-?: Attribute<NonNullable<T[K]>>;
};

/** Makes a line: id, layout, name in text, what masks it may have, who understands it. */
export function line<T>(
  id: number,
  wire: Codec<T>,
  text = "",
  mask: Maskable = "any",
  knownTo: KnownTo = "both",
): Attribute<T> {
  return { id, wire, text, mask, knownTo };
}

/** A line with the name of its field. */
export interface NamedAttribute extends Attribute<unknown> {
  readonly name: string;
}

/** Ids of the attributes of a table, by field. */
export type AttributeIds<T> = {
  readonly [K in Exclude<keyof T, "unknown">]-?: number;
};

/** The ids in a table, for those who read and write attributes themselves. */
export function idsOf<T>(table: AttributeTable<T>): AttributeIds<T> {
  const ids = attributesOf(table).map(({ name, id }) => [name, id]);
  return Object.fromEntries(ids) as AttributeIds<T>;
}

/** The lines of a table in order, with the field names. */
export function attributesOf<T>(table: AttributeTable<T>): readonly NamedAttribute[] {
  return Object.entries<Attribute<unknown>>(table as never)
    .map(([name, attribute]) => ({ ...attribute, name }));
}

/** Called for each attribute with its id (without flags) and where its payload is. */
export type Visit = (id: number, at: number, size: number) => void;

/**
 * Walks the attributes between `from` and `to`, whose padding may be missing at the end.
 * Throws `AttributeError` when a length does not fit or bytes are left over.
 */
export function walk(
  bytes: Uint8Array,
  from: number,
  to: number,
  path: string,
  visit: Visit,
): void {
  let at = from;
  while (at + HEADER_SIZE <= to) {
    const size = (bytes[at] as number) | (bytes[at + 1] as number) << 8;
    const id = ((bytes[at + 2] as number) | (bytes[at + 3] as number) << 8) & TYPE_MASK;
    checkSize(size, at, to, path);
    visit(id, at + HEADER_SIZE, size - HEADER_SIZE);
    at += size + 3 & ~3;
  }
  checkEnd(at, to, path);
}

/** Refuses a length that is shorter than the header or goes beyond `to`. */
export function checkSize(size: number, at: number, to: number, path: string): void {
  if (size < HEADER_SIZE || at + size > to) {
    throw new AttributeError(
      path,
      at,
      `length ${size} of an attribute does not fit into the ${
        to - at
      } bytes that are left`,
    );
  }
}

/** Refuses bytes behind the last attribute. */
export function checkEnd(at: number, to: number, path: string): void {
  if (at < to) throw new AttributeError(path, at, `${to - at} bytes are left over`);
}

/** Reads one payload, checking its size and naming the place if it is malformed. */
export function readPayload<T>(
  attribute: Attribute<T>,
  bytes: Uint8Array,
  at: number,
  size: number,
  path: string,
): T {
  checkPayload(attribute, at, size, path);
  try {
    return attribute.wire.read(bytes, at, size);
  } catch (error) {
    throw placed(error, path, at);
  }
}

/** Refuses a payload that is too short or too long. */
export function checkPayload(
  attribute: Attribute<unknown>,
  at: number,
  size: number,
  path: string,
): void {
  const { min, max } = attribute.wire;
  if (size < min || size > max) {
    const expected = min === max ? `${min}` : `${min} to ${max}`;
    throw new AttributeError(
      path,
      at - HEADER_SIZE,
      `payload has ${size} bytes instead of ${expected}`,
    );
  }
}

/** An error of a codec with the place where it happened. */
export function placed(error: unknown, path: string, at: number): unknown {
  if (error instanceof AttributeError) {
    return new AttributeError(
      joinPath(path, error.path),
      error.offset,
      reason(error),
      error.code,
    );
  }
  if (!(error instanceof RangeError)) return error;
  return new AttributeError(path, at - HEADER_SIZE, error.message);
}

function reason(error: AttributeError): string {
  return error.message.slice(error.message.indexOf(": ") + 2);
}

/** An attribute that no line describes. */
export function unknownAttribute(
  bytes: Uint8Array,
  at: number,
  size: number,
): UnknownAttribute {
  const id = (bytes[at - 2] as number) | (bytes[at - 1] as number) << 8;
  return { id, bytes: bytes.slice(at, at + size) };
}

/** A nest of attributes, each at most once; the last one wins, as in Open vSwitch. */
export class AttributeSet<T extends object> implements Codec<T> {
  readonly min = 0;
  readonly max = 0xfffb;
  /** The lines in the order in which they are written. */
  readonly attributes: readonly NamedAttribute[];
  readonly #byId = new Map<number, NamedAttribute[]>();
  readonly #names: ReadonlySet<string>;
  readonly #padding: ReadonlySet<number>;

  /** `padding`: ids of attributes that only align what follows them. */
  constructor(
    readonly name: string,
    readonly table: AttributeTable<T>,
    padding: readonly number[] = [],
  ) {
    this.attributes = attributesOf(table);
    for (const attribute of this.attributes) {
      const same = this.#byId.get(attribute.id);
      if (same === undefined) this.#byId.set(attribute.id, [attribute]);
      else same.push(attribute);
    }
    this.#names = new Set([
      "unknown",
      "type",
      ...this.attributes.map(({ name }) => name),
    ]);
    this.#padding = new Set(padding);
  }

  /** The line of an id; where an id has forked, the one that a payload of `size` fits. */
  byId(id: number, size: number): NamedAttribute | undefined {
    const lines = this.#byId.get(id);
    if (lines === undefined || lines.length === 1) return lines?.[0];
    return lines.find(({ wire }) => size >= wire.min && size <= wire.max) ?? lines[0];
  }

  /** Whether an id only aligns what follows. */
  isPadding(id: number): boolean {
    return this.#padding.has(id);
  }

  /** Reads a nest; offsets in errors count from the start of `bytes`. */
  read(bytes: Uint8Array, at: number, size: number): T {
    const value: Record<string, unknown> = {};
    let unknown: UnknownAttribute[] | undefined;
    walk(bytes, at, at + size, "", (id, from, length) => {
      const attribute = this.byId(id, length);
      if (attribute !== undefined) {
        value[attribute.name] = readPayload(
          attribute,
          bytes,
          from,
          length,
          attribute.name,
        );
      } else if (!this.#padding.has(id)) {
        (unknown ??= []).push(unknownAttribute(bytes, from, length));
      }
    });
    if (unknown !== undefined) value.unknown = unknown;
    return value as T;
  }

  /** Appends the attributes that `value` has, in the order of the table. */
  write(writer: Writer, value: T, what: string = this.name): void {
    const record = this.#record(value, what);
    for (const { name, id, wire } of this.attributes) {
      const part = record[name];
      // A flag that is false is an absent attribute.
      if (part === undefined || part === false) continue;
      const start = writer.begin(id);
      wire.write(writer, part, `${what}.${name}`);
      writer.end(start, `${what}/${name}`);
    }
    writeUnknown(writer, record.unknown);
  }

  readMask(bytes: Uint8Array, at: number, size: number, shape?: Uint8Array): unknown {
    const mask: Record<string, unknown> = {};
    let unknown: UnknownAttribute[] | undefined;
    walk(bytes, at, at + size, "", (id, from, length) => {
      const attribute = this.byId(id, length);
      if (attribute !== undefined) {
        checkPayload(attribute, from, length, attribute.name);
        const inner = shape === undefined ? undefined : find(shape, id);
        mask[attribute.name] = attribute.wire.readMask(bytes, from, length, inner);
      } else if (!this.#padding.has(id)) {
        (unknown ??= []).push(unknownAttribute(bytes, from, length));
      }
    });
    if (unknown !== undefined) mask.unknown = unknown;
    return mask;
  }

  /** Appends masks; for `true`, all bits of every attribute that `shape` has. */
  writeMask(
    writer: Writer,
    mask: unknown,
    what: string = this.name,
    shape: Uint8Array = new Uint8Array(),
  ): void {
    const record = mask === true ? undefined : this.#record(mask, what);
    for (const { name, id, wire } of this.attributes) {
      const inner = find(shape, id);
      const part = record === undefined ? inner !== undefined : record[name];
      if (part === undefined || part === false) continue;
      const start = writer.begin(id);
      wire.writeMask(writer, part, `${what}.${name}`, inner);
      writer.end(start, `${what}/${name}`);
    }
    writeUnknown(writer, record?.unknown);
  }

  /** All bits of the attributes that `value` has; what it lacks is not matched. */
  named(value: unknown): unknown {
    const record = this.#record(value, this.name);
    const mask: Record<string, unknown> = {};
    for (const { name, wire } of this.attributes) {
      const part = record[name];
      if (part !== undefined) mask[name] = wire.named?.(part) ?? true;
    }
    if (record.unknown !== undefined) mask.unknown = allBits(record.unknown);
    return mask;
  }

  #record(value: unknown, what: string): Readonly<Record<string, unknown>> {
    if (typeof value !== "object" || value === null) {
      throw wrong(what, "an object", value);
    }
    for (const name in value) {
      if (!this.#names.has(name)) throw new TypeError(`${what} has no field "${name}"`);
    }
    return value as Readonly<Record<string, unknown>>;
  }
}

/** Masks of all bits for attributes that have no name here. */
export function allBits(unknown: unknown): readonly UnknownAttribute[] {
  return (unknown as readonly UnknownAttribute[]).map((attribute) => ({
    ...attribute,
    bytes: new Uint8Array(attribute.bytes.length).fill(0xff),
  }));
}

/** Appends attributes that have no name here, as they came. */
export function writeUnknown(writer: Writer, unknown: unknown): void {
  if (unknown === undefined) return;
  for (const { id, bytes } of unknown as readonly UnknownAttribute[]) {
    if (!Number.isInteger(id) || id < 0 || id > 0xffff) {
      throw new RangeError(
        `id of an unknown attribute must be an integer from 0 to 65535: current value is ${id}`,
      );
    }
    writer.attribute(id, bytes, `unknown ${id & TYPE_MASK}`);
  }
}

/** Payload of the last attribute with this id; undefined when there is none or it is cut. */
export function find(bytes: Uint8Array, id: number): Uint8Array | undefined {
  let found: Uint8Array | undefined;
  let at = 0;
  while (at + HEADER_SIZE <= bytes.length) {
    const size = (bytes[at] as number) | (bytes[at + 1] as number) << 8;
    if (size < HEADER_SIZE || at + size > bytes.length) return found;
    const type = ((bytes[at + 2] as number) | (bytes[at + 3] as number) << 8) & TYPE_MASK;
    if (type === id) found = bytes.subarray(at + HEADER_SIZE, at + size);
    at += size + 3 & ~3;
  }
  return found;
}
