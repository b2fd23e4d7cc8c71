// SPDX-License-Identifier: Apache-2.0
/**
 * Masks between objects and bytes, and the common ones.
 *
 * @module
 */

import type {
  FieldName,
  FlowKey,
  FlowKeyInit,
  FlowMask,
  UnknownAttribute,
  VlanTag,
} from "../types.ts";
import { allBits, checkPayload, type NamedAttribute, placed } from "./attributes.ts";
import { one } from "../codec/codec.ts";
import { KeyIndex } from "./key_index.ts";
import {
  checkFields,
  decodeKey,
  ENCAP,
  encodeKey,
  ETHERTYPE,
  innerAttributes,
  namedField,
  outerAttributes,
  readLevel,
  VLAN,
  vlanTci,
  writeLevel,
} from "./key.ts";
import { viewIndex } from "./view.ts";
import { type Writer, written } from "../codec/writer.ts";

/** What {@linkcode exact} made: its masks never change, so their bytes can be kept. */
const exactMasks = new WeakSet<object>();

/**
 * A mask of all bits of some fields; nothing else matters.  Of a field that is named in parts
 * (`ipv4: { dst }`) these are the bits of the parts that are named.
 *
 * A field that the key lacks means "must be absent": what tells its absence (EtherType,
 * protocol) is masked instead.
 *
 * ```ts
 * import { exact } from "./mask.ts";
 * const mask = exact("inPort", "ethernet");
 * ```
 */
export function exact(...fields: readonly FieldName[]): FlowMask {
  const mask: Record<string, true> = {};
  for (const field of fields) mask[field] = true;
  checkFields(mask, "mask");
  Object.freeze(mask);
  exactMasks.add(mask);
  return mask as FlowMask;
}

/** A mask without bits: every packet matches. */
export function any(): FlowMask {
  return exact();
}

/** Whether a mask came from {@linkcode exact}. */
export function isExactMask(mask: object): boolean {
  return exactMasks.has(mask);
}

/**
 * The mask of a key that is a plain object: what it names matters, in whole fields and in parts
 * of them.  Without `mask` that is all that it names; in `mask`, `true` stands for what the key
 * names of the field, and for all of it where the key has nothing.
 */
export function namedMask(key: FlowKeyInit, mask?: FlowMask): FlowMask {
  const record = checkFields(key, "key");
  const wanted = mask === undefined ? record : checkFields(mask, "mask");
  let changed: Record<string, unknown> | undefined = mask === undefined ? {} : undefined;
  for (const name in wanted) {
    const value = record[name];
    if (value === undefined) continue;
    if (mask !== undefined) {
      // All of a tunnel is more than its attributes: what is left out of them is zero.
      if (wanted[name] !== true || typeof value !== "object" || name === "tunnel") {
        continue;
      }
    }
    const bits = namedField(name, value);
    if (mask !== undefined && bits === true) continue;
    changed ??= { ...mask };
    changed[name] = bits;
  }
  return (changed ?? mask) as FlowMask;
}

/** Index of a key in whatever form; undefined without a key. */
export function indexOf(
  key: FlowKey | FlowKeyInit | Uint8Array | undefined,
): KeyIndex | undefined {
  if (key === undefined) return undefined;
  if (key instanceof Uint8Array) return new KeyIndex(key);
  return viewIndex(key) ?? new KeyIndex(encodeKey(key));
}

/**
 * Bytes of a mask.
 *
 * `key` is the key that it masks.  It is needed where the mask takes its shape from the key:
 * behind VLAN tags, and where `true` stands for fields of variable length.
 * Throws `TypeError` or `RangeError`.
 */
export function encodeMask(
  mask: FlowMask,
  key?: FlowKey | FlowKeyInit | Uint8Array,
): Uint8Array<ArrayBuffer> {
  const index = indexOf(key);
  const isPlain = key !== undefined && !(key instanceof Uint8Array) && !viewIndex(key);
  const bits = isPlain ? namedMask(key, mask) : mask;
  return written((writer) => writeMask(writer, bits, index));
}

/** Appends the bytes of a mask for the key that `index` describes. */
export function writeMask(
  writer: Writer,
  mask: FlowMask,
  index: KeyIndex | undefined,
): void {
  const record = checkFields(mask, "mask");
  const unknown = record.unknown === true
    ? unknownOnes(index)
    : record.unknown as readonly UnknownAttribute[] | undefined;
  writeFields(writer, outerAttributes, record, index);

  const tags = record.vlans === true ? [] : (record.vlans ?? []) as readonly unknown[];
  const depth = Math.max(tags.length, index?.depth ?? (record.vlans === true ? 1 : 0));
  const starts: number[] = [];
  for (let i = 0; i < depth; i++) {
    writeLevel(writer, unknown, i);
    const tag = record.vlans === true ? true : tags[i];
    writeTagMask(writer, tag as true | Partial<VlanTag> | undefined);
    starts.push(writer.begin(ENCAP));
  }
  if (record.etherType !== undefined) {
    const start = writer.begin(ETHERTYPE);
    one.be16x4.writeMask(writer, record.etherType, "etherType");
    writer.end(start, "etherType");
  }
  writeFields(writer, innerAttributes, record, index);
  writeLevel(writer, unknown, depth);
  for (let start = starts.pop(); start !== undefined; start = starts.pop()) {
    writer.end(start, "encap");
  }
}

/** Appends ETHERTYPE and VLAN masks of one tag; its presence always matters. */
function writeTagMask(writer: Writer, tag: true | Partial<VlanTag> | undefined): void {
  const { tpid = 0xffff, ...tci } = tag === true ? {} : tag ?? {};
  const type = writer.begin(ETHERTYPE);
  one.be16x4.writeMask(writer, tpid, "vlan.tpid");
  writer.end(type, "vlan");
  const start = writer.begin(VLAN);
  vlanTci.writeMask(writer, tag === true ? true : { cfi: 1, ...tci });
  writer.end(start, "vlan");
}

function writeFields(
  writer: Writer,
  attributes: readonly NamedAttribute[],
  record: Readonly<Record<string, unknown>>,
  index: KeyIndex | undefined,
): void {
  for (const { name, id, wire } of attributes) {
    const mask = record[name];
    if (mask === undefined) continue;
    const start = writer.begin(id);
    wire.writeMask(writer, mask, name, index?.payload(id));
    writer.end(start, name);
  }
}

/** Masks of all bits for the attributes of a key that have no name here. */
function unknownOnes(index: KeyIndex | undefined): readonly UnknownAttribute[] {
  if (index === undefined || !index.hasUnknown) return [];
  return allBits(decodeKey(index.bytes).unknown ?? []);
}

/**
 * The mask of attribute bytes, as a plain object.
 *
 * `key` is needed to tell apart what has variable length (Geneve options).  Throws
 * `AttributeError` for bytes that are malformed.
 */
export function decodeMask(
  bytes: Uint8Array,
  key?: FlowKey | FlowKeyInit | Uint8Array,
): FlowMask {
  const index = indexOf(key);
  const mask: Record<string, unknown> = {};
  readLevel(bytes, 0, bytes.length, 0, "", mask, (line, from, at, size, path) => {
    checkPayload(line, at, size, path);
    try {
      return line.wire.readMask(from, at, size, index?.payload(line.id));
    } catch (error) {
      throw placed(error, path, at);
    }
  }, vlanTci.readMask.bind(vlanTci));
  return mask as FlowMask;
}
