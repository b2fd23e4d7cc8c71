// SPDX-License-Identifier: Apache-2.0
/**
 * The ledger: every flow that a policy has, what it rests on, and how it is found.
 *
 * @module
 */
import type { Ufid } from "../../providers/ids.ts";
import type { Decision } from "../decision.ts";
import {
  describeDependency,
  holdDependency,
  releaseDependency,
} from "../state/dependency.ts";
import { type Mask, maskedHash, MaskTable, sameUnder } from "./mask_table.ts";
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
  /** Packets that it counted since the last walk. */
  recent = 0;
  /** Whether the datapath has it. */
  installed = false;
  /** It waits to be run again. */
  dirty = false;
  /** It is not in the ledger any more. */
  gone = false;
  /** The next flow whose key has the same hash under its mask. */
  sameHash: FlowRecord | undefined = undefined;
  /** First of its dependencies in the ledger's lists. */
  edges = 0;

  /** Made by the ledger. */
  constructor(number: number, parts: FlowParts, mask: Mask) {
    this.number = number;
    this.ufid = parts.ufid;
    this.key = parts.key;
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
  readonly ufid: Ufid;
  readonly key: Uint8Array;
  readonly mask: Uint8Array;
  readonly actions: Actions;
  readonly decision: Decision;
  readonly at: Continuation | undefined;
  readonly aligned: boolean;
  readonly nowMs: number;
  readonly step: number;
}

/** Words of an edge: flow, dependency, next and previous of the dependency, next of the flow. */
const EDGE = 5;

/** Flows by number, by name, by key under their mask, and by what they rest on. */
export class Ledger {
  /** Masks of the flows. */
  readonly masks: MaskTable = new MaskTable();
  readonly #continuations: Continuations;
  readonly #flows: (FlowRecord | undefined)[] = [undefined];
  readonly #free: number[] = [];
  readonly #byUfid = new Map<Ufid, FlowRecord>();
  readonly #byHash = new Map<number, FlowRecord>();
  #edges = new Int32Array(EDGE * 1024);
  #edgeCount = 1;
  #freeEdge = 0;
  #heads = new Int32Array(1024);

  /** `continuations` are told which stages flows name. */
  constructor(continuations: Continuations) {
    this.#continuations = continuations;
  }

  /** Number of flows. */
  get size(): number {
    return this.#byUfid.size;
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
  all(): IterableIterator<FlowRecord> {
    return this.#byUfid.values();
  }

  /** The flow with a name. */
  byUfid(ufid: Ufid): FlowRecord | undefined {
    return this.#byUfid.get(ufid);
  }

  /** The flow with this mask that has the key under it. */
  find(key: Uint8Array, bytes: Uint8Array, aligned: boolean): FlowRecord | undefined {
    const mask = this.masks.find(bytes);
    if (mask === undefined) return undefined;
    let flow = this.#byHash.get(maskedHash(key, bytes, aligned));
    for (; flow !== undefined; flow = flow.sameHash) {
      if (flow.mask !== mask) continue;
      if (sameUnder(flow.key, key, mask.bytes, aligned)) return flow;
    }
    return undefined;
  }

  /** Adds a flow. */
  add(parts: FlowParts): FlowRecord {
    const { ufid, actions } = parts;
    const number = this.#free.pop() ?? this.#flows.length;
    const mask = this.masks.hold(parts.mask, parts.step);
    const flow = new FlowRecord(number, parts, mask);
    this.#flows[number] = flow;
    this.#byUfid.set(ufid, flow);
    this.#index(flow);
    for (const id of actions.stages) this.#continuations.hold(id);
    return flow;
  }

  #index(flow: FlowRecord): void {
    flow.hash = maskedHash(flow.key, flow.mask.bytes, flow.aligned);
    flow.sameHash = this.#byHash.get(flow.hash);
    this.#byHash.set(flow.hash, flow);
  }

  #unindex(flow: FlowRecord): void {
    const first = this.#byHash.get(flow.hash);
    if (first === flow) {
      if (flow.sameHash === undefined) this.#byHash.delete(flow.hash);
      else this.#byHash.set(flow.hash, flow.sameHash);
    } else {
      let before = first;
      while (before !== undefined && before.sameHash !== flow) before = before.sameHash;
      if (before !== undefined) before.sameHash = flow.sameHash;
    }
    flow.sameHash = undefined;
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
    this.#byUfid.delete(flow.ufid);
    this.#flows[flow.number] = undefined;
    this.#free.push(flow.number);
    this.masks.release(flow.mask);
    for (const id of flow.actions.stages) this.#continuations.release(id, nowMs);
  }

  /** Says what a flow rests on, in place of what it rested on. */
  depend(flow: FlowRecord, dependencies: readonly number[]): void {
    const before = flow.edges;
    flow.edges = 0;
    for (let i = 0; i < dependencies.length; i++) {
      const id = dependencies[i] as number;
      holdDependency(id);
      this.#link(flow, id);
    }
    this.#drop(before);
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
