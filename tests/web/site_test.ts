// SPDX-License-Identifier: Apache-2.0
/** The site: every link of every page leads to something, and Chromium shows every page. */
import assert from "node:assert/strict";
import { buildSite } from "../../docs/site/build.ts";
import { guidePages, placeOf } from "../../docs/site/site.ts";
import { readExamples } from "../../docs/site/gallery.ts";
import { Browser } from "../support/browser.ts";
import { figure } from "../support/figure.ts";
import { skippable } from "../support/skip.ts";
import { root } from "../support/tree.ts";
import { assertContrast } from "./keyboard.ts";

/** Paths of all files below a folder. */
function filesOf(folder: string, prefix = ""): string[] {
  return [...Deno.readDirSync(`${folder}/${prefix}`)].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesOf(folder, `${prefix}${name}/`) : [prefix + name]
  );
}

/** Links of a page, as addresses of the site; those to elsewhere are left out. */
function linksOf(text: string, path: string): string[] {
  const targets = [...text.matchAll(/\s(?:href|src)="([^"]*)"/g)]
    .map(([, target = ""]) => target.replaceAll("&amp;", "&").replaceAll("&#x2F;", "/"));
  return targets.filter((target) => !/^(https?:|mailto:|data:|jsr:)/.test(target))
    .map((target) => {
      const url = new URL(target, `http://site/${path}`);
      return url.pathname.slice(1) + url.hash;
    });
}

function typeOf(path: string): string {
  const types: Record<string, string> = {
    html: "text/html; charset=utf-8",
    js: "text/javascript",
    css: "text/css",
    svg: "image/svg+xml",
    png: "image/png",
  };
  return types[/\.(\w+)$/.exec(path)?.[1] ?? ""] ?? "application/octet-stream";
}

Deno.test(
  "the site has every page, and every link of it leads to something",
  skippable(async (t) => {
    const folder = await Deno.makeTempDir({ prefix: "upcall-site-" });
    try {
      const pages = await buildSite(folder);
      const files = new Set(filesOf(folder));
      const ours = pages.map(({ path }) => path);
      for (const path of guidePages(root)) assert.ok(files.has(placeOf(path)), path);
      await t.step("links", () => checkLinks(folder, files));
      await t.step("gallery", () => checkGallery(folder));
      await t.step("browser", skippable(() => checkInBrowser(folder, files, ours)));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

function checkLinks(
  folder: string,
  files: ReadonlySet<string>,
): void {
  const broken: string[] = [];
  let count = 0;
  const ids = new Map<string, Set<string>>();
  const textOf = (path: string): string => Deno.readTextFileSync(`${folder}/${path}`);
  const idsOf = (path: string): Set<string> => {
    const known = ids.get(path) ??
      new Set([...textOf(path).matchAll(/\sid="([^"]*)"/g)].map(([, id = ""]) => id));
    ids.set(path, known);
    return known;
  };
  for (const path of files) {
    if (!path.endsWith(".html")) continue;
    for (const link of linksOf(textOf(path), path)) {
      count++;
      const [target = "", id] = link.split("#");
      const file = decodeURIComponent(target);
      if (!files.has(file)) broken.push(`${path}: ${link}`);
      else if (id && !idsOf(file).has(id) && !idsOf(file).has(decodeURIComponent(id))) {
        broken.push(`${path}: ${link}: no such id`);
      }
    }
  }
  const leaks = [...files].filter((path) =>
    /\.(html|js)$/.test(path) && textOf(path).includes(root)
  );
  assert.deepEqual(leaks.slice(0, 5), [], "paths of this machine");
  figure(`site: ${files.size} files, ${count} links`);
  assert.deepEqual(broken.slice(0, 20), []);
  assert.ok(count > 1000);
}

function checkGallery(folder: string): void {
  const text = Deno.readTextFileSync(`${folder}/gallery.html`);
  for (const { name, about, command } of readExamples(root)) {
    assert.ok(about.length > 10, `${name} does not say what it shows`);
    assert.ok(text.includes(`id="${name.replace(/\.ts$/, "")}"`), name);
    if (command !== undefined) assert.match(command, /^(sudo )?deno (run|task) /, name);
  }
}

/**
 * Opens the first page and follows every link to every page of ours, and one into each API part.
 */
async function checkInBrowser(
  folder: string,
  files: ReadonlySet<string>,
  ours: readonly string[],
): Promise<void> {
  await using server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    onListen: () => {},
  }, async (request) => {
    const path = decodeURIComponent(new URL(request.url).pathname.slice(1)) ||
      "index.html";
    if (!files.has(path)) return new Response("nothing", { status: 404 });
    const headers = { "content-type": typeOf(path) };
    return new Response(await Deno.readFile(`${folder}/${path}`), { headers });
  });
  const origin = `http://127.0.0.1:${server.addr.port}/`;
  await using browser = await Browser.start();
  const page = await browser.open(`${origin}index.html`);
  const seen = new Set<string>(["index.html"]);
  // Thousands of pages are alike: of the API the entries, and no sources that it alone leads to.
  const wanted = (path: string, from: string): boolean =>
    path.startsWith("api/")
      ? /^api\/(\w+\/)*index\.html$/.test(path)
      : !(from.startsWith("api/") && path.startsWith("source/"));
  const waiting = ["index.html"];
  let sources = 0;
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (path !== "index.html") await page.go(origin + path);
    const { links, title, broken } = await page.run<{
      links: string[];
      title: string;
      broken: string[];
    }>(
      "({ links: [...document.links].map(({ href }) => href.split('#')[0]), " +
        "title: document.title, broken: [...document.images]" +
        ".filter((one) => one.complete && one.naturalWidth === 0).map(({ src }) => src) })",
    );
    assert.ok(title.length > 3, path);
    assert.deepEqual(broken, [], path);
    // Sources are alike; the style of the reference is that of `deno doc`.
    const isOurs = !path.startsWith("api/") && !path.startsWith("source/");
    if (isOurs || path.startsWith("source/") && sources++ < 3) await assertContrast(page);
    for (const link of links) {
      if (!link.startsWith(origin)) continue;
      const next = decodeURIComponent(link.slice(origin.length)) || "index.html";
      if (seen.has(next) || !wanted(next, path)) continue;
      seen.add(next);
      waiting.push(next);
    }
  }
  const missed = ours.filter((path) => !seen.has(path) && !path.startsWith("source/"));
  assert.deepEqual(missed, [], "pages that nothing leads to");
  assert.deepEqual(page.complaints, []);
  const others = page.requests.filter((url) =>
    !url.startsWith(origin) && !/^data:/.test(url)
  );
  assert.deepEqual(others, [], "nothing is fetched from elsewhere");

  await page.go(`${origin}gallery.html`);
  await page.press("/", { text: "/", code: 191 });
  for (const key of "openDatapath") await page.press(key, { text: key });
  const first = await page.until<string>(
    "something found",
    "document.querySelector('.results li b')?.textContent",
  );
  assert.equal(first, "openDatapath");
  await page.press("Enter", { text: "\r", code: 13 });
  await page.until("its page", "location.pathname.endsWith('/openDatapath.html')");
  await page.close();
}
