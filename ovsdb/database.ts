// SPDX-License-Identifier: Apache-2.0
/**
 * A database that a program keeps following: connected again when a connection ends, its copy kept
 * true, changed under a lock.
 *
 * @module
 */
import { OvsdbError, OvsdbProtocolError } from "./errors.ts";
import type { Json } from "./json.ts";
import { Replica } from "./replica.ts";
import { columnNames, type TableName } from "./schema.ts";
import { type ByteStream, Session } from "./session.ts";
import { checkResults, type Transaction } from "./transaction.ts";

/** Which columns of which tables are watched: all that are known of a table, or some. */
export type Watched = Readonly<Partial<Record<TableName, "all" | readonly string[]>>>;

/** How a database is followed. */
export interface DatabaseOptions {
  /** Where its server is: `unix:PATH`, `tcp:HOST:PORT`. */
  readonly target: string;
  /** Its name; `Open_vSwitch` if absent. */
  readonly name?: string;
  /** What is watched. */
  readonly watched: Watched;
  /** A lock that must be held to change it. */
  readonly lock?: string;
  /** Told that the copy, or whether the lock is held, changed. */
  readonly onChange: () => void;
  /** Told that a connection began or ended, and why. */
  readonly onState?: (state: "connected" | "disconnected", reason?: Error) => void;
  /** Told of values that cannot be read: they count as not being there. */
  readonly onOdd?: (text: string) => void;
}

const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 8000;
/** A server is asked after so long whether it is there, ms, and hung up on after twice that. */
const PROBE_MS = { tcp: 5000, unix: 30_000 };
const ZERO = "00000000-0000-0000-0000-000000000000";

/** Reads where a server is. Throws `SyntaxError`. */
export function parseTarget(
  target: string,
): { readonly path: string } | { readonly hostname: string; readonly port: number } {
  const unix = /^unix:(.+)$/s.exec(target);
  if (unix !== null) return { path: unix[1] as string };
  const tcp = /^tcp:(\[[0-9a-fA-F:.%\w]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(target);
  const port = Number(tcp?.[2] ?? 6640);
  if (tcp === null || port > 0xffff) {
    throw new SyntaxError(`"${target}" is not unix:PATH or tcp:HOST[:PORT]`);
  }
  return { hostname: (tcp[1] as string).replace(/^\[|\]$/g, ""), port };
}

/** A database. */
export class Database implements AsyncDisposable {
  readonly #options: DatabaseOptions;
  readonly #target: ReturnType<typeof parseTarget>;
  readonly #abort = new AbortController();
  readonly #following: Promise<void>;
  #session: Session | undefined;
  /** The last transaction that the copy has, for a server that remembers it. */
  #lastId = ZERO;
  /** The tables and columns that the server has. */
  #known: ReadonlyMap<string, ReadonlySet<string>> = new Map();
  /** Its rows. While there is no connection, they are those of the last one. */
  readonly rows: Replica;
  /** Whether the copy is whole: it was read once at least. */
  isRead = false;
  /** Whether the lock is held; always, without one. */
  isLocked = false;
  /** Whether another program held the lock when it was asked for. */
  isContended = false;

  /** Begins to follow. Throws `SyntaxError` for a target that is none. */
  constructor(options: DatabaseOptions) {
    this.#options = options;
    this.#target = parseTarget(options.target);
    this.rows = new Replica(options.onOdd);
    this.#following = this.#follow();
  }

  /** Whether there is a connection, and the copy is as true as it gets. */
  get isConnected(): boolean {
    return this.#session !== undefined && this.isRead;
  }

  /** Whether the server has a column. */
  has(table: TableName, column: string): boolean {
    return this.#known.get(table)?.has(column) ?? false;
  }

  /**
   * Changes the database. Resolves when that is in force there. Rejects with
   * {@linkcode OvsdbError}: `not owner` when the lock was lost.
   */
  async transact(transaction: Transaction): Promise<void> {
    const { lock, name = "Open_vSwitch" } = this.#options;
    const session = this.#session;
    if (session === undefined) throw new OvsdbError("transact", "not connected");
    const asserts: Json[] = lock === undefined ? [] : [{ op: "assert", lock }];
    const operations = [...asserts, ...transaction.operations];
    checkResults(await session.request("transact", [name, ...operations]));
  }

  async #follow(): Promise<void> {
    const { signal } = this.#abort;
    let pauseMs = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      let reason: Error | undefined;
      const sinceMs = performance.now();
      try {
        reason = await this.#converse(await this.#connect());
      } catch (error) {
        reason = error as Error;
      }
      if (signal.aborted) return;
      this.#session = undefined;
      this.isLocked = false;
      this.#options.onState?.("disconnected", reason);
      if (performance.now() - sinceMs > LAST_PAUSE_MS) pauseMs = FIRST_PAUSE_MS;
      await this.#pause(pauseMs);
      pauseMs = Math.min(2 * pauseMs, LAST_PAUSE_MS);
    }
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#abort;
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", done);
    });
  }

  /** Calls the server. What ends this does not wait for a call that is not answered. */
  async #connect(): Promise<ByteStream> {
    const target = this.#target;
    const { signal } = this.#abort;
    const calling: Promise<ByteStream> = "path" in target
      ? Deno.connect({ transport: "unix", path: target.path })
      : Deno.connect(target);
    const ended = Promise.withResolvers<never>();
    const end = (): void => ended.reject(new OvsdbError("connect", "it was ended"));
    signal.addEventListener("abort", end);
    try {
      return await Promise.race([calling, ended.promise]);
    } catch (error) {
      void calling.then((stream) => stream.close(), () => {});
      throw error;
    } finally {
      signal.removeEventListener("abort", end);
    }
  }

  /** Holds one conversation; why it ended. */
  async #converse(stream: ByteStream): Promise<Error | undefined> {
    const session = new Session(stream, {
      onNotification: (method, params) => this.#told(method, params),
      probeMs: "path" in this.#target ? PROBE_MS.unix : PROBE_MS.tcp,
    });
    const end = (): void => session.close();
    this.#abort.signal.addEventListener("abort", end);
    try {
      if (this.#abort.signal.aborted) end();
      await Promise.race([this.#begin(session), session.ended]);
      return await session.ended;
    } catch (error) {
      return error as Error;
    } finally {
      this.#abort.signal.removeEventListener("abort", end);
      session.close();
      await session.ended;
    }
  }

  async #begin(session: Session): Promise<void> {
    const { name = "Open_vSwitch", lock, onChange, onState } = this.#options;
    this.#known = columnsOf(await session.request("get_schema", [name]));
    const monitored = this.#monitored();
    if (lock !== undefined) {
      await session.request("lock", [lock], (answer) => {
        const { locked } = (answer ?? {}) as { readonly locked?: Json };
        this.isLocked = locked === true;
        this.isContended = !this.isLocked;
      });
    } else this.isLocked = true;
    const asked = [name, MONITOR, monitored, this.#lastId];
    await session.request("monitor_cond_since", asked, (answer) => {
      this.#readAll(answer);
      this.#session = session;
    });
    onState?.("connected");
    onChange();
  }

  #readAll(answer: Json): void {
    const [found, last, updates] = Array.isArray(answer) ? answer as readonly Json[] : [];
    if (typeof last !== "string" || updates === undefined) {
      throw new OvsdbProtocolError("an answer to monitor_cond_since has not three parts");
    }
    if (found !== true) this.rows.clear();
    this.#lastId = ZERO; // In case that not all of it can be taken in.
    this.rows.apply(updates);
    this.#lastId = last;
    this.isRead = true;
  }

  #monitored(): Json {
    const requests: Record<string, Json> = {};
    for (const [table, wanted] of Object.entries(this.#options.watched)) {
      const there = this.#known.get(table);
      if (there === undefined) continue;
      const names = wanted === "all" ? columnNames(table as TableName) : wanted;
      requests[table] = [{ columns: names.filter((column) => there.has(column)) }];
    }
    return requests;
  }

  #told(method: string, params: readonly Json[]): void {
    const { lock, onChange } = this.#options;
    switch (method) {
      case "update3": {
        const [monitor, last, updates] = params;
        if (monitor !== MONITOR || typeof last !== "string" || updates === undefined) {
          throw new OvsdbProtocolError("update3 has not three parts");
        }
        this.#lastId = ZERO;
        this.rows.apply(updates);
        this.#lastId = last;
        return onChange();
      }
      case "locked":
      case "stolen":
        if (params[0] !== lock) return;
        this.isLocked = method === "locked";
        this.isContended = !this.isLocked;
        return onChange();
    }
  }

  /** Ends it. Idempotent. */
  async close(): Promise<void> {
    this.#abort.abort();
    this.#session = undefined;
    await this.#following;
  }

  /** Ends it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** What the watch is called in the conversation. */
const MONITOR = "switch";

function columnsOf(schema: Json): ReadonlyMap<string, ReadonlySet<string>> {
  const { tables } = schema as { readonly tables?: Json };
  if (typeof tables !== "object" || tables === null) {
    throw new OvsdbProtocolError("a schema has no tables");
  }
  return new Map(
    Object.entries(tables).map(([name, table]) => {
      const { columns } = (table ?? {}) as { readonly columns?: Json };
      return [name, new Set(Object.keys(columns ?? {}))];
    }),
  );
}
