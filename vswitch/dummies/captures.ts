// SPDX-License-Identifier: Apache-2.0
/**
 * Files of what leaves ports in memory: `options:tx_pcap`.
 *
 * @module
 */
import type { Sink } from "./sink.ts";

const MAGIC = 0xa1b2c3d4;
const ETHERNET = 1;
const SNAP = 65_535;

/** A file that frames are written into. */
export class Capture implements Sink {
  readonly #file: Deno.FsFile;

  /** Empties the file. Throws what the system refuses. */
  constructor(path: string) {
    this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
    this.#words([MAGIC, 2 << 16 | 4, 0, 0, SNAP, ETHERNET]);
  }

  /** Writes a frame. */
  put(frame: Uint8Array): void {
    const ms = Date.now();
    this.#words([Math.floor(ms / 1000), ms % 1000 * 1000, frame.length, frame.length]);
    this.#write(frame);
  }

  /** Closes the file. */
  close(): void {
    this.#file.close();
  }

  #words(words: readonly number[]): void {
    const view = new DataView(new ArrayBuffer(4 * words.length));
    for (const [i, word] of words.entries()) view.setUint32(4 * i, word >>> 0);
    this.#write(new Uint8Array(view.buffer));
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
  }
}
