// SPDX-License-Identifier: Apache-2.0
/** The table of scenarios says what is run. */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { scenarios } from "./suite.ts";
import { absent, tablePath, tableText } from "./table.ts";

Deno.test("the table of Open vSwitch's scenarios is what deno run -A tests/conformance/scenarios/table.ts writes", async () => {
  equal(await Deno.readTextFile(tablePath), tableText());
});

Deno.test("a scenario has a name of its own, and is run or has a reason why not", () => {
  const names = scenarios.map(({ name }) => name);
  deepEqual(names.length, new Set(names).size);
  deepEqual(names.filter((name) => name in absent), []);
});
