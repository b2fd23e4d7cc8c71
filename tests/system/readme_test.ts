// SPDX-License-Identifier: Apache-2.0
/** The map of scenarios names tests that are there. */
import { ok } from "node:assert/strict";

/** Names in quotes in the tables of a page. */
function quotedNames(page: string): string[] {
  const rows = page.split("\n").filter((line) => line.startsWith("|"));
  return rows.flatMap((row) =>
    [...row.matchAll(/"([^"]+)"/g)].map(([, name = ""]) => name)
  );
}

Deno.test("every test that the README names is there", async () => {
  const here = new URL("./", import.meta.url);
  const names = quotedNames(await Deno.readTextFile(new URL("README.md", here)));
  ok(names.length > 30, `${names.length} names`);
  let tests = "";
  for (const folder of [here, new URL("../conformance/", here)]) {
    for await (const { name } of Deno.readDir(folder)) {
      if (name.endsWith(".ts")) tests += await Deno.readTextFile(new URL(name, folder));
    }
  }
  const missing = names.filter((name) => !tests.includes(name));
  ok(missing.length === 0, missing.join("\n"));
});
