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
  VLAN,
  vlanTci,
  writeTag,
} from "./key.ts";
import { readMaskedNsh, writeMaskedNsh } from "./payload/nsh.ts";
import { HEADER_SIZE, TYPE_MASK, type Writer } from "../codec/writer.ts";

const byName: ReadonlyMap<string, NamedAttribute> = new Map(
  keyAttributes.map((attribute) => [attribute.name, attribute]),
);

/** Appends the key attribute of a set; its value and mask if there is one. */
export function writeSet(writer: Writer, { key, mask }: SetAction): void {
  const record = checkFields(key, "set.key");
  const names = Object.keys(record).filter((name) => record[name] !== undefined);
  const name = names[0];
  if (name === undefined || names.length > 1) {
    throw new TypeError(`set takes exactly one field: it has ${names.length}`);
  }
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
