// SPDX-License-Identifier: Apache-2.0
/**
 * Whether keys agree in what a mask says matters.
 *
 * @module
 */

import { find, walk } from "./attributes.ts";
import { keyTable } from "./key.ts";
import { splitLevels } from "./levels.ts";

/** Attributes that are nests of attributes. */
const nests: ReadonlySet<number> = new Set([keyTable.tunnel.id, keyTable.nsh.id]);

/**
 * Whether two keys agree in every bit of a mask; all three are attribute bytes.
 *
 * A field that only one key has makes them differ when it is masked.  Keys with different
 * numbers of VLAN tags differ, whatever the mask.  Throws `AttributeError` for malformed bytes.
 */
export function maskedEqual(a: Uint8Array, b: Uint8Array, mask: Uint8Array): boolean {
  const left = splitLevels(a, "key");
  const right = splitLevels(b, "key");
  if (left.length !== right.length) return false;
  for (const [depth, level] of splitLevels(mask, "mask").entries()) {
    for (const [id, bits] of level) {
      const x = left[depth]?.get(id);
      const y = right[depth]?.get(id);
      if (!equal(x, y, bits, nests.has(id))) return false;
    }
  }
  return true;
}

function equal(
  x: Uint8Array | undefined,
  y: Uint8Array | undefined,
  bits: Uint8Array,
  isNest: boolean,
): boolean {
  if (isNest) return equalNests(x ?? new Uint8Array(), y ?? new Uint8Array(), bits);
  // A mask without bytes is that of a flag, whose presence is its value.
  const matters = bits.length === 0 || bits.some((byte) => byte !== 0);
  if (!matters) return true;
  if (x === undefined || y === undefined) return x === y;
  if (x.length !== y.length) return false;
  return x.every((byte, i) => ((byte ^ (y[i] as number)) & (bits[i] ?? 0)) === 0);
}

function equalNests(x: Uint8Array, y: Uint8Array, mask: Uint8Array): boolean {
  let same = true;
  walk(mask, 0, mask.length, "mask", (id, at, size) => {
    same &&= equal(find(x, id), find(y, id), mask.subarray(at, at + size), false);
  });
  return same;
}
