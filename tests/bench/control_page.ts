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
const RATE = 16;
const RX = LINE;
const RX_QUEUES = 2;
const TX = RX + RX_QUEUES * LINE;
const TX_QUEUES = 30;

/** Counters of a port at one moment. */
export interface Sample {
  /** `performance.now()` when they were read, ms. */
  readonly ms: number;
  readonly received: number;
  /** Packets that came, at the rate that was set, while the queue was full. */
  readonly missed: number;
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

  /** Packets a second that come to each queue from now on; 0: as many as the program takes. */
  setRate(rate: number): void {
    this.#file.seekSync(RATE, Deno.SeekMode.Start);
    this.#file.writeSync(
      new Uint8Array(BigUint64Array.of(BigInt(Math.round(rate))).buffer),
    );
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
    let received = 0;
    let starved = 0;
    let missed = 0;
    for (let queue = 0; queue < RX_QUEUES; queue++) {
      received += this.#counter(RX + queue * LINE);
      starved += this.#counter(RX + queue * LINE + 16);
      missed += this.#counter(RX + queue * LINE + 24);
    }
    return { ms, received, missed, sent, sentBytes, starved };
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

/** The pages of all ports that send, looked at as one. */
export class SenderPages implements Disposable {
  readonly #pages: readonly ControlPage[];

  /** Makes `count` pages in `folder`. */
  constructor(folder: string, count: number) {
    this.#pages = Array.from(
      { length: count },
      (_, i) => new ControlPage(`${folder}/sender${i}`),
    );
  }

  /** For the `control` arguments of the devices. */
  get paths(): string[] {
    return this.#pages.map(({ path }) => path);
  }

  /** Cycles a second of the time stamp counter; 0 before a program made the ports. */
  tscHz(): number {
    return this.#pages[0]?.tscHz() ?? 0;
  }

  /** The sums of all; the time is that of the last. */
  sample(): Sample {
    const samples = this.#pages.map((page) => page.sample());
    const sum = (name: Exclude<keyof Sample, "ms">): number =>
      samples.reduce((sum, sample) => sum + sample[name], 0);
    return {
      ms: samples.at(-1)?.ms ?? 0,
      received: sum("received"),
      missed: sum("missed"),
      sent: sum("sent"),
      sentBytes: sum("sentBytes"),
      starved: sum("starved"),
    };
  }

  [Symbol.dispose](): void {
    for (const page of this.#pages) page[Symbol.dispose]();
  }
}
