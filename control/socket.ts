// SPDX-License-Identifier: Apache-2.0
/**
 * The control socket: commands for a running program, in the protocol of Open vSwitch's unixctl.
 *
 * A client sends `{"id":0,"method":"dpctl/show","params":["netdev@br0"]}` and is answered
 * `{"id":0,"result":"text","error":null}`, or with the text in `error`.  So `ovs-appctl -t SOCKET` works on it as
 * `dpctl` does (ovs-appctl(8); JSON-RPC 1.0 without delimiters, as ovsdb(7) has it).
 *
 * @module
 */
import { JsonStream } from "./json_stream.ts";

/** A command of a control socket. */
export interface ControlCommand {
  /** Its arguments, for `list-commands`: `[DP] FLOW ACTIONS`. */
  readonly usage: string;
  /** Fewest and most arguments. */
  readonly args: readonly [min: number, max: number];
  /** Runs it; the text is the answer. What it throws is answered as an error. */
  readonly run: (args: readonly string[]) => string | Promise<string>;
}

/** Commands by name. */
export type ControlCommands = ReadonlyMap<string, ControlCommand>;

const maxMessageSize = 1 << 20;
const maxClients = 256;
/** After an accept that failed, the next is tried so much later. */
const acceptPauseMs = 100;

/** A control socket that is being served. */
export class ControlSocket {
  readonly #listener: Deno.UnixListener;
  readonly #commands: ControlCommands;
  readonly #clients = new Set<Deno.UnixConn>();
  readonly #serving: Promise<void>;

  /** Path of the socket file. */
  readonly path: string;

  private constructor(
    path: string,
    listener: Deno.UnixListener,
    commands: ControlCommands,
  ) {
    this.path = path;
    this.#listener = listener;
    this.#commands = commands;
    this.#serving = this.#accept();
  }

  /**
   * Makes the socket file, mode 0600, and serves it.  A file that a dead program left is replaced;
   * `Deno.errors.AddrInUse` if a living one serves it.
   */
  static async serve(path: string, commands: ControlCommands): Promise<ControlSocket> {
    await removeStale(path);
    const mask = Deno.umask(0o177); // There must be no moment in which others can connect.
    try {
      return new ControlSocket(path, Deno.listen({ transport: "unix", path }), commands);
    } finally {
      Deno.umask(mask);
    }
  }

  /** Stops serving, ends its clients and removes the file. Idempotent. */
  async close(): Promise<void> {
    try {
      this.#listener.close();
      await Deno.remove(this.path);
    } catch (error) {
      if (
        !(error instanceof Deno.errors.BadResource ||
          error instanceof Deno.errors.NotFound)
      ) {
        throw error;
      }
    }
    for (const client of this.#clients) closeQuietly(client);
    await this.#serving;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #accept(): Promise<void> {
    const conversations = new Set<Promise<void>>();
    for (;;) {
      const client = await this.#next();
      if (client === undefined) break;
      if (this.#clients.size >= maxClients) {
        closeQuietly(client);
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

  /** The next client; undefined when the socket is closed. */
  async #next(): Promise<Deno.UnixConn | undefined> {
    for (;;) {
      try {
        return await this.#listener.accept();
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
  async #converse(client: Deno.UnixConn): Promise<void> {
    const stream = new JsonStream(maxMessageSize);
    const buffer = new Uint8Array(16384);
    try {
      for (;;) {
        const size = await client.read(buffer);
        if (size === null) return;
        for (const text of stream.push(buffer.subarray(0, size))) {
          const answer = await this.#answer(text);
          if (answer !== undefined) await writeAll(client, JSON.stringify(answer));
        }
      }
    } catch {
      // A client that goes in the middle, or sends no JSON, ends its own conversation only.
    } finally {
      closeQuietly(client);
    }
  }

  async #answer(text: string): Promise<unknown> {
    const { id, method, params } = JSON.parse(text) as Record<string, unknown>;
    if (id === null || id === undefined) return undefined; // A notification.
    if (typeof method !== "string" || !Array.isArray(params)) {
      throw new SyntaxError("not a request"); // Open vSwitch hangs up, too.
    }
    try {
      if (!params.every((param) => typeof param === "string")) {
        throw new TypeError(`"${method}" command has non-string argument`);
      }
      return { id, result: await this.#run(method, params), error: null };
    } catch (error) {
      const { message } = error as Error;
      return {
        id,
        result: null,
        error: message.endsWith("\n") ? message : `${message}\n`,
      };
    }
  }

  #run(method: string, args: readonly string[]): string | Promise<string> {
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
    return command.run(args);
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

/** The command was refused or failed; the message is the server's. */
export class ControlError extends Error {
  override readonly name = "ControlError";
}

/**
 * Sends one command to a control socket, ours or Open vSwitch's, and returns its answer.
 * Throws `ControlError` for a refusal, and Deno's errors if nobody serves the socket.
 */
export async function control(
  path: string,
  method: string,
  params: readonly string[],
): Promise<string> {
  const server = await Deno.connect({ transport: "unix", path });
  try {
    await writeAll(server, JSON.stringify({ id: 0, method, params }));
    const stream = new JsonStream(Infinity);
    const buffer = new Uint8Array(65536);
    for (;;) {
      const size = await server.read(buffer);
      if (size === null) throw new ControlError(`${path}: the server hung up`);
      const [text] = stream.push(buffer.subarray(0, size));
      if (text === undefined) continue;
      const { result, error } = JSON.parse(text) as { result?: unknown; error?: unknown };
      if (error !== null && error !== undefined) throw new ControlError(String(error));
      return String(result ?? "");
    }
  } finally {
    closeQuietly(server);
  }
}

/** The folder of control sockets: `/var/run/upcall` for root, one of one's own for others. */
export function controlDirectory(): string {
  const given = Deno.env.get("UPCALL_RUNDIR");
  if (given !== undefined) return given;
  if (Deno.uid() === 0) return "/var/run/upcall";
  const runtime = Deno.env.get("XDG_RUNTIME_DIR");
  return runtime === undefined ? `/tmp/upcall-${Deno.uid()}` : `${runtime}/upcall`;
}

/** The usual control socket of a datapath, `type@name`. Makes its folder, mode 0700. */
export async function controlPath(datapath: string): Promise<string> {
  const directory = controlDirectory();
  await Deno.mkdir(directory, { recursive: true, mode: 0o700 });
  return `${directory}/${datapath.replaceAll("/", "_")}.ctl`;
}

async function removeStale(path: string): Promise<void> {
  try {
    closeQuietly(await Deno.connect({ transport: "unix", path }));
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) await Deno.remove(path);
    else if (!(error instanceof Deno.errors.NotFound)) throw error;
    return;
  }
  throw new Deno.errors.AddrInUse(`${path} is served by another program`);
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
