// SPDX-License-Identifier: Apache-2.0
/**
 * Programs in pages. A comment before a block says what the block is:
 *
 * - `<!-- file: switch.ts -->` is saved under that name, beside the other files of the page;
 * - `<!-- run: deno run -A switch.ts -->` is saved under the name of its last word, and run as it
 *   says;
 * - `<!-- prints -->` before a block without language is what the program before it prints, where
 *   `…` stands for anything;
 * - `<!-- examples/switch.ts -->` is the text of that file, after its first comments.
 *
 * A block of TypeScript is type-checked, unless its language says `ignore`.
 *
 * @module
 */
import { root } from "../support/tree.ts";

/** A fenced block of a page. */
export interface Block {
  /** The page, `docs/ports.md`. */
  readonly page: string;
  /** Line of its first fence, from 1. */
  readonly line: number;
  /** `ts`, `sh`, `text`, or with a word behind: `ts ignore`. */
  readonly language: string;
  readonly text: string;
  /** The comment before it, without its delimiters. */
  readonly note: string | undefined;
}

/** Paths of all pages that people read. */
export function pages(): string[] {
  const docs = [...Deno.readDirSync(`${root}docs`)].map(({ name }) => name)
    .filter((name) => name.endsWith(".md")).sort();
  return ["README.md", ...docs.map((name) => `docs/${name}`)];
}

/** The text of a page. */
export function textOf(page: string): string {
  return Deno.readTextFileSync(root + page);
}

/** The blocks of a page, in order. */
export function blocksOf(page: string, text: string): Block[] {
  const blocks: Block[] = [];
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; at++) {
    const [, language] = /^```(.*)$/.exec(lines[at] ?? "") ?? [];
    if (language === undefined) continue;
    const start = at;
    while (++at < lines.length && lines[at] !== "```");
    const before = lines.slice(0, start).reverse().find((line) => line.trim() !== "");
    const [, note] = /^<!-- (.*) -->$/.exec(before ?? "") ?? [];
    blocks.push({
      page,
      line: start + 1,
      language: language.trim(),
      text: lines.slice(start + 1, at).join("\n"),
      note,
    });
  }
  return blocks;
}

/** The name that a block is saved under, and how it is run, if it is. */
export function programOf(
  { note = "" }: Block,
): { readonly name: string; readonly command?: readonly string[] } | undefined {
  const [, kind, rest = ""] = /^(file|run): (.+)$/.exec(note) ?? [];
  if (kind === undefined) return undefined;
  const words = rest.split(" ");
  // Behind the name there may be arguments of the program.
  const name = words.find((word) => word.endsWith(".ts"));
  if (name === undefined) throw new SyntaxError(`no file in <!-- ${note} -->`);
  return kind === "file" ? { name } : { name, command: words };
}

/** A block as a module anywhere: what it imports from this project is named in full. */
export function asModule({ text: given, note }: Block): string {
  // An example imports its neighbours.
  const text = note?.startsWith("examples/") === true
    ? given.replaceAll('from "./', 'from "../examples/')
    : given;
  return text.replaceAll(
    /(from |import\()"\.\.?\/((?:mod|[a-z]+\/[a-z_/]+)\.ts)"/g,
    (whole, how, path) => existsInTree(path) ? `${how}"file://${root}${path}"` : whole,
  );
}

function existsInTree(path: string): boolean {
  try {
    return Deno.statSync(root + path).isFile;
  } catch {
    return false;
  }
}

/** Whether what was printed is what a page says, where `…` stands for anything. */
export function isLike(printed: string, wanted: string): boolean {
  const pattern = dedent(wanted).split("…")
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("[^]*?");
  return new RegExp(`^${pattern}$`).test(dedent(printed));
}

/** Without what all lines begin with: the formatter takes it off blocks. */
function dedent(text: string): string {
  const lines = text.trimEnd().split("\n");
  const indents = lines.filter((line) => line !== "").map((line) => line.search(/\S/));
  const least = Math.min(...indents);
  return lines.map((line) => line.slice(least)).join("\n");
}
