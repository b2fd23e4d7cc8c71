// SPDX-License-Identifier: Apache-2.0
/**
 * Finds the datapath library, and compiles it when this machine has none yet.
 *
 * Looked for, in order: the path in the options; the path in `UPCALL_LIBRARY`; the cache; and
 * then it is built into the cache (`build_cache.ts`). A cached library is named by a hash of
 * everything it depends on: the sources, the flags, the version of DPDK, the compiler, and the
 * processor as `-march=native` describes it, so that a home directory may be shared by machines
 * that differ.
 *
 * Permissions: `--allow-run=cc,pkg-config`, `--allow-env=HOME,XDG_CACHE_HOME,UPCALL_LIBRARY`,
 * `--allow-ffi`, and reading and writing the cache folder.
 *
 * **Threads:** any isolate, any process: several may build at once; a lock file makes the
 * others wait, and a finished library is put in place by renaming it.
 *
 * @module
 */
import {
  cacheDirectory,
  checkPrivate,
  environment,
  isThere,
  makeCacheDirectory,
  prune,
  removeAbandoned,
  usableCache,
} from "./build_cache.ts";
import {
  compileFlags,
  isSourceName,
  linkFlags,
  machineFlags,
  portableFlags,
  type Variant,
  variants,
} from "./flags.ts";
import { LibraryError } from "./library.ts";
import { Progress, toStderr } from "./progress.ts";
import type { Source } from "./source.ts";
import { sources as pinnedSources } from "./sources.ts";
import {
  compile,
  dpdkFlags,
  findToolchain,
  type Toolchain,
  toolPath,
} from "./toolchain.ts";

/** Where to look, and how to tell what happens. */
export interface BuildOptions {
  /** Path of a library to use as it is. */
  path?: string | undefined;
  /** Folder to cache builds in, instead of the usual one. */
  cacheDirectory?: string | undefined;
  /** Sources to compile, instead of the module's own. */
  sources?: readonly Source[];
  /** Where `cc` and `pkg-config` are looked for, colons between. */
  toolPath?: string;
  /** Told about a build that takes more than a second; writes to stderr if absent. */
  onProgress?: (message: string) => void;
}

/** Absolute path of the library. Throws `LibraryError` saying what to do. */
export async function findLibrary(options: BuildOptions = {}): Promise<string> {
  const given = options.path ?? environment("UPCALL_LIBRARY");
  if (given !== undefined) return absolute(given);

  const [sources, toolchain] = await Promise.all([
    options.sources ?? ownSources(options.onProgress ?? toStderr),
    findToolchain(options.toolPath),
  ]);
  const directory = options.cacheDirectory ?? cacheDirectory();
  return await cached(directory, sources, toolchain, {
    ...options,
    machine: machineFlags,
  });
}

/** Path of a library in the cache, compiled if it is not there. */
async function cached(
  directory: string,
  sources: readonly Source[],
  toolchain: Toolchain,
  options: BuildOptions & { machine: readonly string[] },
): Promise<string> {
  const key = await cacheKey(sources, toolchain, options.machine);
  const path = `${directory}/libupcall-${key}.so`;
  if (!await isThere(path, directory)) await build(path, sources, options);
  return path;
}

/**
 * The module's sources. What came over the network must be what was pinned. In a checkout
 * the files themselves decide: a person who can change them can change the pins too, and a
 * developer who edits one must not be given the library of before.
 */
async function ownSources(
  onProgress: (message: string) => void,
): Promise<readonly Source[]> {
  if (!import.meta.url.startsWith("file:")) return pinnedSources;
  const pins = new Map(pinnedSources.map((source) => [source.name, source]));
  const found = await Promise.all(
    [...await checkoutNames() ?? pins.keys()].sort().map(async (name) => {
      const load = pins.get(name)?.load ??
        (async () => ({ default: await Deno.readTextFile(new URL(name, checkout)) }));
      return { name, sha256: await sha256((await load()).default), load };
    }),
  );
  const changed = found.filter(({ name, sha256 }) => sha256 !== pins.get(name)?.sha256);
  if (changed.length > 0) {
    const names = changed.map(({ name }) => name).join(" ");
    onProgress(`upcall: compiling changed sources (${names}); deno task gen pins them`);
  }
  return found;
}

const checkout = new URL("../c/", import.meta.url);

/** What lies in the folder of the sources; `undefined` where it may not be read. */
async function checkoutNames(): Promise<string[] | undefined> {
  const { state } = Deno.permissions.querySync({ name: "read", path: checkout.pathname });
  if (state !== "granted") return undefined;
  return await sourceNames(checkout);
}

/** Paths of the sources in a folder and in the folders of its units, sorted. */
export async function sourceNames(folder: URL): Promise<string[]> {
  const names: string[] = [];
  for await (const { name, isFile, isDirectory } of Deno.readDir(folder)) {
    if (isFile) names.push(name);
    if (!isDirectory) continue;
    for await (const file of Deno.readDir(new URL(`${name}/`, folder))) {
      if (file.isFile) names.push(`${name}/${file.name}`);
    }
  }
  return names.filter(isSourceName).sort();
}

async function build(
  path: string,
  sources: readonly Source[],
  options: BuildOptions & { machine: readonly string[] },
): Promise<void> {
  const directory = path.slice(0, path.lastIndexOf("/"));
  await makeCacheDirectory(directory);
  checkPrivate(directory);
  using lock = await Deno.open(`${directory}/lock`, { create: true, write: true });
  await lock.lock(true); // Let go by closing, and by the kernel when this process dies.
  if (await isThere(path, directory)) return;
  await removeAbandoned(directory);
  await compileTo(path, sources, { ...options, mode: 0o700 });
  await prune(directory);
}

/**
 * Makes the library in a file, for this machine or another of the same architecture: `portable`
 * ones run on every processor that has what `portableFlags` says. What is in the cache is copied;
 * without a folder for a cache it is compiled in the file's own. Throws `LibraryError`, and what
 * the file system does.
 */
export async function buildLibrary(
  output: string,
  { portable = false, ...options }: BuildOptions & { portable?: boolean } = {},
): Promise<void> {
  const toolchain = await findToolchain(options.toolPath); // Says what is missing.
  const sources = options.sources ?? await ownSources(options.onProgress ?? toStderr);
  const machine = portable ? portableFlags[Deno.build.arch] ?? [] : machineFlags;
  const directory = await usableCache(options.cacheDirectory);
  if (directory === undefined) {
    await compileTo(absolute(output), sources, { ...options, machine, mode: 0o755 });
    return;
  }
  const library = await cached(directory, sources, toolchain, { ...options, machine });
  // Under another name first: a program that has the old file mapped keeps it.
  const copy = `${absolute(output)}.${Deno.pid}`;
  try {
    await Deno.copyFile(library, copy);
    await Deno.chmod(copy, 0o755);
    await Deno.rename(copy, absolute(output));
  } catch (error) {
    await Deno.remove(copy).catch(() => {});
    throw error;
  }
}

async function compileTo(
  path: string,
  sources: readonly Source[],
  { machine, mode, ...options }: BuildOptions & {
    machine: readonly string[];
    mode: number;
  },
): Promise<void> {
  const directory = path.slice(0, path.lastIndexOf("/")) || "/";
  const work = await Deno.makeTempDir({ dir: directory, prefix: "build-" });
  const progress = new Progress(options.onProgress ?? toStderr);
  try {
    // All of them, and then the error: none may still write when the folder is removed.
    const unpacked = await Promise.allSettled(
      sources.map((source) => unpack(source, work)),
    );
    for (const file of unpacked) if (file.status === "rejected") throw file.reason;
    const tools = options.toolPath ?? toolPath;
    await compileAll(sources, { work, progress, machine, toolPath: tools });
    await Deno.chmod(`${work}/library.so`, mode);
    await Deno.rename(`${work}/library.so`, path);
    progress.done();
  } finally {
    progress.stop();
    await Deno.remove(work, { recursive: true });
  }
}

/** Writes one source into the folder of its unit. */
async function unpack(source: Source, work: string): Promise<void> {
  const { default: text } = await source.load();
  const found = await sha256(text);
  if (found !== source.sha256) {
    throw new LibraryError(
      `Cannot compile the datapath: ${source.name} is not the file this version was made ` +
        `with (SHA-256 is ${found}, pinned is ${source.sha256}). In a checkout, ` +
        `run: deno task gen`,
      { code: "integrity", library: "libupcall" },
    );
  }
  const path = `${work}/${source.name}`;
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await Deno.writeTextFile(path, text);
}

async function compileAll(
  sources: readonly Source[],
  { work, progress, machine, toolPath: path }: {
    work: string;
    progress: Progress;
    machine: readonly string[];
    toolPath: string;
  },
): Promise<void> {
  const dpdk = await dpdkFlags(path);
  // Includes name the folder of the unit: #include "cls/cls.h".
  const flags = [...compileFlags, ...dpdk.compile, ...machine, "-I."];
  const jobs = await largestFirst(objectsOf(sources), work);
  progress.expect(jobs.length + 1);

  const queue = jobs.values();
  let failed = false;
  const worker = async (): Promise<void> => {
    for (const { source, object, flags: own } of queue) {
      if (failed) return;
      await compile([...flags, ...own, "-c", source, "-o", object], { cwd: work, path })
        .catch((error) => {
          failed = true;
          throw error;
        });
      progress.step();
    }
  };
  const workers = Math.max(1, Math.min(jobs.length, navigator.hardwareConcurrency));
  const ends = await Promise.allSettled(Array.from({ length: workers }, worker));
  for (const end of ends) if (end.status === "rejected") throw end.reason;

  const objects = jobs.map(({ object }) => object);
  await compile([...linkFlags, ...objects, ...dpdk.link, "-o", "library.so"], {
    cwd: work,
    path,
  });
}

/** One run of the compiler. */
export interface Job {
  readonly source: string;
  readonly object: string;
  readonly flags: readonly string[];
}

/** What to compile of `sources`: each unit once, or once for each of its variants. */
export function objectsOf(sources: readonly Pick<Source, "name">[]): Job[] {
  const once: readonly Variant[] = [{ suffix: "", flags: [] }];
  return sources.filter(({ name }) => name.endsWith(".c")).flatMap(({ name }) =>
    (variants[name] ?? once)
      .filter(({ arch }) => arch === undefined || arch === Deno.build.arch)
      .map(({ suffix, flags }) => ({
        source: name,
        object: `${name.slice(0, -2).replaceAll("/", "-")}${
          suffix === "" ? "" : `-${suffix}`
        }.o`,
        flags,
      }))
  );
}

/** The largest files start first, so that no long one is left alone at the end. */
async function largestFirst(jobs: readonly Job[], work: string): Promise<Job[]> {
  const sized = await Promise.all(jobs.map(async (job) => ({
    job,
    size: (await Deno.stat(`${work}/${job.source}`)).size,
  })));
  return sized.sort((a, b) => b.size - a.size).map(({ job }) => job);
}

async function cacheKey(
  sources: readonly Source[],
  toolchain: Toolchain,
  machine: readonly string[],
): Promise<string> {
  const parts = [
    sources.map(({ name, sha256 }) => [name, sha256]),
    [compileFlags, machine, linkFlags, variants],
    [toolchain.dpdkVersion, toolchain.compiler, Deno.build.target],
  ];
  return (await sha256(JSON.stringify(parts))).slice(0, 32);
}

async function sha256(text: string): Promise<string> {
  const bytes = new TextEncoder().encode(text);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}
