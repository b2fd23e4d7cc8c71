// SPDX-License-Identifier: Apache-2.0
/**
 * Functions that see the upcalls of a datapath before its program does.
 *
 * @module
 */
import type { RawUpcall, UpcallHandler } from "./contract/upcalls.ts";

/** The taps of one object. */
export class UpcallTaps {
  readonly #taps = new Set<(upcall: RawUpcall) => boolean>();
  readonly #isOver: () => boolean;

  /** `isOver` says whether the handlers have ended: then nothing is received any more. */
  constructor(isOver: () => boolean) {
    this.#isOver = isOver;
  }

  /** Adds a tap. It is removed when the returned object is disposed of. */
  add(see: (upcall: RawUpcall) => boolean): Disposable {
    this.#taps.add(see);
    return { [Symbol.dispose]: () => void this.#taps.delete(see) };
  }

  /** A handler that gives what `handler` gives, without the upcalls that a tap took. */
  before(handler: UpcallHandler): UpcallHandler {
    const taps = this.#taps;
    return {
      receive: (max) => {
        if (this.#isOver()) return [];
        const upcalls = handler.receive(max);
        if (taps.size === 0) return upcalls;
        return upcalls.filter((raw) => {
          const isTaken = [...taps].map((see) => see(raw)); // Each sees all.
          return !isTaken.includes(true);
        });
      },
      wait: () => handler.wait(),
      wake: () => handler.wake(),
      lost: () => handler.lost(),
      close: () => handler.close(),
    };
  }
}
