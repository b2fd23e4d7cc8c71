// SPDX-License-Identifier: Apache-2.0
/**
 * The folder of compiled libraries: `upcall/` in `$XDG_CACHE_HOME` or `~/.cache`.
 *
 * It must be this user's alone: a library that others could have put there is not loaded.
 *
 * **Threads:** any isolate, any process.
 *
 * @module
 */
import { LibraryError } from "./library.ts";
import { whyNotPrivate } from "./private_folder.ts";
import { effectiveUid, ownerOf } from "./system_file.ts";

const keptBuilds = 8;

/**
 * Folder for builds. Under sudo, `HOME` may still be the caller's: root must neither load
 * what that user could have put there nor leave files that the user cannot remove, so root
 * then uses `/var/cache/upcall`.
 */
export function cacheDirectory(): string {
  const xdg = environment("XDG_CACHE_HOME");
  const home = environment("HOME");
  const base = xdg?.startsWith("/")
    ? xdg
    : home?.startsWith("/")
    ? `${home}/.cache`
    : undefined;
  const root = effectiveUid() === 0;
  if (base !== undefined && !(root && isForeign(base))) return `${base}/upcall`;
  if (root) return "/var/cache/upcall";
  throw new LibraryError(
    "Cannot find a folder for the compiled datapath: set HOME or XDG_CACHE_HOME, " +
      "or name a compiled library in UPCALL_LIBRARY",
    { code: "missing", library: "libupcall" },
  );
}

/** Whether somebody else owns the nearest folder of `path` that exists. */
function isForeign(path: string): boolean {
  for (let at = path; at !== ""; at = at.slice(0, at.lastIndexOf("/"))) {
    const owner = ownerOf(at);
    if (owner !== undefined) return owner.uid !== effectiveUid();
  }
  return false;
}

/** Refuses a folder that others could have put a library into. */
export function checkPrivate(directory: string): void {
  const reason = whyNotPrivate(directory);
  if (reason === undefined) return;
  throw new LibraryError(
    `Cannot use the folder ${directory} for the compiled datapath: ${reason}, so that others ` +
      `could have put a library there. Remove it, or set XDG_CACHE_HOME to a folder of your own`,
    { code: "permission", library: "libupcall" },
  );
}

/** Whether a library is there that this user made, in a folder that is this user's alone. */
export async function isThere(path: string, directory: string): Promise<boolean> {
  if (!await exists(path)) return false;
  checkPrivate(directory);
  const { uid, mode } = await Deno.lstat(path);
  return uid === effectiveUid() && ((mode ?? 0) & 0o022) === 0;
}

export async function makeCacheDirectory(directory: string): Promise<void> {
  try {
    await Deno.mkdir(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new LibraryError(
      `Cannot make the folder ${directory} for the compiled datapath: set XDG_CACHE_HOME to ` +
        `a folder that can be written to (under Deno's permissions: --allow-read and ` +
        `--allow-write for it), or name a compiled library in UPCALL_LIBRARY`,
      { code: "permission", library: "libupcall", cause: error },
    );
  }
}

/** Removes what builds left that were killed. Called under the lock: nobody else builds. */
export async function removeAbandoned(directory: string): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(directory)) {
    if (!isDirectory || !name.startsWith("build-")) continue;
    await Deno.remove(`${directory}/${name}`, { recursive: true });
  }
}

/** Forgets all but the newest builds. A library in use stays mapped, so this is safe. */
export async function prune(directory: string): Promise<void> {
  const builds: { path: string; time: number }[] = [];
  for await (const { name } of Deno.readDir(directory)) {
    if (!/^libupcall-[0-9a-f]+\.so$/.test(name)) continue;
    const path = `${directory}/${name}`;
    const info = await Deno.stat(path).catch(() => undefined);
    if (info !== undefined) builds.push({ path, time: info.mtime?.getTime() ?? 0 });
  }
  builds.sort((a, b) => b.time - a.time);
  for (const { path } of builds.slice(keptBuilds)) {
    await Deno.remove(path).catch(() => {});
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new LibraryError(
      `Cannot look for ${path}: run with --allow-read=${
        path.slice(0, path.lastIndexOf("/"))
      }`,
      { code: "permission", library: "libupcall", cause: error },
    );
  }
}

/** A variable that is set and not empty. Not being allowed to read it means not set. */
export function environment(name: string): string | undefined {
  try {
    return Deno.env.get(name) || undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}

/** The folder for builds, or undefined if this user has none. */
export async function usableCache(given?: string): Promise<string | undefined> {
  try {
    const directory = given ?? cacheDirectory();
    await makeCacheDirectory(directory);
    checkPrivate(directory);
    return directory;
  } catch (error) {
    if (error instanceof LibraryError) return undefined;
    throw error;
  }
}
