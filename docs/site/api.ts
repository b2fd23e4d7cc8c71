// SPDX-License-Identifier: Apache-2.0
/**
 * What `deno doc --html` leaves to be done: links to sources name files of this machine, links to
 * folders need a server, and nothing leads back to the guide.
 *
 * @module
 */
import { dirname, relative } from "node:path/posix";
import { escape } from "./escape.ts";

/** Finishes the pages below a folder; `source` gives the place of a source in the site. */
export async function finishApi(
  api: string,
  root: string,
  source: (path: string) => string,
): Promise<void> {
  const from = `file://${root}`;
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
        return /^(\.\.?\/)+$/.test(href) ? `${before}${href}index.html"` : whole;
      })
      .replace("</head>", `<link rel="icon" href="${to("files/icon.svg")}">\n</head>`)
      .replace(
        /<ul class="breadcrumbs">/,
        `$&<li><a href="${to("index.html")}" class="contextLink">Guide</a>` +
          `<span aria-hidden="true">&nbsp;·&nbsp;</span></li>`,
      );
    await Deno.writeTextFile(`${api}/${path}`, finished);
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
