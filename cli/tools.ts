// SPDX-License-Identifier: Apache-2.0
/**
 * Runs the verbs that ovs-dpctl does not have.
 *
 * @module
 */
import { completionsFor } from "./completions.ts";
import { examine } from "./doctor/doctor.ts";
import { ask } from "./ask.ts";
import { asJsonError, asText, isExpected, ToolError, UsageError } from "./failure.ts";
import { OutputError } from "./output.ts";
import type { Terminal } from "./terminal.ts";
import type { CommandLine } from "../control/options.ts";
import { serve } from "./serve.ts";
import { findPath, withTarget } from "./target.ts";
import { metricsJson, metricsText } from "../control/metrics.ts";
import { toolVerbs } from "./tool_verbs.ts";
import { toJson } from "../control/verbs/verb.ts";
import { verbs } from "../control/verbs/verbs.ts";

type Tool = (line: CommandLine, terminal: Terminal) => Promise<number> | number;

const tools: Readonly<Record<typeof toolVerbs[number]["name"], Tool>> = {
  serve,
  build: async (line, terminal) =>
    await (await import("./build.ts")).build(line, terminal),
  doctor,
  completions,
  metrics,
  top: async (line, terminal) => await (await import("./top/top.ts")).top(line, terminal),
  trace: async (line, terminal) =>
    await (await import("./trace.ts")).trace(line, terminal),
  explain: async (line, terminal) =>
    await (await import("./policy.ts")).explain(line, terminal),
  policy: async (line, terminal) =>
    await (await import("./policy.ts")).policyTool(line, terminal),
  capture: async (line, terminal) =>
    await (await import("./capture.ts")).capture(line, terminal),
  "monitor-conntrack": async (line, terminal) =>
    await (await import("./monitor_conntrack.ts")).monitorConntrack(line, terminal),
};

/** Runs one of them; the exit status. */
export async function runTool(line: CommandLine, terminal: Terminal): Promise<number> {
  const [name = ""] = line.words;
  try {
    return await tools[name as keyof typeof tools](line, terminal);
  } catch (error) {
    if (error instanceof OutputError || !isExpected(error)) throw error;
    if (line.flags.json) {
      const errors = [asJsonError(error)];
      terminal.print(`${toJson({ verb: name, ok: false, result: [], errors })}\n`);
    } else terminal.complain(asText(error));
    return 1;
  }
}

/** Refuses a word too many; the message says what a verb takes. */
function atMost(count: number, { words }: CommandLine, takes: string): void {
  const [verb] = words as [typeof toolVerbs[number]["name"]];
  if (words.length > count + 1) throw new UsageError(verb, `'${verb}' takes ${takes}`);
}

function doctor(line: CommandLine, { print }: Terminal): number {
  const { flags, extra } = line;
  atMost(0, line, "no arguments");
  const sysroot = extra.get("sysroot");
  if (sysroot !== undefined && !isFolder(sysroot)) {
    throw new ToolError(`${sysroot} is no folder that can be read`);
  }
  const { text, status } = examine({
    json: flags.json,
    verbose: extra.has("verbose") || flags.verbosity > 0,
    ...(sysroot !== undefined && { sysroot }),
  });
  print(`${text}\n`);
  return status;
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

function completions(line: CommandLine, { print }: Terminal): number {
  const { words, flags } = line;
  atMost(1, line, "one shell");
  const [, shell = ""] = words;
  if (shell !== "bash" && shell !== "zsh" && shell !== "fish") {
    throw new UsageError(
      "completions",
      "'completions' needs the name of a shell: bash, zsh or fish",
    );
  }
  const script = completionsFor(shell, [...verbs, ...toolVerbs]);
  const answer = { verb: "completions", ok: true, result: [script], errors: [] };
  print(flags.json ? `${toJson(answer)}\n` : script);
  return 0;
}

async function metrics(line: CommandLine, terminal: Terminal): Promise<number> {
  const [, name] = line.words;
  atMost(1, line, "one datapath");
  const path = await findPath(line, name, terminal);
  if (path !== undefined) {
    const words = ["metrics/show", ...(line.flags.json ? ["--json"] : [])];
    return await ask(path, { ...line, words }, terminal);
  }
  const text = line.flags.json ? metricsJson : metricsText;
  await withTarget(name, (dp) => terminal.print(text([dp])));
  return 0;
}
