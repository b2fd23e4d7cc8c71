// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a folder is this user's alone, so that what is found in it was put there by this user.
 *
 * A folder at a well-known place may have been made by somebody else first. A library loaded from
 * it, or a socket found in it, is then that somebody's.
 *
 * @module
 */
import { openLibc } from "./libc.ts";
import { effectiveUid, isLinkMode, ownerOf, readSystemFile } from "./system_file.ts";

const writableByOthers = 0o002;
const writableByGroup = 0o020;
const sticky = 0o1000;

/**
 * Why `path`, a folder that exists, is not private to this user; undefined if it is. Others may
 * neither own it nor write to it, nor be able to put another folder in its place.
 */
export function whyNotPrivate(path: string): string | undefined {
  const uid = effectiveUid();
  const real = Deno.realPathSync(path);
  const info = Deno.statSync(real);
  if (!info.isDirectory) return "it is not a folder";
  if (info.uid !== uid) return `it belongs to user ${info.uid}`;
  const mode = info.mode ?? 0;
  if ((mode & (writableByOthers | writableByGroup)) !== 0) {
    return `others may write to it (mode ${
      (mode & 0o7777).toString(8).padStart(4, "0")
    })`;
  }
  const given = absolute(path);
  const above = [...foldersAbove(real), ...foldersAbove(given)];
  for (const folder of above) {
    const reason = whyReplaceable(folder, uid);
    if (reason !== undefined) return reason;
  }
  for (const link of [given, ...above]) {
    const reason = whyRedirected(link, uid);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

function isForeign(owner: number, uid: number): boolean {
  return owner !== uid && owner !== 0 && owner !== outsideUid();
}

/** Why others could put something else in the place of what is in a folder. */
function whyReplaceable(folder: string, uid: number): string | undefined {
  const owner = ownerOf(folder);
  if (owner === undefined) return undefined;
  if (isForeign(owner.uid, uid)) return `${folder} belongs to user ${owner.uid}`;
  return (owner.mode & writableByOthers) !== 0 && (owner.mode & sticky) === 0
    ? `everybody may write to ${folder}`
    : undefined;
}

/** Why others could make a symbolic link lead elsewhere. */
function whyRedirected(path: string, uid: number): string | undefined {
  const owner = ownerOf(path, { link: true });
  return owner !== undefined && isLinkMode(owner.mode) && isForeign(owner.uid, uid)
    ? `${path} is a link of user ${owner.uid}`
    : undefined;
}

/** The number that users have who are unknown in this user namespace, root among them. */
function outsideUid(): number | undefined {
  // The first namespace knows all: there the number is that of a user.
  if (/^\s*0\s+0\s+4294967295\s*$/.test(readSystemFile("/proc/self/uid_map") ?? "")) {
    return undefined;
  }
  const text = readSystemFile("/proc/sys/kernel/overflowuid");
  return text === undefined ? undefined : Number(text);
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}

/** Every folder above a path, `/` included. */
function foldersAbove(path: string): string[] {
  const folders: string[] = [];
  for (let at = path.replace(/\/+$/, ""); at !== "";) {
    at = at.slice(0, at.lastIndexOf("/"));
    folders.push(at === "" ? "/" : at);
  }
  return folders;
}

/** Permissions that files which are made privately do not get. */
const privateMask = 0o177;

/**
 * Runs `make`, which must not wait. The files and sockets that it makes have mode 0600 from the
 * first moment on. The mask is the process's: a file that another thread makes meanwhile gets it.
 */
export function madePrivately<T>(make: () => T): T {
  const libc = openLibc();
  const mask = libc.symbols.umask(privateMask);
  try {
    return make();
  } finally {
    libc.symbols.umask(mask);
    libc.close();
  }
}
