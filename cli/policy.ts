// SPDX-License-Identifier: Apache-2.0
/**
 * Policies on the command line: `serve --policy`, `explain`, `policy show|record|replay`.
 *
 * @module
 */
import { toFileUrl } from "./file_url.ts";
import type { Terminal } from "./terminal.ts";
import { flagWords } from "../control/options.ts";
import { ToolError, UsageError } from "./failure.ts";
import type { CommandLine } from "../control/options.ts";
import { withFile } from "../control/system_words.ts";
import type { Log } from "../control/log.ts";
import type { Datapath } from "../providers/datapath.ts";
import { newState } from "../policy/state/keep.ts";
import { Patience } from "./patience.ts";
import { findPath, isThere } from "./target.ts";
import { ask } from "./ask.ts";
import {
  type FlowDiff,
  keepState,
  type Policy,
  Recorder,
  replay,
  type ReplayedState,
  runPolicy,
} from "../policy/mod.ts";

/** What a file of a policy exports. */
interface PolicyModule {
  readonly policy?: unknown;
}

let loads = 0;

/** Imports a file that exports `policy`, anew each time. */
async function load(file: string): Promise<Policy & { readonly module: PolicyModule }> {
  const url = toFileUrl(file);
  // Another query is another module.
  url.search = loads++ === 0 ? "" : `load=${loads}`;
  let module: PolicyModule;
  try {
    module = await import(`file://${url.pathname}${url.search}`) as PolicyModule;
  } catch (error) {
    throw notLoaded(file, error);
  }
  const { policy } = module;
  if (typeof policy !== "function") {
    throw new ToolError(`${file} exports no function "policy"`, {
      hint:
        "export const policy: Policy = (packet, ports) => flood(ports, packet.inPort)",
    });
  }
  return Object.assign((...args: Parameters<Policy>) => (policy as Policy)(...args), {
    module,
  });
}

/** Why a file could not be imported: what it says, and where, for the rest is of the importer. */
function notLoaded(file: string, cause: unknown): ToolError {
  const message = cause instanceof Error ? cause.message : `${cause}`;
  // What follows is the line itself, drawn for a terminal: a log has one line.
  const [first = ""] = message.split("\n");
  return new ToolError(`Cannot load ${file}: ${first}${placeIn(cause, file)}`, { cause });
}

/** ` (switch.ts:10:1)`, where a file is to blame; nothing where another is. */
function placeIn(error: unknown, file: string): string {
  const stack = error instanceof Error ? error.stack ?? "" : "";
  const place = /\b(file:[^\s?]+)(?:\?\S*?)?(:\d+:\d+)/.exec(stack);
  const isIts = place?.[1] === toFileUrl(file).href;
  return isIts ? ` (${file}${place?.[2]})` : "";
}

/** How a policy is served. */
interface ServeOptions {
  readonly log: Log;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/**
 * Runs the policy of a file on a datapath until the signal aborts or the datapath is closed. When
 * the file changes the policy is taken anew: state of the same name keeps what packets taught it,
 * and what becomes of the flows is logged.
 */
export async function servePolicy(
  dp: Datapath,
  file: string,
  { log, signal }: ServeOptions,
): Promise<void> {
  const ended = Promise.withResolvers<void>();
  await using run = await runPolicy(dp, await newState(() => load(file)), {
    record: new Recorder({ events: 10_000, snap: 64 }),
    onError: (error) => {
      if (!isThere(dp)) return "hold"; // It ends with its datapath: nothing is wrong with it.
      log.say("serve", "warn", `${error.message}${placeIn(error.cause, file)}`);
      return "hold";
    },
  });
  log.say("serve", "info", `running ${file}`);
  const stop = (): void => ended.resolve();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  void run.ended.then(stop);
  using watcher = Deno.watchFs(folderOf(file));
  const watching = watch(watcher, file, async () => {
    try {
      const diff = await keepState(async () => await run.replace(await load(file)));
      log.say("serve", "info", `reloaded ${file}`);
      for (const line of linesOfDiff(diff)) log.say("serve", "info", line);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const why = message.replace(/: it was not taken$/, "");
      log.say("serve", "warn", `${file} was not taken: ${why}`);
    }
  });
  await ended.promise;
  watcher.close();
  await watching;
  signal.removeEventListener("abort", stop);
}

function folderOf(file: string): string {
  const path = decodeURIComponent(toFileUrl(file).pathname);
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

/** Editors write a file in several steps, or another one in its place. */
const SETTLE_MS = 100;

async function watch(
  watcher: Deno.FsWatcher,
  file: string,
  onChange: () => Promise<void>,
): Promise<void> {
  const path = decodeURIComponent(toFileUrl(file).pathname);
  const modified = async (): Promise<number> =>
    (await Deno.stat(path).catch(() => undefined))?.mtime?.getTime() ?? 0;
  let last = await modified();
  for await (const { paths } of watcher) {
    if (!paths.some((one) => one.endsWith(path.slice(path.lastIndexOf("/"))))) continue;
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const now = await modified();
    if (now === last || now === 0) continue;
    last = now;
    await onChange();
  }
}

/** Changes that a diff shows. */
const SHOWN = 20;

function linesOfDiff({ kept, modified, unprovable, threw }: FlowDiff): string[] {
  const lines = [
    `${kept} flows kept, ${modified.length} modified, ${unprovable.length} deleted` +
    (threw.length > 0 ? `, ${threw.length} threw` : ""),
  ];
  for (const { flow, from, to } of modified.slice(0, SHOWN)) {
    lines.push(`${flow}: ${from || "drop"} -> ${to || "drop"}`);
  }
  for (const { flow } of unprovable.slice(0, SHOWN)) lines.push(`${flow}: deleted`);
  return lines;
}

/** `dpctl explain [DP] FLOW`; the exit status. */
export async function explain(line: CommandLine, terminal: Terminal): Promise<number> {
  const args = line.words.slice(1);
  const what = args.pop();
  const [name, ...more] = args;
  if (what === undefined || more.length > 0) {
    throw new UsageError(
      "explain",
      "'explain' needs a flow, or a packet in hexadecimal digits",
    );
  }
  return await askPolicy(line, name, ["upcall/explain", what], terminal);
}

/** Refuses a word too many. */
function few(args: readonly string[], most: number): void {
  if (args.length > most) {
    throw new UsageError("policy", `"${args[most]}" is a word too many`);
  }
}

/** `dpctl policy show|record|replay`; the exit status. */
export async function policyTool(line: CommandLine, terminal: Terminal): Promise<number> {
  const [, what, ...args] = line.words;
  switch (what) {
    case "show":
      few(args, 1);
      return await askPolicy(line, args[0], ["upcall/policy-show"], terminal);
    case "record":
      few(args, 1);
      return await askPolicy(line, args[0], ["upcall/policy-record"], terminal);
    case "replay":
      return await replayFile(line, args, terminal);
    default:
      throw new UsageError("policy", "'policy' needs one of show, record, replay");
  }
}

async function askPolicy(
  line: CommandLine,
  name: string | undefined,
  [command = "", ...args]: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const path = await findPath(line, name, terminal);
  if (path === undefined) {
    throw new ToolError("no served datapath", {
      hint: `"dpctl serve ${name ?? "DP"} --policy FILE" runs one with a policy`,
    });
  }
  const words = [command, ...flagWords({ ...line.flags, names: false }), ...args];
  return await ask(path, { ...line, words }, terminal);
}

/** The lines of a record, and a word now and then on how many there were. */
function* shown(lines: readonly string[], terminal: Terminal): Generator<string> {
  using patience = new Patience("policy replay", terminal);
  for (const [i, line] of lines.entries()) {
    patience.step(() => `${i} of ${lines.length} lines`);
    yield line;
  }
}

async function replayFile(
  line: CommandLine,
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  few(args, 1);
  const [record] = args;
  const file = line.extra.get("policy");
  if (record === undefined || file === undefined) {
    throw new UsageError("policy", "'policy replay' needs a record, and --policy FILE");
  }
  const policy = await load(file);
  const state = Object.values(policy.module).filter((value): value is ReplayedState[0] =>
    typeof value === "object" && value !== null && "name" in value
  );
  const text = await withFile("read", record, () => Deno.readTextFile(record));
  const lines = text.split("\n");
  let report: ReturnType<typeof replay>;
  try {
    report = replay(shown(lines, terminal), policy, state);
  } catch (cause) {
    if (!(cause instanceof SyntaxError || cause instanceof RangeError)) throw cause;
    throw new ToolError(`${record}: ${cause.message}`, {
      cause,
      hint: `"dpctl policy record DP > ${record}" makes one`,
    });
  }
  if (line.flags.json) terminal.print(`${JSON.stringify(report)}\n`);
  else {
    const { upcalls, different, differences, flows, threw, skipped, ms } = report;
    terminal.print(
      `${upcalls} packets, ${different} with another verdict, ${threw} threw, ` +
        `${skipped} of stages; flows: ${flows.before} then, ${flows.after} now; ` +
        `${ms.toFixed(0)} ms\n`,
    );
    for (const { line, packet, from, to } of differences.slice(0, SHOWN)) {
      terminal.print(`${line}: ${packet}: ${from || "drop"} -> ${to || "drop"}\n`);
    }
  }
  return report.different === 0 ? 0 : 1;
}
