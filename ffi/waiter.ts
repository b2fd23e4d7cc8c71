// SPDX-License-Identifier: Apache-2.0
/**
 * Waits for descriptors without holding up the isolate.
 *
 * A nonblocking call takes one of the 32 threads that an isolate has for such calls, and a full
 * pool also stops file I/O. So all waits of an isolate share one such call: `epoll_wait` (man
 * epoll(7)) on everything that anybody waits for. It returns every second even when nothing
 * happens, because the thread of a terminated Worker cannot end while one of its calls is under
 * way.
 *
 * @module
 */
import { EpollEvent, EpollOperation, EventfdFlag, type Libc, openLibc } from "./libc.ts";
import { allocate, type CMemory } from "./memory.ts";

/** A descriptor could not be waited for. */
export class WaitError extends Error {
  override readonly name = "WaitError";
  /** Number of the error, such as 24 (EMFILE) or 9 (EBADF). */
  readonly errno: number;

  /** `operation` is what was tried. */
  constructor(operation: string, errno: number) {
    super(`Cannot ${operation}: errno ${errno}`);
    this.errno = errno;
  }
}

/** `struct epoll_event` is packed on x86-64 only: <sys/epoll.h>. */
const eventSize = Deno.build.arch === "x86_64" ? 12 : 16;
const dataAt = Deno.build.arch === "x86_64" ? 4 : 8;
const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const eventsAtOnce = 64;
const longestCallMs = 1000;

/** Has a descriptor closed when its thread ends; gives what calls it off. See `thread_exit.ts`. */
export type Guard = (fd: number) => () => void;

/** The one call of this isolate, while there is anything to wait for. */
class Reactor {
  readonly #libc: Libc;
  readonly #epoll: number;
  /** Rung to end the call. */
  readonly #bell: number;
  readonly #memory: CMemory;
  readonly #events: DataView;
  readonly #event = new Uint8Array(eventSize);
  readonly #ready = new Map<number, () => void>();
  #lastId = 0;
  #running: Promise<void> | undefined;
  readonly #unguard: readonly (() => void)[];

  constructor(guard: Guard) {
    const libc = openLibc();
    const { epoll_create1, eventfd, close } = libc.symbols;
    this.#epoll = epoll_create1(EventfdFlag.Cloexec);
    const errno = this.#epoll < 0 ? libc.errno() : 0;
    this.#bell = errno ? -1 : eventfd(0, EventfdFlag.Cloexec | EventfdFlag.Nonblock);
    if (this.#bell < 0) {
      const reason = errno || libc.errno();
      if (this.#epoll >= 0) close(this.#epoll);
      libc.close();
      throw new WaitError("wait for descriptors", reason);
    }
    this.#libc = libc;
    this.#unguard = [this.#epoll, this.#bell].map(guard);
    this.#memory = allocate(libc, eventsAtOnce * eventSize);
    const { buffer, byteOffset } = this.#memory.bytes;
    this.#events = new DataView(buffer, byteOffset);
    this.#control(EpollOperation.Add, this.#bell, { id: 0, events: EpollEvent.In });
  }

  /** Makes a descriptor known, to be armed later. Returns its number here. */
  add(fd: number): number {
    const id = ++this.#lastId;
    this.#control(EpollOperation.Add, fd, { id, events: 0 });
    return id;
  }

  /** Forgets a descriptor. One that was closed has been forgotten by the kernel. */
  remove(fd: number, id: number): void {
    this.#ready.delete(id);
    this.#event.fill(0);
    this.#libc.symbols.epoll_ctl(this.#epoll, EpollOperation.Delete, fd, this.#event);
    this.#rest();
  }

  /** Calls `ready` once, when the descriptor is readable, broken or closed at its other end. */
  arm(fd: number, id: number, ready: () => void): void {
    const events = EpollEvent.In | EpollEvent.OneShot;
    this.#control(EpollOperation.Modify, fd, { id, events });
    this.#ready.set(id, ready);
    this.#running ??= this.#run();
  }

  /** Does not call what `arm` was given any more. */
  disarm(id: number): void {
    this.#ready.delete(id);
    this.#rest();
  }

  /** Returns when no call is under way, if nobody waits. */
  async idle(): Promise<void> {
    if (this.#ready.size === 0) await this.#running;
  }

  /** Gives everything back; nobody waits any more. */
  async close(): Promise<void> {
    this.#rest();
    await this.#running;
    for (const unguard of this.#unguard) unguard();
    this.#libc.symbols.close(this.#bell);
    this.#libc.symbols.close(this.#epoll);
    this.#memory.free();
    this.#libc.close();
  }

  /** Ends the call if nobody waits: it would keep the program alive. */
  #rest(): void {
    if (this.#ready.size === 0 && this.#running !== undefined) {
      this.#libc.symbols.eventfd_write(this.#bell, 1n);
    }
  }

  async #run(): Promise<void> {
    const { epollWait, eventfd_read } = this.#libc.symbols;
    const { address } = this.#memory;
    while (this.#ready.size > 0) {
      const count = await epollWait(this.#epoll, address, eventsAtOnce, longestCallMs);
      for (let at = 0; at < count * eventSize; at += eventSize) {
        const id = this.#events.getUint32(at + dataAt, littleEndian);
        if (id === 0) eventfd_read(this.#bell, new Uint8Array(8));
        const ready = this.#ready.get(id);
        this.#ready.delete(id);
        ready?.();
      }
    }
    this.#running = undefined;
  }

  #control(
    operation: number,
    fd: number,
    { id, events }: { id: number; events: number },
  ): void {
    const view = new DataView(this.#event.buffer);
    view.setUint32(0, events, littleEndian);
    view.setUint32(dataAt, id, littleEndian);
    if (this.#libc.symbols.epoll_ctl(this.#epoll, operation, fd, this.#event) === 0) {
      return;
    }
    throw new WaitError(`wait for descriptor ${fd}`, this.#libc.errno());
  }
}

let reactor: Reactor | undefined;
let users = 0;

async function release(): Promise<void> {
  if (--users > 0) {
    await reactor?.idle();
    return;
  }
  const last = reactor;
  reactor = undefined; // A waiter that is made meanwhile gets another.
  await last?.close();
}

/** Waits for one descriptor, with the one call that all waiters of the isolate share. */
export class Waiter {
  readonly #fd: number;
  readonly #id: number;
  readonly #reactor: Reactor;
  #waiting: PromiseWithResolvers<void> | undefined;
  #woken = false;
  #closing: Promise<void> | undefined;

  /**
   * Makes a waiter for `fd`, which must stay open until `close` is called. Throws
   * {@linkcode WaitError} where there is no descriptor left, or `fd` is none. `guard` is used for
   * the descriptors of the call, if this is the first waiter.
   */
  constructor(fd: number, guard: Guard = () => () => {}) {
    this.#fd = fd;
    this.#reactor = reactor ??= new Reactor(guard);
    users++;
    try {
      this.#id = this.#reactor.add(fd);
    } catch (error) {
      void release();
      throw error;
    }
  }

  /**
   * Resolves when the descriptor is readable, broken or closed at its other end, and on `wake`
   * or `close`. A second call before that waits for the same.
   */
  wait(): Promise<void> {
    if (this.#closing !== undefined || this.#woken) {
      this.#woken = false;
      return Promise.resolve();
    }
    if (this.#waiting === undefined) {
      const waiting = Promise.withResolvers<void>();
      this.#reactor.arm(this.#fd, this.#id, () => {
        this.#waiting = undefined;
        waiting.resolve();
      });
      this.#waiting = waiting;
    }
    return this.#waiting.promise;
  }

  /** Ends a wait under way, or the next one. */
  wake(): void {
    if (this.#closing !== undefined) return;
    if (this.#waiting === undefined) this.#woken = true;
    else this.#end();
  }

  /**
   * Ends a wait under way and forgets the descriptor, at once; resolves when no thread is in a
   * call that has to do with it. Idempotent.
   */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  #close(): Promise<void> {
    this.#reactor.remove(this.#fd, this.#id);
    this.#waiting?.resolve();
    this.#waiting = undefined;
    return release();
  }

  #end(): void {
    this.#reactor.disarm(this.#id);
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }
}
