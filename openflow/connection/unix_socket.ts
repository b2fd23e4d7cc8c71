// SPDX-License-Identifier: Apache-2.0
/**
 * Sockets with a path, so that no program takes or removes what another put there.
 *
 * @module
 */

/** A socket that listens at a path, and its file. */
export interface BoundSocket {
  readonly listener: Deno.Listener;
  /** Stops listening, and removes the file unless another has taken its place. */
  readonly close: () => Promise<void>;
}

/** Permissions that the file does not have. */
const PRIVATE = 0o177;

/**
 * Listens at a path; the file has mode 0600. The socket of a program that has died is replaced.
 * Throws `Deno.errors.AddrInUse` where a living one answers, or there is something else.
 */
export async function bindSocket(path: string): Promise<BoundSocket> {
  if (await isHeard(path)) {
    throw new Deno.errors.AddrInUse(`${path} is another program's`);
  }
  const there = look(path);
  if (there !== undefined && !there.isSocket) {
    throw new Deno.errors.AddrInUse(`${path} is there already, and is no socket`);
  }
  // A listener that closes removes the path that it was made with, whatever is there by then.
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  const made = `${folder}.${Math.random().toString(36).slice(2, 6)}`;
  const mask = Deno.umask(PRIVATE);
  let listener: Deno.Listener;
  try {
    listener = Deno.listen({ transport: "unix", path: made }) as unknown as Deno.Listener;
  } finally {
    Deno.umask(mask);
  }
  const id = look(made);
  try {
    Deno.renameSync(made, path);
  } catch (error) {
    listener.close();
    throw error;
  }
  return {
    listener,
    close: () => {
      try {
        const now = look(path);
        if (now?.ino === id?.ino && now?.dev === id?.dev) Deno.removeSync(path);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      } finally {
        listener.close();
      }
      return Promise.resolve();
    },
  };
}

function look(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Whether a program answers at a socket. */
async function isHeard(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch {
    return false;
  }
}
