// SPDX-License-Identifier: Apache-2.0
/**
 * The page that a port of `net_gen` shares with whoever measures: a gate that lets packets in,
 * and counters. Layout: `struct control` in `net_gen/queue.h`.
 *
 * @module
 */

const PAGE = 4096;
const LINE = 64;
const OPEN = 0;
const TSC_HZ = 8;
const RX = LINE;
const TX = 2 * LINE;
const TX_QUEUES = 30;

/** Counters of a port at one moment. */
export interface Sample {
  /** `performance.now()` when they were read, ms. */
  readonly ms: number;
  readonly received: number;
  readonly sent: number;
  readonly sentBytes: number;
  /** Receives that failed because the program's mempool was empty. */
  readonly starved: number;
}

/** A control page in a file; the caller closes it. */
export class ControlPage {
  /** For the `control` argument of the device. */
  readonly path: string;
  readonly #file: Deno.FsFile;
  readonly #bytes = new Uint8Array(PAGE);
  readonly #view = new DataView(this.#bytes.buffer);

  /** Makes the file `path`, with the gate shut. */
  constructor(path: string) {
    this.path = path;
    this.#file = Deno.openSync(path, {
      read: true,
      write: true,
      create: true,
      truncate: true,
    });
    this.#file.writeSync(this.#bytes);
  }

  /** Lets packets in, or stops them. */
  setOpen(open: boolean): void {
    this.#file.seekSync(OPEN, Deno.SeekMode.Start);
    this.#file.writeSync(Uint8Array.of(open ? 1 : 0, 0, 0, 0));
  }

  /** Cycles a second of the time stamp counter; 0 before a program made the port. */
  tscHz(): number {
    this.#read();
    return Number(this.#view.getBigUint64(TSC_HZ, true));
  }

  sample(): Sample {
    this.#read();
    const ms = performance.now();
    let sent = 0;
    let sentBytes = 0;
    for (let queue = 0; queue < TX_QUEUES; queue++) {
      sent += this.#counter(TX + queue * LINE);
      sentBytes += this.#counter(TX + queue * LINE + 8);
    }
    const received = this.#counter(RX);
    return { ms, received, sent, sentBytes, starved: this.#counter(RX + 16) };
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }

  #read(): void {
    this.#file.seekSync(0, Deno.SeekMode.Start);
    const got = this.#file.readSync(this.#bytes);
    if (got !== PAGE) {
      throw new Error(`control page ${this.path}: read ${got} of ${PAGE} bytes`);
    }
  }

  #counter(at: number): number {
    return Number(this.#view.getBigUint64(at, true));
  }
}
