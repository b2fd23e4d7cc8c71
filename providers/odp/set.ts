// SPDX-License-Identifier: Apache-2.0
/**
 * `OVS_ACTION_ATTR_SET` and `OVS_ACTION_ATTR_SET_MASKED`: one key attribute, with or without
 * a mask behind the value.
 *
 * @module
 */

import type { FlowKeyInitFields, FlowMask, NshKey, VlanTag } from "../types.ts";
import type { SetAction } from "../types_action.ts";
import {
  checkPayload,
  checkSize,
  type NamedAttribute,
  placed,
  readPayload,
  unknownAttribute,
  writeUnknown,
} from "./attributes.ts";
import { AttributeError, joinPath } from "../codec/errors.ts";
import {
  checkFields,
  keyAttributes,
  keyById,
  keyTable,
  namedField,
  VLAN,
  vlanTci,
  writeTag,
} from "./key.ts";
import { readMaskedNsh, writeMaskedNsh } from "./payload/nsh.ts";
import { HEADER_SIZE, TYPE_MASK, type Writer } from "../codec/writer.ts";

const byName: ReadonlyMap<string, NamedAttribute> = new Map(
  keyAttributes.map((attribute) => [attribute.name, attribute]),
);

/** The one field of a set. */
function fieldOf(record: Readonly<Record<string, unknown>>): string {
  const names = Object.keys(record).filter((name) => record[name] !== undefined);
  const name = names[0];
  if (name === undefined || names.length > 1) {
    throw new TypeError(`set takes exactly one field: it has ${names.length}`);
  }
  return name;
}

/**
 * A set with the mask that it means.  Without one it is of what it names: where a field is
 * named in parts, the rest is left alone.  A tunnel is always set in whole, since headers are
 * made anew from it.  Throws `TypeError` for a mask of what the value does not name.
 */
export function completeSet(action: SetAction): SetAction {
  const { key, mask } = action;
  const record = checkFields(key, "set.key");
  const name = fieldOf(record);
  const bits = mask && checkFields(mask, "set.mask")[name];
  if (name === "tunnel" || name === "unknown" || mask && bits === undefined) {
    return action;
  }
  if (name === "vlans") refuseProtocol(record.vlans);
  const named = namedField(name, record[name]);
  if (named !== true && namesNothing(named)) {
    throw new TypeError(`set of ${name} names nothing of it`);
  }
  if (mask === undefined) {
    return named === true ? action : { ...action, mask: { [name]: named } as FlowMask };
  }
  const missing = unnamed(named, bits);
  if (missing === undefined) return action;
  throw new TypeError(
    `set.mask has bits of ${name}${missing} without a value in set.key`,
  );
}

function refuseProtocol(tags: unknown): void {
  for (const { tpid } of tags as readonly Partial<VlanTag>[]) {
    if (tpid !== undefined) throw new TypeError("set of a VLAN tag takes no tpid");
  }
}

function namesNothing(named: unknown): boolean {
  return Object.values(named as object).every((part) =>
    typeof part === "object" && namesNothing(part)
  );
}

/** What `bits` masks and `named` does not name, `.src`; undefined when there is nothing. */
function unnamed(named: unknown, bits: unknown): string | undefined {
  if (named === true) return undefined;
  if (bits === true) return ", which it names in parts,";
  for (const [part, mask] of Object.entries(bits as object)) {
    if (hasNoBits(mask)) continue;
    const inner = (named as Readonly<Record<string, unknown>>)[part];
    if (inner === undefined) return `.${part}`;
    const missing = unnamed(inner, mask);
    if (missing !== undefined) return missing;
  }
  return undefined;
}

/** Whether a mask of a leaf has no bits. */
function hasNoBits(mask: unknown): boolean {
  if (typeof mask === "string") return /^[0.:]*$/.test(mask);
  if (mask instanceof Uint8Array) return mask.every((byte) => byte === 0);
  return mask === undefined || mask === 0 || mask === 0n || mask === false;
}

/** Writes the key attribute of a set; its value and mask if there is one. */
export function writeSet(writer: Writer, { key, mask }: SetAction): void {
  const record = checkFields(key, "set.key");
  const name = fieldOf(record);
  const masks = mask === undefined ? undefined : checkFields(mask, "set.mask");
  if (masks !== undefined && (name === "tunnel" || name === "unknown")) {
    throw new TypeError(`set of ${name} takes no mask`);
  }
  const bits = masks?.[name];
  if (masks !== undefined && (bits === undefined || Object.keys(masks).length > 1)) {
    throw new TypeError(`set.mask must be a mask of ${name}`);
  }
  if (name === "unknown") return writeUnknown(writer, record.unknown);
  if (name === "vlans") return writeSetTag(writer, record.vlans, bits);
  const line = byName.get(name) as NamedAttribute;
  const start = writer.begin(line.id);
  if (bits !== undefined && name === "nsh") {
    writeMaskedNsh(writer, record.nsh as NshKey, bits);
  } else {
    const from = writer.at;
    line.wire.write(writer, record[name], name);
    if (bits !== undefined) {
      const shape = writer.slice(from);
      line.wire.writeMask(writer, bits, name, shape);
    }
  }
  writer.end(start, `set/${name}`);
}

function writeSetTag(writer: Writer, tags: unknown, bits: unknown): void {
  const [tag, ...more] = tags as readonly Partial<VlanTag>[];
  if (tag === undefined || more.length > 0) throw new TypeError("set takes one VLAN tag");
  if (bits === undefined) return writeTag(writer, tag);
  const mask = bits === true ? true : (bits as readonly (Partial<VlanTag> | true)[])[0];
  const { tpid: _, ...tci } = tag;
  const start = writer.begin(VLAN);
  vlanTci.write(writer, { cfi: 1, ...tci } as VlanTag);
  vlanTci.writeMask(writer, typeof mask === "object" ? tciOf(mask) : mask);
  writer.end(start, "set/vlans");
}

function tciOf(tag: Partial<VlanTag>): Partial<VlanTag> {
  const { tpid: _, ...tci } = tag;
  return tci;
}

/** Reads the key attribute of a set between `from` and `to`. */
export function readSet(
  bytes: Uint8Array,
  from: number,
  to: number,
  masked: boolean,
  path: string,
): SetAction {
  if (to - from < HEADER_SIZE) throw new AttributeError(path, from, "set has no field");
  const size = (bytes[from] as number) | (bytes[from + 1] as number) << 8;
  const id = ((bytes[from + 2] as number) | (bytes[from + 3] as number) << 8) & TYPE_MASK;
  checkSize(size, from, to, path);
  if ((size + 3 & ~3) < to - from) {
    throw new AttributeError(path, from, "set has more than one field");
  }
  const at = from + HEADER_SIZE;
  const length = size - HEADER_SIZE;
  if (id === VLAN) return readSetTag(bytes, at, length, masked, path);
  const line = keyById[id];
  if (line === undefined) {
    if (masked) {
      throw new AttributeError(path, from, `masked set of unknown attribute ${id}`);
    }
    return { type: "set", key: { unknown: [unknownAttribute(bytes, at, length)] } };
  }
  const where = joinPath(path, line.name);
  if (!masked) {
    const key = { [line.name]: readPayload(line, bytes, at, length, where) };
    return { type: "set", key: key as FlowKeyInitFields };
  }
  if (id === keyTable.tunnel.id) {
    throw new AttributeError(where, from, "a tunnel key cannot be set with a mask");
  }
  const { value, mask } = readMasked(line, bytes, at, length, where);
  return {
    type: "set",
    key: { [line.name]: value } as FlowKeyInitFields,
    mask: { [line.name]: mask } as FlowMask,
  };
}

function readMasked(
  line: NamedAttribute,
  bytes: Uint8Array,
  at: number,
  size: number,
  path: string,
): { value: unknown; mask: unknown } {
  try {
    if (line.id === keyTable.nsh.id) return readMaskedNsh(bytes, at, size);
    if (size % 2 !== 0) throw new RangeError(`${size} bytes are not a value and a mask`);
    const half = size / 2;
    checkPayload(line, at, half, path);
    return {
      value: line.wire.read(bytes, at, half),
      mask: line.wire.readMask(bytes, at + half, half),
    };
  } catch (error) {
    if (error instanceof AttributeError && error.path === path) throw error;
    throw placed(error, path, at);
  }
}

function readSetTag(
  bytes: Uint8Array,
  at: number,
  size: number,
  masked: boolean,
  path: string,
): SetAction {
  if (size !== (masked ? 4 : 2)) {
    throw new AttributeError(
      joinPath(path, "vlan"),
      at - HEADER_SIZE,
      `payload has ${size} bytes`,
    );
  }
  const key = { vlans: [vlanTci.read(bytes, at)] } as FlowKeyInitFields;
  if (!masked) return { type: "set", key };
  const mask = { vlans: [vlanTci.readMask(bytes, at + 2)] } as FlowMask;
  return { type: "set", key, mask };
}
