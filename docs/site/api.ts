// SPDX-License-Identifier: Apache-2.0
/**
 * What `deno doc --html` leaves to be done: links to sources name files of this machine, links to
 * folders need a server, some lead to places that a page does not have, and nothing leads back to
 * the guide.
 *
 * @module
 */
import { dirname, join, relative } from "node:path/posix";
import { escape } from "./escape.ts";

/** Code is scrolled by itself, so that a page is as wide as a telephone. */
const narrow =
  "@media (max-width: 48rem) { pre { max-width: calc(100vw - 5rem); overflow-x: auto } }";

/** Finishes the pages below a folder; `source` gives the place of a source in the site. */
export async function finishApi(
  api: string,
  root: string,
  source: (path: string) => string,
): Promise<void> {
  const from = `file://${root}`;
  const ids = new IdsOf(api);
  for (const path of await pagesOf(api)) {
    const place = `api/${path}`;
    const to = (target: string): string => escape(relative(dirname(place), target));
    const text = await Deno.readTextFile(`${api}/${path}`);
    const finished = text
      .replaceAll(/(\shref=")([^"]*)"/g, (whole, before: string, target: string) => {
        const href = target.replaceAll("&#x2F;", "/");
        if (href.startsWith(from)) {
          const [file = "", fragment] = href.slice(from.length).split("#");
          const line = fragment === undefined ? "" : `#${fragment}`;
          return `${before}${to(source(file))}${line}"`;
        }
        if (/^(\.\.?\/)+$/.test(href)) return `${before}${href}index.html"`;
        const [file = "", id] = href.split("#");
        const isDead = id !== undefined && id !== "" && !/^\w+:/.test(file) &&
          !ids.has(file === "" ? path : join(dirname(path), file), id);
        return isDead ? `${before}${escape(file === "" ? "#" : file)}"` : whole;
      })
      .replace(
        "</head>",
        `<link rel="icon" href="${
          to("files/icon.svg")
        }">\n<style>${narrow}</style>\n</head>`,
      )
      .replace(
        /<ul class="breadcrumbs">/,
        `$&<li><a href="${to("index.html")}" class="contextLink">Guide</a>` +
          `<span aria-hidden="true">&nbsp;·&nbsp;</span></li>`,
      );
    await Deno.writeTextFile(`${api}/${path}`, finished);
  }
}

/** Which places there are in pages. */
class IdsOf {
  readonly #folder: string;
  readonly #known = new Map<string, ReadonlySet<string>>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Whether a page has a place; true of a page that cannot be read, which is another's fault. */
  has(page: string, id: string): boolean {
    let ids = this.#known.get(page);
    if (ids === undefined) {
      let text: string;
      try {
        text = Deno.readTextFileSync(`${this.#folder}/${decodeURIComponent(page)}`);
      } catch {
        return true;
      }
      ids = new Set([...text.matchAll(/\sid="([^"]*)"/g)].map(([, one = ""]) => one));
      this.#known.set(page, ids);
    }
    return ids.has(id) || ids.has(decodeURIComponent(id));
  }
}

async function pagesOf(api: string, prefix = ""): Promise<string[]> {
  const pages: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${api}/${prefix}`)) {
    if (isDirectory) pages.push(...await pagesOf(api, `${prefix}${name}/`));
    else if (name.endsWith(".html")) pages.push(prefix + name);
  }
  return pages;
}
