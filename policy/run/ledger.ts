// SPDX-License-Identifier: Apache-2.0
/**
 * The ledger: every flow that a policy has, what it rests on, and how it is found.
 *
 * @module
 */
import type { Ufid } from "../../providers/ids.ts";
import type { Layout } from "../packet/layout.ts";
import type { Continuations } from "../stage.ts";
import type { Actions } from "../verdicts.ts";
import { Edges } from "./edges.ts";
import { type FlowParts, FlowRecord, numberIn, serialIn } from "./flow_record.ts";
import { KeyStore, NO_CHUNK } from "./key_store.ts";
import { MaskChooser } from "./mask_choice.ts";
import { type Mask, maskedHash, MaskTable, sameUnder, wordsFor } from "./mask_table.ts";

/** Flows by number, by name, by key under their mask, and by what they rest on. */
export class Ledger {
  /** Masks of the flows. */
  readonly masks: MaskTable = new MaskTable();
  /** Which of them a new one gets. */
  readonly chooser: MaskChooser = new MaskChooser(this.masks);
  /** What flows rest on. */
  readonly edges: Edges = new Edges();
  readonly #continuations: Continuations;
  readonly #keys = new KeyStore();
  readonly #flows: (FlowRecord | undefined)[] = [undefined];
  readonly #free: number[] = [];
  /** Flows that others named. */
  readonly #foreign = new Map<Ufid, FlowRecord>();
  /** First flow of each bucket of hashes; a power of two of them, more than there are flows. */
  #buckets = new Int32Array(1024);
  /**
   * Of each flow by its number: its hash, and the next flow of its bucket, 0 for none. Flows that
   * are passed by need not be fetched: each of them would be waited for.
   */
  #chains = new Int32Array(2 * 1024);
  #size = 0;

  /** `continuations` are told which stages flows name. */
  constructor(continuations: Continuations) {
    this.#continuations = continuations;
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
    const flow = this.#flows[numberIn(ufid)];
    const isIt = flow?.isNamed(serialIn(ufid), ufid) === true;
    return isIt ? flow : this.#foreign.get(ufid);
  }

  /** The same, by the words of a name that was given here. */
  byWords(words: Uint32Array): FlowRecord | undefined {
    const flow = this.#flows[words[3] as number];
    return flow?.hasId(words) === true ? flow : undefined;
  }

  /** The hash of the key that `words` begin with under a mask. */
  hashOf(words: Uint32Array, layout: Layout, mask: Mask): number {
    return maskedHash(words, wordsFor(layout.size), mask.words, layout.isAligned);
  }

  /** The flow with this mask that has the key under it, whose hash is `hash`. */
  find(
    words: Uint32Array,
    layout: Layout,
    mask: Mask,
    hash: number,
  ): FlowRecord | undefined {
    if (mask.users === 0) return undefined;
    const count = wordsFor(layout.size);
    const chains = this.#chains;
    let number = this.#buckets[hash & this.#buckets.length - 1] as number;
    for (; number !== 0; number = chains[2 * number + 1] as number) {
      if (chains[2 * number] !== hash) continue;
      const flow = this.#flows[number] as FlowRecord;
      if (flow.mask !== mask) continue;
      if (flow.layout !== layout && flow.layout.size !== layout.size) continue;
      const { chunk, keyAt } = flow;
      const isIt = sameUnder(
        words,
        chunk.words,
        keyAt,
        count,
        mask.words,
        layout.isAligned,
      );
      if (isIt) return flow;
    }
    return undefined;
  }

  /** Adds a flow. */
  add(parts: FlowParts): FlowRecord {
    const number = this.#free.pop() ?? this.#flows.length;
    const flow = new FlowRecord(number, parts);
    this.masks.hold(parts.mask, parts.step);
    this.#keys.keep(parts.keyWords, flow.keyCount, flow);
    this.#flows[number] = flow;
    this.#size++;
    // It may be one of ours that the datapath kept when we gave it up.
    if (parts.ufid !== undefined) this.#foreign.set(parts.ufid, flow);
    this.#put(flow);
    if (this.#size > this.#buckets.length) this.#growBuckets();
    const { stages } = parts.actions;
    for (let i = 0; i < stages.length; i++) this.#continuations.hold(stages[i] as number);
    return flow;
  }

  #put({ number, hash }: FlowRecord): void {
    if (2 * number >= this.#chains.length) {
      const chains = new Int32Array(2 * this.#chains.length);
      chains.set(this.#chains);
      this.#chains = chains;
    }
    this.#chains[2 * number] = hash;
    this.#chain(number, hash);
  }

  #chain(number: number, hash: number): void {
    const bucket = hash & this.#buckets.length - 1;
    this.#chains[2 * number + 1] = this.#buckets[bucket] as number;
    this.#buckets[bucket] = number;
  }

  #growBuckets(): void {
    this.#buckets = new Int32Array(2 * this.#buckets.length);
    for (let number = 1; number < this.#flows.length; number++) {
      if (this.#flows[number] === undefined) continue;
      this.#chain(number, this.#chains[2 * number] as number);
    }
  }

  #unindex({ number, hash }: FlowRecord): void {
    const bucket = hash & this.#buckets.length - 1;
    const chains = this.#chains;
    const next = chains[2 * number + 1] as number;
    let at = this.#buckets[bucket] as number;
    if (at === number) {
      this.#buckets[bucket] = next;
      return;
    }
    while (at !== 0) {
      const before = at;
      at = chains[2 * at + 1] as number;
      if (at === number) chains[2 * before + 1] = next;
    }
  }

  /**
   * Gives a flow that the datapath does not have yet another mask, whose prefixes were rounded up
   * to multiples of `step`; `words` are its key.
   */
  remask(flow: FlowRecord, mask: Mask, step: number, words: Uint32Array): void {
    if (flow.mask === mask) return;
    this.#unindex(flow);
    this.masks.release(flow.mask);
    flow.mask = mask;
    this.masks.hold(mask, step);
    flow.hash = this.hashOf(words, flow.layout, mask);
    this.#put(flow);
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
    this.edges.unlink(flow);
    this.#unindex(flow);
    if (flow.isForeign) this.#foreign.delete(flow.ufid);
    this.#size--;
    this.#flows[flow.number] = undefined;
    this.#free.push(flow.number);
    this.masks.release(flow.mask);
    this.#keys.release(flow, flow.keyCount);
    flow.chunk = NO_CHUNK; // What is there from now on is another's.
    flow.keyAt = 0;
    for (const id of flow.actions.stages) this.#continuations.release(id, nowMs);
  }

  /** Visits the flows that rest on a dependency. */
  each(id: number, visit: (flow: FlowRecord) => void): void {
    this.edges.each(id, (number) => {
      const flow = this.#flows[number];
      if (flow !== undefined) visit(flow);
    });
  }
}
