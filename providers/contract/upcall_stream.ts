// SPDX-License-Identifier: Apache-2.0
/**
 * The upcall loop: takes upcalls from a handler, yields to the event loop, waits, ends.
 *
 * While upcalls come, the loop takes them in batches without waiting, and lets timers and I/O of
 * the program run every few milliseconds. When no upcall is left, the loop polls for some turns of
 * the event loop, because the next upcall is often microseconds away and a sleep costs fifty; then
 * it parks in the one wait that the handler allows.
 *
 * **Threads:** a stream belongs to the isolate that made it.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { RawUpcall, UpcallHandler } from "./upcalls.ts";

/** How upcalls are taken. */
export interface UpcallStreamOptions {
  /** Ends the stream: the iteration rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Upcalls that are taken at once, 1 to 256; 64 if absent. */
  readonly batch?: number;
}

/** Largest batch that a handler gives at once. */
export const MAX_BATCH = 256;
const DEFAULT_BATCH = 64;
/** The event loop gets a turn at least this often, milliseconds. */
const YIELD_MS = 4;
/** Turns of the event loop without an upcall before the loop parks (2-3 µs each). */
const SPIN_TURNS = 64;
/** Upcalls between two looks at the clock when they are given out one by one. */
const CLOCK_EVERY = 8;

/** Lets timers, I/O and signals run once. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Checks a batch size. Throws `RangeError`. */
function batchSize(batch: number): number {
  if (!Number.isInteger(batch) || batch < 1 || batch > MAX_BATCH) {
    throw new RangeError(
      `batch must be an integer from 1 to ${MAX_BATCH}: current value is ${batch}`,
    );
  }
  return batch;
}

/**
 * Upcalls of one handler, as arrays of at least one.
 *
 * The stream ends quietly when it is closed, when the loop is left, or when the datapath is closed.
 * It rejects when its signal aborts or the handler fails. Either way the handler is given back
 * first.
 */
export class UpcallBatchStream<T> implements AsyncIterableIterator<T[]> {
  readonly #handler: UpcallHandler;
  readonly #wrap: (raw: RawUpcall) => T;
  readonly #signal: AbortSignal | undefined;
  readonly #max: number;
  readonly #onEnd: () => void;
  /** Gives the handler back at once, unless a `next` is under way and will: there may be none. */
  readonly #onAbort = (): void => {
    this.#isCut = true;
    if (this.#pending > 0) this.#handler.wake();
    else this.close().catch(() => {}); // A call of `close` is told.
  };
  #yieldedAt = performance.now();
  #tail: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;
  /** Calls of `next` that are not answered yet. */
  #pending = 0;
  /** Whether the signal has aborted, and no call of `next` has said so yet. */
  #isCut = false;
  #lost = 0n;

  /**
   * Takes over the handler that `open` opens. Wrong options throw before `open` is called. `wrap`
   * turns an upcall of the handler into an item of the stream; `onEnd` is called once, after the
   * handler was given back.
   */
  constructor(
    open: () => UpcallHandler,
    options: UpcallStreamOptions & {
      readonly wrap: (raw: RawUpcall) => T;
      readonly onEnd?: () => void;
    },
  ) {
    this.#max = batchSize(options.batch ?? DEFAULT_BATCH);
    this.#wrap = options.wrap;
    this.#signal = options.signal;
    this.#onEnd = options.onEnd ?? (() => {});
    if (this.#signal !== undefined && !(this.#signal instanceof AbortSignal)) {
      throw new TypeError("signal must be an AbortSignal");
    }
    this.#handler = open();
    this.#signal?.addEventListener("abort", this.#onAbort);
    if (this.aborted) this.#onAbort();
  }

  /** Upcalls that were dropped so far because this stream was too slow. */
  get lost(): bigint {
    if (this.#closing === undefined) this.#lost = this.#handler.lost();
    return this.#lost;
  }

  /** Whether the signal has aborted. */
  get aborted(): boolean {
    return this.#signal !== undefined && this.#signal.aborted;
  }

  /** The next batch. Calls may overlap: they resolve in order. */
  next(): Promise<IteratorResult<T[], undefined>> {
    this.#pending++;
    const result = this.#tail.then(() => this.#next()).finally(() => this.#pending--);
    this.#tail = result.catch(() => {});
    return result;
  }

  /** Called when the loop is left. */
  async return(): Promise<IteratorResult<T[], undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  /** Gives the handler back and rejects with `error`, as a generator does. */
  async throw(error?: unknown): Promise<IteratorResult<T[], undefined>> {
    await this.close();
    throw error;
  }

  /** Ends the stream and gives the handler back. Idempotent. */
  close(): Promise<void> {
    if (this.#closing === undefined) {
      try {
        this.#lost = this.#handler.lost();
      } catch {
        // What has failed cannot say; it is to be given back all the same.
      }
      this.#signal?.removeEventListener("abort", this.#onAbort);
      this.#closing = this.#handler.close().finally(this.#onEnd);
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

  /** Gives the event loop a turn if it had none for long. */
  breathe(): Promise<void> | undefined {
    return performance.now() - this.#yieldedAt < YIELD_MS ? undefined : this.#turn();
  }

  async #turn(): Promise<void> {
    await turn();
    this.#yieldedAt = performance.now();
  }

  async #next(): Promise<IteratorResult<T[], undefined>> {
    try {
      for (let idle = 0;; idle++) {
        if (this.#isCut) {
          this.#isCut = false;
          throw this.#signal?.reason;
        }
        if (this.#closing !== undefined) {
          // A program that goes on behind its loop may open the handler again.
          await this.#closing.catch(() => {}); // A failure is told to the caller of `close`.
          return { done: true, value: undefined };
        }
        const due = this.breathe();
        if (due !== undefined) {
          await due;
          continue;
        }
        const raws = this.#handler.receive(this.#max);
        if (raws.length > 0) return { done: false, value: raws.map(this.#wrap) };
        if (idle < SPIN_TURNS) {
          await this.#turn();
        } else {
          idle = 0;
          await this.#handler.wait();
          this.#yieldedAt = performance.now();
        }
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }
}

/** The upcalls of a batch stream, one by one. */
export class UpcallStream<T> implements AsyncIterableIterator<T> {
  readonly #batches: UpcallBatchStream<T>;
  #queue: readonly T[] = [];
  #at = 0;
  #tail: Promise<unknown> | undefined;

  /** Takes over `batches`. */
  constructor(batches: UpcallBatchStream<T>) {
    this.#batches = batches;
  }

  /** Upcalls that were dropped so far because this stream was too slow. */
  get lost(): bigint {
    return this.#batches.lost;
  }

  /** The next upcall. Calls may overlap: they resolve in order. */
  next(): Promise<IteratorResult<T, undefined>> {
    if (
      this.#tail === undefined && this.#at < this.#queue.length &&
      this.#at % CLOCK_EVERY !== 0 && !this.#batches.aborted
    ) {
      return Promise.resolve({ done: false, value: this.#queue[this.#at++] as T });
    }
    const result = (this.#tail ?? Promise.resolve()).then(() => this.#next());
    const tail: Promise<unknown> = result.catch(() => {}).then(() => {
      if (this.#tail === tail) this.#tail = undefined;
    });
    this.#tail = tail;
    return result;
  }

  /** Called when the loop is left. Upcalls that were taken but not given out are dropped. */
  async return(): Promise<IteratorResult<T, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  /** Gives the handler back and rejects with `error`, as a generator does. */
  async throw(error?: unknown): Promise<IteratorResult<T, undefined>> {
    await this.close();
    throw error;
  }

  /** Ends the stream and gives the handler back. Idempotent. */
  close(): Promise<void> {
    this.#queue = [];
    return this.#batches.close();
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
    if (this.#at < this.#queue.length) await this.#batches.breathe();
    if (this.#at >= this.#queue.length || this.#batches.aborted) {
      const { done, value } = await this.#batches.next();
      if (done) return { done, value };
      this.#queue = value;
      this.#at = 0;
    }
    return { done: false, value: this.#queue[this.#at++] as T };
  }
}
