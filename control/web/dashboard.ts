// SPDX-License-Identifier: Apache-2.0
/**
 * A page that shows a datapath as it works: ports, flows, upcalls, drops, poll threads,
 * connections, meters and the policy.
 *
 * ```ts no-eval
 * import { openDatapath } from "../../mod.ts";
 * import { serveDashboard } from "./dashboard.ts";
 * await using dp = await openDatapath("netdev@br0", { create: true });
 * await using dashboard = serveDashboard(dp);
 * console.log(dashboard.url); // http://127.0.0.1:8080/
 * ```
 *
 * The page is made of the files in `page/` alone: nothing is built, and nothing is fetched from
 * elsewhere. It reads, and captures packets; it changes nothing.
 *
 * @module
 */
import type { Datapath } from "../../providers/datapath.ts";
import { DatapathError } from "../../providers/errors.ts";
import { toJson } from "../verbs/verb.ts";
import { assets } from "./assets.ts";
import { captureStream } from "./capture_stream.ts";
import { explainFlow, flowPage } from "./flow_page.ts";
import { OneByOne } from "./gently.ts";
import { Guard, securityHeaders } from "./guard.ts";
import { connectionPage, meterList, policyPage } from "./lists.ts";
import { QueryError } from "./query.ts";
import { Ticker } from "./ticker.ts";

/** How a dashboard is served. */
export interface DashboardOptions {
  /** Address to listen at; `127.0.0.1` if absent. */
  readonly hostname?: string;
  /** Port to listen at, 0 for any that is free; 8080 if absent. */
  readonly port?: number;
  /**
   * What a browser must show once, as `/?token=…`, and programs as `Authorization: Bearer …`; at
   * least 16 characters. Needed at addresses that other machines can reach.
   */
  readonly token?: string | undefined;
  /** Names of this machine that the page is opened under, besides its addresses and `localhost`. */
  readonly hosts?: readonly string[];
  /** How often the page is told, ms; 1000 if absent. */
  readonly intervalMs?: number;
}

/** A dashboard that is served. Disposing of it closes it. */
export interface Dashboard extends AsyncDisposable {
  /** Where it is. */
  readonly url: string;
  /** Browsers that listen now, and those that were dropped because they were too slow. */
  readonly clients: { readonly now: number; readonly dropped: number };
  /** Stops answering. Idempotent. */
  close(): Promise<void>;
}

/** Walks over flows and connections that may wait for each other. */
const maxWaiting = 8;
/** When the dashboard closes, browsers may take what they are being sent for so long. */
const answerLimitMs = 1000;

/**
 * Serves the dashboard of `dp` until it is closed or the datapath is.
 *
 * Permissions besides the datapath's: `--allow-net`, and to read the page's files.
 *
 * `TypeError`: an address that others can reach, without a token; `Deno.errors.AddrInUse`: another
 * program has the port.
 */
export function serveDashboard(dp: Datapath, options: DashboardOptions = {}): Dashboard {
  const { hostname = "127.0.0.1", port = 8080, token, hosts, intervalMs = 1000 } =
    options;
  const guard = new Guard({ hostname, token, hosts });
  const ticker = new Ticker(dp, intervalMs);
  const walks = new OneByOne(maxWaiting);
  const ending = new AbortController();
  const cut = new AbortController();
  const answers = new Answers({ dp, ticker, walks, ending: ending.signal });
  const server = Deno.serve({
    hostname,
    port,
    signal: cut.signal,
    onListen: () => {},
    onError: () => problem(500, "the dashboard failed"),
  }, async (request) => guard.refuse(request) ?? await answers.to(request));
  const { addr } = server;
  guard.bound(addr.port);
  let closing: Promise<void> | undefined;
  const shut = async (): Promise<void> => {
    ticker.close();
    ending.abort();
    // A browser that does not take its answer holds nobody.
    const late = setTimeout(() => cut.abort(), answerLimitMs);
    await server.shutdown();
    clearTimeout(late);
  };
  let attached: Disposable | undefined;
  const close = (): Promise<void> => {
    attached?.[Symbol.dispose]();
    return closing ??= shut();
  };
  try {
    attached = dp.onClose({ [Symbol.asyncDispose]: close });
  } catch (error) {
    void close();
    throw error; // The datapath is closed.
  }
  const shown = addr.hostname.includes(":") ? `[${addr.hostname}]` : addr.hostname;
  return {
    url: `http://${shown}:${addr.port}/`,
    get clients() {
      return ticker.clients;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

type Answer = (query: URLSearchParams) => unknown;

/** What answers are made of. */
interface Shown {
  readonly dp: Datapath;
  readonly ticker: Ticker;
  readonly walks: OneByOne;
  /** Aborts when the dashboard is closed. */
  readonly ending: AbortSignal;
}

/** What is answered, by path. */
class Answers {
  readonly #shown: Shown;
  readonly #json: ReadonlyMap<string, Answer>;

  constructor(shown: Shown) {
    const { dp, ticker } = this.#shown = shown;
    this.#json = new Map<string, Answer>([
      ["/api/status", () => ticker.status()],
      ["/api/flows", (query) => flowPage(dp, query)],
      ["/api/flow", (query) => explainFlow(dp, query)],
      ["/api/connections", (query) => connectionPage(dp, query)],
      ["/api/meters", () => meterList(dp)],
      ["/api/policy", (query) => policyPage(dp, query)],
    ]);
  }

  async to(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const { method } = request;
    if (pathname === "/api/capture") {
      if (method !== "POST") return problem(405, "captures are begun by POST");
      return await this.#attempt(() =>
        captureStream(this.#shown.dp, searchParams, this.#shown.ending)
      );
    }
    if (method !== "GET" && method !== "HEAD") {
      return problem(405, "this is read by GET");
    }
    if (pathname === "/api/events") {
      // An answer to HEAD has no body: its stream would be a page that nobody reads.
      if (method === "HEAD") return problem(405, "events are read by GET");
      return await this.#attempt(() => this.#shown.ticker.connect());
    }
    const asset = assets.get(pathname);
    if (asset !== undefined) {
      const { default: text } = await asset.load();
      return answer(text, asset.type);
    }
    const json = this.#json.get(pathname);
    if (json === undefined) return problem(404, "there is nothing here");
    const task = async (): Promise<Response> =>
      answer(toJson(await json(searchParams)), "application/json");
    return await this.#attempt(() =>
      this.#shown.walks.run(task) ?? problem(503, "too many questions at once")
    );
  }

  /** What the datapath or a question makes impossible is said, with its reason. */
  async #attempt(task: () => Response | Promise<Response>): Promise<Response> {
    try {
      return await task();
    } catch (error) {
      if (error instanceof QueryError || error instanceof SyntaxError) {
        return problem(400, error.message);
      }
      if (!(error instanceof DatapathError)) throw error;
      return problem(error.code === "ENOENT" ? 404 : 503, error.message);
    }
  }
}

function answer(body: string, type: string): Response {
  return new Response(body, { headers: { ...securityHeaders, "content-type": type } });
}

function problem(status: number, error: string): Response {
  return new Response(`${toJson({ error })}\n`, {
    status,
    headers: { ...securityHeaders, "content-type": "application/json" },
  });
}
