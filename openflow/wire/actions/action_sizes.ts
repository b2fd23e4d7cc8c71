// SPDX-License-Identifier: Apache-2.0
/**
 * Which versions have actions of Nicira's, and how many bytes they have.
 *
 * Sources: `ofp-actions.c` and `nicira-ext.h` of Open vSwitch 3.1.
 *
 * @module
 */
import { OfError, type Version } from "../error.ts";

/** Bytes of an action without a bound. */
export const ANY_SIZE = 0xffff;

/** Versions that have an action which not all have. */
const versions: Readonly<Record<number, readonly [from: Version, to: Version]>> = {
  ...Object.fromEntries([4, 18, 23, 24, 25, 26, 30, 31, 40].map((of) => [of, [1, 1]])),
  ...Object.fromEntries([6, 7, 33].map((of) => [of, [1, 5]])),
};
/** Bytes of actions, where they are not 16; of those without a bound at least. */
const sized: Readonly<Record<number, number>> = {
  ...Object.fromEntries([6, 7, 9, 15, 27, 28, 29, 32, 35, 49, 50].map((of) => [of, 24])),
  ...Object.fromEntries([10, 12, 13, 16, 38, 41].map((of) => [of, 32])),
  22: 32,
  45: 40,
};
/** Actions that there are, and that are not done here: metadata, headers, what finds faults. */
const undone: ReadonlySet<number> = new Set([22, 46, 47, 48, 254, 255]);
const unbounded: ReadonlySet<number> = new Set([
  6,
  8,
  12,
  13,
  16,
  21,
  33,
  35,
  36,
  37,
  42,
  45,
  46,
  47,
]);

/** Whether a version has an action of Nicira's, by its subtype. */
export function hasNicira(subtype: number, version: Version): boolean {
  const [from, to] = versions[subtype] ?? [1, 6];
  return version >= from && version <= to;
}

function refuse(): never {
  throw new OfError("OFPBAC_BAD_VENDOR_TYPE");
}

/** Refuses an action that there is, and that is not done here: its length is looked at before. */
export function undoneRead(subtype: number): (() => never) | undefined {
  return undone.has(subtype) ? refuse : undefined;
}

/** Bytes that an action of Nicira's has at least and at most, by its subtype. */
export function sizesOfNicira(subtype: number): readonly [least: number, most: number] {
  const size = sized[subtype] ?? 16;
  return [size, unbounded.has(subtype) ? ANY_SIZE : size];
}
