// SPDX-License-Identifier: Apache-2.0
/**
 * Who includes whom in `c/`. What objects want of each other is looked at where they are compiled:
 * `tests/c/symbols_test.ts`.
 */
import { deepStrictEqual } from "node:assert/strict";
import { includeOffenders } from "../support/c_layers.ts";
import { readTree, type SourceFile } from "../support/tree.ts";

const files = readTree((path) => /^c\/.*\.[ch]$/.test(path))
  .map(({ path, text }) => ({ path: path.slice("c/".length), text }));

Deno.test("c: a file includes headers of its own unit and of lower floors", () => {
  deepStrictEqual(includeOffenders(files), []);
});

Deno.test("c: texts of errors are reasons, for the caller to say what failed", () => {
  const offenders = files.flatMap(({ path, text }) =>
    [...text.matchAll(/\b(?:error_set\([^,"]*,|why =)\s*"((?:[^"\\]|\\.)*)"/g)]
      .map(([, words]) => words ?? "")
      .filter((words) => !/^(?:[a-z%]|EAL|DPDK|VLAN)|^$/.test(words) || /\.$/.test(words))
      .map((words) => `${path}: ${words}`)
  );
  deepStrictEqual(offenders, []);
});

/** The tree with one more line in front of a file, which is made if there is none. */
function changed(path: string, line: string): SourceFile[] {
  const file = files.find((known) => known.path === path);
  return [...files.filter((known) => known !== file), {
    path,
    text: `${line}\n${file?.text ?? ""}`,
  }];
}

Deno.test("c: an include that goes up is found, and so is what it leads to", () => {
  const cases = [
    [
      "base/slab.c",
      "cls/cls.h",
      /slab\.c includes cls\/cls\.h, which is no lower floor's/,
    ],
    ["cls/cls.c", "port/port.h", /no lower floor's/], // The same floor.
    ["flow/flow_op.c", "cls/cls_int.h", /which is another unit's own/],
    ["upcall/upcall.c", "dp_int.h", /no lower floor's/],
    ["dp_int.h", "dp_int.h", /dp_int\.h includes dp_int\.h, which is for dp_\*\.c/],
    ["packet/worker.h", "path/tx.h", /circle: (packet\/worker\.h -> path\/tx\.h|path)/],
    ["rooms/rooms.c", "base/mem.h", /rooms\/ has no floor/],
    ["base/slab.c", "base/gone.h", /which is not there/],
  ] as const;
  for (const [path, name, pattern] of cases) {
    const offenders = includeOffenders(changed(path, `#include "${name}"`)).join("\n");
    if (!pattern.test(offenders)) {
      throw new Error(`${path} with ${name}: ${offenders || "nothing found"}`);
    }
  }
});
