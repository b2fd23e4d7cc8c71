// SPDX-License-Identifier: Apache-2.0
/**
 * The file that tells which process a daemon is, and by a lock that the process lives.
 *
 * There are two locks. Programs of Open vSwitch look for one of fcntl(2), and for the process that
 * has it; but that lock ends when the process closes any descriptor of the file, as when it reads
 * it. So it is taken again from time to time, and the lock that keeps daemons apart is flock(2)'s.
 *
 * Source: `read_pidfile()` of Open vSwitch 3.1, lib/daemon-unix.c: a file without a lock is one
 * that a dead process left.
 *
 * @module
 */
import { fileFailure } from "../control/system_words.ts";
import { type Libc, openLibc } from "../ffi/libc.ts";
import { cString } from "../ffi/memory.ts";

const O_RDWR = 2;
const O_CLOEXEC = 0o2000000;
const F_TLOCK = 2;
/** The lock of fcntl(2) is looked after so often, ms. */
const RENEW_MS = 1000;

/** A file that is there while the process is. Disposing of it removes it. */
export class PidFile implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #timer: ReturnType<typeof setInterval>;

  /**
   * Writes the file. Throws `FileError` for what the system refuses, and `Deno.errors.AddrInUse`
   * where a living process has it.
   */
  constructor(path: string) {
    this.#path = path;
    this.#file = openLocked(path);
    this.#libc = openLibc();
    this.#fd = this.#libc.symbols.open(cString(path), O_RDWR | O_CLOEXEC);
    if (this.#fd < 0 || !this.#lock()) {
      this.#close();
      throw inUse(path);
    }
    this.#file.truncateSync();
    this.#file.writeSync(new TextEncoder().encode(`${Deno.pid}\n`));
    this.#timer = setInterval(() => this.#lock(), RENEW_MS);
    Deno.unrefTimer(this.#timer);
  }

  #lock(): boolean {
    return this.#libc.symbols.lockf(this.#fd, F_TLOCK, 0n) === 0;
  }

  #close(): void {
    if (this.#fd >= 0) this.#libc.symbols.close(this.#fd);
    this.#libc.close();
    this.#file.close();
  }

  /** Removes the file, unless another has taken its place. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    if (isAt(this.#path, this.#file)) Deno.removeSync(this.#path);
    this.#close();
  }
}

const inUse = (path: string): Error =>
  new Deno.errors.AddrInUse(`${path}: a living process has it`);

/** Whether a file is the one at a path. */
function isAt(path: string, file: Deno.FsFile): boolean {
  try {
    const [there, own] = [Deno.statSync(path), file.statSync()];
    return there.ino === own.ino && there.dev === own.dev;
  } catch {
    return false;
  }
}

/** Opens the file that is at a path once it is locked: the process before may remove its own. */
function openLocked(path: string): Deno.FsFile {
  for (;;) {
    let file: Deno.FsFile;
    try {
      file = Deno.openSync(path, { read: true, write: true, create: true });
    } catch (error) {
      throw fileFailure("write", path, error);
    }
    if (!file.tryLockSync(true)) {
      file.close();
      throw inUse(path);
    }
    if (isAt(path, file)) return file;
    file.close();
  }
}
