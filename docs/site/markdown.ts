// SPDX-License-Identifier: Apache-2.0
/**
 * The part of Markdown that the pages of this project use, as HTML.  What it does not know it
 * refuses, so that no page shows marks instead of what they mean.
 *
 * @module
 */
import { escape } from "./escape.ts";
import { highlight } from "./highlight.ts";

/** A heading of a page. */
export interface Heading {
  readonly level: number;
  readonly text: string;
  readonly id: string;
}

/** A page as HTML. */
export interface Rendered {
  readonly html: string;
  readonly headings: readonly Heading[];
  /** Its words, for the search: one text for what stands under each heading. */
  readonly parts: readonly {
    readonly id: string;
    readonly title: string;
    text: string;
  }[];
}

/** Renders a page; `link` says where a link of it leads to on the site. */
export function render(markdown: string, link: (target: string) => string): Rendered {
  return new Renderer(link).page(markdown);
}

class Renderer {
  readonly #link: (target: string) => string;
  readonly #headings: Heading[] = [];
  readonly #ids = new Map<string, number>();
  readonly #parts: { id: string; title: string; text: string }[] = [];

  constructor(link: (target: string) => string) {
    this.#link = link;
  }

  page(markdown: string): Rendered {
    const html = this.#blocks(markdown.replaceAll("\r\n", "\n").split("\n"));
    return { html, headings: this.#headings, parts: this.#parts };
  }

  #blocks(lines: readonly string[]): string {
    const html: string[] = [];
    for (let at = 0; at < lines.length;) {
      const [text, next] = this.#block(lines, at);
      if (text !== "") html.push(text);
      at = next;
    }
    return html.join("\n");
  }

  /** The block that begins at a line, and the line behind it. */
  #block(lines: readonly string[], at: number): [html: string, next: number] {
    const line = lines[at] as string;
    if (line.trim() === "") return ["", at + 1];
    if (line.startsWith("```")) return this.#code(lines, at);
    if (line.startsWith("<!--")) return comment(lines, at);
    const [, marks, title] = /^(#{1,6}) (.+)$/.exec(line) ?? [];
    if (marks !== undefined && title !== undefined) {
      return [this.#heading(marks.length, title.trim()), at + 1];
    }
    if (/^(-{3,}|\*{3,})$/.test(line)) return ["<hr>", at + 1];
    if (line.startsWith("|")) return this.#table(lines, at);
    if (line.startsWith(">")) return this.#quote(lines, at);
    if (item.test(line)) return this.#list(lines, at);
    if (/^( {4}|\t)/.test(line)) throw new SyntaxError(`indented code: ${line}`);
    if (/^<[a-z/!]/i.test(line)) throw new SyntaxError(`HTML: ${line}`);
    return this.#paragraph(lines, at);
  }

  #heading(level: number, title: string): string {
    const text = plain(title);
    const slug = text.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim()
      .replaceAll(/\s/g, "-");
    const times = this.#ids.get(slug) ?? 0;
    this.#ids.set(slug, times + 1);
    const id = times === 0 ? slug : `${slug}-${times}`;
    this.#headings.push({ level, text, id });
    this.#parts.push({ id, title: text, text: "" });
    return `<h${level} id="${escape(id)}">${this.#inline(title)}` +
      `<a class="anchor" href="#${escape(id)}" aria-label="Link to ${
        escape(text)
      }">#</a>` +
      `</h${level}>`;
  }

  #code(lines: readonly string[], at: number): [string, number] {
    const [, language = ""] = /^```(\S*)/.exec(lines[at] as string) ?? [];
    const end = lines.indexOf("```", at + 1);
    if (end < 0) throw new SyntaxError(`code that does not end: ${lines[at]}`);
    const code = lines.slice(at + 1, end).join("\n");
    this.#note(code);
    return [`<pre><code>${highlight(code, language)}</code></pre>`, end + 1];
  }

  #table(lines: readonly string[], at: number): [string, number] {
    let end = at;
    while (lines[end]?.startsWith("|")) end++;
    const rows = lines.slice(at, end).map(cellsOf);
    const [head = [], rule = [], ...body] = rows;
    if (!rule.every((cell) => /^:?-+:?$/.test(cell))) {
      throw new SyntaxError(`a table without its rule: ${lines[at]}`);
    }
    const side = rule.map((cell) => cell.endsWith(":") ? ' class="right"' : "");
    const row = (cells: readonly string[], tag: string): string =>
      `<tr>${
        cells.map((cell, i) => {
          this.#note(cell);
          const scope = tag === "th" ? ' scope="col"' : "";
          return `<${tag}${scope}${side[i] ?? ""}>${this.#inline(cell)}</${tag}>`;
        }).join("")
      }</tr>`;
    const isEmpty = head.every((cell) => cell === "");
    return [
      `<div class="scroll" tabindex="0"><table>` +
      (isEmpty ? "" : `<thead>${row(head, "th")}</thead>`) +
      `<tbody>${body.map((cells) => row(cells, "td")).join("\n")}</tbody></table></div>`,
      end,
    ];
  }

  #quote(lines: readonly string[], at: number): [string, number] {
    let end = at;
    while (lines[end]?.startsWith(">")) end++;
    const inner = lines.slice(at, end).map((line) => line.replace(/^> ?/, ""));
    return [`<blockquote>${this.#blocks(inner)}</blockquote>`, end];
  }

  #list(lines: readonly string[], at: number): [string, number] {
    const first = lines[at] as string;
    const isOrdered = /^\s*\d/.test(first);
    const deep = indentOf(first) + 2; // From here on it is inside an item.
    const items: string[][] = [];
    let isLoose = false;
    let width = 0;
    let end = at;
    for (; end < lines.length; end++) {
      const line = lines[end] as string;
      const next = lines[end + 1] ?? "";
      const [, mark = ""] = item.exec(line) ?? [];
      const isNumbered = /^\s*\d/.test(mark);
      if (mark !== "" && indentOf(line) < deep) {
        if (isNumbered !== isOrdered) break;
        width = mark.length;
        items.push([line.slice(width)]);
      } else if (line.trim() === "") {
        const goesOn = indentOf(next) >= deep && next.trim() !== "";
        if (!goesOn && !(item.test(next) && /^\s*\d/.test(next) === isOrdered)) break;
        isLoose = true;
        items.at(-1)?.push("");
      } else if (indentOf(line) >= deep) {
        items.at(-1)?.push(line.slice(Math.min(indentOf(line), width)));
      } else if (lines[end - 1]?.trim() !== "" && !/^(#|```|\||>|<!--)/.test(line)) {
        items.at(-1)?.push(line.trim()); // A paragraph that goes on.
      } else break;
    }
    const tag = isOrdered ? "ol" : "ul";
    const html = items.map((content) => {
      const inner = this.#blocks(content);
      return `<li>${isLoose ? inner : inner.replace(/^<p>([^]*?)<\/p>/, "$1")}</li>`;
    });
    return [`<${tag}>\n${html.join("\n")}\n</${tag}>`, end];
  }

  #paragraph(lines: readonly string[], at: number): [string, number] {
    let end = at;
    while (end < lines.length) {
      const line = lines[end] as string;
      const begins = /^(#{1,6} |```|\||>|<!--)/.test(line) || item.test(line);
      if (line.trim() === "" || (end > at && begins)) break;
      end++;
    }
    const text = lines.slice(at, end).map((line) => line.trim()).join("\n");
    this.#note(text);
    return [`<p>${this.#inline(text)}</p>`, end];
  }

  /** Words under the latest heading. */
  #note(markdown: string): void {
    const part = this.#parts.at(-1);
    if (part !== undefined) part.text += ` ${plain(markdown)}`;
  }

  #inline(text: string): string {
    const token =
      /(`+)([^]*?[^`])\1(?!`)|(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]*)\)|<(https?:[^>\s]+)>|\*\*([^*]+)\*\*|(?<![\w*])[*_](?!\s)([^*_]+)(?<!\s)[*_](?![\w*])|\\([^\w\s])/;
    const [match] = token.exec(text) ?? [];
    if (match === undefined) return escape(text);
    const found = token.exec(text) as RegExpExecArray;
    const [, , code, image, words, target, address, strong, weak, literal] = found;
    const before = escape(text.slice(0, found.index));
    const after = this.#inline(text.slice(found.index + match.length));
    return before + this.#piece({
      code,
      image,
      words,
      target,
      address,
      strong,
      weak,
      literal,
    }) + after;
  }

  #piece(
    { code, image, words, target, address, strong, weak, literal }: Readonly<
      Record<string, string | undefined>
    >,
  ): string {
    if (code !== undefined) return `<code>${escape(code.trim())}</code>`;
    if (address !== undefined) {
      return `<a href="${escape(address)}">${escape(address)}</a>`;
    }
    if (strong !== undefined) return `<strong>${this.#inline(strong)}</strong>`;
    if (weak !== undefined) return `<em>${this.#inline(weak)}</em>`;
    if (literal !== undefined) return escape(literal);
    const to = escape(this.#link(target ?? ""));
    return image === "!"
      ? `<img src="${to}" alt="${escape(plain(words ?? ""))}">`
      : `<a href="${to}">${this.#inline(words ?? "")}</a>`;
  }
}

/** The mark of an item of a list, with the blanks behind it. */
const item = /^(\s{0,3}(?:[-*+]|\d{1,3}[.)])\s+)/;

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

function comment(lines: readonly string[], at: number): [string, number] {
  let end = at;
  while (end < lines.length && !lines[end]?.includes("-->")) end++;
  return ["", end + 1];
}

/** Cells of a row; a `\|` is no border. */
function cellsOf(line: string): string[] {
  const row = line.trim().replace(/^\||(?<!\\)\|$/g, "");
  return row.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

/** Markdown without its marks. */
export function plain(markdown: string): string {
  return markdown.replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[`*]/g, "");
}
