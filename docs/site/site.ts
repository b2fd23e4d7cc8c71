// SPDX-License-Identifier: Apache-2.0
/**
 * Which pages the site has, and where the links of each lead to.
 *
 * It begins with README.md and `docs/*.md`. What these link to becomes part of it: other pages,
 * sources as text, folders as lists, pictures as they are. A link that leads to nothing is an
 * error.
 *
 * @module
 */
import { dirname, normalize, relative } from "node:path/posix";
import { escape } from "./escape.ts";
import { highlight } from "./highlight.ts";
import { type Heading, render } from "./markdown.ts";

/** A page of the site. */
export interface SitePage {
  /** Path in the site. */
  readonly path: string;
  readonly title: string;
  readonly html: string;
  readonly headings: readonly Heading[];
  readonly parts: readonly {
    readonly id: string;
    readonly title: string;
    readonly text: string;
  }[];
}

/**
 * Pages of the guide by their paths in the checkout, in the order in which its contents name them;
 * others come behind.
 */
export function guidePages(root: string): string[] {
  const found = [...Deno.readDirSync(`${root}docs`)].map(({ name }) => name)
    .filter((name) => name.endsWith(".md")).sort();
  const contents = Deno.readTextFileSync(`${root}docs/README.md`);
  const named = contents.matchAll(/^\| \[[^\]]+\]\((\w+\.md)\)/gm);
  const order = ["README.md", ...[...named].map(([, name = ""]) => name)];
  return [...new Set([...order, ...found])].filter((name) => found.includes(name))
    .map((name) => `docs/${name}`);
}

/** Where a page of the checkout is in the site. */
export function placeOf(path: string): string {
  if (path === "README.md") return "index.html";
  const [, guide] = /^docs\/([\w-]+)\.md$/.exec(path) ?? [];
  return guide === undefined ? path.replace(/\.md$/, ".html") : `${guide}.html`;
}

/** Pages as they are found, and files to be copied. */
export class Site {
  readonly #root: string;
  readonly pages = new Map<string, SitePage>();
  /** Files that go into the site as they are: path in the checkout, path in the site. */
  readonly files = new Map<string, string>();
  readonly #waiting: string[] = [];

  /** Of a checkout. */
  constructor(root: string) {
    this.#root = root;
  }

  /** Adds a page of Markdown and all that it leads to. */
  add(path: string): void {
    this.#waiting.push(path);
    for (let next = this.#waiting.pop(); next !== undefined; next = this.#waiting.pop()) {
      if (!this.pages.has(next)) this.pages.set(next, this.#markdown(next));
    }
  }

  #markdown(path: string): SitePage {
    const text = Deno.readTextFileSync(this.#root + path);
    const place = placeOf(path);
    try {
      const { html, headings, parts } = render(
        text,
        (target) => this.link(path, place, target),
      );
      const title = headings[0]?.text ?? path;
      return { path: place, title, html, headings, parts };
    } catch (error) {
      throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Where a link leads to that stands in a page of the checkout, from a place of the site. */
  link(from: string, place: string, target: string): string {
    if (/^(https?:|mailto:|#)/.test(target)) return target;
    const [path = "", fragment] = target.split("#");
    const wanted = normalize(`${dirname(from)}/${path}`).replace(/\/$/, "");
    if (wanted.startsWith("..")) throw new Error(`${target} leads out of the checkout`);
    const to = relative(dirname(place), this.#place(wanted, target));
    return fragment === undefined ? to : `${to}#${fragment}`;
  }

  #place(wanted: string, target: string): string {
    let info: Deno.FileInfo;
    try {
      info = Deno.statSync(this.#root + wanted);
    } catch {
      throw new Error(`the link ${target} leads to nothing`);
    }
    if (wanted === "examples") return "gallery.html";
    if (wanted === "docs") return "index.html";
    if (info.isDirectory) return this.#folder(wanted);
    if (wanted.endsWith(".md")) {
      this.#waiting.push(wanted);
      return placeOf(wanted);
    }
    if (/\.(png|svg|jpg|webp)$/.test(wanted)) {
      this.files.set(wanted, `files/${wanted}`);
      return `files/${wanted}`;
    }
    return this.source(wanted);
  }

  /** A page with the text of a file; its place in the site. */
  source(path: string): string {
    const place = `source/${path}.html`;
    if (this.pages.has(path)) return place;
    const text = Deno.readTextFileSync(this.#root + path);
    const language = /\.(ts|js|c|h|sh)$/.exec(path)?.[1] ?? "";
    const html = `<h1>${escape(path)}</h1>\n<pre class="source"><code>` +
      `${highlight(text, language === "h" ? "c" : language)}</code></pre>`;
    this.pages.set(path, { path: place, title: path, html, headings: [], parts: [] });
    return place;
  }

  /** A page with what is in a folder. */
  #folder(path: string): string {
    const place = `source/${path}/index.html`;
    if (this.pages.has(path)) return place;
    const entries = [...Deno.readDirSync(this.#root + path)]
      .filter(({ name }) => !name.startsWith("."))
      .sort((a, b) => a.name < b.name ? -1 : 1);
    const page = { path: place, title: `${path}/`, html: "", headings: [], parts: [] };
    this.pages.set(path, page); // Before what it leads to, which may lead back.
    const lines = entries.map(({ name, isDirectory }) =>
      `<li><code>${escape(name)}${isDirectory ? "/" : ""}</code></li>`
    );
    const readme = entries.some(({ name }) => name === "README.md")
      ? `<p><a href="${
        escape(this.link(`${path}/x`, place, "README.md"))
      }">README</a></p>`
      : "";
    const html = `<h1>${escape(path)}/</h1>\n${readme}<ul>${lines.join("\n")}</ul>`;
    this.pages.set(path, { ...page, html });
    return place;
  }
}
