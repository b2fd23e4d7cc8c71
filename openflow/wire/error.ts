// SPDX-License-Identifier: Apache-2.0
/**
 * Errors of OpenFlow by name, and their bytes.
 *
 * @module
 */
import { errorTable } from "./error_table.ts";

/** Name of an error, as in the specification and in Open vSwitch. */
export type ErrorName = keyof typeof errorTable;

/** Version of OpenFlow as in a header: 1 is 1.0, 6 is 1.5. */
export type Version = 1 | 2 | 3 | 4 | 5 | 6;

/** Vendor number of Nicira's extensions. */
export const NICIRA = 0x00002320;
/** Vendor number of the ONF's extensions. */
export const ONF = 0x4f4e4600;

/** What a peer is told that a message of its is wrong. */
export class OfError extends Error {
  override readonly name = "OfError";
  /** Which error. */
  readonly code: ErrorName;

  /** `detail` is for logs: the peer sees numbers only. */
  constructor(code: ErrorName, detail?: string) {
    super(detail === undefined ? code : `${code}: ${detail}`);
    this.code = code;
  }
}

/** Numbers of an error in one version. */
export interface ErrorNumbers {
  /** 0 for the specification's own. */
  readonly vendor: number;
  /** Type, or undefined where an experimenter's error has one number only. */
  readonly type: number | undefined;
  readonly code: number;
}

const byVersion: (Map<string, ErrorNumbers> | undefined)[] = [];
const byNumbers: (Map<string, ErrorName> | undefined)[] = [];

function textOf({ vendor, type, code }: ErrorNumbers): string {
  return `${vendor}:${type ?? "-"}:${code}`;
}

function tableOf(version: Version): Map<string, ErrorNumbers> {
  const known = byVersion[version];
  if (known !== undefined) return known;
  const made = new Map<string, ErrorNumbers>();
  const names = new Map<string, ErrorName>();
  for (const [name, line] of Object.entries(errorTable)) {
    for (const part of line.split(" ")) {
      const found = /^(nx|onf)?1\.(\d)(\+|-1\.(\d))?:(\d+)(?:,(\d+))?$/.exec(part);
      if (found === null) throw new TypeError(`${name} has a bad line: ${part}`);
      const [, who, first, more, last, a, b] = found;
      const from = Number(first) + 1;
      const to = more === undefined ? from : more === "+" ? 6 : Number(last) + 1;
      if (version < from || version > to) continue;
      const numbers = {
        vendor: who === "nx" ? NICIRA : who === "onf" ? ONF : 0,
        type: b === undefined ? undefined : Number(a),
        code: Number(b ?? a),
      };
      made.set(name, numbers);
      // Two names of one pair, as of OpenFlow 1.0's EPERM: the first one is the plain one.
      const text = textOf(numbers);
      if (!names.has(text)) names.set(text, name as ErrorName);
    }
  }
  byVersion[version] = made;
  byNumbers[version] = names;
  return made;
}

/** The numbers of an error; undefined if the version has no such error. */
export function errorNumbers(
  name: ErrorName,
  version: Version,
): ErrorNumbers | undefined {
  return tableOf(version).get(name);
}

/** The error with these numbers; undefined if there is none. */
export function errorByNumbers(
  numbers: ErrorNumbers,
  version: Version,
): ErrorName | undefined {
  tableOf(version);
  return byNumbers[version]?.get(textOf(numbers));
}
