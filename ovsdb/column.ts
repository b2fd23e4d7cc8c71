// SPDX-License-Identifier: Apache-2.0
/**
 * Columns of a database: what their values are here, and in JSON.
 *
 * A scalar is itself there, a set is `["set", [...]]` or its one element alone, a map is
 * `["map", [[key, value], ...]]`, the number of a row is `["uuid", "..."]`. Changes of sets name
 * the elements that came or went, those of maps the pairs (ovsdb-server(7), "update2").
 *
 * Source: RFC 7047, section 5.1.
 *
 * @module
 */
import { OvsdbProtocolError } from "./errors.ts";
import type { Json } from "./json.ts";

/** The kind of a column: what its values are. */
export interface Column<T> {
  /** The value that a row has that nobody wrote. */
  readonly usual: T;
  /**
   * Reads a value. Throws {@linkcode OvsdbProtocolError}; elements of sets and maps that are none
   * are left out instead if there is `odd`, which is told.
   */
  read(json: Json, odd?: Odd): T;
  /** Writes a value. */
  write(value: T): Json;
  /** The value behind a change. */
  change(before: T, change: Json, odd?: Odd): T;
}

/** Told why an element cannot be read. */
export type Odd = (reason: OvsdbProtocolError) => void;

/** A kind of elements. */
export interface Atom<T extends Scalar> {
  readonly usual: T;
  read(json: Json): T;
  write(value: T): Json;
}

/** What elements are. */
export type Scalar = string | boolean | number | bigint;

function bad(what: string, json: Json): OvsdbProtocolError {
  const text = typeof json === "object" ? "a list" : String(json).slice(0, 40);
  return new OvsdbProtocolError(`${text} is not ${what}`);
}

function atom<T extends Scalar>(
  what: string,
  usual: T,
  read: (json: Json) => T | undefined,
  write: (value: T) => Json,
): Atom<T> & Column<T> {
  const one = {
    usual,
    read(json: Json): T {
      const value = read(json);
      if (value === undefined) throw bad(what, json);
      return value;
    },
    write,
    change: (_: T, change: Json): T => one.read(change),
  };
  return one;
}

/** Text. */
export const text = atom<string>(
  "text",
  "",
  (json) => typeof json === "string" ? json : undefined,
  (value) => value,
);

/** True or false. */
export const flag = atom<boolean>(
  "true or false",
  false,
  (json) => typeof json === "boolean" ? json : undefined,
  (value) => value,
);

/** An integer that a number holds. */
export const integer = atom<number>(
  "an integer below 2^53",
  0,
  (json) => Number.isSafeInteger(json) ? json as number : undefined,
  (value) => value,
);

/** An integer of 64 bits. */
export const counter = atom<bigint>(
  "an integer",
  0n,
  (json) =>
    typeof json === "bigint" || Number.isSafeInteger(json)
      ? BigInt.asIntN(64, BigInt(json as bigint | number))
      : undefined,
  (value) => value,
);

const NO_ROW = "00000000-0000-0000-0000-000000000000";
const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The number of a row. Names of rows that the same transaction makes are written as such. */
export const row = atom<string>(
  "the number of a row",
  NO_ROW,
  (json) => {
    const [kind, uuid] = Array.isArray(json) ? json as readonly Json[] : [];
    return kind === "uuid" && typeof uuid === "string" && isUuid.test(uuid)
      ? uuid
      : undefined;
  },
  (value) => isUuid.test(value) ? ["uuid", value] : ["named-uuid", value],
);

/** The elements of a list with a word before it. */
function listOf(json: Json, word: string): readonly Json[] | undefined {
  if (!Array.isArray(json) || json.length !== 2 || json[0] !== word) return undefined;
  const list = json[1] as Json;
  return Array.isArray(list) ? list as readonly Json[] : undefined;
}

function elements<T extends Scalar>(of: Atom<T>, json: Json, odd?: Odd): T[] {
  return (listOf(json, "set") ?? [json]).flatMap((one) => tried(() => of.read(one), odd));
}

/** What is read, or nothing where `odd` is told that it cannot be. */
function tried<T>(read: () => T, odd: Odd | undefined): T[] {
  try {
    return [read()];
  } catch (error) {
    if (odd === undefined || !(error instanceof OvsdbProtocolError)) throw error;
    odd(error);
    return [];
  }
}

/** One value, or none. */
export function optional<T extends Scalar>(of: Atom<T>): Column<T | undefined> {
  const read = (json: Json, odd?: Odd): T | undefined => {
    const all = elements(of, json, odd);
    if (all.length > 1) throw bad("one value or none", json);
    return all[0];
  };
  return {
    usual: undefined,
    read,
    write: (value) => value === undefined ? ["set", []] : of.write(value),
    change: (_, change, odd) => read(change, odd),
  };
}

/** Any number of values, each once. */
export function set<T extends Scalar>(of: Atom<T>): Column<ReadonlySet<T>> {
  return {
    usual: new Set(),
    read: (json, odd) => new Set(elements(of, json, odd)),
    write: (value) => ["set", [...value].map((one) => of.write(one))],
    change: (before, change, odd) => {
      const now = new Set(before);
      for (const one of elements(of, change, odd)) {
        if (!now.delete(one)) now.add(one);
      }
      return now;
    },
  };
}

/** Values by key. */
export function map<K extends Scalar, V extends Scalar>(
  keys: Atom<K>,
  values: Atom<V>,
): Column<ReadonlyMap<K, V>> {
  const pairs = (json: Json, odd?: Odd): [key: K, value: V | undefined][] => {
    const list = listOf(json, "map");
    if (list === undefined) throw bad("a map", json);
    return list.flatMap((pair) =>
      tried((): [K, V | undefined] => {
        const [key, value, ...more] = Array.isArray(pair) ? pair as readonly Json[] : [];
        if (key === undefined || value === undefined || more.length > 0) {
          throw bad("a key with its value", pair);
        }
        return [keys.read(key), tried(() => values.read(value), odd)[0]];
      }, odd)
    );
  };
  /** A value that cannot be read is none, whatever was there before. */
  const put = (to: Map<K, V>, key: K, value: V | undefined): void => {
    if (value === undefined || to.get(key) === value) to.delete(key);
    else to.set(key, value);
  };
  return {
    usual: new Map(),
    read: (json, odd) => {
      const all = pairs(json, odd);
      return new Map(all.filter((pair): pair is [K, V] => pair[1] !== undefined));
    },
    write: (value) => [
      "map",
      [...value].map(([key, one]) => [keys.write(key), values.write(one)]),
    ],
    change: (before, change, odd) => {
      const now = new Map(before);
      for (const [key, value] of pairs(change, odd)) put(now, key, value);
      return now;
    },
  };
}
