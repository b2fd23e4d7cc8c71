// SPDX-License-Identifier: Apache-2.0
/** Comments, as one can read them. */
import { deepStrictEqual } from "node:assert/strict";
import { readTree } from "../support/tree.ts";

const columns = 100;

const files = readTree((path) => /^c\/.*\.[ch]$/.test(path) && path !== "c/abi_fields.h");

/** Numbers of the lines of a C file that a comment is on, from 1. */
function commentLines(text: string): Set<number> {
  const lines = new Set<number>();
  for (const { 0: match, index } of text.matchAll(/"(?:\\.|[^"\\\n])*"|\/\*[^]*?\*\//g)) {
    if (!match.startsWith("/*")) continue;
    const first = text.slice(0, index).split("\n").length;
    for (let at = 0; at < match.split("\n").length; at++) lines.add(first + at);
  }
  return lines;
}

/** Lines with a comment that are too long, as `path:line`. */
function tooLong(path: string, text: string): string[] {
  const commented = commentLines(text);
  return text.split("\n").flatMap((line, at) =>
    [...line].length > columns && commented.has(at + 1) ? [`${path}:${at + 1}`] : []
  );
}

Deno.test("c: a line with a comment has at most 100 columns", () => {
  deepStrictEqual(files.flatMap(({ path, text }) => tooLong(path, text)), []);
  const long = "x".repeat(columns);
  deepStrictEqual(
    tooLong("a.c", `int ${long};\n/* one\n * ${long}\n */ f("/* ${long}");\n`),
    [
      "a.c:3",
      "a.c:4",
    ],
  );
});

Deno.test("ts: a comment has lines of at most 100 columns", () => {
  const isComment = (line: string): boolean => /^ *(?:\/\/|\/?\*)/.test(line);
  // What cannot be broken: commands as one types them, and addresses.
  const isWhole = (line: string): boolean => /^ *\* {4,}\S|https?:|deno-lint/.test(line);
  const offenders = readTree((path) => path.endsWith(".ts")).flatMap(({ path, text }) =>
    text.split("\n").flatMap((line, at) =>
      [...line].length > columns && isComment(line) && !isWhole(line)
        ? [`${path}:${at + 1}`]
        : []
    )
  );
  deepStrictEqual(offenders, []);
});

Deno.test("c: comments put the subject first, in plain words", () => {
  const odd =
    /\b(?:dear|[Ww]hoever|tells? of|anyhow|[Ww]ho (?:ask|share|remove|put|own)s?)\b/g;
  const offenders = files.flatMap(({ path, text }) =>
    [...text.matchAll(/\/\*[^]*?\*\//g)].flatMap(([comment]) =>
      (comment.match(odd) ?? []).filter((words) => words !== "who owns")
        .map((words) => `${path}: ${words}`)
    )
  );
  deepStrictEqual(offenders, []);
});
