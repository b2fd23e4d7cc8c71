// SPDX-License-Identifier: Apache-2.0
/**
 * The control socket: commands for a running program, in the protocol of Open vSwitch's unixctl.
 *
 * A client sends `{"id":0,"method":"dpctl/show","params":["netdev@br0"]}` and is answered
 * `{"id":0,"result":"text","error":null}`, or with the text in `error`.  So `ovs-appctl -t SOCKET`
 * works on it as `dpctl` does (ovs-appctl(8); JSON-RPC 1.0 without delimiters, as ovsdb(7) has it).
 *
 * @module
 */
import { JsonStream } from "../ovsdb/json_stream.ts";
import { checkSocketPath, listenAt, type ListeningSocket } from "./socket_path.ts";

/** A command of a control socket. */
export interface ControlCommand {
  /** Its arguments, for `list-commands`: `[DP] FLOW ACTIONS`. */
  readonly usage: string;
  /** Fewest and most arguments. */
  readonly args: readonly [min: number, max: number];
  /** Runs it; the text is the answer. What it throws is answered as an error. */
  readonly run: (
    args: readonly string[],
    client: ControlClient,
  ) => string | Promise<string>;
}

/** The client that a command runs for. */
export interface ControlClient {
  /**
   * Resolves when the client has hung up, or sends nothing any more, and when the socket is being
   * closed: for commands that take long, which then have nobody to answer.
   */
  hungUp(): Promise<void>;
}

/** Commands by name. */
export type ControlCommands = ReadonlyMap<string, ControlCommand>;

const maxMessageSize = 1 << 20;
const maxClients = 256;
/** After an accept that failed, the next is tried so much later. */
const acceptPauseMs = 100;
/** A socket that is closed lets commands that run answer for so long. */
const answerLimitMs = 1000;
/** Bytes that are read from a client at once. */
const chunkSize = 16384;

/** A client, and what it is doing. */
interface Client {
  readonly conn: Deno.UnixConn;
  state: "idle" | "running" | "answering";
}

/** A control socket that is being served. */
export class ControlSocket {
  readonly #socket: ListeningSocket;
  readonly #commands: ControlCommands;
  /** Those without a running command in the order in which they ended it, the longest first. */
  readonly #clients = new Set<Client>();
  readonly #serving: Promise<void>;
  /** Resolves when the socket is being closed. */
  readonly #ending = Promise.withResolvers<void>();
  #closing: Promise<void> | undefined;

  /** Path of the socket file. */
  readonly path: string;

  private constructor(path: string, socket: ListeningSocket, commands: ControlCommands) {
    this.path = path;
    this.#socket = socket;
    this.#commands = commands;
    this.#serving = this.#accept();
  }

  /**
   * Makes the socket file, mode 0600, and serves it. The file that a dead program left is replaced.
   * `Deno.errors.AddrInUse`: a living program serves it; `ControlPathError`: the path cannot be
   * used, or has something else than a socket.
   */
  static async serve(path: string, commands: ControlCommands): Promise<ControlSocket> {
    return new ControlSocket(path, await listenAt(path), commands);
  }

  /** Stops serving, ends its clients and removes the file. Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#ending.resolve();
    try {
      await this.#socket.close();
    } finally {
      for (const { conn, state } of this.#clients) {
        if (state === "idle") closeQuietly(conn);
      }
      // An answer that is about to be given is given: the command may be what ends the program.
      const late = setTimeout(() => {
        for (const { conn } of this.#clients) closeQuietly(conn);
      }, answerLimitMs);
      await this.#serving;
      clearTimeout(late);
    }
  }

  async #accept(): Promise<void> {
    const conversations = new Set<Promise<void>>();
    for (;;) {
      const conn = await this.#next();
      if (conn === undefined) break;
      const client: Client = { conn, state: "idle" };
      if (!this.#makeRoom()) {
        closeQuietly(conn);
        continue;
      }
      this.#clients.add(client);
      const conversation = this.#converse(client).finally(() => {
        this.#clients.delete(client);
        conversations.delete(conversation);
      });
      conversations.add(conversation);
    }
    await Promise.all(conversations);
  }

  /**
   * Whether there is room for one more client. When there are very many, the one goes that has had
   * no command running for longest: neither clients that only hold their connections nor those
   * that do not take their answers keep anybody out.
   */
  #makeRoom(): boolean {
    if (this.#clients.size < maxClients) return true;
    for (const client of this.#clients) {
      if (client.state === "running") continue;
      this.#clients.delete(client);
      closeQuietly(client.conn);
      return true;
    }
    return false;
  }

  /** The next client; undefined when the socket is closed. */
  async #next(): Promise<Deno.UnixConn | undefined> {
    for (;;) {
      try {
        return await this.#socket.listener.accept();
      } catch (error) {
        const isClosed = error instanceof Deno.errors.BadResource ||
          error instanceof Deno.errors.Interrupted;
        if (isClosed) return undefined;
        // Descriptors are used up, say. A program must not end for that: one may be free soon.
        await new Promise((resolve) => setTimeout(resolve, acceptPauseMs));
      }
    }
  }

  /** Answers one client, in order, until it goes or sends what is no JSON. */
  async #converse(client: Client): Promise<void> {
    const requests = new Requests(client.conn);
    try {
      for (;;) {
        const text = await requests.next();
        if (text === undefined) return;
        client.state = "running";
        const answer = await this.#answer(text, requests);
        client.state = "answering";
        this.#clients.delete(client);
        this.#clients.add(client); // At the end: it has waited for less long than all others.
        if (answer !== undefined) await writeAll(client.conn, JSON.stringify(answer));
        client.state = "idle";
        if (this.#closing !== undefined || !this.#clients.has(client)) return;
      }
    } catch {
      // A client that goes in the middle, or sends no JSON, ends its own conversation only.
    } finally {
      closeQuietly(client.conn);
      await requests.end();
    }
  }

  async #answer(text: string, requests: Requests): Promise<unknown> {
    const { id, method, params } = JSON.parse(text) as Record<string, unknown>;
    if (id === null || id === undefined) return undefined; // A notification.
    if (typeof method !== "string" || !Array.isArray(params)) {
      throw new SyntaxError("not a request"); // Open vSwitch hangs up, too.
    }
    try {
      if (!params.every((param) => typeof param === "string")) {
        throw new TypeError(`"${method}" command has non-string argument`);
      }
      return { id, result: await this.#run(method, params, requests), error: null };
    } catch (error) {
      const { message } = error as Error;
      return {
        id,
        result: null,
        error: message.endsWith("\n") ? message : `${message}\n`,
      };
    }
  }

  #run(
    method: string,
    args: readonly string[],
    requests: Requests,
  ): string | Promise<string> {
    if (method === "list-commands" && args.length === 0) return this.#list();
    const command = this.#commands.get(method);
    if (command === undefined) {
      throw new Error(
        `"${method}" is not a valid command ` +
          `(use "list-commands" to see a list of valid commands)`,
      );
    }
    const [min, max] = command.args;
    if (args.length < min) {
      throw new RangeError(`"${method}" command requires at least ${min} arguments`);
    }
    if (args.length > max) {
      throw new RangeError(`"${method}" command takes at most ${max} arguments`);
    }
    const hungUp = (): Promise<void> =>
      Promise.race([requests.hungUp(), this.#ending.promise]);
    return command.run(args, { hungUp });
  }

  #list(): string {
    const lines = [...this.#commands].map(([name, { usage }]) => [name, usage] as const);
    lines.push(["list-commands", ""]);
    lines.sort(([a], [b]) => (a < b ? -1 : 1));
    return "The available commands are:\n" +
      lines.map(([name, usage]) => `  ${name.padEnd(23)} ${usage}`.trimEnd() + "\n").join(
        "",
      );
  }
}

/** What a client sends, as the texts of JSON values. */
class Requests {
  readonly #conn: Deno.UnixConn;
  readonly #stream = new JsonStream(maxMessageSize);
  readonly #buffer = new Uint8Array(chunkSize);
  readonly #texts: string[] = [];
  /** The one read that is under way. */
  #reading: Promise<boolean> | undefined;

  constructor(conn: Deno.UnixConn) {
    this.#conn = conn;
  }

  /** The next one; undefined when there are no more. Throws what `JsonStream` does. */
  async next(): Promise<string | undefined> {
    while (this.#texts.length === 0) {
      if (!await this.#read()) return undefined;
    }
    return this.#texts.shift();
  }

  /** Resolves when nothing more comes, whether the client is there or not. */
  async hungUp(): Promise<void> {
    try {
      // What it sends meanwhile waits, as far as there is room for it.
      while (this.#texts.length === 0 && await this.#read());
      if (this.#texts.length > 0) await new Promise(() => {});
    } catch {
      // It sent no JSON, or the connection was closed.
    }
  }

  /** Waits for the read that is under way; the connection is closed. */
  async end(): Promise<void> {
    await this.#reading?.catch(() => {});
  }

  /** Reads some more; false at the end. */
  #read(): Promise<boolean> {
    return this.#reading ??= (async () => {
      try {
        const size = await this.#conn.read(this.#buffer);
        if (size === null) return false;
        this.#texts.push(...this.#stream.push(this.#buffer.subarray(0, size)));
        return true;
      } finally {
        this.#reading = undefined;
      }
    })();
  }
}

/** The command was refused or failed; the message is the server's. */
export class ControlError extends Error {
  override readonly name = "ControlError";
}

/**
 * Sends one command to a control socket, ours or Open vSwitch's, and returns its answer. Throws
 * `ControlError` for a refusal, `ControlPathError` for what cannot be a socket's path, and Deno's
 * errors if nobody serves the socket, or hangs up (`UnexpectedEof`). Rejects when `signal` aborts.
 */
export async function control(
  path: string,
  method: string,
  params: readonly string[],
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<string> {
  checkSocketPath(path);
  signal?.throwIfAborted();
  const server = await Deno.connect({ transport: "unix", path });
  const hangUp = (): void => closeQuietly(server);
  signal?.addEventListener("abort", hangUp);
  try {
    signal?.throwIfAborted(); // Meanwhile.
    await writeAll(server, JSON.stringify({ id: 0, method, params }));
    const stream = new JsonStream(Infinity);
    const buffer = new Uint8Array(65536);
    for (;;) {
      const size = await server.read(buffer);
      if (size === null) {
        throw new Deno.errors.UnexpectedEof(`${path}: the server hung up`);
      }
      const [text] = stream.push(buffer.subarray(0, size));
      if (text === undefined) continue;
      const { result, error } = JSON.parse(text) as { result?: unknown; error?: unknown };
      if (error !== null && error !== undefined) throw new ControlError(String(error));
      return String(result ?? "");
    }
  } finally {
    signal?.removeEventListener("abort", hangUp);
    hangUp();
  }
}

async function writeAll(to: Deno.UnixConn, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
}

function closeQuietly(connection: Deno.UnixConn): void {
  try {
    connection.close();
  } catch {
    // Closed already, by the other side of the program.
  }
}
