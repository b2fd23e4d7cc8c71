// SPDX-License-Identifier: Apache-2.0
/**
 * How the load of a bond is shared anew: as little as need be moves from the port that has most to
 * the one that has least.
 *
 * @module
 */
import type { Counter } from "../../openflow/table/tally.ts";

/** What packets of a value of the hash were, bytes. */
export interface Load extends Counter {
  bytes: number;
}

/** A value of the hash that another port is to have. */
export interface Move {
  readonly hash: number;
  readonly to: string;
}

/** A difference below this is none, bytes. */
const LEAST = 100_000;

/** Moves that even out loads, of values that `owners` have; ports are by name. */
export function balance(
  loads: readonly Load[],
  owners: readonly (string | undefined)[],
  names: readonly string[],
): Move[] {
  const sums = new Map(names.map((name) => [name, 0]));
  const own = new Map<string, number[]>(names.map((name) => [name, []]));
  for (const [hash, owner] of owners.entries()) {
    const bytes = loads[hash]?.bytes ?? 0;
    if (owner === undefined || bytes === 0 || !sums.has(owner)) continue;
    sums.set(owner, (sums.get(owner) ?? 0) + bytes);
    own.get(owner)?.push(hash);
  }
  const moves: Move[] = [];
  const left = new Set(names);
  while (left.size > 1) {
    const sorted = [...left].sort((a, b) => (sums.get(b) ?? 0) - (sums.get(a) ?? 0));
    const [from, to] = [sorted[0] as string, sorted.at(-1) as string];
    const [most, least] = [sums.get(from) ?? 0, sums.get(to) ?? 0];
    if (most - least < Math.max(LEAST, least / 32)) break;
    const hash = bestOf(own.get(from) ?? [], loads, most, least);
    if (hash === undefined) {
      left.delete(from);
      continue;
    }
    const bytes = loads[hash]?.bytes ?? 0;
    sums.set(from, most - bytes).set(to, least + bytes);
    own.set(from, own.get(from)?.filter((one) => one !== hash) ?? []);
    moves.push({ hash, to });
  }
  return moves;
}

/** The value that makes the loads of two ports most alike; undefined where none helps. */
function bestOf(
  hashes: readonly number[],
  loads: readonly Load[],
  most: number,
  least: number,
): number | undefined {
  // One that is all of it may stay where it is.
  if (hashes.length < 2) return undefined;
  let best: number | undefined;
  let difference = most - least;
  for (const hash of hashes) {
    const bytes = loads[hash]?.bytes ?? 0;
    const now = Math.abs(most - bytes - (least + bytes));
    if (now < difference) [best, difference] = [hash, now];
  }
  return best;
}
