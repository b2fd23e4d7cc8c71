// SPDX-License-Identifier: Apache-2.0
/**
 * Cables between ports in memory: sockets over which frames go, each behind its length in two
 * bytes. One end listens (`options:pstream=punix:PATH`), the other calls
 * (`options:stream=unix:PATH`).
 *
 * @module
 */
import { bindSocket, type BoundSocket } from "../../openflow/connection/unix_socket.ts";
import type { Sink } from "./sink.ts";

const RETRY_MS = 100;
/** Smallest and largest frame, bytes. */
const [MIN_FRAME, MAX_FRAME] = [14, 0xffff] as const;
/** Frames that wait for one who does not read. */
const MAX_WAITING = 100;
const CHUNK = 1 << 16;

/** One conversation over a cable. */
class Line {
  readonly #conn: Deno.Conn;
  #waiting = 0;
  #tail: Promise<void> = Promise.resolve();

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  put(frame: Uint8Array): void {
    if (this.#waiting >= MAX_WAITING || frame.length > MAX_FRAME) return;
    const whole = new Uint8Array(2 + frame.length);
    new DataView(whole.buffer).setUint16(0, frame.length);
    whole.set(frame, 2);
    this.#waiting++;
    this.#tail = this.#tail.then(() => this.#write(whole)).catch(() => this.close())
      .finally(() => void this.#waiting--);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  /** Reads frames until the other end is gone, or says what is none. */
  async read(got: (frame: Uint8Array) => void): Promise<void> {
    const chunk = new Uint8Array(CHUNK);
    let rest = new Uint8Array();
    try {
      for (let size = await this.#conn.read(chunk); size !== null;) {
        const all = new Uint8Array(rest.length + size);
        all.set(rest);
        all.set(chunk.subarray(0, size), rest.length);
        let at = 0;
        while (all.length - at >= 2) {
          const length = (all[at] as number) << 8 | (all[at + 1] as number);
          if (length < MIN_FRAME) return;
          if (all.length - at < 2 + length) break;
          got(all.slice(at + 2, at + 2 + length));
          at += 2 + length;
        }
        rest = all.slice(at);
        size = await this.#conn.read(chunk);
      }
    } catch {
      // The other end, or this one, is gone.
    } finally {
      this.close();
    }
  }

  close(): void {
    try {
      this.#conn.close();
    } catch {
      // It is closed.
    }
  }
}

/** An end of a cable. */
export class CableEnd implements Sink {
  readonly #path: string;
  readonly #got: (frame: Uint8Array) => void;
  readonly #lines = new Set<Line>();
  #bound: BoundSocket | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /** Listens at a path, or calls there until somebody answers; `got` has each frame that comes. */
  constructor(
    path: string,
    { listens, got, failed }: {
      readonly listens: boolean;
      readonly got: (frame: Uint8Array) => void;
      readonly failed: (error: unknown) => void;
    },
  ) {
    this.#path = path;
    this.#got = got;
    if (listens) void this.#listen().catch(failed);
    else void this.#call();
  }

  /** Whether somebody is at the other end. */
  get isConnected(): boolean {
    return this.#lines.size > 0;
  }

  async #listen(): Promise<void> {
    const bound = await bindSocket(this.#path);
    if (this.#isClosed) return await bound.close();
    this.#bound = bound;
    try {
      for await (const conn of bound.listener) void this.#serve(conn);
    } catch (error) {
      if (!this.#isClosed) throw error;
    }
  }

  async #call(): Promise<void> {
    if (this.#isClosed) return;
    try {
      const conn = await Deno.connect({ transport: "unix", path: this.#path });
      await this.#serve(conn);
    } catch {
      // Nobody listens there yet.
    }
    if (this.#isClosed) return;
    this.#retry = setTimeout(() => void this.#call(), RETRY_MS);
    Deno.unrefTimer(this.#retry);
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    const line = new Line(conn);
    if (this.#isClosed) return line.close();
    this.#lines.add(line);
    await line.read((frame) => this.#got(frame));
    this.#lines.delete(line);
  }

  /** Sends a frame to who is there. */
  put(frame: Uint8Array): void {
    for (const line of this.#lines) line.put(frame);
  }

  /** Hangs up. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    for (const line of this.#lines) line.close();
    void this.#bound?.close();
  }
}
