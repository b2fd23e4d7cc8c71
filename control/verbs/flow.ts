// SPDX-License-Identifier: Apache-2.0
/**
 * Verbs about flows.
 *
 * @module
 */
import type { FlowStats } from "../../providers/contract/flows.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { type Ufid, ufid } from "../../providers/ids.ts";
import {
  AttributeError,
  encodeActions,
  normalize,
  parseActions,
  type ParsedKeyBytes,
  parseKeyBytes,
  type PortList,
} from "../../providers/odp/mod.ts";
import { flowJson, flowStatsJson, flowStatsText, flowText } from "../text/flow.ts";
import { type EntryWord, parseEntry, splitDumped } from "../text/flow_entry.ts";
import { systemWords } from "../system_words.ts";
import { dumpFlows } from "./flow_dump.ts";
import { type Advice, adviceOf } from "./advice.ts";
import { actionAdvice, keyAdvice, refusalHint } from "./flow_advice.ts";
import { codeOf, failureOf, type Verb, VerbFailure, type VerbRun } from "./verb.ts";

/** What the text of a flow is read with: its datapath, and the ports of that. */
interface FlowReader {
  readonly dp: Datapath;
  readonly ports: PortList;
}

const readerOf = (dp: Datapath): FlowReader => ({ dp, ports: [...dp.ports.dump()] });

/**
 * A flow in text, as bytes; the identifier in front of it, if there is one, is taken off first.
 * What a dump leaves out because it does not matter, as the header of `eth_type(0x0806)`, is put
 * in, for datapaths want to see it.
 */
function parseFlow(
  text: string,
  { dp, ports }: FlowReader,
  complaint: (syntax: string) => string,
): ParsedKeyBytes {
  const id = takeUfid(text);
  const key = id === undefined ? text : text.slice(ufidLength);
  try {
    const parsed = completed(parseKeyBytes(key, { ports }), dp);
    return id === undefined ? parsed : { ...parsed, ufid: id };
  } catch (error) {
    const { offset } = error as { offset?: unknown };
    if (!(error instanceof SyntaxError) || typeof offset !== "number") throw error;
    const at = fieldStart(key, offset);
    const message = complaint(`syntax error at ${key.slice(at)}`);
    throw new VerbFailure(message, "EINVAL", keyAdvice(error, key, dp));
  }
}

function completed(parsed: ParsedKeyBytes, { type }: Datapath): ParsedKeyBytes {
  if (parsed.mask.length === 0) return parsed; // Every field matters: that is another flow.
  try {
    // The kernel's flows without eth() are of packets without Ethernet header.
    const { key, mask } = normalize(parsed.key, parsed.mask, { bare: type === "system" });
    return { key, mask: mask ?? parsed.mask };
  } catch (error) {
    if (error instanceof AttributeError) return parsed; // The datapath says what is wrong.
    throw error;
  }
}

const ufidLength = "ufid:".length + 36;

function takeUfid(text: string): Ufid | undefined {
  if (!text.startsWith("ufid:")) return undefined;
  try {
    return ufid(text.slice(5, ufidLength));
  } catch (error) {
    throw new VerbFailure("parsing flow ufid", "EINVAL", adviceOf(error));
  }
}

/**
 * Where the field begins that has something wrong at `offset`: so far Open vSwitch says that it
 * read.
 */
export function fieldStart(text: string, offset: number): number {
  let start = 0;
  let depth = 0;
  let isBetween = true;
  for (let at = 0; at < text.length; at++) {
    const letter = text[at] as string;
    if (depth === 0 && /[,\s]/.test(letter)) {
      isBetween = true;
      continue;
    }
    if (isBetween) {
      if (at > offset) break;
      start = at;
      isBetween = false;
    }
    if (letter === "(") depth++;
    // Fields may follow each other without a delimiter.
    else if (letter === ")" && depth > 0 && --depth === 0) isBetween = true;
  }
  return start;
}

function printStats(run: VerbRun, stats: FlowStats | undefined): void {
  if (stats === undefined) return;
  run.result(flowStatsJson(stats));
  if (run.flags.statistics) run.print(`${flowStatsText(stats)}\n`);
}

type PutKind = { readonly create: boolean; readonly modify: boolean };

function putFlow(
  run: VerbRun,
  reader: FlowReader,
  [keyText = "", actionsText = ""]: readonly string[],
  kind: PutKind & { readonly zeroStats?: boolean },
): void {
  const { dp, ports } = reader;
  const { key, mask, ufid: id } = parseFlow(
    keyText,
    reader,
    (syntax) => `parsing flow key (${syntax})`,
  );
  let actions: Uint8Array;
  try {
    actions = encodeActions(parseActions(actionsText, { ports }));
  } catch (error) {
    throw new VerbFailure("parsing actions", "EINVAL", actionAdvice(error, dp));
  }
  const put = {
    key,
    ...(mask.length > 0 && { mask }),
    actions,
    ...kind,
    ...(id !== undefined && { ufid: id }),
    wantStats: run.flags.statistics,
  };
  let stats: FlowStats | undefined;
  try {
    stats = dp.flows.put(put);
  } catch (error) {
    const hints = { EEXIST: '"mod-flow" changes it', ENOENT: '"add-flow" adds it' };
    const code = codeOf(error);
    const hint = hints[code as keyof typeof hints] ?? refusalHint(error);
    throw failureOf("updating flow table", error, hint === undefined ? {} : { hint });
  }
  // A flow that was made has no counters yet, and Open vSwitch prints what it has: none.
  const none: FlowStats = { packets: 0n, bytes: 0n, tcpFlags: 0 };
  printStats(run, run.flags.statistics ? stats ?? none : undefined);
}

const adding: PutKind = { create: true, modify: false };
const changing: PutKind = { create: false, modify: true };

/** FLOW and ACTIONS: two words, or a line of a dump as one; with what is in front of them. */
function flowWords(args: readonly string[]): readonly string[] {
  const whole = splitDumped(args.at(-1) ?? "");
  return whole === undefined ? args : [...args.slice(0, -1), whole.flow, whole.actions];
}

async function putOne(
  run: VerbRun,
  args: readonly string[],
  kind: PutKind & { readonly zeroStats?: boolean },
): Promise<void> {
  const words = flowWords(args);
  await run.withDatapath(
    words,
    3,
    (dp) => putFlow(run, readerOf(dp), words.slice(-2), kind),
  );
}

async function modFlow(run: VerbRun, args: readonly string[]): Promise<void> {
  const { mayCreate, clear } = run.flags;
  await putOne(run, args, { create: mayCreate, modify: true, zeroStats: clear });
}

async function getFlow(run: VerbRun, args: readonly string[]): Promise<void> {
  const text = args.at(-1) ?? "";
  await run.withDatapath(args, 2, (dp) => {
    const id = takeUfid(text);
    if (id === undefined || text.length > ufidLength) {
      throw new VerbFailure("parsing flow ufid", "EINVAL");
    }
    const ports = run.flags.names ? { ports: [...dp.ports.dump()] } : {};
    const flow = run.attempt("getting flow", () => dp.flows.get({ ufid: id }));
    run.print(`${flowText(flow, { verbose: run.flags.verbosity > 0, ...ports })}\n`);
    run.result(flowJson(flow, ports));
  });
}

/** Deletes a flow. One of a file, in line `line`, may fail without harm to the exit status. */
function deleteFlow(
  run: VerbRun,
  reader: FlowReader,
  text: string,
  { line }: { readonly line?: number } = {},
): void {
  const { dp } = reader;
  const { key, ufid: id } = parseFlow(text, reader, (syntax) => syntax);
  try {
    printStats(run, dp.flows.delete(id === undefined ? { key } : { ufid: id }));
  } catch (error) {
    const failure = failureOf("deleting flow", error);
    if (line === undefined) run.fail(failure);
    else run.complain(failure.message, failure.code, atLine(failure.advice, line));
    if (failure.code === "ENOENT" && id === undefined) {
      run.print("Perhaps you need to specify a UFID?\n");
    }
  }
}

async function delFlow(run: VerbRun, args: readonly string[]): Promise<void> {
  await run.withDatapath(
    args,
    2,
    (dp) => deleteFlow(run, readerOf(dp), args.at(-1) ?? ""),
  );
}

/** Advice about a line of a file, which nothing else tells. */
function atLine({ reason, hint }: Advice, line: number): Advice {
  const where = `it is line ${line}`;
  return { reason, hint: hint === undefined ? where : `${where}; ${hint}` };
}

/**
 * Runs the lines of a file; whatever becomes of them, the exit status is 0, as Open vSwitch's
 * (3.1). A file that cannot be read is a failure here, and none there.
 */
async function eachLine(
  run: VerbRun,
  args: readonly string[],
  usual: EntryWord,
): Promise<void> {
  const path = args.at(-1) ?? "";
  await run.withDatapath(args, 2, async (dp) => {
    let text: string;
    try {
      text = await run.readText(path);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const { NotFound, PermissionDenied } = Deno.errors;
      const code = error instanceof NotFound
        ? "ENOENT"
        : error instanceof PermissionDenied
        ? "EACCES"
        : undefined;
      const advice = code === undefined ? { reason: systemWords(error) } : {};
      return run.fail(new VerbFailure(`Opening file "${path}" failed`, code, advice));
    }
    const lines = text.split("\n");
    const reader = readerOf(dp);
    for (const [index, line] of lines.entries()) {
      run.onLine?.(index, lines.length);
      runLine(run, reader, { line, number: index + 1, usual });
    }
  });
}

function runLine(
  run: VerbRun,
  reader: FlowReader,
  { line, number, usual }: { line: string; number: number; usual: EntryWord },
): void {
  const entry = parseEntry(line, usual);
  if (entry === undefined) return;
  const { word, flow, actions } = entry;
  if (flow === undefined || (actions === undefined) !== (word === "delete")) {
    return run.complain(`Failed parsing line number ${number}, skipped!`, undefined, {
      hint: "a line is [add|modify] FLOW ACTIONS, or delete FLOW",
    });
  }
  try {
    if (word === "delete") deleteFlow(run, reader, flow, { line: number });
    else putFlow(run, reader, [flow, actions ?? ""], word === "add" ? adding : changing);
  } catch (error) {
    if (!(error instanceof VerbFailure)) throw error;
    run.complain(error.message, error.code, atLine(error.advice, number));
  }
}

async function delFlows(run: VerbRun, args: readonly string[]): Promise<void> {
  const [first] = args;
  const named = first !== undefined && await run.datapaths.exists(first);
  if (args.length === 2 || (args.length === 1 && !named)) {
    return await eachLine(run, args, "delete");
  }
  await run.withDatapath(args, 1, (dp) => {
    run.attempt("deleting all flows", () => dp.flows.flush());
  });
}

/** Verbs about flows, in the order of ovs-dpctl's list. */
export const flowVerbs: readonly Verb[] = [
  {
    name: "dump-flows",
    usage: "[-m] [--names] [dp] [filter=..] [type=..] [pmd=..]",
    summary: "show the flows of DP",
    args: [0, 6],
    writes: false,
    perform: dumpFlows,
  },
  {
    name: "add-flow",
    usage: "[dp] flow actions",
    summary: "add FLOW with ACTIONS to DP",
    args: [2, 3],
    writes: true,
    perform: (run, args) => putOne(run, args, adding),
  },
  {
    name: "mod-flow",
    usage: "[dp] flow actions",
    summary: "give FLOW of DP other ACTIONS",
    args: [2, 3],
    writes: true,
    perform: modFlow,
  },
  {
    name: "get-flow",
    usage: "[dp] ufid",
    summary: "show the flow with an identifier, ufid:…",
    args: [1, 2],
    writes: false,
    perform: getFlow,
  },
  {
    name: "del-flow",
    usage: "[dp] flow",
    summary: "delete FLOW from DP",
    args: [1, 2],
    writes: true,
    perform: delFlow,
  },
  {
    name: "add-flows",
    usage: "[dp] file",
    summary: "add the flows of FILE, - for standard input",
    args: [1, 2],
    writes: true,
    perform: (run, args) => eachLine(run, args, "add"),
  },
  {
    name: "mod-flows",
    usage: "[dp] file",
    summary: "change flows as FILE says",
    args: [1, 2],
    writes: true,
    perform: (run, args) => eachLine(run, args, "modify"),
  },
  {
    name: "del-flows",
    usage: "[dp] [file]",
    summary: "delete the flows of FILE, or all",
    args: [0, 2],
    writes: true,
    perform: delFlows,
  },
];
