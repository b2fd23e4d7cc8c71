// SPDX-License-Identifier: Apache-2.0
/** What users can import: how many names, from which entries, and none that are ours alone. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { figure } from "../support/figure.ts";
import { root } from "../support/tree.ts";

/** Names of `.` at most: what a program needs to open datapaths, decide and look. */
const MAX_NAMES = 125;

/** Names that only this project calls: none of its entries exports them. */
const ours = [
  "asDatapathError",
  "inContext",
  "KeyAndMaskBytes",
  "RecurringMask",
  "reasonOf",
  "toActionBytes",
  "toKeyAndMaskBytes",
  "toKeyBytes",
  "toProviderOp",
  "toRawVerdicts",
  "toResult",
  "viewBytes",
];

const { exports } = JSON.parse(await Deno.readTextFile(`${root}deno.json`)) as {
  exports: Record<string, string>;
};

interface Documented {
  readonly nodes: Readonly<Record<string, { readonly symbols: { name: string }[] }>>;
}

/** Names that the module at `path` exports, types included. */
async function namesOf(path: string): Promise<Set<string>> {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--json", path],
    cwd: root,
    stderr: "inherit",
  }).output();
  ok(success);
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout)) as Documented;
  return new Set(
    Object.values(nodes).flatMap(({ symbols }) => symbols.map(({ name }) => name)),
  );
}

Deno.test("tidy: the main entry has what programs need, and not everything", async () => {
  const names = await namesOf(exports["."] as string);
  figure(`mod.ts exports ${names.size} names, ${MAX_NAMES} allowed`);
  ok(names.size <= MAX_NAMES, `${names.size} names`);
  const needed = [
    "openDatapath",
    "enumerateDatapaths",
    "registerProvider",
    "DatapathError",
  ];
  deepStrictEqual(
    [...needed, "exact", "output", "ct", "recirc"].filter((n) => !names.has(n)),
    [],
  );
});

Deno.test("tidy: what users can reach is documented, and names only what they can import", async () => {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--lint", "--quiet", ...Object.values(exports)],
    cwd: root,
    env: { NO_COLOR: "1" },
    stdout: "null",
  }).output();
  const text = new TextDecoder().decode(stderr);
  deepStrictEqual(success ? "" : text, "");
});

Deno.test("tidy: no entry exports what only this project calls", async () => {
  const offenders: string[] = [];
  for (const [entry, path] of Object.entries(exports)) {
    const names = await namesOf(path);
    ok(names.size > 0, `${entry} exports nothing`);
    for (const name of ours) {
      if (names.has(name)) offenders.push(`${entry} exports ${name}`);
    }
  }
  deepStrictEqual(offenders, []);
});
