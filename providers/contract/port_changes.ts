// SPDX-License-Identifier: Apache-2.0
/**
 * Changes of a datapath's ports as a stream over what a provider watches them by.
 *
 * An async generator would not do: its `return` waits for the `next` under way, which waits for a
 * change.
 *
 * **Threads:** a stream belongs to the isolate that made it.
 *
 * @module
 */
import type { PortChange, PortWatch } from "./ports.ts";

/** How changes are watched. */
export interface PortChangesOptions {
  /** Ends the stream: the iteration rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * Changes of ports, `rescan` first.
 *
 * The watch begins with the first `next`, so that a stream that nobody reads holds nothing. The
 * stream ends quietly when it is left and when the datapath is closed, and rejects when its
 * signal aborts or the watch fails; in each case the watch is given back. It can be left while
 * `next` waits.
 */
export class PortChanges implements AsyncIterableIterator<PortChange, undefined> {
  readonly #open: () => PortWatch;
  readonly #signal: AbortSignal | undefined;
  #watch: PortWatch | undefined;
  #queue: PortChange[] = [];
  #tail: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;
  /** Whether the signal has aborted, and no call of `next` has said so yet. */
  #isCut = false;
  /** Calls of `next` that are not answered yet. */
  #pending = 0;

  readonly #onAbort = (): void => {
    this.#isCut = true;
    if (this.#pending > 0) this.#watch?.wake();
    else this.close().catch(() => {}); // A call of `close` is told.
  };

  /** `open` begins a watch. Throws `TypeError` for a signal that is none. */
  constructor(open: () => PortWatch, options: PortChangesOptions = {}) {
    const { signal } = options;
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      throw new TypeError("signal must be an AbortSignal");
    }
    this.#open = open;
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort);
    if (signal?.aborted === true) this.#onAbort();
  }

  /** The next change. Calls may overlap: they are answered in order. */
  next(): Promise<IteratorResult<PortChange, undefined>> {
    this.#pending++;
    const result = this.#tail.then(() => this.#next()).finally(() => this.#pending--);
    this.#tail = result.catch(() => {});
    return result;
  }

  /** Called when the loop is left. */
  async return(): Promise<IteratorResult<PortChange, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  /** Ends the watch and rejects with `error`, as a generator does. */
  async throw(error?: unknown): Promise<IteratorResult<PortChange, undefined>> {
    await this.close();
    throw error;
  }

  /** Ends the watch. Idempotent. */
  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#signal?.removeEventListener("abort", this.#onAbort);
      this.#queue = [];
      this.#closing = this.#watch?.close() ?? Promise.resolve();
    }
    return this.#closing;
  }

  /** The stream itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #next(): Promise<IteratorResult<PortChange, undefined>> {
    try {
      for (;;) {
        if (this.#isCut) {
          this.#isCut = false;
          throw this.#signal?.reason;
        }
        if (this.#closing !== undefined) return { done: true, value: undefined };
        const value = this.#queue.shift();
        if (value !== undefined) return { done: false, value };
        const watch = this.#watch ??= this.#open();
        const changes = watch.receive();
        if (changes === undefined) await this.close();
        else if (changes.length > 0) this.#queue = [...changes];
        else await watch.wait();
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }
}
