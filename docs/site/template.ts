// SPDX-License-Identifier: Apache-2.0
/**
 * What every page of the site has around its text.
 *
 * @module
 */
import { dirname, relative } from "node:path/posix";
import { escape } from "./escape.ts";
import type { SitePage } from "./site.ts";

/** A group of links at the side. */
export interface NavGroup {
  readonly title: string;
  readonly links: readonly { readonly path: string; readonly title: string }[];
}

/** The whole file of a page. */
export function wholePage(page: SitePage, groups: readonly NavGroup[]): string {
  const to = (path: string): string => escape(relative(dirname(page.path), path) || ".");
  const nav = groups.map(({ title, links }) =>
    `<h2>${escape(title)}</h2>\n<ul>${
      links.map((link) => {
        const here = link.path === page.path ? ' aria-current="page"' : "";
        return `<li><a href="${to(link.path)}"${here}>${escape(link.title)}</a></li>`;
      }).join("\n")
    }</ul>`
  ).join("\n");
  const inside = page.headings.filter(({ level }) => level === 2);
  const contents = inside.length < 2
    ? ""
    : `<nav class="contents" aria-label="On this page"><h2>On this page</h2><ul>${
      inside.map(({ id, text }) =>
        `<li><a href="#${escape(id)}">${escape(text)}</a></li>`
      )
        .join("\n")
    }</ul></nav>`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escape(page.title)} – Upcall</title>
<link rel="icon" href="${to("files/icon.svg")}" type="image/svg+xml">
<link rel="stylesheet" href="${to("style.css")}">
<script src="${to("search_index.js")}" defer></script>
<script src="${to("search.js")}" defer data-root="${to("x").slice(0, -1)}"></script>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<a class="home" href="${to("index.html")}"><img src="${
    to("files/icon.svg")
  }" alt="" width="26" height="26">Upcall</a>
<a class="menu" href="#pages">Pages</a>
<form role="search" class="search">
<label class="hidden" for="search">Search the guide, the examples and the API</label>
<input id="search" type="search" placeholder="Search ( / )" autocomplete="off" spellcheck="false">
<div class="results" hidden><p role="status"></p><ul></ul></div>
</form>
</header>
<div class="columns">
<nav class="side" id="pages" aria-label="Pages">
${nav}
</nav>
<main id="content" tabindex="-1">
${page.html}
</main>
${contents}
</div>
</body>
</html>
`;
}
