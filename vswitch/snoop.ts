// SPDX-License-Identifier: Apache-2.0
/**
 * A place where programs are told what a bridge and its controllers say: `ovs-ofctl snoop BRIDGE`.
 *
 * @module
 */
import type { Switch } from "../openflow/switch/switch.ts";
import { encodeMessage } from "../openflow/wire/codec.ts";
import type { Version } from "../openflow/wire/error.ts";
import { listenAt, type ListeningSocket } from "../control/socket_path.ts";

/** Programs at once, and bytes that wait for one: what is more is left out. */
const MAX_LISTENERS = 16;
const MAX_WAITING = 1 << 20;

/** A program that listens. */
interface Listener {
  readonly stream: Deno.Conn;
  readonly waiting: Uint8Array[];
  bytes: number;
  isWriting: boolean;
}

/** The socket of a bridge's conversations. */
export class Snoop {
  readonly #socket: ListeningSocket;
  readonly #of: Switch;
  readonly #versions: number;
  readonly #listeners = new Set<Listener>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;

  /** Listens at a path, where no other program does. Throws what the system refuses. */
  static async open(path: string, of: Switch, versions: number): Promise<Snoop> {
    return new Snoop(await listenAt(path), of, versions);
  }

  private constructor(socket: ListeningSocket, of: Switch, versions: number) {
    this.#of = of;
    this.#versions = versions;
    this.#socket = socket;
    of.onSaid = (message) => this.#tell(message);
    this.#accepting = this.#accept();
  }

  async #accept(): Promise<void> {
    for (;;) {
      let stream: Deno.Conn;
      try {
        stream = await this.#socket.listener.accept();
      } catch {
        return; // It was closed.
      }
      if (this.#listeners.size >= MAX_LISTENERS) {
        stream.close();
        continue;
      }
      const task = this.#serve(stream).finally(() => void this.#tasks.delete(task));
      this.#tasks.add(task);
    }
  }

  async #serve(stream: Deno.Conn): Promise<void> {
    const listener: Listener = { stream, waiting: [], bytes: 0, isWriting: false };
    this.#listeners.add(listener);
    const version = 31 - Math.clz32(this.#versions) as Version;
    const hello = { kind: "hello", versions: this.#versions } as const;
    this.#put(listener, encodeMessage(hello, { version, xid: 1 }));
    try {
      // What it says is for nobody; that it goes is what is waited for.
      const bytes = new Uint8Array(4096);
      while (await stream.read(bytes) !== null);
    } catch {
      // It went in the middle.
    } finally {
      this.#listeners.delete(listener);
      close(stream);
    }
  }

  /** Tells a message, whose bytes are the reader's again behind this. */
  #tell(message: Uint8Array): void {
    if (this.#listeners.size === 0) return;
    const kept = message.slice();
    for (const listener of this.#listeners) this.#put(listener, kept);
  }

  #put(listener: Listener, message: Uint8Array): void {
    if (listener.bytes > MAX_WAITING) return;
    listener.waiting.push(message);
    listener.bytes += message.length;
    if (!listener.isWriting) void this.#write(listener);
  }

  async #write(listener: Listener): Promise<void> {
    listener.isWriting = true;
    try {
      const { waiting, stream } = listener;
      for (let bytes = waiting.shift(); bytes; bytes = waiting.shift()) {
        for (let at = 0; at < bytes.length;) at += await stream.write(bytes.subarray(at));
        listener.bytes -= bytes.length;
      }
    } catch {
      close(listener.stream);
    }
    listener.isWriting = false;
  }

  /** Ends it. */
  async close(): Promise<void> {
    this.#of.onSaid = undefined;
    for (const { stream } of this.#listeners) close(stream);
    try {
      await this.#socket.close();
    } finally {
      await this.#accepting;
      await Promise.allSettled(this.#tasks);
    }
  }
}

function close(what: { close(): void }): void {
  try {
    what.close();
  } catch {
    // It was closed by the other side.
  }
}
