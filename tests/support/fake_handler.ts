// SPDX-License-Identifier: Apache-2.0
/**
 * A receiver of upcalls of the fake provider.
 *
 * @module
 */
import type { RawUpcall, UpcallHandler } from "../../providers/contract/upcalls.ts";
import { DatapathError } from "../../providers/errors.ts";

/** One receiver of upcalls. */
export class FakeHandler implements UpcallHandler {
  readonly #limit: number;
  readonly #onClose: () => void;
  #waiting: RawUpcall[] = [];
  #lost = 0n;
  #closed = false;
  #isGone = false;
  #wake = (): void => {};

  constructor(limit: number, onClose: () => void) {
    this.#limit = limit;
    this.#onClose = onClose;
  }

  /** False if there is no room. */
  push(upcall: RawUpcall): boolean {
    if (this.#waiting.length >= this.#limit) {
      this.#lost++;
      return false;
    }
    this.#waiting.push(upcall);
    this.#wake();
    return true;
  }

  receive(max: number): RawUpcall[] {
    if (this.#closed) {
      throw new DatapathError({ operation: "receive upcalls", code: "EBADF" });
    }
    if (this.#isGone) {
      throw new DatapathError({ operation: "receive upcalls", code: "ENODEV" });
    }
    return this.#waiting.splice(0, max);
  }

  wait(): Promise<void> {
    if (this.#closed || this.#isGone || this.#waiting.length > 0) {
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#wake = resolve);
  }

  wake(): void {
    this.#wake();
  }

  lost(): bigint {
    return this.#lost;
  }

  /** Somebody destroyed the datapath. */
  end(): void {
    this.#isGone = true;
    this.#wake();
  }

  purge(): void {
    this.#waiting = [];
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#wake();
      this.#onClose();
    }
    return Promise.resolve();
  }
}
