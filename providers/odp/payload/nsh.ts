// SPDX-License-Identifier: Apache-2.0
/**
 * `OVS_NSH_KEY_ATTR_*`: the nest of a network service header.
 *
 * @module
 */

import type { NshKey, UnknownAttribute } from "../../types.ts";
import { allBits, AttributeSet, type AttributeTable, line } from "../attributes.ts";
import { BytesCodec, type Codec, StructCodec } from "../../codec/codec.ts";
import { be32x0, bits, u8, wrong } from "../../codec/leaf.ts";
import type { Writer } from "../../codec/writer.ts";

type Base = Pick<NshKey, "flags" | "ttl" | "mdtype" | "np" | "spi" | "si">;
interface Contexts {
  readonly c1: number;
  readonly c2: number;
  readonly c3: number;
  readonly c4: number;
}

/** `struct ovs_nsh_key_base`: four bytes, then path identifier (24 bits) and index (8). */
export const nshBase: StructCodec<Base> = new StructCodec("nsh", 8, {
  flags: { at: 0, leaf: u8 },
  ttl: { at: 1, leaf: u8 },
  mdtype: { at: 2, leaf: u8 },
  np: { at: 3, leaf: u8 },
  spi: { at: 4, leaf: bits(4, 8, 24, "hex0x") },
  si: { at: 7, leaf: u8 },
});

/** `struct ovs_nsh_key_md1` */
export const nshContexts: StructCodec<Contexts> = new StructCodec("nsh", 16, {
  c1: { at: 0, leaf: be32x0 },
  c2: { at: 4, leaf: be32x0 },
  c3: { at: 8, leaf: be32x0 },
  c4: { at: 12, leaf: be32x0 },
});

/** The attributes of the nest. */
interface Nest {
  readonly base?: Base;
  readonly md1?: Contexts;
  readonly md2?: Uint8Array;
  readonly unknown?: readonly UnknownAttribute[];
}

/** A value and its mask behind each other, as a masked set has them. */
class PairCodec<T> implements Codec<readonly [T, unknown]> {
  readonly min: number;
  readonly max: number;

  constructor(readonly half: Codec<T>) {
    this.min = 2 * half.min;
    this.max = 2 * half.max;
  }

  read(bytes: Uint8Array, at: number, size: number): readonly [T, unknown] {
    const half = size / 2;
    return [
      this.half.read(bytes, at, half),
      this.half.readMask(bytes, at + half, half),
    ];
  }

  write(writer: Writer, [value, mask]: readonly [T, unknown], what: string): void {
    this.half.write(writer, value, what);
    this.half.writeMask(writer, mask, what);
  }

  readMask(): never {
    throw new TypeError("a pair of value and mask has no mask");
  }

  writeMask(): never {
    throw new TypeError("a pair of value and mask has no mask");
  }
}

const table: AttributeTable<Nest> = {
  base: line(1, nshBase, "", "any"),
  md1: line(2, nshContexts, "", "any"),
  md2: line(3, new BytesCodec(0, 248), "md2", "never"),
};

const nest = new AttributeSet<Nest>("nsh", table);

interface PairNest {
  readonly base?: readonly [Base, unknown];
  readonly md1?: readonly [Contexts, unknown];
  readonly unknown?: readonly UnknownAttribute[];
}
const pairs = new AttributeSet<PairNest>("nsh", {
  base: line(1, new PairCodec(nshBase)),
  md1: line(2, new PairCodec(nshContexts)),
});

const baseNames = ["flags", "ttl", "mdtype", "np", "spi", "si"] as const;
const contextNames = ["c1", "c2", "c3", "c4"] as const;
const names: ReadonlySet<string> = new Set([...baseNames, "contexts", "md2", "unknown"]);

/** The nest as the attributes have it; `whole` is for what must be there even when zero. */
function split(value: unknown, whole: boolean): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw wrong("nsh", "an object", value);
  const record = value as Readonly<Record<string, unknown>>;
  for (const name in record) {
    if (!names.has(name)) throw new TypeError(`nsh has no field "${name}"`);
  }
  const base: Record<string, unknown> = {};
  for (const name of baseNames) if (record[name] !== undefined) base[name] = record[name];
  const parts: Record<string, unknown> = {};
  if (whole || Object.keys(base).length > 0) parts.base = base;
  const contexts = record.contexts;
  if (contexts === true) parts.md1 = true;
  else if (contexts !== undefined) {
    if (!Array.isArray(contexts) || contexts.length !== 4) {
      throw new TypeError("nsh.contexts must be an array of 4 numbers");
    }
    parts.md1 = Object.fromEntries(contextNames.map((name, i) => [name, contexts[i]]));
  }
  if (record.md2 !== undefined) parts.md2 = record.md2;
  if (record.unknown !== undefined) parts.unknown = record.unknown;
  return parts;
}

function join(parts: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const value: Record<string, unknown> = { ...parts.base as object };
  const md1 = parts.md1 as Readonly<Record<string, unknown>> | undefined;
  if (md1 !== undefined) value.contexts = contextNames.map((name) => md1[name]);
  if (parts.md2 !== undefined) value.md2 = parts.md2;
  if (parts.unknown !== undefined) value.unknown = parts.unknown;
  return value;
}

/** The nest of a key and of push_nsh. */
class NshCodec implements Codec<NshKey> {
  readonly min = 0;
  readonly max = 0xfffb;

  read(bytes: Uint8Array, at: number, size: number): NshKey {
    const value = join(nest.read(bytes, at, size) as Record<string, unknown>);
    for (const name of baseNames) value[name] ??= 0;
    return value as unknown as NshKey;
  }

  write(writer: Writer, value: NshKey, what: string): void {
    nest.write(writer, split(value, true) as Nest, what);
  }

  readMask(bytes: Uint8Array, at: number, size: number): unknown {
    return join(nest.readMask(bytes, at, size) as Record<string, unknown>);
  }

  writeMask(writer: Writer, mask: unknown, what: string, shape?: Uint8Array): void {
    nest.writeMask(writer, mask === true ? true : split(mask, false), what, shape);
  }

  named(value: unknown): unknown {
    const parts = split(value, false);
    const mask: Record<string, unknown> = {};
    for (const name in parts.base as object ?? {}) mask[name] = true;
    if (parts.md1 !== undefined) mask.contexts = true;
    if (parts.md2 !== undefined) mask.md2 = true;
    if (parts.unknown !== undefined) mask.unknown = allBits(parts.unknown);
    const has = (name: string) => mask[name] !== undefined;
    return baseNames.every(has) && (has("contexts") || has("md2")) ? true : mask;
  }
}

/** Codec of the nest. */
export const nshKey: Codec<NshKey> = new NshCodec();

/** Reads the nest of a masked set, where each attribute is a value and its mask. */
export function readMaskedNsh(
  bytes: Uint8Array,
  at: number,
  size: number,
): { value: NshKey; mask: unknown } {
  const parts = pairs.read(bytes, at, size) as Readonly<
    Record<string, readonly [unknown, unknown]>
  >;
  const halves = [0, 1].map((half) =>
    join(
      Object.fromEntries(
        Object.entries(parts).map(([name, pair]) => [
          name,
          name === "unknown" ? pair : pair[half],
        ]),
      ),
    )
  );
  return { value: halves[0] as unknown as NshKey, mask: halves[1] };
}

/** Appends the nest of a masked set. */
export function writeMaskedNsh(writer: Writer, value: NshKey, mask: unknown): void {
  const values = split(value, false);
  const masks = mask === true
    ? { base: true, md1: true }
    : split(mask, false) as Record<string, unknown>;
  const parts: Record<string, unknown> = {};
  if (values.unknown !== undefined) parts.unknown = values.unknown;
  for (const name of ["base", "md1"]) {
    if (values[name] !== undefined || masks[name] !== undefined && mask !== true) {
      parts[name] = [values[name] ?? {}, masks[name] ?? {}];
    }
  }
  pairs.write(writer, parts as PairNest);
}
