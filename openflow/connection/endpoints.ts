// SPDX-License-Identifier: Apache-2.0
/**
 * Where peers are: controllers that are called, and listeners that they call.
 *
 * @module
 */
import type { Switch } from "../switch/switch.ts";
import { Connection, type ConnectionOptions } from "./connection.ts";
import { timerMs } from "./timer.ts";
import { bindSocket, type BoundSocket } from "./unix_socket.ts";

/** Port of OpenFlow, where none is said. */
const DEFAULT_PORT = 6653;
/** Connections that a listener has at once. */
const MAX_CONNECTIONS = 64;
/** Pauses between calls of a controller that does not answer, ms. */
const FIRST_PAUSE_MS = 1000;
const LAST_PAUSE_MS = 8000;
/** After a connection that could not be taken, ms. */
const ACCEPT_PAUSE_MS = 100;

/**
 * A way to a peer: `tcp:HOST:PORT`, `unix:PATH`, and `ptcp:PORT:HOST`, `punix:PATH` for listeners.
 */
export type Target =
  | { readonly transport: "tcp"; readonly hostname: string; readonly port: number }
  | { readonly transport: "unix"; readonly path: string };

function parse(text: string, passive: boolean): Target {
  const prefix = passive ? "p" : "";
  const found = /^(p?)(tcp|unix):(.*)$/.exec(text);
  if (found === null || found[1] !== prefix) {
    const wanted = passive
      ? "ptcp:PORT[:HOST] or punix:PATH"
      : "tcp:HOST[:PORT] or unix:PATH";
    throw new SyntaxError(`"${text}" is not ${wanted}`);
  }
  const rest = found[3] as string;
  if (found[2] === "unix") {
    if (rest === "") throw new SyntaxError(`"${text}" names no path`);
    return { transport: "unix", path: rest };
  }
  // Addresses of IPv6 stand in brackets: they have colons themselves.
  const host = "(\\[[^\\]]+\\]|[^:\\[\\]]+)";
  const wanted = passive ? `^()(\\d*)(?::${host})?$` : `^${host}(?::(\\d+))?$`;
  const said = new RegExp(wanted).exec(rest);
  const digits = said?.[2] ?? "";
  const port = digits === "" ? DEFAULT_PORT : Number(digits);
  if (said === null || port > 65_535) throw new SyntaxError(`"${text}" names no port`);
  const name = (passive ? said[3] : said[1]) ?? "0.0.0.0";
  const hostname = name.replace(/^\[|\]$/g, "");
  return { transport: "tcp", hostname, port };
}

/** Reads where a controller is. Throws `SyntaxError`. */
export function parseController(text: string): Target {
  return parse(text, false);
}

/** Reads where to listen. Throws `SyntaxError`. */
export function parseListener(text: string): Target {
  return parse(text, true);
}

/** Something that ends. */
export interface Endpoint {
  /** Where it is. */
  readonly target: Target;
  /** Whether a peer is there. */
  readonly isConnected: boolean;
  /** What the last call came to, if the peer is not there. */
  readonly lastError?: string | undefined;
  /** Ends it and all its conversations. */
  close(): Promise<void>;
}

/** Listens for peers. Throws what the system refuses. */
export async function listen(
  of: Switch,
  target: Target,
  options: Omit<ConnectionOptions, "isService"> & {
    /** How it listens at a path; {@linkcode bindSocket} if absent. */
    readonly bind?: (path: string) => Promise<BoundSocket>;
  },
): Promise<Endpoint> {
  const bound = target.transport === "unix"
    ? await (options.bind ?? bindSocket)(target.path)
    : undefined;
  const listener = bound?.listener ??
    Deno.listen(target as { readonly hostname: string; readonly port: number });
  const connections = new Map<Connection, Promise<void>>();
  const accept = async (): Promise<void> => {
    while (!isClosed) {
      let stream: Deno.Conn;
      try {
        stream = await listener.accept();
      } catch (error) {
        if (isClosed) return;
        // A peer that went before it was taken, or no file descriptor left: it listens on.
        of.runtime.failed(error);
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_PAUSE_MS));
        continue;
      }
      if (isClosed || connections.size >= MAX_CONNECTIONS) {
        stream.close();
        continue;
      }
      const connection = new Connection(of, stream, { ...options, isService: true });
      connections.set(
        connection,
        connection.run().finally(() => void connections.delete(connection)),
      );
    }
  };
  let isClosed = false;
  const accepting = accept();
  const addr = listener.addr as Deno.NetAddr;
  return {
    target: target.transport === "tcp" ? { ...target, port: addr.port } : target,
    get isConnected(): boolean {
      return connections.size > 0;
    },
    close: async () => {
      isClosed = true;
      for (const connection of connections.keys()) connection.close();
      try {
        if (bound === undefined) listener.close();
        else await bound.close();
      } finally {
        await Promise.allSettled([accepting, ...connections.values()]);
      }
    },
  };
}

/** Calls a controller, again and again while it does not answer. */
export function call(
  of: Switch,
  target: Target,
  options: Omit<ConnectionOptions, "isService"> & {
    /** The longest pause between calls, ms; 8,000 if absent. */
    readonly maxPauseMs?: number;
  },
): Endpoint {
  const abort = new AbortController();
  let connection: Connection | undefined;
  /** Whether a call is under way, which may take the system minutes to give up. */
  let isCalling = false;
  let lastError: string | undefined;
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        abort.signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, timerMs(ms));
      abort.signal.addEventListener("abort", done);
    });
  const keepCalling = async (): Promise<void> => {
    let pauseMs = FIRST_PAUSE_MS;
    while (!abort.signal.aborted) {
      try {
        isCalling = true;
        const stream = target.transport === "unix"
          ? await Deno.connect({ transport: "unix", path: target.path })
          : await Deno.connect({ hostname: target.hostname, port: target.port });
        isCalling = false;
        if (abort.signal.aborted) return stream.close();
        connection = new Connection(of, stream, { ...options, isService: false });
        const since = Date.now();
        lastError = undefined;
        await connection.run();
        lastError = "the connection ended";
        // One that talked for a while is called again at once.
        if (Date.now() - since > LAST_PAUSE_MS) pauseMs = FIRST_PAUSE_MS;
      } catch (error) {
        // It does not answer: later, perhaps.
        lastError = (error as Error).message;
      }
      isCalling = false;
      connection = undefined;
      if (abort.signal.aborted) return;
      await pause(pauseMs);
      pauseMs = Math.min(2 * pauseMs, options.maxPauseMs ?? LAST_PAUSE_MS);
    }
  };
  const calling = keepCalling();
  return {
    target,
    get isConnected(): boolean {
      return connection !== undefined;
    },
    get lastError(): string | undefined {
      return lastError;
    },
    close: async () => {
      abort.abort();
      connection?.close();
      if (!isCalling) await calling;
    },
  };
}
