// SPDX-License-Identifier: Apache-2.0
/**
 * Runs the tests, for `deno task test`: sets the machine up, checks types, runs every test file,
 * says what was skipped and what failed and why, and ends with one line `N passed, N failed, N
 * skipped`. The exit status is 1 if anything failed.
 *
 * Files are run in one process per folder, so that a crash costs the tests of that folder
 * only. `deno task test FOLDER…` runs some folders.
 *
 * @module
 */
import { packages, setup } from "./setup.ts";
import {
  addTally,
  emptyTally,
  summary,
  type Tally,
  tally,
  uncaughtErrors,
} from "./report.ts";
import type { SkipRecord } from "./skip.ts";

const root = new URL("../../", import.meta.url).pathname;
const limitMs = 70 * 60_000;
/** A test that hangs costs its folder only. */
const groupLimitMs = 50 * 60_000;
/** Groups that run beside each other: one more than processors, for each waits now and then. */
const lanes = navigator.hardwareConcurrency + 1;

/** Test files by the process they run in: `tests/X`, or the top folder of unit tests. */
export async function testGroups(): Promise<Map<string, string[]>> {
  const groups = new Map<string, string[]>();
  for await (const file of testFiles("")) {
    const [top = "", second = ""] = file.split("/");
    const group = top !== "tests"
      ? top
      : file.split("/").length > 2
      ? `${top}/${second}`
      : `${top}/*`;
    groups.set(group, [...groups.get(group) ?? [], file]);
  }
  for (const files of groups.values()) files.sort();
  return new Map([...groups].sort(([a], [b]) => a < b ? -1 : 1));
}

async function* testFiles(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(root + folder)) {
    if (name.startsWith(".") || name === "node_modules") continue;
    if (isDirectory) yield* testFiles(`${folder}${name}/`);
    else if (name.endsWith("_test.ts")) yield folder + name;
  }
}

/** Where output of tests goes as it comes. */
interface Output {
  writeSync(bytes: Uint8Array): number;
}

/** Runs files in one `deno test`. It checks no types: each process would do so anew. */
export async function runTests(
  name: string,
  files: readonly string[],
  options: {
    signal?: AbortSignal;
    stdout?: Output;
    stderr?: Output;
    /** Only tests of such names. */
    filter?: string;
  } = {},
): Promise<Tally> {
  const { stdout: out = Deno.stdout, stderr: err = Deno.stderr } = options;
  const work = await Deno.makeTempDir({ prefix: "upcall-tests-" });
  try {
    const junit = `${work}/junit.xml`;
    const skips = `${work}/skips`;
    const figures = `${work}/figures`;
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["test", "-A", "--no-check", "--quiet", `--junit-path=${junit}`],
        ...options.filter === undefined ? [] : [`--filter=${options.filter}`],
        ...files,
      ],
      cwd: root,
      env: { UPCALL_SKIPS: skips, UPCALL_FIGURES: figures },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    }).spawn();
    const said = [copy(child.stdout, out), copy(child.stderr, err)];
    const { code, signal } = await child.status;
    // What a test left running may hold the pipes: it gets a moment, and does not hold us.
    const over = setTimeout(() => said.forEach(({ stop }) => stop()), 2000);
    const [stdout = "", stderr = ""] = await Promise.all(said.map(({ text }) => text));
    clearTimeout(over);
    for (const figure of (await readIfThere(figures)).split("\n")) {
      if (figure !== "") out.writeSync(encoder.encode(`measured: ${figure}\n`));
    }
    const records = (await readIfThere(skips)).split("\n").filter((line) => line !== "")
      .map((line) => JSON.parse(line) as SkipRecord);
    const result = tally(await readIfThere(junit), records);
    if (options.filter !== undefined) {
      // What was not asked for.
      result.skipped = result.skipped.filter(({ why }) => why !== "ignored");
    }
    result.failed.push(...uncaughtErrors(stdout));
    // A crash, or a file that does not compile. The test that ran is named last.
    if (code !== 0 && result.failed.length === 0) {
      const test = `${name}: deno test ended by ${signal ?? `exit status ${code}`}`;
      const last = stdout.trimEnd().split("\n").slice(-4);
      result.failed.push({ test, why: [stderr, ...last].join("\n") });
    }
    return result;
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** Checks the types of files, all at once. */
async function checkTypes(files: readonly string[]): Promise<Tally> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["check", "--quiet", ...files],
    cwd: root,
    stdin: "null",
  }).output();
  if (success) return { ...emptyTally(), passed: 1 };
  const why = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  return { ...emptyTally(), failed: [{ test: "types", why }] };
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

const encoder = new TextEncoder();

/** How much of what a run printed is kept for the summary. */
const keptLength = 256 * 1024;

/** Copies a stream, and keeps the end of it. `stop()` ends the copy before the stream ends. */
function copy(
  from: ReadableStream<Uint8Array>,
  to: Output,
): { text: Promise<string>; stop: () => void } {
  const reader = from.getReader();
  const read = async (): Promise<string> => {
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      for (let at = 0; at < value.length;) at += to.writeSync(value.subarray(at));
      text = (text + decoder.decode(value, { stream: true })).slice(-keptLength);
    }
  };
  return { text: read(), stop: () => void reader.cancel() };
}

function complain(error: unknown): false {
  console.error(`setup: ${error}`);
  return false;
}

/**
 * What runs by itself, when all else is over: it judges times, or what all of the machine has. A
 * group, or a file of one.
 */
export const alone: readonly string[] = [
  "tests/bench",
  "tests/netdev/cpuset_test.ts",
  "tests/netdev/demo_test.ts",
  "tests/netdev/hugepages_test.ts",
  "tests/netdev/poll_figures_test.ts",
  "tests/netdev/threads_test.ts",
];

/**
 * What takes longest, in the order in which it begins, so that no processor waits at the end for
 * one of these; all else follows. The guest's tests take one processor from the first to the last.
 */
export const longest: readonly string[] = [
  "tests/system",
  "tests/netdev",
  "tests/c",
  "tests/openflow",
  "tests/fuzz",
  "tests/ovsdb",
  "tests/docs",
  "tests/package",
  "tests/policy",
  "tests/differential",
  "tests/web",
  "tests/conformance",
];

/** The group that is no test: files whose types are checked. */
const types = "types";

/** Files that one process runs, as a group of that name. */
export type Group = readonly [name: string, files: readonly string[]];

/** Parts groups into what runs beside others, longest first, and what runs by itself. */
export function timetable(groups: Iterable<Group>): { beside: Group[]; alone: Group[] } {
  const isAlone = (name: string, file: string): boolean =>
    alone.includes(name) || alone.includes(file);
  const rank = ([name]: Group): number => {
    const at = longest.indexOf(name);
    return at < 0 ? longest.length : at;
  };
  const all = [...groups];
  const some = (wanted: boolean): Group[] =>
    all.map(([name, files]): Group => [
      name,
      files.filter((file) => isAlone(name, file) === wanted),
    ]).filter(([, files]) => files.length > 0);
  return { beside: some(false).sort((a, b) => rank(a) - rank(b)), alone: some(true) };
}

/** How a group is run. */
interface RunOptions {
  readonly deadline?: AbortSignal;
  /** What it prints comes when it is over. */
  readonly quietly: boolean;
}

/** Runs one group. Whatever happens to it, the others are run and the figures come last. */
async function runGroup(
  [name, files]: Group,
  { deadline = new AbortController().signal, quietly }: RunOptions,
): Promise<Tally> {
  if (deadline.aborted) {
    return { ...emptyTally(), failed: [{ test: name, why: "out of time" }] };
  }
  const said: Uint8Array[] = [];
  const keep: Output = { writeSync: (bytes) => said.push(bytes.slice()) && bytes.length };
  const start = performance.now();
  const signal = AbortSignal.any([deadline, AbortSignal.timeout(groupLimitMs)]);
  if (!quietly) console.log(`\n=== ${name}`);
  try {
    if (name === types) return await checkTypes(files);
    return await runTests(name, files, {
      signal,
      ...(quietly && { stdout: keep, stderr: keep }),
    });
  } catch (error) {
    return { ...emptyTally(), failed: [{ test: name, why: `${error}` }] };
  } finally {
    if (quietly) console.log(`\n=== ${name}`);
    for (const bytes of said) Deno.stdout.writeSync(bytes);
    const seconds = (performance.now() - start) / 1000;
    console.log(`${name} took ${seconds.toFixed(0)} s`);
  }
}

/** Runs groups beside each other, in the order in which they are given. */
export async function runBeside(
  groups: readonly Group[],
  { lanes, deadline }: { lanes: number; deadline?: AbortSignal },
): Promise<Tally> {
  const sum = emptyTally();
  // What two groups print at once nobody could read.
  const quietly = groups.length > 1;
  const options = { quietly, ...(deadline && { deadline }) };
  const queue = groups.values();
  const lane = async (): Promise<void> => {
    for (const group of queue) addTally(sum, await runGroup(group, options));
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return sum;
}

async function main(folders: readonly string[]): Promise<number> {
  const isAsked = (group: string, file: string): boolean =>
    folders.length === 0 ||
    folders.some((at) => at === group || at === file || file.startsWith(`${at}/`));
  const deadline = AbortSignal.timeout(limitMs);
  const asked = [...await testGroups()].map(([name, all]): Group => [
    name,
    all.filter((file) => isAsked(name, file)),
  ]).filter(([, files]) => files.length > 0);
  const modules = folders.length === 0 ? ["."] : asked.flatMap(([, files]) => files);
  // Types want none of what is being installed meanwhile.
  const [sum, isReady] = await Promise.all([
    runBeside([[types, modules]], { lanes: 1, deadline }),
    setup(Object.values(packages).flat()).catch(complain),
  ]);
  if (!isReady) {
    console.error("setup: going on with what is there; what needs the rest is skipped");
  }
  const { beside, alone: last } = timetable(asked);
  addTally(sum, await runBeside(beside, { lanes, deadline }));
  for (const group of last) {
    addTally(sum, await runGroup(group, { deadline, quietly: false }));
  }
  console.log(summary(sum).join("\n"));
  return sum.failed.length === 0 && sum.passed > 0 ? 0 : 1;
}

if (import.meta.main) {
  Deno.exit(await main(Deno.args.map((arg) => arg.replace(/\/$/, ""))));
}
