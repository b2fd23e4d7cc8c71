// SPDX-License-Identifier: Apache-2.0
/**
 * Where control sockets are, and how their files come and go, so that no program takes or removes
 * what belongs to another.
 *
 * @module
 */
import { madePrivately, whyNotPrivate } from "../ffi/private_folder.ts";
import { effectiveUid } from "../ffi/system_file.ts";

/** A path that cannot be that of a control socket, or that this program must not use. */
export class ControlPathError extends Error {
  override readonly name = "ControlPathError";
}

/** Longest path of a socket, bytes: `sun_path` of unix(7) without its zero. */
const maxPath = 107;

/** Throws `ControlPathError` for a path that no socket can have. */
export function checkSocketPath(path: string): void {
  const size = new TextEncoder().encode(path).length;
  if (size > maxPath) {
    throw new ControlPathError(
      `${path}: the path of a socket has ${maxPath} bytes at most, and this one has ${size}`,
    );
  }
  if (size === 0 || path.includes("\0")) {
    throw new ControlPathError(`${JSON.stringify(path)} is no path of a socket`);
  }
}

/** The folder of control sockets: `/var/run/upcall` for root, one of one's own for others. */
export function controlDirectory(): string {
  const given = Deno.env.get("UPCALL_RUNDIR");
  if (given !== undefined) return given;
  const uid = effectiveUid();
  if (uid === 0) return "/var/run/upcall";
  const runtime = Deno.env.get("XDG_RUNTIME_DIR");
  return runtime === undefined ? `/tmp/upcall-${uid}` : `${runtime}/upcall`;
}

/**
 * Refuses the folder of control sockets if others could have put sockets into it.
 * `Deno.errors.NotFound`: there is none.
 */
export function checkControlDirectory(directory: string): void {
  const reason = whyNotPrivate(directory);
  if (reason === undefined) return;
  throw new ControlPathError(
    `the folder ${directory} of control sockets cannot be used: ${reason}, so that others ` +
      `could answer in this user's place. Remove it, or name another in UPCALL_RUNDIR`,
  );
}

/**
 * The usual control socket of a datapath, `type@name`. Makes its folder, mode 0700. Throws
 * `ControlPathError` if others could have put sockets into the folder.
 */
export async function controlPath(datapath: string): Promise<string> {
  const directory = controlDirectory();
  await Deno.mkdir(directory, { recursive: true, mode: 0o700 });
  checkControlDirectory(directory);
  return `${directory}/${datapath.replaceAll("/", "_")}.ctl`;
}

/** The file of a socket, as the file system knows it. */
interface FileId {
  readonly dev: number;
  readonly ino: number | null;
}

/** What is at a path now; undefined if nothing is. */
async function look(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

const isSame = (a: FileId, b: FileId): boolean => a.ino === b.ino && a.dev === b.dev;

/** A name beside `path` that nobody uses, and that is not longer than most names of sockets. */
function besides(path: string): string {
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  return `${folder}.${Math.random().toString(36).slice(2, 6)}`;
}

/** Attempts to take over a path that other programs come and go at. */
const attempts = 10;

/** A socket that listens, and its file. */
export interface ListeningSocket {
  readonly listener: Deno.UnixListener;
  /** Removes the file, unless another has taken its place, and stops listening. */
  readonly close: () => Promise<void>;
}

/**
 * Listens at a path; the file has mode 0600. The socket of a program that has died is replaced.
 * `Deno.errors.AddrInUse`: a living one serves it; `ControlPathError`: there is something else.
 */
export async function listenAt(path: string): Promise<ListeningSocket> {
  checkSocketPath(path);
  const made = besides(path);
  checkSocketPath(made);
  // There is no moment in which others can connect.
  const listener = madePrivately(() => Deno.listen({ transport: "unix", path: made }));
  try {
    const id = await Deno.lstat(made);
    await moveTo(path, made);
    return { listener, close: () => removeAndClose(path, id, listener) };
  } catch (error) {
    listener.close(); // This removes the name that Deno knows, too.
    throw error;
  }
}

/** Gives the file `made` the name `path`, unless something is there that must stay. */
async function moveTo(path: string, made: string): Promise<void> {
  for (let n = 0; n < attempts; n++) {
    try {
      await Deno.link(made, path); // Unlike renaming, this replaces nothing.
      await Deno.remove(made);
      return;
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
    await alone(path, () => removeStale(path));
  }
  throw beingTaken(path);
}

const beingTaken = (path: string): Error =>
  new Deno.errors.AddrInUse(`${path} is being taken by another program`);

/** How long a program waits for others that look at sockets of the same folder, ms. */
const patienceMs = 2000;

/**
 * Runs `action` while no other program takes over a socket of the folder: two that find the same
 * dead one would each remove it, and the second would remove what the first put there.
 */
async function alone(path: string, action: () => Promise<void>): Promise<void> {
  using folder = await Deno.open(path.slice(0, path.lastIndexOf("/") + 1) || ".");
  const end = Date.now() + patienceMs;
  while (!await folder.tryLock(true)) {
    if (Date.now() > end) throw beingTaken(path);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await action(); // The lock, flock(2), ends with the descriptor.
}

/** Removes the socket of a program that has died. Nobody else does while the folder is locked. */
async function removeStale(path: string): Promise<void> {
  const found = await look(path);
  if (found === undefined) return;
  if (!found.isSocket) {
    throw new ControlPathError(`${path} is there already, and is no socket`);
  }
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
    // A name that is taken is given to nothing new: this is still the file that was looked at.
    return await Deno.remove(path).catch((gone: unknown) => {
      if (!(gone instanceof Deno.errors.NotFound)) throw gone;
    });
  }
  throw new Deno.errors.AddrInUse(`${path} is served by another program`);
}

async function removeAndClose(
  path: string,
  id: FileId,
  listener: Deno.UnixListener,
): Promise<void> {
  try {
    // While it listens, no program takes the file for a dead one's.
    const found = await look(path);
    if (found !== undefined && isSame(found, id)) await Deno.remove(path);
  } catch (error) {
    // The folder has gone, say, or is not this program's any more: the socket ends all the same.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  } finally {
    listener.close();
  }
}
