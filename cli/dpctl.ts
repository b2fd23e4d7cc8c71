// SPDX-License-Identifier: Apache-2.0
/**
 * The command line tool: reads the command line, finds who is to do the verb, and prints what came of it.
 *
 * @module
 */
import { ControlError } from "../control/socket.ts";
import { control } from "../control/socket.ts";
import { openableDatapaths } from "../control/datapath_source.ts";
import { helpText } from "./help.ts";
import {
  type CommandLine,
  flagWords,
  OptionError,
  parseCommandLine,
} from "../control/options.ts";
import { Elsewhere, reachableDatapaths, servedDatapaths } from "./served.ts";
import { toolVerbs } from "./tool_verbs.ts";
import { type JsonAnswer, toJson, type VerbOptions } from "../control/verbs/verb.ts";
import { findVerb, runVerb, verbs } from "../control/verbs/verbs.ts";
import { version } from "../control/version.ts";

/** What the tool reads and writes. */
export interface Terminal {
  /** Text for people and programs. */
  readonly print: (text: string) => void;
  /** Complaints, in whole lines. */
  readonly complain: (text: string) => void;
  /** Text of a file; `-` is standard input. */
  readonly readText: (path: string) => Promise<string>;
  /** Ends what runs on and on: `serve`, `top`, `capture`. */
  readonly signal?: AbortSignal;
}

/** Name in messages. */
const program = "dpctl";

/** Runs the tool; the exit status. */
export async function dpctl(
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  let line: CommandLine;
  try {
    line = parseCommandLine(args);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    terminal.complain(`${program}: ${error.message}\n`);
    return 1;
  }
  if (line.instead === "version") {
    terminal.print(`${program} (Upcall) ${version}\n`);
    return 0;
  }
  if (line.instead === "help") {
    terminal.print(helpText(verbs, { program, verb: line.words[0] }));
    return 0;
  }
  if (line.timeout === undefined) return await run(line, terminal);
  const timer = setTimeout(() => {
    terminal.complain(`${program}: gave up after ${line.timeout} s\n`);
    Deno.exit(142); // 128 + SIGALRM, as ovs-dpctl ends.
  }, line.timeout * 1000);
  try {
    return await run(line, terminal);
  } finally {
    clearTimeout(timer);
  }
}

async function run(line: CommandLine, terminal: Terminal): Promise<number> {
  const [name] = line.words;
  if (toolVerbs.some((verb) => verb.name === name)) {
    const { runTool } = await import("./tools.ts");
    return await runTool(line, terminal);
  }
  // Refused here as well: by a control socket, --read-only is not known.
  const verb = findVerb(name ?? "");
  const refused = verb?.writes === true && line.flags.readOnly;
  if (line.socket !== undefined && !refused) {
    return await ask(line.socket, line, terminal);
  }
  const served = await servedDatapaths();
  if (overAll.includes(name ?? "")) return await runOverAll(line, terminal, served);
  try {
    const ok = await runVerb(line.words, here(line, terminal, served));
    return ok ? 0 : 1;
  } catch (error) {
    if (!(error instanceof Elsewhere)) throw error;
    return await ask(error.path, line, terminal);
  }
}

function here(
  { flags }: CommandLine,
  { print, complain, readText }: Terminal,
  served: ReadonlyMap<string, string>,
): VerbOptions {
  return {
    program,
    isControl: false,
    flags,
    datapaths: reachableDatapaths(served),
    output: { print, complain },
    readText,
  };
}

/** Verbs that are about every datapath when none is named. */
const overAll: readonly string[] = ["show", "dump-dps", "cache-get-size"];

/** Runs such a verb for the kernel's datapaths, and asks each program for its own. */
async function runOverAll(
  line: CommandLine,
  terminal: Terminal,
  served: ReadonlyMap<string, string>,
): Promise<number> {
  const [verb = "", ...names] = line.words;
  const isServed = (name: string): boolean =>
    served.has(name) && !name.startsWith("system@");
  const asked = (names.length > 0 ? names : [...served.keys()]).filter(isServed);
  const local = names.filter((name) => !isServed(name));
  const options = here(line, terminal, new Map());
  if (asked.length === 0) return await runVerb(line.words, options) ? 0 : 1;

  const answers: JsonAnswer[] = [];
  const collect: Terminal = line.flags.json
    ? { ...terminal, print: (text) => answers.push(JSON.parse(text) as JsonAnswer) }
    : terminal;
  let ok = true;
  if (names.length === 0 || local.length > 0) {
    const { print, complain } = collect;
    const datapaths = openableDatapaths(["system"]);
    const done = await runVerb([verb, ...local], {
      ...options,
      datapaths,
      output: { print, complain },
    });
    // That the kernel has no datapaths does not matter when programs have some.
    ok = done || names.length === 0;
  }
  for (const name of asked) {
    const words = verb === "dump-dps" ? [verb] : [verb, name];
    const path = served.get(name) ?? "";
    ok = await ask(path, { ...line, words }, collect) === 0 && ok;
  }
  if (line.flags.json) {
    const errors = answers.flatMap((answer) => answer.errors);
    const result = answers.flatMap((answer) => answer.result);
    terminal.print(`${toJson({ verb, ok, result, errors })}\n`);
  }
  return ok ? 0 : 1;
}

/** Verbs whose last argument is a file, which the other program would look for where it runs. */
const withFile: readonly string[] = ["add-flows", "mod-flows", "del-flows"];

/** Has another program do a verb. */
export async function ask(
  path: string,
  { flags, words }: CommandLine,
  terminal: Terminal,
): Promise<number> {
  const [verb = "", ...args] = words;
  const method = findVerb(verb) === undefined && verb.includes("/")
    ? verb
    : `dpctl/${verb}`;
  const options = method.startsWith("dpctl/") ? flagWords(flags) : [];
  const file = withFile.includes(verb) && !args.at(-1)?.includes("@")
    ? args.pop()
    : undefined;
  const made = file === undefined ? undefined : await fileFor(file, terminal);
  try {
    const params = [...options, ...args, ...(made === undefined ? [] : [made.path])];
    terminal.print(await control(path, method, params));
    return 0;
  } catch (error) {
    if (error instanceof ControlError) {
      // An answer in JSON says by itself that it is of a failure.
      const say = flags.json && error.message.startsWith("{") ? "print" : "complain";
      terminal[say](error.message);
      return 1;
    }
    if (!(error instanceof Deno.errors.NotFound) && !isRefusal(error)) throw error;
    terminal.complain(`${program}: nobody serves ${path}\n`);
    return 1;
  } finally {
    if (made?.isOurs === true) await Deno.remove(made.path);
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionRefused ||
    error instanceof Deno.errors.PermissionDenied;
}

/** A file that the other program can read: standard input is made one. */
async function fileFor(
  path: string,
  { readText }: Terminal,
): Promise<{ path: string; isOurs: boolean }> {
  if (path !== "-") {
    const absolute = path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
    return { path: absolute, isOurs: false };
  }
  const copy = await Deno.makeTempFile({ prefix: "dpctl-" });
  await Deno.writeTextFile(copy, await readText("-"));
  return { path: copy, isOurs: true };
}
