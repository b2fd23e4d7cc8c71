// SPDX-License-Identifier: Apache-2.0
/** What the tree must look like. Each failure lists every offender. */
import { deepStrictEqual } from "node:assert/strict";
import { variants } from "../ffi/flags.ts";
import { generate } from "../ffi/generate.ts";
import { findProgram, skippable, Unsupported } from "./support/skip.ts";
import {
  importsOf,
  isGenerated,
  readTree,
  root,
  type SourceFile,
  withoutComments,
} from "./support/tree.ts";

const maxFunctionLines = 70;

const files = readTree((path) => /\.(ts|c|h|md|json)$|^\.ci\//.test(path));
const modules = files.filter(({ path }) => path.endsWith(".ts"));
const cFiles = files.filter(({ path }) => /\.[ch]$/.test(path));
const byPath = new Map(files.map((file) => [file.path, file]));
const config = JSON.parse(byPath.get("deno.json")?.text ?? "{}") as {
  version: string;
  exports: Record<string, string>;
};

/** Asserts that there are no offenders, and shows them if there are. */
function none(offenders: Iterable<string>): void {
  deepStrictEqual([...offenders], []);
}

/** Every module that is reached from `roots`, types included: Deno fetches those too. */
function reachable(roots: readonly string[]): Map<string, SourceFile> {
  const seen = new Map<string, SourceFile>();
  const queue = [...roots];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    const file = byPath.get(path);
    if (file === undefined || seen.has(path)) continue;
    seen.set(path, file);
    for (const { target } of importsOf(file)) {
      if (target?.endsWith(".ts")) queue.push(target);
    }
  }
  return seen;
}

const entries = [
  ...Object.values(config.exports).map((path) => path.replace("./", "")),
  "dpctl.ts",
];

Deno.test("tidy: users fetch nothing but this: no bare specifier is reachable", () => {
  const offenders: string[] = [];
  for (const [path, file] of reachable(entries)) {
    for (const { specifier, target } of importsOf(file)) {
      if (target === undefined && !specifier.startsWith("node:")) {
        offenders.push(`${path} imports ${specifier}`);
      } else if (target !== undefined && !existsInTree(target)) {
        offenders.push(`${path} imports ${specifier}, which is not there`);
      }
    }
  }
  for (const path of entries) {
    if (!byPath.has(path)) offenders.push(`${path} is not there`);
  }
  none(offenders);
});

function existsInTree(path: string): boolean {
  if (byPath.has(path)) return true;
  try {
    return Deno.statSync(root + path).isFile;
  } catch {
    return false;
  }
}

Deno.test("tidy: every module is used", () => {
  const imported = new Set(
    modules.flatMap((file) => importsOf(file).flatMap(({ target }) => target ?? [])),
  );
  const mentioned = files.filter(({ path }) => /\.(json|md|ts)$|^\.ci\//.test(path));
  const isProgram = (file: SourceFile): boolean =>
    file.text.includes("import.meta.main") || /^(examples|tests)\//.test(file.path);
  none(
    modules.map((file) => ({
      file,
      name: file.path.slice(file.path.lastIndexOf("/") + 1),
    }))
      .filter(({ file }) => !imported.has(file.path) && !entries.includes(file.path))
      .filter(({ file }) => !/_(test|bench)\.ts$/.test(file.path))
      // A program nobody imports is named by a task, a page, or the file that starts it.
      .filter(({ file, name }) =>
        !isProgram(file) ||
        !mentioned.some((other) => other !== file && other.text.includes(name))
      )
      .filter(({ file }) => !file.path.startsWith("examples/"))
      .map(({ file }) => file.path),
  );
});

Deno.test("tidy: C functions fit on a page", () => {
  const offenders: string[] = [];
  for (const { path, text } of cFiles) {
    const lines = withoutComments(text).split("\n");
    let start = -1;
    lines.forEach((line, at) => {
      if (/^(\{|\w.*\)\s*\{)\s*$/.test(line)) start = at;
      if (!line.startsWith("}") || start < 0) return;
      const length = at - start + 1;
      if (length > maxFunctionLines) {
        offenders.push(`${path}:${start + 1}: ${length} lines`);
      }
      start = -1;
    });
  }
  none(offenders);
});

Deno.test("tidy: every C header says what it is for and who may call it", () => {
  const headers = cFiles.filter(({ path }) => /^c\/(\w+\/)?\w+\.h$/.test(path));
  none(
    headers.filter((file) => !isGenerated(file)).flatMap(({ path, text }) => {
      const wrong: string[] = [];
      if (!text.includes(`${path.slice(path.lastIndexOf("/") + 1)} - `)) {
        wrong.push(`${path} does not say what it is`);
      }
      if (!/\bThreads?\b/.test(text)) wrong.push(`${path} does not say who may call it`);
      return wrong;
    }),
  );
});

Deno.test("tidy: every source file names its licence first", () => {
  none(
    // The examples are shown as they are, and every line of them counts.
    [...modules, ...cFiles].filter(({ path }) => !/^examples\/\w+\.ts$/.test(path))
      .filter(({ text }) => {
        const head = text.replace(/^#![^\n]*\n/, "").split("\n", 1)[0] ?? "";
        return !head.includes("SPDX-License-Identifier: Apache-2.0");
      })
      .map(({ path }) => path),
  );
});

/** Words that must not be in the tree, where, and why. Spelled so as not to match themselves. */
const banned: readonly (readonly [pattern: RegExp, where: RegExp, why: string])[] = [
  [/\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b/, /./, "unfinished work"],
  [/\b(throw|Error\().*not\s(yet\s)?implemente[d]\b/i, /./, "unfinished work"],
  [/(^|[\s"'`(=])\/(wor[k]|tmp\/upcal[l])\//, /./, "path of one machine"],
  [/\b(issue|task)\s#?[1-9]\b/i, /./, "number that means nothing here"],
  [/^\s*export\sdefaul[t]\b/m, /\.ts$/, "default export"],
  [/^\s*(export\s)?(const\s)?enu[m]\s/m, /\.ts$/, "enum: use a union of strings"],
  [/\bconsole\.[a-z]/, /^(providers|mod)\b.*\.ts$/, "a library that prints"],
  [
    /\bDeno\.dlopen\(/,
    /^(?!ffi\/library\.ts).*\.ts$/,
    "libraries are opened in one place",
  ],
  [/(?<!asm(__)?\s)(?<!asm)\bvolatile\b/, /^c\/.*\.[ch]$/, "volatile: use C11 atomics"],
  [/(?<![a-z_])f?printf\(/, /^c\/.*\.[ch]$/, "a library that prints"],
  [
    /Deno\.test\.(only|ignore)|^\s*(only|ignore):\s(true|!)/m,
    /_test\.ts$/,
    "skip by skip.ts",
  ],
];

Deno.test("tidy: no banned words", () => {
  const offenders: string[] = [];
  for (const { path, text } of files) {
    if (path === "deno.lock") continue;
    for (const [pattern, where, why] of banned) {
      if (!where.test(path)) continue;
      const searched =
        why.includes("prints") || why.includes("opened") || why.includes("C11")
          ? withoutComments(text)
          : text;
      const at = searched.search(pattern);
      if (at < 0) continue;
      const line = searched.slice(0, at).split("\n").length;
      offenders.push(`${path}:${line}: ${why}: ${pattern.exec(searched)?.[0].trim()}`);
    }
  }
  none(offenders);
});

Deno.test(
  "tidy: generated files are fresh",
  skippable(async () => {
    if (findProgram("cc") === undefined) {
      throw new Unsupported("C compiler", { requirement: "netdev" });
    }
    const stale: string[] = [];
    for (const [path, content] of await generate()) {
      if (content !== await Deno.readTextFile(root + path).catch(() => "")) {
        stale.push(path);
      }
    }
    none(stale.map((path) => `${path} is not what deno task gen writes`));
  }),
);

/** An example as the README shows it: without the licence line. */
function shown(path: string): string {
  return (byPath.get(path)?.text ?? "").replace(/^\/\/ SPDX[^\n]*\n/, "").trim();
}

Deno.test("tidy: README's switch is the example, word for word", () => {
  const readme = byPath.get("README.md")?.text ?? "";
  const blocks = [...readme.matchAll(/```ts\n([^]*?)```/g)].map(([, code]) =>
    code?.trim()
  );
  const example = shown("examples/learning_switch.ts");
  none(
    example !== "" && blocks.includes(example)
      ? []
      : ["README.md lacks the example's text"],
  );
});

Deno.test("tidy: the two examples are as short as the design asks", () => {
  const limits = { "examples/learning_switch.ts": 26, "examples/firewall.ts": 32 };
  const offenders = Object.entries(limits).flatMap(([path, limit]) => {
    const lines = shown(path).split("\n").length;
    return !byPath.has(path) || lines <= limit
      ? []
      : [`${path}: ${lines} lines, ${limit} allowed`];
  });
  none(offenders);
});

Deno.test("tidy: the pages of the house are there, and name this version", () => {
  const pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];
  const offenders = pages.filter((path) => !byPath.has(path));
  if (!(byPath.get("CHANGELOG.md")?.text ?? "").includes(`## ${config.version}`)) {
    offenders.push(`CHANGELOG.md has no section for ${config.version}`);
  }
  none(offenders);
});

Deno.test("tidy: the map in CONTRIBUTING names what is there, and all of it", () => {
  const map =
    /```text\n([^]*?)```/.exec(byPath.get("CONTRIBUTING.md")?.text ?? "")?.[1] ?? "";
  const named = new Set(map.match(/[\w.]+\/(?=\s)|\b\w+\.ts\b/g) ?? []);
  const words = new Set(map.match(/\w+/g) ?? []);
  const sources = [...modules, ...cFiles].filter(({ path }) =>
    !/_(test|bench)\.ts$/.test(path)
  );
  const folders = new Set(
    sources.flatMap(({ path }) =>
      path.split("/").slice(0, -1).map((folder) => `${folder}/`)
    ),
  );
  const isThere = (name: string): boolean =>
    name === ".ci/" || folders.has(name) || byPath.has(name);
  // A C unit is found by its prefix: cls covers cls_table.c and cls_int.h.
  const stem = (path: string): string =>
    (path.startsWith("c/") ? /([a-z0-9]+)\w*\.\w+$/ : /(\w+)\.\w+$/).exec(path)?.[1] ??
      path;
  none([
    ...[...named].filter((name) => !isThere(name)).map((name) => `${name} is not there`),
    ...[...folders].filter((folder) => !named.has(folder))
      .map((folder) => `${folder} is not on the map`),
    ...sources.map(({ path }) => path)
      .filter((path) =>
        /^(providers|ffi|c)\/\w+\.(ts|c|h)$/.test(path) && !words.has(stem(path))
      )
      .map((path) => `${path} is not on the map`),
  ]);
});

Deno.test("tidy: compiler flags name units that exist", () => {
  const names = new Set(cFiles.map(({ path }) => path.replace(/^c\//, "")));
  none(Object.keys(variants).filter((name) => !names.has(name)));
});
