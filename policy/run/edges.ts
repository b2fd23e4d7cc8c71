// SPDX-License-Identifier: Apache-2.0
/**
 * What flows rest on, as lists both ways in one array: of the flows of a dependency, and of the
 * dependencies of a flow.
 *
 * @module
 */
import {
  describeDependency,
  holdDependency,
  releaseDependency,
} from "../state/dependency.ts";
import type { Former } from "../packet/former.ts";
import type { FlowRecord } from "./flow_record.ts";

/** Words of an edge: flow, dependency, next and previous of the dependency, next of the flow. */
const EDGE = 5;

/** Dependencies of flows. */
export class Edges {
  #edges = new Int32Array(EDGE * 1024);
  #edgeCount = 1;
  #freeEdge = 0;
  #heads = new Int32Array(1024);
  #recalled = new Int32Array(64);

  /** Says what a flow rests on, in place of what it rested on. */
  depend(flow: FlowRecord, ids: Int32Array, count: number): void {
    if (this.#restsOn(flow, ids, count)) return;
    const before = flow.edges;
    flow.edges = 0;
    for (let i = 0; i < count; i++) {
      const id = ids[i] as number;
      holdDependency(id);
      this.#link(flow, id);
    }
    this.#drop(before);
  }

  /** Says what a flow rests on beside what it rests on. */
  dependMore(flow: FlowRecord, ids: Int32Array, count: number): void {
    const all: number[] = [];
    for (let edge = flow.edges; edge !== 0;) {
      all.push(this.#edges[EDGE * edge + 1] as number);
      edge = this.#edges[EDGE * edge + 4] as number;
    }
    all.reverse();
    for (const id of ids.subarray(0, count)) if (!all.includes(id)) all.push(id);
    this.depend(flow, Int32Array.from(all), all.length);
  }

  /** Tells a run to come on the key of a flow what the flow rests on. */
  recall(flow: FlowRecord, former: Former): void {
    let count = 0;
    const edges = this.#edges;
    for (let edge = flow.edges; edge !== 0; edge = edges[EDGE * edge + 4] as number) {
      if (count === this.#recalled.length) this.#recalled = grown(this.#recalled, 0);
      this.#recalled[count++] = edges[EDGE * edge + 1] as number;
    }
    former.recall(this.#recalled, count, flow.changes);
  }

  /** Whether a flow rests on just these: most that run again read what they read before. */
  #restsOn(flow: FlowRecord, ids: Int32Array, count: number): boolean {
    let edge = flow.edges;
    for (let i = count - 1; i >= 0; i--) {
      if (edge === 0 || this.#edges[EDGE * edge + 1] !== ids[i]) return false;
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

  /** A flow rests on nothing any more. */
  unlink(flow: FlowRecord): void {
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

  /** Visits the numbers of the flows that rest on a dependency. */
  each(id: number, visit: (number: number) => void): void {
    if (id >= this.#heads.length) return;
    for (let edge = this.#heads[id] as number; edge !== 0;) {
      const next = this.#edges[EDGE * edge + 2] as number;
      visit(this.#edges[EDGE * edge] as number);
      edge = next;
    }
  }

  /** What a flow rests on, in words. */
  describe(flow: FlowRecord): string[] {
    const found: (readonly string[])[] = [];
    for (let edge = flow.edges; edge !== 0;) {
      found.push(describeDependency(this.#edges[EDGE * edge + 1] as number));
      edge = this.#edges[EDGE * edge + 4] as number;
    }
    return found.reverse().flat();
  }
}

function grown(array: Int32Array<ArrayBuffer>, least: number): Int32Array<ArrayBuffer> {
  const more = new Int32Array(Math.max(2 * array.length, least));
  more.set(array);
  return more;
}
