// SPDX-License-Identifier: Apache-2.0
/**
 * The flow table of a datapath, as users see it.
 *
 * @module
 */
import type { FlowDumpOptions, FlowStats, ProviderDatapath } from "./contract.ts";
import { Flow } from "./flow.ts";
import type { FlowPut, FlowReference, Op, Result } from "./operations.ts";

/** Flows that are asked for at once while listing. */
const DUMP_BATCH = 128;

/** Flow table of a datapath. Single operations; `Datapath.operate` is for many. */
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
   * Adds a flow; with `modify: true` changes one that is there, with `create: false` only that. Answers
   * counters if `wantStats` asks for them. `EEXIST`: an equal or overlapping flow is there; `ENOENT`: there is none to
   * change; `EINVAL`: the datapath does not understand it.
   */
  put(flow: FlowPut): FlowStats | undefined {
    return this.#one({ ...flow, op: "put" }).stats;
  }

  /** Deletes a flow and answers its last counters. `ENOENT`: there is none. */
  delete(flow: FlowReference): FlowStats | undefined {
    return this.#one({ ...flow, op: "delete", wantStats: true }).stats;
  }

  /** Finds a flow. `ENOENT`: there is none. */
  get(flow: FlowReference): Flow {
    return this.#one({ ...flow, op: "get" }).flow as Flow;
  }

  /** Deletes every flow. */
  flush(): void {
    this.#open("flush flows").flows.flush();
  }

  /**
   * Lists flows. One that stays through the listing is in it exactly once; others may or may not be. Leaving the
   * loop early ends the listing.
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

  #one(op: Op): Result & { ok: true } {
    const [result] = this.#datapath.operate([op]);
    if (result?.ok === true) return result;
    throw result?.error ?? new TypeError("Cannot operate: the provider gave no result");
  }
}
