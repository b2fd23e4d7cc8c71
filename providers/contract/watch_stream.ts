// SPDX-License-Identifier: Apache-2.0
/**
 * What a provider watches, as a stream.
 *
 * An async generator would not do: its `return` waits for the `next` under way, which waits for
 * something to happen.
 *
 * **Threads:** a stream belongs to the isolate that made it.
 *
 * @module
 */
import { setImmediate } from "node:timers";

/**
 * Something that a provider watches.  `receive` never waits; `wait` has at most one call
 * outstanding, and none after `close`.
 */
export interface Watch<T> {
  /** What happened since the last call; undefined at the end, when the datapath is closed here. */
  receive(): readonly T[] | undefined;
  /** Resolves when something may have happened, or `wake` or `close` was called. */
  wait(): Promise<void>;
  /** Ends a `wait` under way. */
  wake(): void;
  /** Ends a `wait` under way and gives the watch back. Idempotent. */
  close(): Promise<void>;
}

/** How something is watched. */
export interface WatchOptions {
  /** Ends the stream: the iteration rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** The event loop gets a turn at least this often, milliseconds. */
const YIELD_MS = 4;

/**
 * What a watch says, one by one.
 *
 * The stream ends quietly when it is left and when the datapath is closed, and rejects when its
 * signal aborts or the watch fails; in each case the watch is given back. It can be left while
 * `next` waits.
 */
export class WatchStream<T> implements AsyncIterableIterator<T, undefined> {
  readonly #open: () => Watch<T>;
  readonly #signal: AbortSignal | undefined;
  #watch: Watch<T> | undefined;
  #queue: readonly T[] = [];
  #at = 0;
  #tail: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;
  #yieldedAt = performance.now();
  /** Whether the signal has aborted, and no call of `next` has said so yet. */
  #isCut = false;
  /** Calls of `next` that are not answered yet. */
  #pending = 0;

  readonly #onAbort = (): void => {
    this.#isCut = true;
    if (this.#pending > 0) this.#watch?.wake();
    else this.close().catch(() => {}); // A call of `close` is told.
  };

  /**
   * `open` begins to watch: at once with `now`, else with the first `next`. Throws `TypeError` for
   * a signal that is none.
   */
  constructor(
    open: () => Watch<T>,
    options: WatchOptions & { readonly now?: boolean } = {},
  ) {
    const { signal, now = false } = options;
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      throw new TypeError("signal must be an AbortSignal");
    }
    this.#open = open;
    this.#signal = signal;
    if (now && signal?.aborted !== true) this.#watch = open();
    signal?.addEventListener("abort", this.#onAbort);
    if (signal?.aborted === true) this.#onAbort();
  }

  /** The next one. Calls may overlap: they are answered in order. */
  next(): Promise<IteratorResult<T, undefined>> {
    this.#pending++;
    const result = this.#tail.then(() => this.#next()).finally(() => this.#pending--);
    this.#tail = result.catch(() => {});
    return result;
  }

  /** Called when the loop is left. */
  async return(): Promise<IteratorResult<T, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  /** Ends the watch and rejects with `error`, as a generator does. */
  async throw(error?: unknown): Promise<IteratorResult<T, undefined>> {
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

  async #next(): Promise<IteratorResult<T, undefined>> {
    try {
      for (;;) {
        if (this.#isCut) {
          this.#isCut = false;
          throw this.#signal?.reason;
        }
        if (this.#closing !== undefined) return { done: true, value: undefined };
        if (this.#at < this.#queue.length) {
          return { done: false, value: this.#queue[this.#at++] as T };
        }
        const watch = this.#watch ??= this.#open();
        if (performance.now() - this.#yieldedAt >= YIELD_MS) {
          await new Promise((resolve) => setImmediate(resolve));
          this.#yieldedAt = performance.now();
          continue;
        }
        const news = watch.receive();
        this.#queue = news ?? [];
        this.#at = 0;
        if (news === undefined) await this.close();
        else if (news.length === 0) {
          await watch.wait();
          this.#yieldedAt = performance.now();
        }
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }
}
