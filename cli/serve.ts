// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl serve`: runs a datapath, with what to do about misses, until it is told to stop.
 *
 * @module
 */
import type { Datapath } from "../providers/datapath.ts";
import { DatapathError } from "../providers/errors.ts";
import { openDatapath } from "../providers/registry.ts";
import type { Terminal } from "./terminal.ts";
import { removeMarks } from "../control/capture/marks.ts";
import { fullName } from "../control/datapath_source.ts";
import { Log } from "../control/log.ts";
import type { Dashboard, DashboardOptions } from "../control/web/dashboard.ts";
import { metricsText, metricsType } from "../control/metrics.ts";
import { decideMisses, isMissPolicy, missPolicies } from "./miss_policy.ts";
import { logDevices } from "./port_log.ts";
import { ToolError, UsageError } from "./failure.ts";
import { didYouMean } from "../control/verbs/advice.ts";
import type { CommandLine } from "../control/options.ts";
import { serve as serveDatapath } from "../control/serve.ts";
import { isOfSystem, systemWords, withFile } from "../control/system_words.ts";
import { isThere } from "./target.ts";
import { exportMetrics } from "./telemetry.ts";
import { noFlags } from "../control/verbs/verb.ts";
import { runVerb } from "../control/verbs/verbs.ts";

/** `NAME[:TYPE[,OPTION=VALUE]…]`. */
interface PortWord {
  readonly name: string;
  readonly type?: string;
  readonly options: Readonly<Record<string, string>>;
}

function parsePort(word: string): PortWord {
  const [, name = "", type, rest = ""] =
    /^([^:,]+)(?::([^,]*))?((?:,[^,]*)*)$/.exec(word) ??
      [];
  if (name === "") {
    throw new SyntaxError(`"${word}" is no port: expected NAME[:TYPE[,OPTION=VALUE...]]`);
  }
  const options = new Map<string, string>();
  for (const setting of rest.split(",").slice(1)) {
    const at = setting.indexOf("=");
    if (at < 1) throw new SyntaxError(`port ${name}: "${setting}" is not OPTION=VALUE`);
    const option = setting.slice(0, at);
    if (options.has(option)) {
      throw new SyntaxError(`port ${name}: ${option} is given twice`);
    }
    options.set(option, setting.slice(at + 1));
  }
  return { name, options: Object.fromEntries(options), ...(type && { type }) };
}

/** Runs a datapath; the exit status. */
export async function serve(line: CommandLine, terminal: Terminal): Promise<number> {
  const [, name, ...portWords] = line.words;
  const { extra } = line;
  const policy = extra.get("miss") ?? "drop";
  if (name === undefined || fullName(name) === undefined) {
    throw new UsageError("serve", "'serve' needs the name of a datapath: netdev@br0");
  }
  if (!isMissPolicy(policy)) {
    throw new ToolError(
      `--miss must be one of ${missPolicies.join(", ")}: it is ${policy}`,
      { hint: didYouMean(policy, missPolicies) },
    );
  }
  const file = extra.get("policy");
  if (file !== undefined && extra.has("miss")) {
    throw new UsageError("serve", "--miss and --policy exclude each other");
  }
  const ports = portWords.map(parsePort);
  const twice = ports.find(({ name }, i) =>
    ports.some((p, j) => j < i && p.name === name)
  );
  if (twice !== undefined) {
    throw new UsageError("serve", `port ${twice.name} is named twice`);
  }
  const web = await webOptions(extra);
  const log = new Log(terminal.complain);
  const stop = new AbortController();
  const abort = (): void => stop.abort();
  terminal.signal?.addEventListener("abort", abort, { once: true });
  if (terminal.signal?.aborted) abort();

  const cores = extra.get("poll-threads");
  await using dp = await openDatapath(name, {
    create: true,
    onNotice: (message) => log.say("serve", "info", message),
    ...(cores !== undefined && fullName(name)?.startsWith("netdev@") && {
      config: { pollThreads: cores },
    }),
  });
  for (const { name, type, options } of ports) {
    if (dp.ports.get(name) !== undefined) continue; // A kernel's datapath stays between runs.
    await dp.ports.add({ name, options, ...(type !== undefined && { type }) });
  }
  await addFlows(dp, extra.get("flows"), terminal);
  removeMarks(dp); // Of a capture whose program was killed.
  await using socket = await openSocket(dp, { path: line.socket, onExit: abort, log });
  using _telemetry = exportMetrics(dp);
  await using metrics = serveMetrics(dp, extra.get("metrics"));
  log.say("serve", "info", `serving ${dp.fullName} at ${socket.path}`);
  if (metrics.address !== undefined) {
    log.say("serve", "info", `metrics at http://${metrics.address}/metrics`);
  }
  await using dashboard = await serveWeb(dp, web);
  if (dashboard !== undefined) {
    log.say("serve", "info", `dashboard at ${dashboard.url}`);
  }
  const devices = logDevices(dp, { log, signal: stop.signal });
  try {
    const { signal } = stop;
    if (file === undefined) await decideMisses(dp, { policy, log, signal });
    else await (await import("./policy.ts")).servePolicy(dp, file, { log, signal });
    sayEnd(dp, log);
  } catch (error) {
    if (isThere(dp)) throw error;
    sayEnd(dp, log);
  } finally {
    abort();
    await devices;
  }
  terminal.signal?.removeEventListener("abort", abort);
  return 0;
}

function sayEnd(dp: Datapath, log: Log): void {
  const why = isThere(dp) ? "" : ": the datapath was deleted";
  log.say("serve", "info", `stopping${why}`);
}

/** The control socket; why there can be none says its path. */
async function openSocket(
  dp: Datapath,
  options: Parameters<typeof serveDatapath>[1] & object,
): ReturnType<typeof serveDatapath> {
  try {
    return await serveDatapath(dp, options);
  } catch (cause) {
    if (!isOfSystem(cause)) throw cause;
    const where = options.path ?? dp.fullName;
    const isServed = cause instanceof Deno.errors.AddrInUse;
    throw new ToolError(`Cannot serve ${where}: ${systemWords(cause)}`, {
      cause,
      hint: isServed ? `another program serves it: "dpctl show ${where}"` : undefined,
    });
  }
}

async function addFlows(
  dp: Datapath,
  path: string | undefined,
  { complain, print, readText }: Terminal,
): Promise<void> {
  if (path === undefined) return;
  const text = await withFile("read", path, () => readText(path));
  let complaints = "";
  await runVerb(["add-flows", dp.fullName, path], {
    program: "dpctl",
    isControl: false,
    flags: noFlags,
    datapaths: {
      list: () => Promise.resolve({ names: [dp.fullName] }),
      exists: (name) => Promise.resolve(name === dp.fullName),
      open: () => openDatapath(dp.fullName),
    },
    output: { print, complain: (text) => complaints += text },
    readText: () => Promise.resolve(text),
  });
  if (complaints === "") return;
  complain(complaints);
  throw new ToolError(`the flows of ${path} could not all be added`);
}

/** Reads the `ADDRESS:PORT` of an option; the address is this machine's alone if absent. */
function addressOf(option: string, at: string): { hostname: string; port: number } {
  const [, host, port] = /^(?:\[?([^\]]*?)\]?:)?(\d+)$/.exec(at) ?? [];
  if (port === undefined || Number(port) > 65535) {
    throw new SyntaxError(`--${option} ${at}: expected ADDRESS:PORT`);
  }
  return { hostname: host || "127.0.0.1", port: Number(port) };
}

/** How `--web` and `--web-token` want the dashboard; undefined if they do not. */
async function webOptions(
  extra: CommandLine["extra"],
): Promise<DashboardOptions | undefined> {
  const at = extra.get("web");
  const file = extra.get("web-token");
  if (at === undefined) {
    if (file !== undefined) {
      throw new UsageError("serve", "--web-token goes with --web ADDRESS:PORT");
    }
    return undefined;
  }
  // In a file, for every user can read the arguments of a program.
  const token = file === undefined
    ? undefined
    : (await withFile("read", file, () => Deno.readTextFile(file))).trim();
  if (token === "") throw new ToolError(`${file} is empty: there is no token in it`);
  return { ...addressOf("web", at), token };
}

async function serveWeb(
  dp: Datapath,
  options: DashboardOptions | undefined,
): Promise<Dashboard | undefined> {
  if (options === undefined) return undefined;
  // Imported only when it is wanted.
  const { serveDashboard } = await import("../control/web/dashboard.ts");
  try {
    return serveDashboard(dp, options);
  } catch (cause) {
    if (cause instanceof TypeError && options.token === undefined) {
      throw new ToolError(cause.message, {
        cause,
        hint: "--web-token FILE gives it one",
      });
    }
    if (!isOfSystem(cause)) throw cause;
    const at = `${options.hostname}:${options.port}`;
    throw new ToolError(`Cannot serve the dashboard at ${at}: ${systemWords(cause)}`, {
      cause,
    });
  }
}

/** Serves metrics over HTTP, if an address was given. */
function serveMetrics(
  dp: Datapath,
  at: string | undefined,
): AsyncDisposable & { readonly address?: string } {
  if (at === undefined) return { [Symbol.asyncDispose]: () => Promise.resolve() };
  const options = { ...addressOf("metrics", at), onListen: () => {} };
  const server = listen(at, options, (request) => {
    const { pathname } = new URL(request.url);
    if (pathname !== "/metrics") return new Response("Not found\n", { status: 404 });
    try {
      const headers = { "content-type": metricsType };
      return new Response(metricsText([dp]), { headers });
    } catch (error) {
      if (!(error instanceof DatapathError)) throw error;
      return new Response(`${error.message}\n`, { status: 503 });
    }
  });
  const { hostname, port: bound } = server.addr;
  return {
    address: `${hostname.includes(":") ? `[${hostname}]` : hostname}:${bound}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

function listen(
  at: string,
  options: Deno.ServeTcpOptions,
  answer: (request: Request) => Response,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve(options, answer);
  } catch (cause) {
    if (!isOfSystem(cause)) throw cause;
    throw new ToolError(`Cannot serve metrics at ${at}: ${systemWords(cause)}`, {
      cause,
    });
  }
}
