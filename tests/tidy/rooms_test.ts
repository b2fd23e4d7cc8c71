// SPDX-License-Identifier: Apache-2.0
/**
 * No circles, no crowds, nothing too long: the rules, and that each of them notices an offender.
 */
import { deepStrictEqual } from "node:assert/strict";
import {
  circles,
  crookedLines,
  crowdedFolders,
  importGraph,
  isTest,
  longFiles,
  MAX_COMMENT_COLUMNS,
  MAX_FILE_LINES,
  MAX_FOLDER_FILES,
  wideComments,
} from "./rooms.ts";
import { readTree, type SourceFile } from "../support/tree.ts";

const files = readTree((path) => /\.(ts|c|h)$/.test(path));
const modules = files.filter(({ path }) => path.endsWith(".ts"));

function none(offenders: readonly unknown[]): void {
  deepStrictEqual(offenders, []);
}

function file(path: string, text: string): SourceFile {
  return { path, text };
}

Deno.test("tidy: TypeScript files import each other in no circle", () => {
  none(circles(importGraph(modules)));
});

Deno.test("tidy: a circle is found, through types, re-exports and dynamic imports too", () => {
  const graph = importGraph([
    file("a.ts", 'import type { B } from "./b.ts";\n'),
    file("b.ts", 'export * from "./c/c.ts";\n'),
    file("c/c.ts", 'const later = await import("../a.ts");\n'),
    file("d.ts", 'import { a } from "./a.ts";\n'),
    file("e.ts", 'import { e } from "./e.ts";\n'),
  ]);
  deepStrictEqual(circles(graph), [["a.ts", "b.ts", "c/c.ts"], ["e.ts"]]);
});

Deno.test("tidy: no folder is a crowd", () => {
  none(crowdedFolders(files.map(({ path }) => path)));
  const crowd = Array.from({ length: MAX_FOLDER_FILES + 1 }, (_, i) => `a/${i}.ts`);
  deepStrictEqual(crowdedFolders([...crowd, "a/b/c.ts"]), ["a/ has 26 files"]);
  none(crowdedFolders([...crowd.slice(1), "a/a_test.ts"]));
});

Deno.test("tidy: files are of a size that one reads", () => {
  none(longFiles(files));
  const long = file("a.ts", "\n".repeat(MAX_FILE_LINES + 1));
  deepStrictEqual(longFiles([long]), ["a.ts has 431 lines"]);
});

Deno.test("tidy: pages and comments are in plain English", () => {
  const pages = readTree((path) => /\.(ts|md)$/.test(path));
  none(
    pages.filter(({ path }) => !isTest(path) && !path.startsWith("c/"))
      .flatMap(crookedLines),
  );
  for (const words of ["for whoeve" + "r wants it", "it tell" + "s of it"]) {
    deepStrictEqual(crookedLines(file("a.ts", `// ${words}\n`)).length, 1);
  }
});

Deno.test("tidy: comments are of a width that one reads", () => {
  none(
    modules.filter(({ path }) => !isTest(path))
      .flatMap(wideComments),
  );
  const wide = "word ".repeat(MAX_COMMENT_COLUMNS / 5);
  for (const start of ["// ", "/** ", "   * "]) {
    deepStrictEqual(wideComments(file("a.ts", `\n${start}${wide}\n`)).length, 1);
  }
  none(wideComments(file("a.ts", `// ${"x".repeat(MAX_COMMENT_COLUMNS)}\n`)));
});
