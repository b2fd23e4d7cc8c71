// SPDX-License-Identifier: Apache-2.0
/**
 * A listing of flows and its readers.
 *
 * A provider holds something for a listing: a socket, a handle. The listing begins with the first
 * flow that is asked for, and ends with the last flow, when all readers have been left, when the
 * datapath is closed, and, as a net for readers that a program forgets, when they are collected.
 *
 * @module
 */
import type { FlowDump, RawFlow } from "./contract/flows.ts";
import { Flow } from "./flow.ts";

/** Flows to fetch at once while listing. */
const DUMP_BATCH = 128;

/** What the readers of one listing share. */
export class FlowListing {
  readonly #begin: () => FlowDump;
  readonly #check: () => void;
  readonly #onEnd: (listing: FlowListing) => void;
  #dump: FlowDump | undefined;
  #readers = 0;
  #ended = false;

  /** `check` throws when the datapath is closed; `onEnd` is called once. */
  constructor(
    begin: () => FlowDump,
    check: () => void,
    onEnd: (listing: FlowListing) => void,
  ) {
    this.#begin = begin;
    this.#check = check;
    this.#onEnd = onEnd;
  }

  /** Throws when the datapath is closed. */
  check(): void {
    this.#check();
  }

  /** One reader more. */
  reader(): FlowReader {
    this.#readers++;
    return new FlowReader(this);
  }

  /** The next flows; none at the end. */
  next(): RawFlow[] {
    if (this.#ended) return [];
    const flows = (this.#dump ??= this.#begin()).next(DUMP_BATCH);
    if (flows.length === 0) this.end();
    return flows;
  }

  /** One reader less. */
  leave(): void {
    if (--this.#readers === 0) this.end();
  }

  /** Gives back what the provider holds. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#dump?.close();
    this.#onEnd(this);
  }
}

const forgotten = new FinalizationRegistry<FlowListing>((listing) => listing.leave());

/** One of several readers of a listing; it belongs to the isolate that made it. */
export class FlowReader extends Iterator<Flow, undefined>
  implements IterableIterator<Flow, undefined> {
  #listing: FlowListing | undefined;
  #raws: RawFlow[] = [];
  #at = 0;

  /** Made by {@linkcode FlowListing.reader}. */
  constructor(listing: FlowListing) {
    super();
    this.#listing = listing;
    forgotten.register(this, listing, this);
  }

  /** The next flow. An error ends this reader and not the others. */
  next(): IteratorResult<Flow, undefined> {
    if (this.#listing === undefined) return { done: true, value: undefined };
    try {
      this.#listing.check();
      if (this.#at === this.#raws.length) {
        this.#raws = this.#listing.next();
        this.#at = 0;
      }
    } catch (error) {
      this.return();
      throw error;
    }
    const raw = this.#raws[this.#at++];
    return raw ? { done: false, value: new Flow(raw) } : this.return();
  }

  /** Leaves the listing. Idempotent. */
  override return(): IteratorResult<Flow, undefined> {
    this.#raws = [];
    this.#at = 0;
    const listing = this.#listing;
    this.#listing = undefined;
    if (listing !== undefined) {
      forgotten.unregister(this);
      listing.leave();
    }
    return { done: true, value: undefined };
  }

  /** Leaves the listing and throws `error`, as a generator does. */
  override throw(error?: unknown): IteratorResult<Flow, undefined> {
    this.return();
    throw error;
  }

  /** The reader itself. */
  override [Symbol.iterator](): this {
    return this;
  }

  /** Leaves the listing. */
  override [Symbol.dispose](): void {
    this.return();
  }
}
