// SPDX-License-Identifier: Apache-2.0
/** What importing the module costs and asks for, from a checkout and from a URL. */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { figure } from "./support/figure.ts";
import { runScript } from "./support/script.ts";
import { skippable, Unsupported } from "./support/skip.ts";
import { findToolchain } from "../ffi/toolchain.ts";
import { LibraryError } from "../ffi/library.ts";

const root = new URL("../", import.meta.url);
/** What is wanted of a machine with nothing else to do, in ms. */
const wanted = { import: 50, build: 10_000, find: 50 };
/** A slow and busy machine may take so many times as long; more is a mistake. */
const grace = 20;

/** The best of a few runs: the figure is about the module, not about what else runs. */
async function bestOf(runs: number, measure: () => Promise<number>): Promise<number> {
  let best = Infinity;
  for (let run = 0; run < runs; run++) best = Math.min(best, await measure());
  return best;
}

async function needToolchain(): Promise<void> {
  try {
    await findToolchain();
  } catch (error) {
    if (!(error instanceof LibraryError)) throw error;
    throw new Unsupported("C compiler with DPDK's headers", { requirement: "netdev" });
  }
}

Deno.test("importing mod.ts is quick and takes no permission", async () => {
  const script = `
    const started = performance.now();
    await import(${JSON.stringify(new URL("mod.ts", root).href)});
    console.log(performance.now() - started);`;
  const best = await bestOf(5, async () => {
    const { code, stdout, stderr } = await runScript(script);
    strictEqual(code, 0, stderr);
    return Number(stdout);
  });
  figure(`import of mod.ts: ${best.toFixed(1)} ms, wanted ${wanted.import}`);
  strictEqual(best <= wanted.import * grace, true, `took ${best.toFixed(1)} ms`);
});

Deno.test("importing mod.ts opens no library and no file", async () => {
  const script = `
    const opened = () => [
      ...new Set(Deno.readTextFileSync("/proc/self/maps").match(/\\/\\S+\\.so[.\\d]*/g) ?? []),
      ...[...Deno.readDirSync("/proc/self/fd")].length + " descriptors",
    ].join("\\n");
    const before = opened();
    await import(${JSON.stringify(new URL("mod.ts", root).href)});
    console.log(JSON.stringify([before, opened()]));`;
  const { code, stdout, stderr } = await runScript(script, { flags: ["-A"] });
  strictEqual(code, 0, stderr);
  const [before, after] = JSON.parse(stdout) as [string, string];
  strictEqual(after, before);
});

/** Serves the checkout on 127.0.0.1; `change` may answer with another text for a path. */
async function withServer(
  body: (host: string) => Promise<void>,
  change: (path: string, text: string) => string = (_, text) => text,
): Promise<void> {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const path = new URL(request.url).pathname.slice(1);
      try {
        const text = change(path, await Deno.readTextFile(new URL(path, root)));
        const type = path.endsWith(".ts") ? "application/typescript" : "text/plain";
        return new Response(text, {
          headers: { "content-type": `${type}; charset=utf-8` },
        });
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
        return new Response("not found", { status: 404 });
      }
    },
  );
  try {
    await body(`127.0.0.1:${server.addr.port}`);
  } finally {
    await server.shutdown();
  }
}

/** Runs a script with empty caches of its own, for modules and for builds. */
async function runAfresh(
  text: string,
  options: { host: string; flags?: (home: string) => string[]; home?: string },
): Promise<{ code: number; stdout: string; stderr: string }> {
  const home = options.home ?? await Deno.makeTempDir({ prefix: "upcall-home-" });
  try {
    return await runScript(text, {
      flags: options.flags === undefined
        ? ["-A"]
        : [`--allow-import=${options.host}`, ...options.flags(home)],
      env: { DENO_DIR: `${home}/deno`, XDG_CACHE_HOME: `${home}/cache`, NO_COLOR: "1" },
    });
  } finally {
    if (options.home === undefined) await Deno.remove(home, { recursive: true });
  }
}

Deno.test("from a URL, mod.ts fetches nothing but this and needs no permission", async () => {
  await withServer(async (host) => {
    const script = `const upcall = await import("http://${host}/mod.ts");
      console.log(Object.keys(upcall).includes("openDatapath"));`;
    const { stdout, stderr } = await runAfresh(script, { host, flags: () => [] });
    strictEqual(stdout.trim(), "true", stderr);
  });
});

/** What the processes spent that this one has waited for, ms of processors. */
function spentByChildren(): number {
  const [, fields = ""] = Deno.readTextFileSync("/proc/self/stat").split(") ");
  return fields.split(" ").slice(13, 15).reduce(
    (sum, ticks) => sum + 10 * Number(ticks),
    0,
  );
}

Deno.test(
  "from a URL, the library is built in seconds, opened and used with few permissions, and found again at once",
  skippable(async () => {
    await needToolchain();
    const home = await Deno.makeTempDir({ prefix: "upcall-home-" });
    try {
      await withServer(async (host) => {
        const script = `
        import { openLibdatapath } from "http://${host}/ffi/libdatapath.ts";
        using library = await openLibdatapath();
        console.log(library.symbols.dp_abi_version(), library.path);`;
        const flags = (home: string): string[] => [
          "--allow-ffi",
          "--allow-run=cc,pkg-config",
          "--allow-env=HOME,XDG_CACHE_HOME,UPCALL_LIBRARY",
          `--allow-read=${home}/cache/upcall`,
          `--allow-write=${home}/cache/upcall`,
        ];
        const [start, spent] = [performance.now(), spentByChildren()];
        const { code, stdout, stderr } = await runAfresh(script, { host, flags, home });
        strictEqual(code, 0, stderr);
        match(stdout, /^\d+ \/\S+\/libupcall-[0-9a-f]+\.so$/m);
        const [built, cpu] = [performance.now() - start, spentByChildren() - spent];
        figure(
          `compiling the library: ${built.toFixed(0)} ms, wanted ${wanted.build}; ` +
            `${cpu} ms of processors`,
        );
        strictEqual(cpu <= wanted.build * grace, true, `compiling took ${cpu} ms of CPU`);
      });
      const found = await bestOf(5, () => find(`${home}/cache/upcall`));
      figure(`finding it again: ${found} ms of processors, wanted ${wanted.find}`);
      strictEqual(found <= wanted.find * grace, true, `finding took ${found} ms of CPU`);
    } finally {
      await Deno.remove(home, { recursive: true });
    }
  }),
);

/** What finding a library that is there takes, ms of processors: here, and of tools it asks. */
async function find(cacheDirectory: string): Promise<number> {
  const build = JSON.stringify(new URL("ffi/build.ts", root).href);
  const { code, stdout, stderr } = await runScript(
    `const { findLibrary } = await import(${build});
    const cpu = () =>
      Deno.readTextFileSync("/proc/self/stat").split(") ")[1].split(" ")
        .slice(11, 15).reduce((sum, ticks) => sum + 10 * Number(ticks), 0);
    const start = cpu();
    await findLibrary({ cacheDirectory: ${JSON.stringify(cacheDirectory)} });
    console.log(cpu() - start);`,
    { flags: ["-A"] },
  );
  strictEqual(code, 0, stderr);
  return Number(stdout);
}

Deno.test(
  "from a URL, a C source that was changed on the way is refused",
  skippable(async () => {
    await needToolchain();
    const change = (path: string, text: string): string =>
      path === "c/base/hash.c" ? `${text}\n/* slipped in */\n` : text;
    await withServer(async (host) => {
      const script = `
      import { findLibrary } from "http://${host}/ffi/build.ts";
      try { await findLibrary(); console.log("built"); }
      catch (error) { console.log(error.code, error.message.match(/[\\w/]+\\.c/)[0]); }`;
      const { stdout, stderr } = await runAfresh(script, { host });
      deepStrictEqual(stdout.trim(), "integrity base/hash.c", stderr);
    }, change);
  }),
);
