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
