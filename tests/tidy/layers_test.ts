// SPDX-License-Identifier: Apache-2.0
/** Imports go down only; and the rule notices those that do not. */
import { deepStrictEqual } from "node:assert/strict";
import { readTree } from "../support/tree.ts";
import { badImports } from "./layers.ts";

Deno.test("tidy: imports go down only, without exceptions", () => {
  deepStrictEqual(badImports(readTree((path) => path.endsWith(".ts"))), []);
});

Deno.test("tidy: an import that goes up, sideways or past a door is found", () => {
  const cases: readonly (readonly [path: string, specifier: string, isGood: boolean])[] =
    [
      ["providers/odp/key.ts", "../codec/leaf.ts", true],
      ["providers/codec/codec.ts", "../odp/key.ts", false],
      ["providers/errors.ts", "./codec/leaf.ts", false],
      ["providers/netdev/callbacks.ts", "../flow.ts", false],
      ["providers/netdev/ports.ts", "../system/ports.ts", false],
      ["providers/contract/ports.ts", "../netlink/mod.ts", false],
      ["providers/netdev/ports.ts", "../../ffi/layout.ts", true],
      ["providers/datapath.ts", "../ffi/layout.ts", false],
      ["providers/datapath.ts", "../control/serve.ts", false],
      ["ffi/build.ts", "../providers/errors.ts", false],
      ["policy/policy.ts", "../providers/datapath.ts", true],
      ["policy/policy.ts", "../providers/contract/flows.ts", false],
      ["policy/policy.ts", "../providers/netdev/mod.ts", false],
      ["control/verbs/verbs.ts", "../../cli/help.ts", false],
      ["cli/help.ts", "../control/verbs/verbs.ts", true],
      ["cli/help.ts", "../tests/support/wait.ts", false],
      ["nowhere/a.ts", "../mod.ts", false],
    ];
  for (const [path, specifier, isGood] of cases) {
    const text = `import type { Name } from "${specifier}";\n`;
    const found = badImports([{ path, text }]);
    deepStrictEqual(found.length === 0, isGood, `${path} ${specifier}: ${found}`);
  }
});
