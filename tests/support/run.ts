// SPDX-License-Identifier: Apache-2.0
/**
 * Runs the tests, for `deno task test`: sets the machine up, runs every test file, says what
 * was skipped and what failed and why, and ends with one line `N passed, N failed, N skipped`. The
 * exit status is 1 if anything failed.
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

/** Runs files in one `deno test`. */
export async function runTests(
  name: string,
  files: readonly string[],
  options: { signal?: AbortSignal; stdout?: Output; stderr?: Output } = {},
): Promise<Tally> {
  const { stdout: out = Deno.stdout, stderr: err = Deno.stderr } = options;
  const work = await Deno.makeTempDir({ prefix: "upcall-tests-" });
  try {
    const junit = `${work}/junit.xml`;
    const skips = `${work}/skips`;
    const figures = `${work}/figures`;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--quiet", `--junit-path=${junit}`, ...files],
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
 * What runs two at a time, in this order: none of it judges a time, and most of it is one thread.
 * The guest's tests come first: they take one core, and ten minutes and more where system calls are
 * slow.
 */
const patient = [
  "tests/system",
  "control",
  "cli",
  "docs",
  "ffi",
  "providers",
  "tests/docs",
  "tests/web",
  "tests/fuzz",
  "tests/odp",
  "tests/package",
  "tests/policy",
  "tests/openflow",
  "tests/ovsdb",
  "tests/testing",
  "tests/support",
  "tests/ovsdb",
  "openflow",
  "policy",
  "frames",
  "tests/frames",
  "tests/differential",
  "tests/*",
  "tests/tidy",
  "tests/c",
];

/** The groups in the order in which they run: those that run beside others come first. */
function inOrder(groups: Map<string, string[]>): [string, string[]][] {
  const rank = ([group]: [string, unknown]): number => {
    const at = patient.indexOf(group);
    return at < 0 ? patient.length : at;
  };
  return [...groups].sort((a, b) => rank(a) - rank(b));
}

/** Runs one group. Whatever happens to it, the others are run and the figures come last. */
async function runGroup(
  group: string,
  files: readonly string[],
  { deadline, quietly }: { deadline: AbortSignal; quietly: boolean },
): Promise<Tally> {
  if (deadline.aborted) {
    return { ...emptyTally(), failed: [{ test: group, why: "out of time" }] };
  }
  const said: Uint8Array[] = [];
  const keep: Output = { writeSync: (bytes) => said.push(bytes.slice()) && bytes.length };
  const start = performance.now();
  const signal = AbortSignal.any([deadline, AbortSignal.timeout(groupLimitMs)]);
  if (!quietly) console.log(`\n=== ${group}`);
  try {
    return await runTests(group, files, {
      signal,
      ...(quietly && { stdout: keep, stderr: keep }),
    });
  } catch (error) {
    return { ...emptyTally(), failed: [{ test: group, why: `${error}` }] };
  } finally {
    if (quietly) console.log(`\n=== ${group}`);
    for (const bytes of said) Deno.stdout.writeSync(bytes);
    const seconds = (performance.now() - start) / 1000;
    console.log(`${group} took ${seconds.toFixed(0)} s`);
  }
}

async function main(folders: readonly string[]): Promise<number> {
  if (!await setup(Object.values(packages).flat()).catch(complain)) {
    console.error("setup: going on with what is there; what needs the rest is skipped");
  }
  const isAsked = (group: string, file: string): boolean =>
    folders.length === 0 ||
    folders.some((at) => at === group || at === file || file.startsWith(`${at}/`));
  const deadline = AbortSignal.timeout(limitMs);
  const sum = emptyTally();
  const asked = inOrder(await testGroups()).map(([group, all]) =>
    [group, all.filter((file) => isAsked(group, file))] as const
  ).filter(([, files]) => files.length > 0);
  const together = asked.filter(([group]) => patient.includes(group));
  // What two groups print at once nobody could read: it comes when a group is over.
  const quietly = together.length > 1;
  const queue = together.values();
  const lane = async (): Promise<void> => {
    for (const [group, files] of queue) {
      addTally(sum, await runGroup(group, files, { deadline, quietly }));
    }
  };
  await Promise.all([lane(), lane()]);
  for (const [group, files] of asked) {
    if (patient.includes(group)) continue;
    addTally(sum, await runGroup(group, files, { deadline, quietly: false }));
  }
  console.log(summary(sum).join("\n"));
  return sum.failed.length === 0 && sum.passed > 0 ? 0 : 1;
}

if (import.meta.main) {
  Deno.exit(await main(Deno.args.map((arg) => arg.replace(/\/$/, ""))));
}
