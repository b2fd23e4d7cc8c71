// SPDX-License-Identifier: Apache-2.0
/**
 * The flow table of a datapath, as users see it.
 *
 * @module
 */
import { integer } from "./check.ts";
import type { FlowDumpOptions, FlowStats } from "./contract/flows.ts";
import type { ProviderDatapath } from "./contract/provider.ts";
import type { Flow } from "./flow.ts";
import { FlowListing } from "./flow_listing.ts";
import type { FlowPut, FlowReference, Op, Result } from "./operations.ts";

/** The flow table of a datapath, one operation at a time. `Datapath.operate` runs many at once. */
export class Flows {
  readonly #datapath: { operate(ops: readonly Op[]): Result[] };
  readonly #open: (operation: string) => ProviderDatapath;
  readonly #listings = new Set<FlowListing>();

  /** Made by `Datapath`. */
  constructor(
    datapath: { operate(ops: readonly Op[]): Result[] },
    open: (operation: string) => ProviderDatapath,
  ) {
    this.#datapath = datapath;
    this.#open = open;
  }

  /**
   * Whether a flow that has a `ufid` is changed by that alone, which takes less time: by a put with
   * `create: false`, `modify: true`, and a key and a mask of no bytes. `system` needs the key.
   */
  get changeByName(): boolean {
    return this.#open("change flows").flows.changesByName === true;
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
   * added or deleted meanwhile may or may not appear. The listing begins with the first flow that
   * is asked for; leaving the loop early ends it.
   */
  dump(options: FlowDumpOptions = {}): IteratorObject<Flow, void, undefined> {
    return this.#list(options).reader();
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
    integer("number of readers", count, 0xffff, 1);
    const listing = this.#list(options);
    return Array.from({ length: count }, () => listing.reader());
  }

  #list(options: FlowDumpOptions): FlowListing {
    this.#open("dump flows");
    const listing: FlowListing = new FlowListing(
      () => this.#open("dump flows").flows.dump(options),
      () => void this.#open("dump flows"),
      () => this.#listings.delete(listing),
    );
    this.#listings.add(listing);
    return listing;
  }

  /** Ends every listing: the datapath is closed, and what they hold must go with it. */
  endListings(): void {
    for (const listing of this.#listings) listing.end();
  }

  #one(op: Op): Result & { ok: true } {
    const [result] = this.#datapath.operate([op]);
    if (result?.ok === true) return result;
    throw result?.error ?? new TypeError("Cannot operate: the provider gave no result");
  }
}
