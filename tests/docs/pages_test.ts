// SPDX-License-Identifier: Apache-2.0
/**
 * Every program in a page is type-checked, and run as the page says; every command and link leads
 * somewhere.
 */
import assert from "node:assert/strict";
import { toolVerbs } from "../../cli/tool_verbs.ts";
import { parseCommandLine } from "../../control/options.ts";
import { verbs } from "../../control/verbs/verbs.ts";
import config from "../../deno.json" with { type: "json" };
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { root } from "../support/tree.ts";
import {
  asModule,
  type Block,
  blocksOf,
  isLike,
  pages,
  programOf,
  textOf,
} from "./pages.ts";

const all = pages().map((page) => ({ page, text: textOf(page) }));
const blocks = all.flatMap(({ page, text }) => blocksOf(page, text));
const at = ({ page, line }: Block): string => `${page}:${line}`;
const decoder = new TextDecoder();

async function deno(
  args: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
  }).output();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** Saves the programs of pages, each page in a folder of its own. */
async function saved(
  test: (folderOf: (page: string) => string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "upcall-docs-" });
  const folderOf = (page: string): string => `${folder}/${page.replaceAll(/\W/g, "_")}`;
  try {
    await Deno.copyFile(`${root}deno.json`, `${folder}/deno.json`);
    for (const block of blocks.filter(({ language }) => language === "ts")) {
      const name = programOf(block)?.name ?? `line_${block.line}.ts`;
      await Deno.mkdir(folderOf(block.page), { recursive: true });
      await Deno.writeTextFile(`${folderOf(block.page)}/${name}`, asModule(block));
    }
    await test(folderOf);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("pages: every block has a language and says what it is by a known note", () => {
  for (const block of blocks) {
    assert.match(block.language, /^(ts|ts ignore|sh|text|json|ini)$/, at(block));
    if (block.language !== "ts" || block.note === undefined) continue;
    assert.match(block.note, /^(file: |run: deno |examples\/\w+\.ts$)/, at(block));
  }
});

Deno.test("pages: what is said to be an example is the example's text", () => {
  const bare = (text: string): string => text.replace(/^(\/\/[^\n]*\n)+/, "").trim();
  for (const block of blocks) {
    if (!block.note?.startsWith("examples/")) continue;
    assert.equal(bare(block.text), bare(textOf(block.note)), at(block));
  }
});

Deno.test("pages: every program passes the type check", () =>
  saved(async (folderOf) => {
    const folders = [
      ...new Set(
        blocks.filter(({ language }) => language === "ts")
          .map(({ page }) => folderOf(page)),
      ),
    ];
    const files = folders.flatMap((folder) =>
      [...Deno.readDirSync(folder)].map(({ name }) => `${folder}/${name}`)
    );
    assert(files.length >= 15, "pages have programs");
    const { code, err } = await deno(["check", "--quiet", ...files], root);
    assert.equal(code, 0, err);
  }));

Deno.test(
  "pages: every program that can run does, and prints what the page says",
  skippable(async (t) => {
    {
      await using _ = await NetdevBench.open(); // Compiles the library, or skips.
    }
    await saved(async (folderOf) => {
      const rundir = await Deno.makeTempDir({ prefix: "upcall-docs-run-" });
      for (const [i, block] of blocks.entries()) {
        const [program, ...args] = programOf(block)?.command ?? [];
        if (program === undefined) continue;
        await t.step(`${at(block)}: ${[program, ...args].join(" ")}`, async () => {
          const { code, out, err } = await deno(args, folderOf(block.page), {
            UPCALL_RUNDIR: rundir,
          });
          assert.equal(code, 0, err);
          const next = blocks[i + 1];
          if (next?.note !== "prints") return;
          assert(isLike(out, next.text), `it printed\n${out}\nand not\n${next.text}`);
        });
      }
      await Deno.remove(rundir, { recursive: true });
    });
  }),
);

Deno.test("pages: every command is one of the tool's, with options that there are", () => {
  const names = new Set([...verbs, ...toolVerbs].map(({ name }) => name));
  let seen = 0;
  for (const block of blocks.filter(({ language }) => language === "sh")) {
    for (const line of block.text.replaceAll("\\\n", " ").split("\n")) {
      const [, words] = /\bdpctl(?:\.ts)? ([^#|&>]*)/.exec(line) ?? [];
      // There it is a name for the tool, and no call of it.
      if (words !== undefined && !line.startsWith("deno install")) {
        const command = parseCommandLine(words.trim().split(/\s+/));
        assert(names.has(command.words[0] ?? ""), `${at(block)}: ${line}`);
        seen++;
      }
      const [, task] = /\bdeno task ([\w:-]+)/.exec(line) ?? [];
      if (task !== undefined) assert(task in config.tasks, `${at(block)}: ${line}`);
    }
  }
  assert(seen >= 10);
});

Deno.test("pages: every link leads to a file, and to a heading of it", () => {
  const anchor = (heading: string): string =>
    heading.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-");
  for (const { page, text } of all) {
    const prose = text.replaceAll(/^```[^]*?^```$/gm, "");
    for (const [, target = ""] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [path = "", hash] = target.split("#");
      const url = new URL(path === "" ? page : path, `file://${root}${page}`);
      const file = path === "" ? `${root}${page}` : decodeURIComponent(url.pathname);
      const info = Deno.statSync(file);
      if (hash === undefined || info.isDirectory) continue;
      const headings = [...Deno.readTextFileSync(file).matchAll(/^#+ (.*)$/gm)]
        .map(([, heading = ""]) => anchor(heading));
      assert(headings.includes(hash), `${page}: ${target}`);
    }
  }
});

Deno.test("pages: every page is reached from docs/README.md", () => {
  const index = textOf("docs/README.md");
  for (const { page } of all) {
    const name = page.slice(page.lastIndexOf("/") + 1);
    if (page === "README.md" || name === "README.md") continue;
    assert(index.includes(`](${name})`), name);
  }
});
