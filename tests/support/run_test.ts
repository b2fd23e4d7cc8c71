// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, ok } from "node:assert/strict";
import { root } from "./tree.ts";
import { alone, longest, testGroups, timetable } from "./run.ts";

Deno.test("the timetable has every test file once", async () => {
  const groups = await testGroups();
  const { beside, alone: last } = timetable(groups);
  const filesOf = (parts: Iterable<readonly [string, readonly string[]]>): string[] =>
    [...parts].flatMap(([, files]) => files).sort();
  deepStrictEqual(filesOf([...beside, ...last]), filesOf(groups));
});

Deno.test("the timetable begins with what takes longest, and parts what runs by itself", () => {
  const { beside, alone: last } = timetable([
    ["cli", ["cli/a_test.ts"]],
    ["tests/bench", ["tests/bench/attacks_test.ts"]],
    ["tests/c", ["tests/c/c_test.ts"]],
    ["tests/netdev", ["tests/netdev/demo_test.ts", "tests/netdev/mtu_test.ts"]],
    ["tests/system", ["tests/system/guest_test.ts"]],
  ]);
  deepStrictEqual(beside.map(([name]) => name), [
    "tests/system",
    "tests/netdev",
    "tests/c",
    "cli",
  ]);
  deepStrictEqual(last, [
    ["tests/bench", ["tests/bench/attacks_test.ts"]],
    ["tests/netdev", ["tests/netdev/demo_test.ts"]],
  ]);
});

Deno.test("what the timetable names is there", () => {
  for (const path of [...alone, ...longest]) ok(Deno.statSync(root + path), path);
});
