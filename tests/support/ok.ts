// SPDX-License-Identifier: Apache-2.0
/**
 * All that can be checked in a minute without root, for `deno task ok`: formatting, lint,
 * types, docs, and the tests that need no device, namespace or guest. The C sources'
 * warnings and the tidiness of the tree are among those tests.
 *
 * Everything is run even when something fails; the exit status is 1 then.
 *
 * @module
 */
import { addTally, emptyTally, summary } from "./report.ts";
import { runTests, testGroups } from "./run.ts";

const root = new URL("../../", import.meta.url).pathname;

/** Groups of tests that want root, devices, a guest or much time. */
const heavy = ["tests/system", "tests/netdev", "tests/bench", "tests/fuzz", "tests/demo"];

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
  for (const [group, files] of await testGroups()) {
    if (heavy.includes(group)) continue;
    console.log(`\n=== ${group}`);
    addTally(sum, await runTests(group, files));
  }
  console.log(summary(sum).join("\n"));
  const good = results.every((success) => success) && sum.failed.length === 0;
  if (!good) console.log("not ok");
  return good ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
