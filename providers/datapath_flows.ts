// SPDX-License-Identifier: Apache-2.0
/**
 * The flow table of a datapath, as users see it.
 *
 * @module
 */
import type { FlowDump, FlowDumpOptions, FlowStats, RawFlow } from "./contract/flows.ts";
import type { ProviderDatapath } from "./contract/provider.ts";
import { Flow } from "./flow.ts";
import type { FlowPut, FlowReference, Op, Result } from "./operations.ts";

/** Flows to fetch at once while listing. */
const DUMP_BATCH = 128;

/** One of several readers of a listing; the last of them ends it. */
class FlowReader implements IterableIterator<Flow, undefined> {
  readonly #dump: FlowDump;
  readonly #open: Set<FlowReader>;
  readonly #check: () => void;
  #raws: RawFlow[] = [];
  #at = 0;

  /**
   * `open` is the set of readers that have not ended; `check` throws when the datapath is closed.
   */
  constructor(dump: FlowDump, open: Set<FlowReader>, check: () => void) {
    this.#dump = dump;
    this.#open = open.add(this);
    this.#check = check;
  }

  next(): IteratorResult<Flow, undefined> {
    if (!this.#open.has(this)) return { done: true, value: undefined };
    if (this.#at === this.#raws.length) {
      try {
        this.#check();
        this.#raws = this.#dump.next(DUMP_BATCH);
      } catch (error) {
        this.return();
        throw error;
      }
      this.#at = 0;
    }
    const raw = this.#raws[this.#at++];
    return raw ? { done: false, value: new Flow(raw) } : this.return();
  }

  return(): IteratorResult<Flow, undefined> {
    this.#raws = [];
    this.#at = 0;
    if (this.#open.delete(this) && this.#open.size === 0) this.#dump.close();
    return { done: true, value: undefined };
  }

  [Symbol.iterator](): this {
    return this;
  }
}

/** The flow table of a datapath, one operation at a time. `Datapath.operate` runs many at once. */
export class Flows {
  readonly #datapath: { operate(ops: readonly Op[]): Result[] };
  readonly #open: (operation: string) => ProviderDatapath;

  /** Made by `Datapath`. */
  constructor(
    datapath: { operate(ops: readonly Op[]): Result[] },
    open: (operation: string) => ProviderDatapath,
  ) {
    this.#datapath = datapath;
    this.#open = open;
  }

  /**
   * Adds a flow. With `modify: true` an existing flow is changed instead; with `create: false` as
   * well, none is added. Returns the counters that the flow had if `wantStats` is set. `EEXIST`: an
   * equal or overlapping flow exists; `ENOENT`: there is none to change; `EINVAL`: the datapath
   * does not understand it.
   */
  put(flow: FlowPut): FlowStats | undefined {
    return this.#one({ ...flow, op: "put" }).stats;
  }

  /** Deletes a flow and returns its last counters. `ENOENT`: there is none. */
  delete({ key, ufid }: FlowReference): FlowStats | undefined {
    return this.#one({ op: "delete", key, ufid, wantStats: true }).stats;
  }

  /** Finds a flow. `ENOENT`: there is none. */
  get({ key, ufid }: FlowReference): Flow {
    return this.#one({ op: "get", key, ufid }).flow as Flow;
  }

  /** Deletes every flow. */
  flush(): void {
    this.#open("flush flows").flows.flush();
  }

  /**
   * Lists flows. A flow that exists throughout the listing appears exactly once; a flow that is
   * added or deleted meanwhile may or may not appear. Leaving the loop early ends the listing.
   */
  *dump(options: FlowDumpOptions = {}): Generator<Flow, void, undefined> {
    const dump = this.#open("dump flows").flows.dump(options);
    try {
      for (;;) {
        this.#open("dump flows");
        const raws = dump.next(DUMP_BATCH);
        if (raws.length === 0) return;
        for (const raw of raws) yield new Flow(raw);
      }
    } finally {
      dump.close();
    }
  }

  /**
   * Shares one listing of flows among `count` readers, for tasks that wait between flows. Each flow
   * goes to one reader, and a reader fetches the next flows when it needs them. A reader that stops
   * early drops the flows that it had fetched; the others go on. An error is thrown to the reader
   * whose fetch failed.
   */
  readers(
    count: number,
    options: FlowDumpOptions = {},
  ): IterableIterator<Flow, undefined>[] {
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError(`number of readers must be at least 1: it is ${count}`);
    }
    const dump = this.#open("dump flows").flows.dump(options);
    const open = new Set<FlowReader>();
    const check = () => void this.#open("dump flows");
    return Array.from({ length: count }, () => new FlowReader(dump, open, check));
  }

  #one(op: Op): Result & { ok: true } {
    const [result] = this.#datapath.operate([op]);
    if (result?.ok === true) return result;
    throw result?.error ?? new TypeError("Cannot operate: the provider gave no result");
  }
}
