// SPDX-License-Identifier: Apache-2.0
/**
 * A conversation with a server: JSON-RPC 1.0, values one after the other, without framing.
 *
 * @module
 */
import { OvsdbError, OvsdbProtocolError } from "./errors.ts";
import { formatJson, type Json, parseJson } from "./json.ts";
import { JsonStream } from "./json_stream.ts";

/** A stream of bytes, as `Deno.Conn` is. */
export interface ByteStream {
  read(to: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

/** How a conversation is held. */
export interface SessionOptions {
  /** Told of what the server says by itself. What it throws ends the conversation. */
  readonly onNotification: (method: string, params: readonly Json[]) => void;
  /** A silent server is asked so often whether it is there, ms; never if absent. */
  readonly probeMs?: number;
  /** Bytes of one message, at most; 256 MiB if absent. */
  readonly maxMessage?: number;
}

const MAX_MESSAGE = 1 << 28;
/** Bytes that may wait to be sent: a server that does not read is hung up on. */
const MAX_WAITING = 1 << 28;

interface Pending {
  readonly method: string;
  readonly taken: (result: Json) => void;
  readonly reject: (error: Error) => void;
}

/** A conversation. */
export class Session {
  readonly #stream: ByteStream;
  readonly #options: SessionOptions;
  readonly #pending = new Map<number, Pending>();
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;
  #lastId = 0;
  #isClosed = false;
  #heardMs = performance.now();
  /** Resolves when it has ended, with what ended it; undefined if {@linkcode close} did. */
  readonly ended: Promise<Error | undefined>;

  /** Begins a conversation. The stream is the session's from now on. */
  constructor(stream: ByteStream, options: SessionOptions) {
    this.#stream = stream;
    this.#options = options;
    this.ended = this.#run();
  }

  /** Asks something. Rejects with {@linkcode OvsdbError}, also when the conversation ends. */
  request(method: string, params: readonly Json[]): Promise<Json>;
  /**
   * Asks something. What `take` makes of the answer is what it resolves with: it is called before
   * anything is looked at that the server said later, as an `await` is not. What it throws ends
   * the conversation.
   */
  request<T>(
    method: string,
    params: readonly Json[],
    take: (result: Json) => T,
  ): Promise<T>;
  request(
    method: string,
    params: readonly Json[],
    take: (result: Json) => unknown = (result) => result,
  ): Promise<unknown> {
    if (this.#isClosed) {
      return Promise.reject(new OvsdbError(method, "the connection is closed"));
    }
    const id = ++this.#lastId;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const taken = (result: Json): void => {
      try {
        resolve(take(result));
      } catch (error) {
        reject(error as Error);
        throw error;
      }
    };
    this.#pending.set(id, { method, taken, reject });
    this.#put({ method, params, id });
    return promise;
  }

  async #run(): Promise<Error | undefined> {
    const { probeMs } = this.#options;
    const timer = probeMs === undefined ? undefined : setInterval(
      () => this.#probe(probeMs),
      Math.max(10, probeMs / 5),
    );
    if (timer !== undefined) Deno.unrefTimer(timer);
    let reason: Error | undefined;
    try {
      await this.#read();
      reason = new OvsdbError("go on", "the server hung up");
    } catch (error) {
      reason = error as Error;
    } finally {
      clearInterval(timer);
    }
    const byUs = this.#isClosed;
    this.close();
    for (const { method, reject } of this.#pending.values()) {
      reject(new OvsdbError(method, "the connection ended"));
    }
    this.#pending.clear();
    await this.#writing?.catch(() => {});
    return byUs ? undefined : reason;
  }

  #probe(probeMs: number): void {
    const silentMs = performance.now() - this.#heardMs;
    if (silentMs > 2 * probeMs) this.#fail();
    else if (silentMs > probeMs) this.request("echo", []).catch(() => {});
  }

  /** Ends the conversation as if the other side had. */
  #fail(): void {
    try {
      this.#stream.close();
    } catch {
      // It is closed already.
    }
  }

  async #read(): Promise<void> {
    const stream = new JsonStream(this.#options.maxMessage ?? MAX_MESSAGE);
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const size = await this.#stream.read(buffer);
      if (size === null) return;
      this.#heardMs = performance.now();
      for (const text of stream.push(buffer.subarray(0, size))) this.#message(text);
    }
  }

  #message(text: string): void {
    const message = parseJson(text);
    if (typeof message !== "object" || message === null || Array.isArray(message)) {
      throw new OvsdbProtocolError("a message is no object");
    }
    const { id = null, method, params, result = null, error = null } = message as {
      readonly [name: string]: Json;
    };
    if (typeof method === "string") {
      if (!Array.isArray(params)) throw new OvsdbProtocolError(`${method} has no params`);
      if (method === "echo" && id !== null) {
        return this.#put({ id, result: params, error: null });
      }
      if (id === null) {
        return this.#options.onNotification(method, params as readonly Json[]);
      }
      return this.#put({ id, result: null, error: "unknown method" });
    }
    const pending = typeof id === "number" ? this.#pending.get(id) : undefined;
    if (pending === undefined) throw new OvsdbProtocolError("an answer to no question");
    this.#pending.delete(id as number);
    if (error === null) pending.taken(result);
    else pending.reject(OvsdbError.of(pending.method, error));
  }

  #put(message: Json): void {
    const bytes = new TextEncoder().encode(formatJson(message));
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes > MAX_WAITING) return this.#fail();
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    try {
      for (let bytes = this.#waiting.shift(); bytes; bytes = this.#waiting.shift()) {
        for (let at = 0; at < bytes.length;) {
          at += await this.#stream.write(bytes.subarray(at));
        }
        this.#waitingBytes -= bytes.length;
      }
    } catch {
      this.#fail();
    } finally {
      this.#writing = undefined;
    }
  }

  /** Ends the conversation. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#fail();
  }
}
