// SPDX-License-Identifier: Apache-2.0
/** The table of scenarios says what is run. */
import {
  deepStrictEqual as deepEqual,
  ok,
  strictEqual as equal,
} from "node:assert/strict";
import { scenarios } from "./suite.ts";
import { absent, tablePath, tableText } from "./table.ts";

Deno.test("the table of Open vSwitch's scenarios is what deno run -A tests/conformance/scenarios/table.ts writes", async () => {
  equal(await Deno.readTextFile(tablePath), tableText());
});

Deno.test("most of Open vSwitch's scenarios are run: 90 on netdev and 80 on system at least", () => {
  const run = (provider: "netdev" | "system") =>
    scenarios.filter(({ not, needs }) =>
      not?.[provider] === undefined && (provider === "netdev" || needs !== "zones")
    ).length;
  ok(run("netdev") >= 90, `${run("netdev")} on netdev`);
  ok(run("system") >= 80, `${run("system")} on system, zones aside`);
});

Deno.test("a scenario has a name of its own, and is run or has a reason why not", () => {
  const names = scenarios.map(({ name }) => name);
  deepEqual(names.length, new Set(names).size);
  deepEqual(names.filter((name) => name in absent), []);
});
