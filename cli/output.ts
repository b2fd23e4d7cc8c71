// SPDX-License-Identifier: Apache-2.0
/**
 * Output of the tool: written in large pieces, and without escape sequences of others on a screen.
 *
 * @module
 */
import { printable } from "../control/text/printable.ts";

/** What cannot be written; the cause is the system's word. */
export class OutputError extends Error {
  override readonly name = "OutputError";
}

/** A stream that text is written to. */
export interface OutputStream {
  writeSync(bytes: Uint8Array): number;
  isTerminal(): boolean;
}

/** Bytes that are written at once. */
const pieceSize = 65536;
/** A stream that is full for now is tried again so much later, milliseconds. */
const pauseMs = 5;

/** An output stream. It is flushed when the program waits for something, at the latest. */
export class Output {
  readonly #stream: OutputStream;
  readonly #isScreen: boolean;
  readonly #encoder = new TextEncoder();
  /** What waits to be written. One buffer for all: output may be large, and memory is not. */
  readonly #bytes = new Uint8Array(pieceSize);
  #size = 0;
  #isDue = false;
  /** Why the last piece could not be written; the next call throws it. */
  #failure: OutputError | undefined;

  /** Writes to a stream. */
  constructor(stream: OutputStream) {
    this.#stream = stream;
    this.#isScreen = stream.isTerminal();
  }

  /** Writes text; on a screen with its control characters written out. Throws `OutputError`. */
  print(text: string): void {
    this.draw(this.#isScreen ? printable(text) : text);
  }

  /** Writes text as it is. Throws `OutputError`. */
  draw(text: string): void {
    if (this.#failure !== undefined) throw this.#failure;
    for (let rest = text; rest !== "";) {
      const { read, written } = this.#encoder.encodeInto(
        rest,
        this.#bytes.subarray(this.#size),
      );
      this.#size += written;
      rest = rest.slice(read);
      if (rest !== "") this.flush();
    }
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      try {
        this.flush();
      } catch {
        // It is told to the next who writes or flushes.
      }
    });
  }

  /** Writes what waits. Throws `OutputError`. */
  flush(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#size === 0) return;
    const bytes = this.#bytes.subarray(0, this.#size);
    this.#size = 0;
    try {
      for (let at = 0; at < bytes.length;) at += this.#write(bytes.subarray(at));
    } catch (cause) {
      this.#failure = new OutputError((cause as Error).message, { cause });
      throw this.#failure;
    }
  }

  /**
   * Writes some; how many bytes. A stream shared with a program that does not block may be full.
   */
  #write(bytes: Uint8Array): number {
    for (;;) {
      try {
        return this.#stream.writeSync(bytes);
      } catch (error) {
        if (!(error instanceof Deno.errors.WouldBlock)) throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs);
      }
    }
  }
}
