// SPDX-License-Identifier: Apache-2.0
/**
 * The examples: what each shows, how it is started, what it uses, and its text.
 *
 * @module
 */
import { aboutExample } from "../../examples/start.ts";
import { escape } from "./escape.ts";
import { highlight } from "./highlight.ts";
import type { SitePage } from "./site.ts";

/** An example. */
export interface Example {
  readonly name: string;
  /** What it shows, from the comment that it begins with. */
  readonly about: string;
  /** A command that starts it. */
  readonly command: string | undefined;
  /** Names of ours that it imports. */
  readonly uses: readonly string[];
  readonly text: string;
}

/** Reads what the comment of an example says. */
export function readExample(name: string, text: string): Example {
  const { about, command } = aboutExample(text);
  const uses = [...text.matchAll(/^import \{([^}]*)\} from "\.\.\/[^"]*mod\.ts"/gm)]
    .flatMap(([, names = ""]) => names.split(","))
    .map((one) => one.replace(/\btype\b/, "").trim()).filter((one) => one !== "");
  return { name, about, command, uses: [...new Set(uses)], text };
}

/** Examples of a checkout that people start. */
export function readExamples(root: string): Example[] {
  return [...Deno.readDirSync(`${root}examples`)].map(({ name }) => name)
    .filter((name) => name.endsWith(".ts") && name !== "start.ts").sort()
    .map((name) => readExample(name, Deno.readTextFileSync(`${root}examples/${name}`)));
}

/** The gallery; `apiOf` says where a name is documented. */
export function gallery(
  examples: readonly Example[],
  apiOf: (name: string) => string | undefined,
): SitePage {
  const articles = examples.map(({ name, about, command, uses, text }) => {
    const title = name.replace(/\.ts$/, "").replaceAll("_", " ");
    const id = name.replace(/\.ts$/, "");
    const names = uses.map((one) => {
      const to = apiOf(one);
      const code = `<code>${escape(one)}</code>`;
      return to === undefined ? code : `<a href="${escape(to)}">${code}</a>`;
    });
    const lines = text.split("\n").length - 1;
    const html =
      `<article class="example" id="${escape(id)}"><h2>${escape(title)}</h2>\n` +
      `<p>${escape(about)}</p>\n` +
      (command === undefined
        ? ""
        : `<pre><code>${highlight(command, "sh")}</code></pre>\n`) +
      (names.length === 0 ? "" : `<p class="uses">Uses ${names.join(", ")}.</p>\n`) +
      `<details><summary>${escape(name)}, ${lines} lines</summary>` +
      `<pre class="source"><code>${
        highlight(text, "ts")
      }</code></pre></details></article>`;
    return { id, title, about, command, html };
  });
  const intro =
    "<h1>Gallery</h1>\n<p>Programs to read and to run. Each is in <code>examples/</code>" +
    " of the checkout, says how it is called, and answers <code>dpctl</code> while it runs.</p>\n";
  return {
    path: "gallery.html",
    title: "Gallery",
    html: `${intro}<div class="gallery">${
      articles.map(({ html }) => html).join("\n")
    }</div>`,
    headings: [
      { level: 1, text: "Gallery", id: "" },
      ...articles.map(({ id, title }) => ({ level: 2, text: title, id })),
    ],
    parts: articles.map(({ id, title, about, command = "" }) => ({
      id,
      title,
      text: `${about} ${command}`,
    })),
  };
}
