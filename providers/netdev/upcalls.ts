// SPDX-License-Identifier: Apache-2.0
/**
 * Upcalls of a datapath of this process.
 *
 * @module
 */
import { constants, dpExchange, dpHandlerInfo, dpUpcall } from "../../ffi/layout.ts";
import { Waiter } from "../../ffi/waiter.ts";
import type { ProviderUpcalls, RawUpcall, UpcallHandler } from "../contract/upcalls.ts";
import { Errno } from "../errno.ts";
import { DatapathError } from "../errors.ts";
import { type PortNo, portNo } from "../ids.ts";
import type { Context } from "./context.ts";
import { check, waitFailure } from "./library.ts";
import { padded } from "./op_buffer.ts";

const { EAGAIN, ESHUTDOWN } = Errno;
const empty = new Uint8Array(0);

/** Upcalls over `dp_upcall_*`. */
export class NetdevUpcalls implements ProviderUpcalls {
  readonly #context: Context;
  readonly #handlers = new Set<NetdevHandler>();

  constructor(context: Context) {
    this.#context = context;
  }

  setHandlers(count: number): void {
    const { symbols, dp, subject } = this.#context;
    check(symbols, symbols.dp_upcall_set_handlers(dp, count), subject("set handlers"));
  }

  /** An open handler receives upcalls; nothing else needs to be turned on. */
  setReceive(enable: boolean): void {
    if (!enable) this.purge();
  }

  handler(id: number): UpcallHandler {
    const handler = new NetdevHandler(
      this.#context,
      id,
      () => this.#handlers.delete(handler),
    );
    this.#handlers.add(handler);
    return handler;
  }

  purge(): void {
    const { symbols, dp, subject } = this.#context;
    check(symbols, symbols.dp_upcall_purge(dp), subject("purge upcalls"));
  }

  /** Closes what is open. */
  async close(): Promise<void> {
    await Promise.all([...this.#handlers].map((handler) => handler.close()));
  }
}

/** A handler: a ring of packets in the library, and an arena that it writes upcalls to. */
class NetdevHandler implements UpcallHandler {
  readonly #context: Context;
  readonly #id: number;
  readonly #handle: bigint;
  readonly #arena: Uint8Array<ArrayBuffer>;
  readonly #exchange = new Uint8Array(dpExchange.structSize);
  readonly #exchangeWords = new Uint32Array(this.#exchange.buffer);
  readonly #onClose: () => void;
  readonly #waiter: Waiter;
  #closing: Promise<void> | undefined;
  #lost = 0n;
  /** What was received last. */
  #batch: UpcallBatch | undefined;

  constructor(context: Context, id: number, onClose: () => void) {
    const { symbols, dp, subject } = context;
    if (!Number.isInteger(id) || id < 0) {
      throw new RangeError(
        `handler must be an integer, 0 or more: current value is ${id}`,
      );
    }
    const info = new Uint8Array(dpHandlerInfo.structSize);
    check(
      symbols,
      symbols.dp_upcall_open(dp, id, info),
      subject("open handler", `${id}`),
    );
    const view = new DataView(info.buffer);
    this.#handle = view.getBigUint64(dpHandlerInfo.handler, true);
    const arena = Deno.UnsafePointer.create(view.getBigUint64(dpHandlerInfo.arena, true));
    const size = Number(view.getBigUint64(dpHandlerInfo.arenaSize, true));
    if (arena === null) throw new TypeError("Cannot open handler: it has no arena");
    // Made once: each such view costs the collector as much as the memory behind it.
    this.#arena = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(arena, size));
    this.#context = context;
    this.#id = id;
    this.#onClose = onClose;
    try {
      this.#waiter = new Waiter(view.getInt32(dpHandlerInfo.doorbell, true));
    } catch (error) {
      symbols.dp_upcall_close(this.#handle);
      throw waitFailure(error, subject("open handler", `${id}`));
    }
  }

  receive(max: number): RawUpcall[] {
    this.#take(max);
    const words = this.#exchangeWords;
    const count = words[dpExchange.count >> 2] as number;
    if (count === 0) return [];
    // One copy for all: the arena is written again by the next call, and these are the caller's.
    const bytes = this.#arena.slice(0, words[dpExchange.used >> 2] as number);
    const batch = new UpcallBatch(this, bytes.buffer);
    const upcalls = new Array<RawUpcall>(count);
    this.#batch = batch;
    let at = 0;
    for (let i = 0; i < count; i++) {
      upcalls[i] = new NetdevUpcall(batch, at);
      at += batch.words[(at + dpUpcall.size) >> 2] as number;
    }
    return upcalls;
  }

  /** Whether this is what the arena holds. */
  holds(batch: UpcallBatch): boolean {
    return this.#batch === batch && this.#closing === undefined;
  }

  /** Runs operations that may be about what the arena holds. Returns errno; unless 0, none ran. */
  operate(
    ops: Uint8Array<ArrayBuffer>,
    size: number,
    count: number,
    results: Uint8Array<ArrayBuffer>,
  ): number {
    const errno = this.#context.symbols.dp_upcall_exchange(
      this.#handle,
      ops,
      size,
      count,
      results,
      results.length,
      0,
      this.#exchange,
    );
    // The handler was closed behind them: done again, they would send packets twice.
    const isDone = this.#exchangeWords[dpExchange.resultsUsed >> 2] !== 0;
    return errno === ESHUTDOWN && isDone ? 0 : errno;
  }

  async wait(): Promise<void> {
    if (this.#closing !== undefined) return;
    const { symbols } = this.#context;
    const armed = symbols.dp_upcall_arm(this.#handle);
    if (armed === EAGAIN) return;
    this.#check(armed, "wait for upcalls");
    await this.#waiter.wait();
  }

  wake(): void {
    this.#waiter.wake();
  }

  lost(): bigint {
    if (this.#closing === undefined) {
      // What is closed for us has lost what it had lost: that is said even then.
      this.#exchangeFor(0);
      const words = this.#exchangeWords;
      const at = dpExchange.lost >> 2;
      this.#lost = BigInt(words[at] as number) | BigInt(words[at + 1] as number) << 32n;
    }
    return this.#lost;
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    try {
      await this.#waiter.close();
    } finally {
      // A handler whose datapath was destroyed meanwhile still has a handle to be given back.
      this.#context.symbols.dp_upcall_close(this.#handle);
      this.#onClose();
    }
  }

  /** Takes upcalls into the arena. Returns errno. */
  #exchangeFor(max: number): number {
    return this.#context.symbols.dp_upcall_exchange(
      this.#handle,
      empty,
      0,
      0,
      empty,
      0,
      max,
      this.#exchange,
    );
  }

  /** A handler outlives its datapath, which somebody else may destroy. */
  #check(errno: number, operation: string): void {
    const { symbols, subject } = this.#context;
    const what = subject(operation, `${this.#id}`);
    if (errno !== ESHUTDOWN) return check(symbols, errno, what);
    throw new DatapathError({
      ...what,
      code: "ENODEV",
      detail: "the datapath was removed",
    });
  }

  #take(max: number): void {
    const { subject } = this.#context;
    if (this.#closing !== undefined) {
      throw new DatapathError({
        ...subject("receive upcalls", `${this.#id}`),
        code: "EBADF",
        detail: "handler is closed",
      });
    }
    const errno = this.#exchangeFor(max);
    if (errno !== 0) this.#check(errno, "receive upcalls");
  }
}

/** Upcalls that were received together: a copy of what the arena held. */
export class UpcallBatch {
  readonly bytes: ArrayBuffer;
  readonly words: Uint32Array;
  readonly #handler: NetdevHandler;

  constructor(handler: NetdevHandler, bytes: ArrayBuffer) {
    this.#handler = handler;
    this.bytes = bytes;
    this.words = new Uint32Array(bytes);
  }

  /**
   * Whether the arena still holds it. A field, which cannot be cloned: to `structuredClone()` and
   * messages to Workers an upcall is an error, as it would lose all that its getters give.
   */
  readonly isCurrent = (): boolean => this.#handler.holds(this);

  /** Runs operations that may be about the arena. Returns errno. */
  exchange(
    ops: Uint8Array<ArrayBuffer>,
    size: number,
    count: number,
    results: Uint8Array<ArrayBuffer>,
  ): number {
    return this.#handler.operate(ops, size, count, results);
  }
}

/** An upcall in a copy of the arena, read when it is looked at. */
export class NetdevUpcall implements RawUpcall {
  /** What it was received with. */
  readonly batch: UpcallBatch;
  /** Where it is in that, bytes. */
  readonly at: number;

  constructor(batch: UpcallBatch, at: number) {
    this.batch = batch;
    this.at = at;
  }

  /** Where its key is, and its size, bytes. */
  get keyAt(): number {
    return this.at + dpUpcall.structSize;
  }

  get keySize(): number {
    return this.#word(dpUpcall.keySize);
  }

  get kind(): "miss" | "action" {
    return this.#word(dpUpcall.kind) === constants.DP_UPCALL_MISS ? "miss" : "action";
  }

  get key(): Uint8Array {
    return this.#part(this.keyAt, dpUpcall.keySize);
  }

  get inPort(): PortNo | undefined {
    const port = this.#word(dpUpcall.inPort);
    return port === constants.DP_PORT_NONE ? undefined : portNo(port);
  }

  get userdata(): Uint8Array | undefined {
    if ((this.#word(dpUpcall.flags) & constants.DP_UPCALLF_USERDATA) === 0) {
      return undefined;
    }
    return this.#part(this.#userdataAt(), dpUpcall.userdataSize);
  }

  get actions(): Uint8Array | undefined {
    if ((this.#word(dpUpcall.flags) & constants.DP_UPCALLF_ACTIONS) === 0) {
      return undefined;
    }
    return this.#part(this.#actionsAt(), dpUpcall.actionsSize);
  }

  get packet(): Uint8Array {
    const at = this.#actionsAt() + padded(this.#word(dpUpcall.actionsSize));
    return this.#part(at, dpUpcall.packetSize);
  }

  get originalLength(): number | undefined {
    const length = this.#word(dpUpcall.originalSize);
    return length === this.#word(dpUpcall.packetSize) ? undefined : length;
  }

  get hash(): bigint | undefined {
    return BigInt(this.#word(dpUpcall.hash)) || undefined;
  }

  #userdataAt(): number {
    return this.at + dpUpcall.structSize + padded(this.#word(dpUpcall.keySize));
  }

  #actionsAt(): number {
    return this.#userdataAt() + padded(this.#word(dpUpcall.userdataSize));
  }

  #part(at: number, sizeField: number): Uint8Array {
    // Not a `subarray`, which costs half as much again.
    return new Uint8Array(this.batch.bytes, at, this.#word(sizeField));
  }

  #word(field: number): number {
    return this.batch.words[(this.at + field) >> 2] as number;
  }
}
