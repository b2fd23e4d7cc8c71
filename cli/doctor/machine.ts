// SPDX-License-Identifier: Apache-2.0
/**
 * What the doctor sees of a machine: files below a root, and a few facts of this process.
 *
 * Another root (`dpctl doctor --sysroot DIR`) shows another machine, or one that was made up for a
 * test.
 *
 * @module
 */

/** A machine to be examined. Paths are absolute, as seen on that machine. */
export interface Machine {
  /** Text of a file; undefined if it cannot be read. */
  read(path: string): string | undefined;
  /** Names in a folder; empty if it cannot be read. */
  list(path: string): string[];
  /** Whether there is such a file or folder. */
  exists(path: string): boolean;
  /** Last component of what a symbolic link points to; undefined if it is none. */
  link(path: string): string | undefined;
  /** Version of Deno. */
  readonly denoVersion: string;
  /** Whether foreign functions may be called. */
  readonly ffi: boolean;
  /** Processor architecture, as Deno names it: `x86_64`. */
  readonly arch: string;
  /** An environment variable. */
  env(name: string): string | undefined;
}

/** The machine below `root`; `/` is this one. */
export function machineAt(root: string): Machine {
  const at = (path: string): string => root.replace(/\/+$/, "") + path;
  const attempt = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch {
      return undefined; // Absent and forbidden files look the same to the doctor.
    }
  };
  return {
    read: (path) => attempt(() => Deno.readTextFileSync(at(path))),
    list: (path) =>
      attempt(() => [...Deno.readDirSync(at(path))].map((e) => e.name)) ?? [],
    exists: (path) => attempt(() => Deno.lstatSync(at(path))) !== undefined,
    link: (path) => attempt(() => Deno.readLinkSync(at(path)))?.split("/").at(-1),
    denoVersion: Deno.version.deno,
    ffi: Deno.permissions.querySync({ name: "ffi" }).state === "granted",
    arch: Deno.build.arch,
    env: (name) => attempt(() => Deno.env.get(name)),
  };
}
