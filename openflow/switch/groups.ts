// SPDX-License-Identifier: Apache-2.0
/**
 * The groups of a switch: what group mods do to them.
 *
 * @module
 */
import { clockMs } from "../../policy/clock.ts";
import { Cell } from "../../policy/mod.ts";
import { RuleCounter } from "../table/rule.ts";
import { type CountedBucket, type Group, groupContent } from "../translate/pipeline.ts";
import { OfError } from "../wire/error.ts";
import { BucketPlace, type GroupMod } from "../wire/message.ts";
import { ALL_GROUPS, type Bucket, MAX_GROUP } from "../wire/object.ts";
import type { Change } from "./change.ts";
import type { Job } from "./turns.ts";

type Content = Group["content"]["value"];

/** Groups at most, buckets of each, and buckets of all of them together. */
const MAX_GROUPS = 65_536;
const MAX_BUCKETS = 8192;
const MAX_ALL_BUCKETS = 1 << 20;

/** Groups by number. */
export class Groups {
  readonly #groups = new Map<number, Group>();
  /** Changes when a group comes: flows may rest on there being none of a number. */
  readonly #came = new Cell(0);
  /** Buckets of all groups. */
  #buckets = 0;
  /** Told of groups that go in a change, so that the flows which name them go. */
  readonly #onRemoved: (ids: ReadonlySet<number>, change: Change) => Job<void>;
  /** Does a change, all of it. */
  readonly #now: (stage: (change: Change) => Job<void>) => void;

  /** Begins without groups. */
  constructor(
    onRemoved: (ids: ReadonlySet<number>, change: Change) => Job<void>,
    now: (stage: (change: Change) => Job<void>) => void,
  ) {
    this.#onRemoved = onRemoved;
    this.#now = now;
  }

  /** A group. */
  get(id: number): Group | undefined {
    const group = this.#groups.get(id);
    if (group === undefined) void this.#came.value;
    return group;
  }

  /** Whether there is a group once a change holds. */
  has(id: number, change: Change): boolean {
    return this.#content(id, change) !== undefined;
  }

  #content(id: number, change: Change): Content | undefined {
    if (change.groups.has(id)) return change.groups.get(id)?.content;
    return this.#groups.get(id)?.content.value;
  }

  /** Told of each group that chooses among its buckets, as it is from now on. */
  onSelect: (id: number, content: Content) => void = () => {};

  /** All groups, by number. */
  all(): Group[] {
    return [...this.#groups.values()].sort((a, b) => a.id - b.id);
  }

  /** Does a group mod. Throws {@linkcode OfError}, and then nothing has changed. */
  apply(mod: GroupMod): void {
    this.#now((change) => this.stage(mod, change));
  }

  /** Does a group mod in a change. Throws {@linkcode OfError}; it is to be abandoned then. */
  *stage(mod: GroupMod, change: Change): Job<void> {
    const before = this.#content(mod.group, change);
    switch (mod.command) {
      case "add":
        return this.#add(mod, before, change);
      case "modify":
        return this.#modify(mod, before, change);
      case "addOrModify":
        return before === undefined
          ? this.#add(mod, before, change)
          : this.#modify(mod, before, change);
      case "delete":
        return yield* this.#delete(mod, change);
      case "insertBucket":
      case "removeBucket":
        return this.#changeBuckets(mod, before, change);
    }
  }

  #publish({ groups }: Change): void {
    for (const [id, staged] of groups) {
      const before = this.#groups.get(id);
      this.#buckets += (staged?.content.buckets.length ?? 0) -
        (before?.content.value.buckets.length ?? 0);
      if (before !== undefined && (staged === undefined || staged.isNew)) {
        // Flows rest on it that do not name it: those whose buckets watch it.
        this.#groups.delete(id);
        before.content.value = { ...before.content.value };
      }
      if (staged === undefined) continue;
      if (staged.content.type === "select") this.onSelect(id, staged.content);
      if (staged.isNew) this.#put(id, staged.content);
      else if (before !== undefined) before.content.value = staged.content;
    }
  }

  #put(id: number, content: Content): void {
    const nowMs = clockMs();
    const counter = new RuleCounter(`group ${id}`, nowMs);
    const made = { id, createdMs: nowMs, counter, content: groupContent(content) };
    this.#groups.set(id, made);
    this.#came.value++;
  }

  /** Has the groups of a change hold with it, if it has any. */
  #take(change: Change): void {
    if (change.groups.size === 0) change.with.push(() => this.#publish(change));
  }

  /** Throws {@linkcode OfError} where there is no room for a group, or its buckets. */
  #set(id: number, content: Content, change: Change, isNew = false): void {
    const staged = change.groups.get(id);
    const before = this.#content(id, change);
    const buckets = content.buckets.length - (before?.buckets.length ?? 0);
    const groups = before === undefined ? 1 : 0;
    if (this.#groups.size + change.moreGroups + groups > MAX_GROUPS) {
      throw new OfError("OFPGMFC_OUT_OF_GROUPS");
    }
    const all = this.#buckets + change.moreBuckets + buckets;
    if (content.buckets.length > MAX_BUCKETS || buckets > 0 && all > MAX_ALL_BUCKETS) {
      throw new OfError("OFPGMFC_OUT_OF_BUCKETS");
    }
    this.#take(change);
    change.moreGroups += groups;
    change.moreBuckets += buckets;
    change.groups.set(id, { content, isNew: isNew || (staged?.isNew ?? false) });
  }

  #counted(
    buckets: readonly Bucket[],
    before: readonly CountedBucket[] = [],
  ): CountedBucket[] {
    const nowMs = clockMs();
    const known = new Map(before.map(({ id, counter }) => [id, counter]));
    return buckets.map((bucket) => ({
      ...bucket,
      counter: known.get(bucket.id) ?? new RuleCounter(`bucket ${bucket.id}`, nowMs),
    }));
  }

  #add(mod: GroupMod, before: Content | undefined, change: Change): void {
    const { group: id, type, buckets, selection } = mod;
    if (before !== undefined) throw new OfError("OFPGMFC_GROUP_EXISTS");
    if (mod.group > MAX_GROUP) throw new OfError("OFPGMFC_INVALID_GROUP");
    this.#set(id, { type, buckets: this.#counted(buckets), selection }, change, true);
  }

  #modify(mod: GroupMod, before: Content | undefined, change: Change): void {
    if (before === undefined) throw new OfError("OFPGMFC_UNKNOWN_GROUP");
    if (mod.group > MAX_GROUP) throw new OfError("OFPGMFC_INVALID_GROUP");
    const { group: id, type, buckets, selection } = mod;
    this.#set(id, { type, buckets: this.#counted(buckets), selection }, change);
  }

  *#delete({ group: id }: GroupMod, change: Change): Job<void> {
    const all = id === ALL_GROUPS
      ? new Set([...this.#groups.keys(), ...change.groups.keys()])
      : [id];
    const gone: number[] = [];
    for (const one of all) {
      const content = this.#content(one, change);
      if (content === undefined) continue;
      gone.push(one);
      change.moreGroups--;
      change.moreBuckets -= content.buckets.length;
    }
    if (gone.length === 0) return;
    this.#take(change);
    for (const one of gone) change.groups.set(one, undefined);
    yield* this.#onRemoved(new Set(gone), change);
  }

  #changeBuckets(
    mod: GroupMod,
    before: Content | undefined,
    change: Change,
  ): void {
    if (before === undefined) throw new OfError("OFPGMFC_UNKNOWN_GROUP");
    let buckets: CountedBucket[];
    if (mod.command === "insertBucket") {
      if (mod.group > MAX_GROUP) throw new OfError("OFPGMFC_INVALID_GROUP");
      buckets = this.#inserted(mod, before.buckets);
    } else buckets = this.#without(mod.place, before.buckets);
    this.#set(mod.group, { ...before, buckets }, change);
  }

  #inserted(mod: GroupMod, before: readonly CountedBucket[]): CountedBucket[] {
    const more = this.#counted(mod.buckets);
    const known = new Set(before.map(({ id }) => id));
    if (more.some(({ id }) => known.has(id))) throw new OfError("OFPGMFC_BUCKET_EXISTS");
    if (mod.place === BucketPlace.first) return [...more, ...before];
    if (mod.place === BucketPlace.last) return [...before, ...more];
    const at = before.findIndex(({ id }) => id === mod.place);
    if (at < 0) throw new OfError("OFPGMFC_UNKNOWN_BUCKET");
    return [...before.slice(0, at + 1), ...more, ...before.slice(at + 1)];
  }

  #without(place: number, before: readonly CountedBucket[]): CountedBucket[] {
    if (place === BucketPlace.all) return [];
    if (place === BucketPlace.first) return before.slice(1);
    if (place === BucketPlace.last) return before.slice(0, -1);
    if (!before.some(({ id }) => id === place)) {
      throw new OfError("OFPGMFC_UNKNOWN_BUCKET");
    }
    return before.filter(({ id }) => id !== place);
  }
}
