// SPDX-License-Identifier: Apache-2.0
/**
 * The command line tool: reads the command line, finds what runs the verb, and prints what came
 * of it.
 *
 * @module
 */
import { adviceText } from "../control/verbs/advice.ts";
import { openableDatapaths } from "../control/datapath_source.ts";
import { helpText } from "../control/verbs/help.ts";
import {
  checkOptions,
  type CommandLine,
  isSocketCommand,
  OptionError,
  parseCommandLine,
} from "../control/options.ts";
import { ask } from "./ask.ts";
import { Elsewhere, reachableDatapaths, servedDatapaths } from "./served.ts";
import { Patience } from "./patience.ts";
import { program, type Terminal } from "./terminal.ts";
import { toolVerbs } from "./tool_verbs.ts";
import { type JsonAnswer, toJson, type VerbOptions } from "../control/verbs/verb.ts";
import { elsewhere, findVerb, runVerb, verbs } from "../control/verbs/verbs.ts";
import { version } from "../control/version.ts";

/** Runs the tool; the exit status. */
export async function dpctl(
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  let line: CommandLine;
  try {
    line = parseCommandLine(args);
    const [name] = line.words;
    const verb = [...verbs, ...toolVerbs].find((one) => one.name === name);
    if (verb !== undefined && line.instead === undefined) checkOptions(line, verb);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    terminal.complain(`${program}: ${error.message}\n${adviceText(error.advice)}`);
    return 1;
  }
  if (line.instead === "version") {
    terminal.print(`${program} (Upcall) ${version}\n`);
    return 0;
  }
  if (line.instead === "help") {
    const [verb] = line.words;
    const text = helpText(verbs, { program, own: toolVerbs, verb });
    if (text === "") return await run({ ...line, words: ["help", verb ?? ""] }, terminal);
    terminal.print(text);
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
  const served = await servedDatapaths(terminal.complain);
  if (name !== undefined && isSocketCommand(name) && !Object.hasOwn(elsewhere, name)) {
    const { path, words } = socketCommand(line.words, served);
    if (path !== undefined) return await ask(path, { ...line, words }, terminal);
  }
  if (overAll.includes(name ?? "")) return await runOverAll(line, terminal, served);
  try {
    using patience = new Patience(name ?? "", terminal);
    const onLine = (done: number, all: number): void =>
      patience.step(() => `${done} of ${all} lines`);
    const options = { ...here(line, terminal, served), onLine };
    return await runVerb(line.words, options) ? 0 : 1;
  } catch (error) {
    if (!(error instanceof Elsewhere)) throw error;
    return await ask(error.path, line, terminal);
  }
}

/**
 * The program that a command of control sockets is for: that of the datapath which is named, or the
 * only one. A command is told the name only if it has a use for it.
 */
function socketCommand(
  [name = "", ...args]: readonly string[],
  served: ReadonlyMap<string, string>,
): { readonly path: string | undefined; readonly words: readonly string[] } {
  const [only, ...others] = served.values();
  const named = args.find((arg) => served.has(arg));
  if (named === undefined) {
    return { path: others.length === 0 ? only : undefined, words: [name, ...args] };
  }
  const wantsName = name.startsWith("dpif-netdev/");
  const rest = wantsName ? args : args.filter((arg) => arg !== named);
  return { path: served.get(named), words: [name, ...rest] };
}

function here(
  { flags }: CommandLine,
  { print, complain, readText }: Terminal,
  served: ReadonlyMap<string, string>,
): VerbOptions {
  return {
    program,
    ownVerbs: toolVerbs,
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
  // Those that are named here are of the kernel, or there are none; hints name all.
  const options = here(line, terminal, names.length > 0 ? served : new Map());
  if (asked.length === 0) return await runVerb(line.words, options) ? 0 : 1;

  const answers: JsonAnswer[] = [];
  const collect: Terminal = line.flags.json
    ? { ...terminal, print: (text) => answers.push(JSON.parse(text) as JsonAnswer) }
    : terminal;
  let ok = true;
  // That the kernel has no datapaths does not matter when programs have some.
  const kernels = names.length > 0
    ? local
    : (await openableDatapaths(["system"]).list()).names;
  if (kernels.length > 0) {
    const { print, complain } = collect;
    const done = await runVerb([verb, ...local], {
      ...options,
      output: { print, complain },
    });
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
