// SPDX-License-Identifier: Apache-2.0
/**
 * Builds the site, for `deno task docs`: the guide, the gallery of examples, the reference of the
 * API, and a search over all of them. The site is files: any server will do, and none at all.
 *
 *     deno task docs [--output FOLDER]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { finishApi } from "./api.ts";
import { gallery, readExamples } from "./gallery.ts";
import { guidePages, Site, type SitePage } from "./site.ts";
import { type NavGroup, wholePage } from "./template.ts";

const root = new URL("../../", import.meta.url).pathname;

/** A part of a page, for the search. */
interface Found {
  readonly title: string;
  readonly page: string;
  readonly url: string;
  readonly text: string;
}

/** Builds the site into a folder, which is emptied first; its pages, without the API's. */
export async function buildSite(output: string): Promise<readonly SitePage[]> {
  await Deno.remove(output, { recursive: true }).catch(() => {});
  await Deno.mkdir(output, { recursive: true });
  const entries = await buildApi(`${output}/api`);
  const names = namesOfApi(`${output}/api`, entries);
  const site = new Site(root);
  const guide = guidePages(root);
  for (const path of ["README.md", ...guide, "CONTRIBUTING.md", "CHANGELOG.md"]) {
    site.add(path);
  }
  const apiOf = (name: string): string | undefined => names.get(name);
  const pages = [...site.pages.values(), gallery(readExamples(root), apiOf)];
  const linked = (path: string) => {
    const page = site.pages.get(path) as SitePage;
    return { path: page.path, title: page.title };
  };
  const groups: NavGroup[] = [
    {
      title: "Guide",
      links: [{ ...linked("README.md"), title: "Introduction" }, ...guide.map(linked)],
    },
    {
      title: "Reference",
      links: [
        { path: "gallery.html", title: "Gallery of examples" },
        ...entries.map(({ entry, path }) => ({
          path: `api/${path}`,
          title: entry === "." ? "API: mod.ts" : `API: ${entry}`,
        })),
      ],
    },
    { title: "Project", links: ["CONTRIBUTING.md", "CHANGELOG.md"].map(linked) },
  ];
  await finishApi(`${output}/api`, root, (path) => site.source(path));
  pages.push(...[...site.pages.values()].filter((page) => !pages.includes(page)));
  for (const page of pages) {
    await write(`${output}/${page.path}`, wholePage(page, groups));
  }
  site.files.set("control/web/page/icon.svg", "files/icon.svg");
  for (const [from, to] of site.files) await copy(root + from, `${output}/${to}`);
  for (const name of ["search.js", "style.css"]) {
    await copy(`${root}docs/site/${name}`, `${output}/${name}`);
  }
  const index = JSON.stringify([...pages.flatMap(partsOf), ...partsOfApi(names)]);
  await write(`${output}/search_index.js`, `globalThis.searchIndex = ${index};\n`);
  return pages;
}

interface ApiEntry {
  /** `./frames` */
  readonly entry: string;
  /** Its page below `api/`. */
  readonly path: string;
}

/** Writes the reference of every entry. */
async function buildApi(output: string): Promise<ApiEntry[]> {
  const { exports } = JSON.parse(await Deno.readTextFile(`${root}deno.json`)) as {
    exports: Record<string, string>;
  };
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "doc",
      "--html",
      "--name=Upcall",
      `--output=${output}`,
      ...Object.values(exports),
    ],
    cwd: root,
    env: { NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return Object.entries(exports).map(([entry, path]) => {
    // deno doc names folders by the paths of the modules.
    const places = [entry.slice(2), path.slice(2).replace(/\.ts$/, "")]
      .map((place) => entry === "." ? "index.html" : `${place}/index.html`);
    const place = places.find((one) => exists(`${output}/${one}`));
    if (place === undefined) throw new Error(`deno doc wrote no page for ${entry}`);
    return { entry, path: place };
  });
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Pages of names, those of the main entry first; members of classes have pages of their own. */
function namesOfApi(api: string, entries: readonly ApiEntry[]): Map<string, string> {
  const names = new Map<string, string>();
  for (const { entry, path } of entries) {
    const folder = entry === "." ? "~/" : path.replace(/index\.html$/, "~/");
    if (!existsFolder(`${api}/${folder}`)) continue;
    for (const { name, isFile } of Deno.readDirSync(`${api}/${folder}`)) {
      const [, one] = /^(\w+)\.html$/.exec(name) ?? [];
      if (isFile && one !== undefined && !names.has(one)) {
        names.set(one, `api/${folder}${name}`);
      }
    }
  }
  return names;
}

function existsFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

function partsOf({ path, title, parts }: SitePage): Found[] {
  return parts.map((part) => ({
    title: part.title,
    page: title,
    url: part.id === "" ? path : `${path}#${part.id}`,
    text: part.text.replaceAll(/\s+/g, " ").trim().slice(0, 1500),
  }));
}

function partsOfApi(names: ReadonlyMap<string, string>): Found[] {
  return [...names].map(([name, url]) => ({ title: name, page: "API", url, text: "" }));
}

async function write(path: string, text: string): Promise<void> {
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await Deno.writeTextFile(path, text);
}

async function copy(from: string, to: string): Promise<void> {
  await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
  await Deno.copyFile(from, to);
}

if (import.meta.main) {
  const { values: { output = `${root}site`, help } } = parseArgs({
    args: Deno.args,
    options: { output: { type: "string" }, help: { type: "boolean", short: "h" } },
  });
  if (help) {
    console.log("usage: deno task docs [--output FOLDER]");
  } else {
    const started = performance.now();
    const pages = await buildSite(output);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`${pages.length} pages and the API in ${output}, in ${seconds} s`);
  }
}
