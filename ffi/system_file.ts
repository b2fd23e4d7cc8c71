// SPDX-License-Identifier: Apache-2.0
/**
 * What Linux says of itself in `/proc` and `/sys`.
 *
 * Deno wants `--allow-read`, `--allow-sys` or even `--allow-all` for these, and asks for it on a
 * terminal, where a program then stands still. A program that may call the C library may read them
 * anyhow: so they are read by it.
 *
 * @module
 */
import { openLibc } from "./libc.ts";
import { cString } from "./memory.ts";

const O_RDONLY = 0;
const O_CLOEXEC = 0o2000000;
const chunkSize = 65536;

/** The text of a file of the system; undefined if it cannot be read. Not for files that block. */
export function readSystemFile(path: string): string | undefined {
  const libc = openLibc();
  try {
    const fd = libc.symbols.open(cString(path), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return undefined;
    try {
      const decoder = new TextDecoder();
      const chunk = new Uint8Array(chunkSize);
      let text = "";
      for (;;) {
        const size = Number(libc.symbols.read(fd, chunk, BigInt(chunk.length)));
        if (size < 0) return undefined;
        if (size === 0) return text + decoder.decode();
        text += decoder.decode(chunk.subarray(0, size), { stream: true });
      }
    } finally {
      libc.symbols.close(fd);
    }
  } finally {
    libc.close();
  }
}

/** Whose a file is, and who may do what with it. */
export interface FileOwner {
  readonly uid: number;
  /** Permissions and kind, as `st_mode` of stat(2) has them. */
  readonly mode: number;
}

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const STATX_BASIC_STATS = 0x7ff;
/** `struct statx` of <linux/stat.h>: its size, and where the fields are. */
const statxSize = 256;
const statxUid = 20;
const statxMode = 28;
const S_IFMT = 0o170000;
const S_IFLNK = 0o120000;

/**
 * Whose a file is; of a symbolic link, with `link`, and otherwise of what it leads to. Undefined if
 * there is none, or this user may not look.
 */
export function ownerOf(
  path: string,
  options: { readonly link?: boolean } = {},
): FileOwner | undefined {
  const libc = openLibc();
  try {
    const buffer = new Uint8Array(statxSize);
    const flags = options.link ? AT_SYMLINK_NOFOLLOW : 0;
    const result = libc.symbols.statx(
      AT_FDCWD,
      cString(path),
      flags,
      STATX_BASIC_STATS,
      buffer,
    );
    if (result !== 0) return undefined;
    const view = new DataView(buffer.buffer);
    // Linux's byte order is this machine's, which Deno runs on in little endian only.
    const uid = view.getUint32(statxUid, true);
    return { uid, mode: view.getUint16(statxMode, true) };
  } finally {
    libc.close();
  }
}

/** Whether a mode is that of a symbolic link. */
export function isLinkMode(mode: number): boolean {
  return (mode & S_IFMT) === S_IFLNK;
}

/** Release of the kernel, `6.1.0-18-amd64`; empty if it is not known. */
export function kernelRelease(): string {
  return readSystemFile("/proc/sys/kernel/osrelease")?.trim() ?? "";
}

/** The user whose rights this process has. */
export function effectiveUid(): number {
  const libc = openLibc();
  try {
    return libc.symbols.geteuid();
  } finally {
    libc.close();
  }
}
