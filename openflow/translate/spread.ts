// SPDX-License-Identifier: Apache-2.0
/**
 * Buckets of select groups, spread over values of a hash that the datapath computes.
 *
 * @module
 */
import type { CountedBucket, Group, Pipeline } from "./pipeline.ts";

/** Hash values at most that a group's buckets are spread over. */
const MAX_VALUES = 256;
/** Fewest of them. */
const MIN_VALUES = 16;

/** How buckets are chosen by a hash of the datapath: bucket by the low bits of the hash. */
export interface Spread {
  readonly algorithm: "l4" | "symL4";
  readonly basis: number;
  readonly buckets: readonly CountedBucket[];
}

/** Hash values that it takes to tell such weights from each other. */
function valuesFor(weights: readonly number[]): number {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const slots = Math.ceil(total / Math.min(...weights));
  return Math.max(MIN_VALUES, 2 ** Math.ceil(Math.log2(slots)));
}

/**
 * Buckets spread over hash values by their weights, as Webster's method gives seats to parties;
 * undefined where that takes too many values.
 */
function webster(
  buckets: readonly CountedBucket[],
): readonly CountedBucket[] | undefined {
  const weights = buckets.map(({ weight }) => weight).filter((weight) => weight > 0);
  if (weights.length === 0) return undefined;
  const count = valuesFor(weights);
  if (count > MAX_VALUES) return undefined;
  const parties = buckets.map((bucket) => ({ bucket, divisor: 1, value: bucket.weight }));
  return Array.from({ length: count }, () => {
    const winner = parties.reduce((best, one) => one.value > best.value ? one : best);
    winner.divisor += 2;
    winner.value = winner.bucket.weight / winner.divisor;
    return winner.bucket;
  });
}

/** By the content of a group; null for one that is not spread. */
const spreads = new WeakMap<Group["content"]["value"], Spread | null>();

/** How a group is spread over hashes of the datapath; null if it is not. */
export function spreadOf(
  content: Group["content"]["value"],
  hashes: Pipeline["hashes"],
): Spread | null {
  let known = spreads.get(content);
  if (known !== undefined) return known;
  const { method = "", parameter = 0n } = content.selection ?? {};
  const isUsual = method === "";
  // As in Open vSwitch: without fields the method "hash" is one of the flow, too.
  const buckets = method === "hash" ? undefined : webster(content.buckets);
  const wantsSymmetric = isUsual || parameter >> 32n === 1n;
  known = buckets === undefined || hashes.size === 0 ? null : {
    algorithm: wantsSymmetric && hashes.has("symL4") ? "symL4" : "l4",
    basis: isUsual ? 0 : Number(parameter & 0xffffffffn),
    buckets,
  };
  spreads.set(content, known);
  return known;
}

/** How a group of type select chooses its buckets, in Open vSwitch's words. */
export function selectionLines(
  id: number,
  content: Group["content"]["value"],
  hashes: Pipeline["hashes"],
): string[] {
  const { selection, buckets } = content;
  const lines = [`Constructing select group ${id}`];
  const { method = "", fields = [] } = selection ?? {};
  if (method === "hash") {
    const names = fields.map(({ field }) => field.name).join(",");
    const how = fields.length > 0
      ? `Hash fields: ${names}`
      : "No hash fields. Falling back to default hash method.";
    return [...lines, "Selection method specified: hash.", how];
  }
  lines.push(
    method === ""
      ? "No selection method specified. Trying dp_hash."
      : `Selection method specified: ${method}.`,
  );
  const fall = "Falling back to default hash method.";
  const weights = buckets.map(({ weight }) => weight).filter((weight) => weight > 0);
  if (buckets.length === 0) {
    return [...lines, "  Don't apply dp_hash method without buckets.", fall];
  }
  if (weights.length === 0) {
    return [...lines, "  Total weight is zero. No active buckets.", fall];
  }
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const least = Math.min(...weights);
  lines.push(`  Minimum weight: ${least}, total weight: ${total}`);
  const count = valuesFor(weights);
  const spread = spreadOf(content, hashes);
  if (count > MAX_VALUES || spread === null) {
    return [...lines, `  Too many hash values required: ${count}`, fall];
  }
  lines.push(`  Using ${count} hash values:`);
  for (const bucket of buckets) {
    const target = (count * bucket.weight / total).toFixed(2);
    const hits = spread.buckets.filter((one) => one === bucket).length;
    const { id, weight } = bucket;
    lines.push(`  Bucket ${id}: weight=${weight}, target=${target} hits=${hits}`);
  }
  const algorithm = spread.algorithm === "symL4" ? 1 : 0;
  lines.push(`Use dp_hash with ${count} hash values using algorithm ${algorithm}.`);
  return lines;
}
