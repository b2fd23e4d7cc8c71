// SPDX-License-Identifier: Apache-2.0
/**
 * Groups: which buckets a packet takes.
 *
 * @module
 */
import { hash as hashAction } from "../../providers/odp/constructors.ts";
import { fieldOfName } from "../wire/field.ts";
import { readBits, Word } from "../wire/flow.ts";
import { PacketInReason } from "../wire/message.ts";
import {
  ANY_GROUP,
  type HashedField,
  PortConfig,
  type PortDesc,
  PortState,
  type Selection,
} from "../wire/object.ts";
import { Port } from "../wire/port_number.ts";
import { addToSet, inOrder } from "./action_set.ts";
import { hashFields, mix } from "./hash.ts";
import type { CountedBucket, Group, Pipeline } from "./pipeline.ts";
import { type Spread, spreadOf } from "./spread.ts";
import type { Way } from "./way.ts";

const dpHash = fieldOfName("dp_hash");

/** Groups that watch groups that watch groups. */
const MAX_CHAIN = 128;

/** Whether a port is there, and up. */
export function isUp(port: PortDesc | undefined): boolean {
  return port !== undefined && !(port.config & PortConfig.down) &&
    !(port.state & PortState.linkDown);
}

/**
 * Whether a bucket can do its work: the port and the group that it watches can. `asked` are groups
 * that were looked at: one that is watched in a circle, or by many, is looked at once.
 */
function isLive(
  pipeline: Pipeline,
  bucket: CountedBucket,
  asked: Map<number, boolean>,
  depth = 0,
): boolean {
  const { watchPort, watchGroup } = bucket;
  if (watchPort === Port.none && watchGroup === ANY_GROUP) return true;
  if (watchPort !== Port.none) {
    if (isUp(pipeline.ports.value.get(watchPort))) return true;
  }
  if (watchGroup === ANY_GROUP) return false;
  const known = asked.get(watchGroup);
  if (known !== undefined) return known;
  if (depth >= MAX_CHAIN) return false;
  asked.set(watchGroup, false);
  const group = pipeline.group(watchGroup);
  const isOne =
    group?.content.value.buckets.some((one) => isLive(pipeline, one, asked, depth + 1)) ??
      false;
  asked.set(watchGroup, isOne);
  return isOne;
}

/** A hash of the fields that a group names, which matter then. */
function hashOfFields(
  way: Way,
  { fields, parameter }: Selection & { readonly fields: readonly HashedField[] },
): number {
  const { flow } = way.now;
  let hash = mix(Number(BigInt.asUintN(32, parameter ^ parameter >> 32n)), 1n);
  for (const { field, mask } of fields) {
    if (!way.has(field.needs)) continue;
    way.see(field, mask);
    hash = mix(hash, (readBits(flow, field) & mask) + 1n);
  }
  return hash;
}

/**
 * The bucket of a hash: that with the best score, by which a bucket that comes or goes moves only
 * the packets that it takes.
 */
function selected(
  buckets: readonly CountedBucket[],
  hash: number,
): CountedBucket | undefined {
  let best: CountedBucket | undefined;
  let bestScore = -1;
  for (const bucket of buckets) {
    const score = (mix(hash ^ Math.imul(bucket.id + 1, 0x85ebca6b), 1n) & 0xffff) *
      bucket.weight;
    if (bucket.weight > 0 && score > bestScore) [best, bestScore] = [bucket, score];
  }
  return best;
}

/** The live bucket of a hash; undefined if there is none, or there is no hash yet. */
function bySpread(
  way: Way,
  { algorithm, basis, buckets }: Spread,
  isAlive: (bucket: CountedBucket) => boolean,
): CountedBucket | undefined {
  const name = `${algorithm} ${basis}`;
  if (way.hashed !== name) {
    way.hashAgain((frozen) => [
      hashAction(algorithm, { basis }),
      way.pipeline.recirculation({ ...frozen, hashed: name }),
    ]);
    return undefined;
  }
  const mask = buckets.length - 1;
  way.see(dpHash, BigInt(mask));
  const hash = way.now.flow[Word.dpHash] as number;
  for (let i = 0; i <= mask; i++) {
    const bucket = buckets[hash + i & mask] as CountedBucket;
    if (isAlive(bucket)) return bucket;
  }
  return undefined;
}

/** The bucket that a select group has for a packet; undefined for none. */
function choose(
  way: Way,
  content: Group["content"]["value"],
  isAlive: (bucket: CountedBucket) => boolean,
): CountedBucket | undefined {
  const spread = spreadOf(content, way.pipeline.hashes);
  if (spread !== null) return bySpread(way, spread, isAlive);
  const { selection, buckets } = content;
  const fields = selection?.method === "hash" ? selection.fields : undefined;
  const hash = selection === undefined || fields === undefined || fields.length === 0
    ? hashFields(way, "symmetric_l4", 0)
    : hashOfFields(way, { ...selection, fields });
  return selected(buckets.filter(isAlive), hash);
}

/** Sends a packet to a group. Those that lead to themselves are resubmits without an end. */
export function runGroup(translation: Way, id: number): void {
  const group = translation.pipeline.group(id);
  if (group === undefined) return translation.drop(`group ${id} is gone`);
  translation.back(() => runBuckets(translation, group));
}

function runBuckets(translation: Way, group: Group): void {
  const { pipeline } = translation;
  const content = group.content.value;
  const { type, buckets } = content;
  if (!translation.spend(buckets.length)) return;
  translation.groups++;
  const run = (bucket: CountedBucket): void => {
    translation.credit(bucket.counter);
    // As in Open vSwitch: a bucket's actions are a set.
    translation.aside(inOrder(addToSet([], bucket.actions)), PacketInReason.group);
  };
  const asked = new Map<number, boolean>();
  const isAlive = (one: CountedBucket): boolean => isLive(pipeline, one, asked);
  const live = (): CountedBucket[] => buckets.filter(isAlive);
  if (type === "all" || type === "indirect") translation.credit(group.counter);
  switch (type) {
    case "all":
      for (const bucket of live()) run(bucket);
      break;
    case "indirect":
      for (const bucket of buckets.slice(0, 1)) run(bucket);
      break;
    case "fast_failover":
      for (const bucket of live().slice(0, 1)) {
        translation.credit(group.counter);
        run(bucket);
      }
      break;
    case "select": {
      // As in Open vSwitch: what is below a label is hashed once it is known.
      if (translation.isBlind) {
        translation.hashAgain((frozen) => [pipeline.recirculation(frozen)]);
        break;
      }
      const bucket = choose(translation, content, isAlive);
      if (bucket === undefined) break;
      translation.credit(group.counter);
      run(bucket);
    }
  }
  translation.groups--;
}
