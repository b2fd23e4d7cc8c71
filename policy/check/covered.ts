// SPDX-License-Identifier: Apache-2.0
/**
 * Which packets a flow covers, the plain way: on keys and masks as objects.
 *
 * @module
 */
import { bitsOf, mixBits } from "../../providers/odp/field_bits.ts";
import { decodeMask } from "../../providers/odp/mask.ts";
import type { FlowKey, FlowMask } from "../../providers/types.ts";
import { numberOf, widthOf } from "../packet/plain.ts";

const ALL = (1n << 256n) - 1n;

/** Every number in an object, by its path; addresses as numbers. */
export function flatten(
  value: unknown,
  path: string,
  to: Map<string, bigint>,
): Map<string, bigint> {
  if (value === undefined || value === null) return to;
  if (value === true) to.set(path, ALL);
  else if (value === false) to.set(path, 0n);
  else if (typeof value === "bigint") to.set(path, value);
  else if (typeof value === "number") to.set(path, BigInt(value));
  else if (typeof value === "string") {
    to.set(path, numberOf(value, widthOf(path)));
  } else if (value instanceof Uint8Array) {
    to.set(path, value.reduce((all, byte) => all << 8n | BigInt(byte), 0n));
  } else {
    for (const [name, part] of Object.entries(value)) {
      flatten(part, path === "" ? name : `${path}.${name}`, to);
    }
  }
  return to;
}

type Fields = Record<string, unknown>;

/** A value that a mask has bits of. */
interface Wanted {
  readonly path: readonly string[];
  readonly bits: bigint;
  /** Whether these are all bits that it has. */
  readonly isWhole: boolean;
}

/** What a mask wants of one field of a key. */
interface Group {
  readonly field: string;
  readonly wanted: readonly Wanted[];
}

function groupsOf(mask: FlowMask): Group[] {
  const { packetType: _, unknown: __, ...fields } = mask;
  return Object.entries(fields).map(([field, value]) => {
    const all = flatten(value, field, new Map());
    const wanted = [...all].filter(([, bits]) => bits !== 0n).map(([path, bits]) => {
      const parts = path.split(".");
      const width = BigInt(widthOf(`${field}.${parts.at(-1)}`));
      const whole = (1n << (parts.length === 1 ? BigInt(widthOf(field)) : width)) - 1n;
      return { path: parts, bits, isWhole: (bits & whole) === whole };
    });
    return { field, wanted };
  }).filter(({ wanted }) => wanted.length > 0);
}

/** Masks as groups: many packets have the same. */
const known = new Map<string, readonly Group[]>();
const KEPT = 4096;

function groupsFor(x: FlowKey, mask: Uint8Array, key: Uint8Array): readonly Group[] {
  const name = `${Object.keys(x)} ${x.etherType} ${key.length} ${mask.toHex()}`;
  let groups = known.get(name);
  if (groups === undefined) {
    groups = groupsOf(decodeMask(mask, key));
    if (known.size >= KEPT) known.clear();
    known.set(name, groups);
  }
  return groups;
}

/** The value at a path; undefined where there is none. */
function at(of: unknown, path: readonly string[]): unknown {
  let value = of;
  for (let i = 0; i < path.length && value !== undefined; i++) {
    value = (value as Fields)[path[i] as string];
  }
  return value;
}

function number(value: unknown, [first = "", ...more]: readonly string[]): bigint {
  if (value === undefined) return 0n;
  if (value === true) return ALL;
  if (typeof value === "string") {
    const last = more.at(-1);
    const width = widthOf(last === undefined ? first : `${first}.${last}`);
    return numberOf(value, width);
  }
  return value instanceof Uint8Array
    ? flatten(value, "", new Map()).get("") ?? 0n
    : bitsOf(value, 128);
}

/** The packets that hit a flow. */
export class Covered {
  readonly #x: FlowKey;
  readonly #groups: readonly Group[];

  /** `x` is the packet that made the flow, `key` its bytes. */
  constructor(x: FlowKey, mask: Uint8Array, key: Uint8Array) {
    this.#x = x;
    this.#groups = groupsFor(x, mask, key);
  }

  /**
   * Whether a packet hits the flow. Datapaths match some things whatever the mask says: port,
   * recirculation, whether there is an Ethernet header or a tunnel, tags and their protocols, the
   * EtherType.
   */
  has(y: FlowKey): boolean {
    if (!this.isAlike(y)) return false;
    const [mine, theirs] = [this.#x, y] as unknown as [Fields, Fields];
    return this.#groups.every(({ field, wanted }) =>
      mine[field] === theirs[field] || wanted.every(({ path, bits }) => {
        const [a, b] = [at(mine, path), at(theirs, path)];
        return a === b || ((number(a, path) ^ number(b, path)) & bits) === 0n;
      })
    );
  }

  /** Whether a packet has what datapaths match whatever the mask says. */
  isAlike(y: FlowKey): boolean {
    const x = this.#x;
    const isAlike = x.inPort === y.inPort && (x.recircId ?? 0) === (y.recircId ?? 0) &&
      x.etherType === y.etherType &&
      (x.ethernet === undefined) === (y.ethernet === undefined) &&
      (x.tunnel === undefined) === (y.tunnel === undefined) &&
      (x.vlans?.length ?? 0) === (y.vlans?.length ?? 0) &&
      (x.vlans ?? []).every(({ tpid }, i) => tpid === y.vlans?.[i]?.tpid);
    if (!isAlike) return false;
    // Which parts a tunnel key has is matched: its family is, and the flag that it has an id.
    const [a, b] = [x.tunnel, y.tunnel];
    if ((a?.ipv6Dst === undefined) !== (b?.ipv6Dst === undefined)) return false;
    return (a?.id === undefined) === (b?.id === undefined);
  }

  /**
   * Gives a packet what the mask has of the one that made the flow, where both have the field;
   * whether it hits the flow then is for `has` to say. What is not shared with that one is changed
   * in place.
   */
  lay(y: FlowKey): void {
    const [mine, theirs] = [this.#x, y] as unknown as [Fields, Fields];
    for (const { field, wanted } of this.#groups) {
      if (mine[field] === theirs[field] || theirs[field] === undefined) continue;
      theirs[field] = copyOf(theirs[field]);
      for (const { path, bits, isWhole } of wanted) {
        const [of, wants] = [at(theirs, path.slice(0, -1)), at(mine, path)] as const;
        const name = path.at(-1) as string;
        if (of === undefined) continue;
        const fields = of as Fields;
        if (wants === undefined) delete fields[name];
        else if (isWhole) fields[name] = wants;
        else if (fields[name] !== undefined) {
          fields[name] = mix(fields[name], wants, bits);
        }
      }
    }
  }
}

/** A copy, whatever else there is of lists and objects in it. */
function copyOf(value: unknown): unknown {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) {
    return value;
  }
  return Array.isArray(value) ? value.map(copyOf) : { ...value };
}

function mix(before: unknown, value: unknown, bits: bigint): unknown {
  return value === true || value === false || value instanceof Uint8Array
    ? value
    : mixBits(before, value, bits);
}
