// SPDX-License-Identifier: Apache-2.0
/**
 * Keys and masks taken apart: the attributes of each level of VLAN nesting.
 *
 * @module
 */

import { walk } from "./attributes.ts";
import { AttributeError } from "../codec/errors.ts";
import { ENCAP, ETHERTYPE, keyAttributes, MAX_ENCAP_DEPTH, VLAN } from "./key.ts";
import { type Writer } from "../codec/writer.ts";

/** One level of nesting: payloads by id, unknown ids among them. */
export type Level = Map<number, Uint8Array>;

/** Splits key or mask bytes into levels, the outermost first. Throws `AttributeError`. */
export function splitLevels(bytes: Uint8Array, what: string): Level[] {
  const levels: Level[] = [];
  let rest: Uint8Array | undefined = bytes;
  while (rest !== undefined) {
    if (levels.length > MAX_ENCAP_DEPTH) {
      throw new AttributeError(what, 0, "nested too deep", "EOVERFLOW");
    }
    const from: Uint8Array = rest;
    const level: Level = new Map();
    rest = undefined;
    walk(from, 0, from.length, what, (id, at, size) => {
      if (level.has(id) || (id === ENCAP && rest !== undefined)) {
        throw new AttributeError(what, at - 4, `attribute ${id} is duplicated`);
      }
      const payload = from.subarray(at, at + size);
      if (id === ENCAP) rest = payload;
      else level.set(id, payload);
    });
    levels.push(level);
  }
  return levels;
}

/** Ids in the order of the table; VLAN after its ETHERTYPE. */
const order: readonly number[] = keyAttributes.flatMap(({ id }) =>
  id === ETHERTYPE ? [ETHERTYPE, VLAN] : [id]
);

/** Appends levels, each in the order of the table, unknown attributes last. */
export function joinLevels(writer: Writer, levels: readonly Level[], depth = 0): void {
  const level = levels[depth];
  if (level === undefined) return;
  const known = new Set(order);
  for (const id of order) {
    const payload = level.get(id);
    if (payload !== undefined) writer.attribute(id, payload, "key");
  }
  for (const [id, payload] of level) {
    if (!known.has(id)) writer.attribute(id, payload, "key");
  }
  if (depth + 1 >= levels.length) return;
  const start = writer.begin(ENCAP);
  joinLevels(writer, levels, depth + 1);
  writer.end(start, "encap");
}
