// SPDX-License-Identifier: Apache-2.0
/**
 * What a change breaks most often, for `deno task ok`: formatting, lint, types, docs, the
 * tests beside the code, those of what the tree must look like, and the warnings of the C sources.
 * It needs no root. What is compiled is kept, so that only the first run takes longer.
 *
 * The other folders of `tests/` are not run: `deno task test FOLDER` runs those that a change
 * concerns, `deno task test` all of them.
 *
 * Everything is run even when something fails; the exit status is 1 then.
 *
 * @module
 */
import { addTally, emptyTally, summary } from "./report.ts";
import { type Group, runBeside, runTests, testGroups } from "./run.ts";

const root = new URL("../../", import.meta.url).pathname;

/** Folders of `tests/` that are quick; so are all folders that sit beside the code. */
const quick = ["tests/frames", "tests/support", "tests/tidy"];
/** Of the files in `tests/` itself. */
const quickFiles = ["tests/tidy_test.ts", "tests/types_test.ts"];
/** Of `tests/c/c_test.ts`: what compiles C and runs nothing. */
const warnings = "/without a warning|every header/";

/** What is run of all groups. */
function quickOf(groups: Iterable<Group>): Group[] {
  return [...groups].map(([name, files]): Group => [
    name,
    files.filter((file) =>
      !name.startsWith("tests/") || quick.includes(name) || quickFiles.includes(file)
    ),
  ]).filter(([, files]) => files.length > 0);
}

/** Modules that users import; everything they can reach there must be documented. */
async function publicModules(): Promise<string[]> {
  const config = JSON.parse(await Deno.readTextFile(`${root}deno.json`)) as {
    exports: Record<string, string>;
  };
  return Object.values(config.exports);
}

async function step(name: string, args: readonly string[]): Promise<boolean> {
  const started = performance.now();
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: root,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${success ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
  return success;
}

async function main(): Promise<number> {
  const results = [
    await step("formatting", ["fmt", "--check", "--quiet"]),
    await step("lint", ["lint", "--quiet"]),
    await step("types", ["check", "--quiet", "."]),
    await step("docs", ["doc", "--lint", "--quiet", ...await publicModules()]),
  ];
  const sum = emptyTally();
  const c = "tests/c/c_test.ts";
  addTally(sum, await runTests(c, [c], { filter: warnings }));
  const lanes = navigator.hardwareConcurrency;
  addTally(sum, await runBeside(quickOf(await testGroups()), { lanes }));
  console.log(summary(sum).join("\n"));
  const good = results.every((success) => success) && sum.failed.length === 0;
  if (!good) console.log("not ok");
  return good ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
