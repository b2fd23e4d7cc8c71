// SPDX-License-Identifier: Apache-2.0
/**
 * The ledger: every flow that a policy has, what it rests on, and how it is found.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import type { Ufid } from "../../providers/ids.ts";
import { hexDigit } from "../../providers/codec/address.ts";
import type { Decision } from "../decision.ts";
import {
  describeDependency,
  holdDependency,
  releaseDependency,
} from "../state/dependency.ts";
import {
  LONGEST,
  type Mask,
  maskedHash,
  MaskTable,
  Room,
  sameUnder,
} from "./mask_table.ts";
import type { Continuation, Continuations } from "../stage.ts";
import type { Effect } from "../packet/effect.ts";
import type { Actions } from "../verdicts.ts";

/** A flow. */
export class FlowRecord {
  /** Number in the ledger; used again when the flow is gone. */
  readonly number: number;
  /** Its name in the datapath. */
  readonly ufid: Ufid;
  /** The key as it came up. */
  readonly key: Uint8Array;
  /** Whether key and mask have their values at the same places. */
  readonly aligned: boolean;
  mask: Mask;
  hash: number;
  actions: Actions;
  decision: Decision;
  /** The stage that decided; undefined for the policy itself. */
  at: Continuation | undefined;
  effects: readonly Effect[];
  /** When the verdict ends, ms since 1970. */
  deadline = Infinity;
  readonly createdMs: number;
  /** When it last counted a packet, ms since 1970. */
  usedMs: number;
  /** When its counters were last looked at, ms since 1970. */
  lookedMs: number;
  packets = 0n;
  bytes = 0n;
  /** The last walk that found it in the datapath. */
  walk = 0;
  /** Packets that it counted since the last walk. */
  recent = 0;
  /** Whether the datapath has it. */
  installed = false;
  /** It waits to be run again. */
  dirty = false;
  /** It is not in the ledger any more. */
  gone = false;
  /** The next flow of its bucket: number in the ledger, 0 for none. */
  nextInBucket = 0;
  /** First of its dependencies in the ledger's lists. */
  edges = 0;

  /** Made by the ledger. */
  constructor(number: number, ufid: Ufid, key: Uint8Array, parts: FlowParts, mask: Mask) {
    this.number = number;
    this.ufid = ufid;
    this.key = key;
    this.aligned = parts.aligned;
    this.mask = mask;
    this.hash = 0;
    this.actions = parts.actions;
    this.decision = parts.decision;
    this.at = parts.at;
    this.effects = NONE;
    this.createdMs = parts.nowMs;
    this.usedMs = parts.nowMs;
    this.lookedMs = parts.nowMs;
  }
}

const NONE: readonly Effect[] = [];

/** What a flow is made of. */
export interface FlowParts {
  /** Its name if the datapath has it already; the ledger names the others. */
  readonly ufid?: Ufid;
  /** Key bytes, which are copied. */
  readonly key: Uint8Array;
  readonly mask: Uint8Array;
  readonly actions: Actions;
  readonly decision: Decision;
  readonly at: Continuation | undefined;
  readonly aligned: boolean;
  readonly nowMs: number;
  readonly step: number;
}

/** Bytes that keys share a buffer of. */
const CHUNK = 1024;
/** Digits at the end of a name: how often one was given, and the flow's number. */
const SERIAL_DIGITS = 7;
const NUMBER_DIGITS = 8;
const UFID_LENGTH = 36;
const threeDigits: readonly string[] = Array.from(
  { length: 4096 },
  (_, n) => n.toString(16).padStart(3, "0"),
);

/** Words of an edge: flow, dependency, next and previous of the dependency, next of the flow. */
const EDGE = 5;

/** Flows by number, by name, by key under their mask, and by what they rest on. */
export class Ledger {
  /** Masks of the flows. */
  readonly masks: MaskTable = new MaskTable();
  readonly #continuations: Continuations;
  readonly #flows: (FlowRecord | undefined)[] = [undefined];
  readonly #free: number[] = [];
  /** Flows that others named. */
  readonly #foreign = new Map<Ufid, FlowRecord>();
  /** First flow of each bucket of hashes; a power of two of them, more than there are flows. */
  #buckets = new Int32Array(1024);
  /** The key that was looked at last, its mask, and its hash under that. */
  readonly #room = new Room(LONGEST);
  #looked: Uint8Array | undefined;
  #lookedMask: Mask | undefined;
  #lookedHash = 0;
  /** Where the next keys are copied to. */
  #chunk = new ArrayBuffer(0);
  #chunkAt = 0;
  #size = 0;
  #named = 0;
  readonly #prefix: string;
  #edges = new Int32Array(EDGE * 1024);
  #edgeCount = 1;
  #freeEdge = 0;
  #heads = new Int32Array(1024);

  /** `continuations` are told which stages flows name. */
  constructor(continuations: Continuations) {
    this.#continuations = continuations;
    // As RFC 9562 has version 4, so that nobody takes it for another kind.
    const hex = randomBytes(8).toString("hex");
    this.#prefix = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13)}-a`;
  }

  /** Number of flows. */
  get size(): number {
    return this.#size;
  }

  /** One more than the largest number of a flow. */
  get end(): number {
    return this.#flows.length;
  }

  /** The flow with a number. */
  at(number: number): FlowRecord | undefined {
    return this.#flows[number];
  }

  /** Every flow. */
  *all(): IterableIterator<FlowRecord> {
    for (const flow of this.#flows) if (flow !== undefined) yield flow;
  }

  /** The flow with a name. A name that was given here has the flow's number in it. */
  byUfid(ufid: Ufid): FlowRecord | undefined {
    let number = 0;
    for (let i = UFID_LENGTH - NUMBER_DIGITS; i < UFID_LENGTH; i++) {
      number = number << 4 | hexDigit(ufid.charCodeAt(i));
    }
    const flow = this.#flows[number];
    return flow?.ufid === ufid ? flow : this.#foreign.get(ufid);
  }

  /** A name for the flow with a number, never given before. */
  #name(number: number): Ufid {
    const serial = this.#named = (this.#named + 1) % (1 << 4 * SERIAL_DIGITS);
    const high = threeDigits[serial >>> 16 & 0xfff] as string;
    const low = serial & 0xffff;
    const lowText = `${threeDigits[low >>> 4]}${(low & 15).toString(16)}`;
    const numberText = `${threeDigits[number >>> 20 & 0xfff]}${
      threeDigits[number >>> 8 & 0xfff]
    }${(threeDigits[number & 0xff] as string).slice(1)}`;
    return `${this.#prefix}${high}-${lowText}${numberText}`;
  }

  /** Looks at a key: `#lookedHash` is its hash under the mask then. */
  #look(key: Uint8Array, mask: Mask, aligned: boolean): void {
    this.#room.take(key);
    this.#looked = key;
    this.#lookedMask = mask;
    this.#lookedHash = maskedHash(this.#room, mask.words, aligned);
  }

  /** The flow with this mask that has the key under it. */
  find(key: Uint8Array, bytes: Uint8Array, aligned: boolean): FlowRecord | undefined {
    const mask = this.masks.find(bytes);
    if (mask === undefined) return undefined;
    this.#look(key, mask, aligned);
    const hash = this.#lookedHash;
    let flow = this.#flows[this.#buckets[hash & this.#buckets.length - 1] as number];
    for (; flow !== undefined; flow = this.#flows[flow.nextInBucket]) {
      if (flow.hash !== hash || flow.mask !== mask) continue;
      if (sameUnder(flow.key, key, mask.bytes, aligned)) return flow;
    }
    return undefined;
  }

  /** Adds a flow. */
  add(parts: FlowParts): FlowRecord {
    const { actions, aligned } = parts;
    const number = this.#free.pop() ?? this.#flows.length;
    const mask = this.masks.hold(parts.mask, parts.step);
    if (this.#looked !== parts.key || this.#lookedMask !== mask) {
      this.#look(parts.key, mask, aligned);
    }
    const ufid = parts.ufid ?? this.#name(number);
    const flow = new FlowRecord(number, ufid, this.#copy(parts.key.length), parts, mask);
    this.#looked = undefined;
    this.#flows[number] = flow;
    this.#size++;
    // It may be one of ours that the datapath kept when we gave it up.
    if (parts.ufid !== undefined) this.#foreign.set(ufid, flow);
    this.#put(flow, this.#lookedHash);
    if (this.#size > this.#buckets.length) this.#growBuckets();
    for (const id of actions.stages) this.#continuations.hold(id);
    return flow;
  }

  /**
   * A copy of the key that was looked at. Some share a buffer: making one costs more than all the
   * rest of a flow, and keeping one for long costs the memory of its neighbours.
   */
  #copy(size: number): Uint8Array {
    const padded = size + 3 & ~3;
    if (this.#chunkAt + padded > this.#chunk.byteLength) {
      this.#chunk = new ArrayBuffer(Math.max(CHUNK, padded));
      this.#chunkAt = 0;
    }
    const key = new Uint8Array(this.#chunk, this.#chunkAt, size);
    this.#chunkAt += padded;
    key.set(this.#looked as Uint8Array);
    return key;
  }

  #index(flow: FlowRecord): void {
    this.#look(flow.key, flow.mask, flow.aligned);
    this.#looked = undefined;
    this.#put(flow, this.#lookedHash);
  }

  #put(flow: FlowRecord, hash: number): void {
    flow.hash = hash;
    const bucket = hash & this.#buckets.length - 1;
    flow.nextInBucket = this.#buckets[bucket] as number;
    this.#buckets[bucket] = flow.number;
  }

  #growBuckets(): void {
    this.#buckets = new Int32Array(2 * this.#buckets.length);
    for (const flow of this.#flows) if (flow !== undefined) this.#put(flow, flow.hash);
  }

  #unindex(flow: FlowRecord): void {
    const bucket = flow.hash & this.#buckets.length - 1;
    let at = this.#buckets[bucket] as number;
    if (at === flow.number) {
      this.#buckets[bucket] = flow.nextInBucket;
      return;
    }
    while (at !== 0) {
      const before = this.#flows[at] as FlowRecord;
      at = before.nextInBucket;
      if (at === flow.number) before.nextInBucket = flow.nextInBucket;
    }
  }

  /** Gives a flow that the datapath does not have yet another mask. */
  remask(flow: FlowRecord, mask: Uint8Array, step: number): void {
    this.#unindex(flow);
    this.masks.release(flow.mask);
    flow.mask = this.masks.hold(mask, step);
    this.#index(flow);
  }

  /** Gives a flow other actions. */
  setActions(flow: FlowRecord, actions: Actions, nowMs: number): void {
    if (flow.actions === actions) return;
    for (const id of actions.stages) this.#continuations.hold(id);
    for (const id of flow.actions.stages) this.#continuations.release(id, nowMs);
    flow.actions = actions;
  }

  /** Removes a flow. */
  remove(flow: FlowRecord, nowMs: number): void {
    if (flow.gone) return;
    flow.gone = true;
    this.#unlink(flow);
    this.#unindex(flow);
    this.#foreign.delete(flow.ufid);
    this.#size--;
    this.#flows[flow.number] = undefined;
    this.#free.push(flow.number);
    this.masks.release(flow.mask);
    for (const id of flow.actions.stages) this.#continuations.release(id, nowMs);
  }

  /** Says what a flow rests on, in place of what it rested on. */
  depend(flow: FlowRecord, dependencies: readonly number[]): void {
    if (this.#restsOn(flow, dependencies)) return;
    const before = flow.edges;
    flow.edges = 0;
    for (let i = 0; i < dependencies.length; i++) {
      const id = dependencies[i] as number;
      holdDependency(id);
      this.#link(flow, id);
    }
    this.#drop(before);
  }

  /** Says what a flow rests on beside what it rests on. */
  dependMore(flow: FlowRecord, dependencies: readonly number[]): void {
    const all: number[] = [];
    for (let edge = flow.edges; edge !== 0;) {
      all.push(this.#edges[EDGE * edge + 1] as number);
      edge = this.#edges[EDGE * edge + 4] as number;
    }
    all.reverse();
    for (const id of dependencies) if (!all.includes(id)) all.push(id);
    this.depend(flow, all);
  }

  /** Whether a flow rests on just these: most that run again read what they read before. */
  #restsOn(flow: FlowRecord, dependencies: readonly number[]): boolean {
    let edge = flow.edges;
    for (let i = dependencies.length - 1; i >= 0; i--) {
      if (edge === 0 || this.#edges[EDGE * edge + 1] !== dependencies[i]) return false;
      edge = this.#edges[EDGE * edge + 4] as number;
    }
    return edge === 0;
  }

  #link(flow: FlowRecord, id: number): void {
    if (id >= this.#heads.length) this.#heads = grown(this.#heads, id + 1);
    let edge = this.#freeEdge;
    if (edge === 0) {
      edge = this.#edgeCount++;
      if (EDGE * this.#edgeCount > this.#edges.length) {
        this.#edges = grown(this.#edges, 0);
      }
    } else this.#freeEdge = this.#edges[EDGE * edge + 2] as number;
    const edges = this.#edges;
    const at = EDGE * edge;
    const head = this.#heads[id] as number;
    edges[at] = flow.number;
    edges[at + 1] = id;
    edges[at + 2] = head;
    edges[at + 3] = 0;
    edges[at + 4] = flow.edges;
    if (head !== 0) edges[EDGE * head + 3] = edge;
    this.#heads[id] = edge;
    flow.edges = edge;
  }

  #unlink(flow: FlowRecord): void {
    const first = flow.edges;
    flow.edges = 0;
    this.#drop(first);
  }

  #drop(first: number): void {
    const edges = this.#edges;
    for (let edge = first; edge !== 0;) {
      const at = EDGE * edge;
      const id = edges[at + 1] as number;
      const next = edges[at + 2] as number;
      const previous = edges[at + 3] as number;
      if (previous === 0) this.#heads[id] = next;
      else edges[EDGE * previous + 2] = next;
      if (next !== 0) edges[EDGE * next + 3] = previous;
      const following = edges[at + 4] as number;
      edges[at + 2] = this.#freeEdge;
      this.#freeEdge = edge;
      releaseDependency(id);
      edge = following;
    }
  }

  /** Visits the flows that rest on a dependency. */
  each(id: number, visit: (flow: FlowRecord) => void): void {
    if (id >= this.#heads.length) return;
    for (let edge = this.#heads[id] as number; edge !== 0;) {
      const next = this.#edges[EDGE * edge + 2] as number;
      const flow = this.#flows[this.#edges[EDGE * edge] as number];
      if (flow !== undefined) visit(flow);
      edge = next;
    }
  }

  /** What a flow rests on, in words. */
  dependenciesOf(flow: FlowRecord): string[] {
    const found: string[] = [];
    for (let edge = flow.edges; edge !== 0;) {
      found.push(describeDependency(this.#edges[EDGE * edge + 1] as number));
      edge = this.#edges[EDGE * edge + 4] as number;
    }
    return found.reverse();
  }
}

function grown(array: Int32Array<ArrayBuffer>, least: number): Int32Array<ArrayBuffer> {
  const more = new Int32Array(Math.max(2 * array.length, least));
  more.set(array);
  return more;
}
