// SPDX-License-Identifier: Apache-2.0
/**
 * Waits for a socket without holding up the isolate, and can be called off.
 *
 * @module
 */
import { EventfdFlag, type Libc, PollEvent } from "../../ffi/libc.ts";
import { allocate, type CMemory } from "../../ffi/memory.ts";
import { littleEndian } from "./message.ts";

/**
 * Waits for one descriptor.
 *
 * The wait is a nonblocking call of `poll` on the descriptor and an eventfd.  It takes one of the
 * 32 threads that an isolate has for such calls, so there is never more than one per waiter.
 */
export class Waiter {
  readonly #libc: Libc;
  readonly #event: number;
  readonly #memory: CMemory;
  #waiting: Promise<void> | undefined;
  #closed = false;

  /** Makes a waiter for `fd`; both must stay open until `close` resolved. */
  constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#event = libc.symbols.eventfd(0, EventfdFlag.Cloexec | EventfdFlag.Nonblock);
    this.#memory = allocate(libc, 16);
    const view = new DataView(this.#memory.bytes.buffer, this.#memory.bytes.byteOffset);
    [fd, this.#event].forEach((descriptor, index) => {
      view.setInt32(8 * index, descriptor, littleEndian);
      view.setInt16(8 * index + 4, PollEvent.In, littleEndian);
    });
  }

  /** Resolves when the descriptor is readable, or on `wake` or `close`. */
  wait(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return this.#waiting ??= this.#poll();
  }

  async #poll(): Promise<void> {
    try {
      await this.#libc.symbols.pollWait(this.#memory.address, 2n, -1);
      this.#libc.symbols.eventfd_read(this.#event, new Uint8Array(8));
    } finally {
      this.#waiting = undefined;
    }
  }

  /** Ends a wait under way, or the next one. */
  wake(): void {
    if (!this.#closed) this.#libc.symbols.eventfd_write(this.#event, 1n);
  }

  /** Ends a wait under way and gives everything back. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.wake();
    this.#closed = true;
    await this.#waiting;
    this.#libc.symbols.close(this.#event);
    this.#memory.free();
  }
}
