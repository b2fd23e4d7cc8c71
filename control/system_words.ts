// SPDX-License-Identifier: Apache-2.0
/**
 * What the system says of a file or an address that cannot be used, as a person would say it.
 *
 * @module
 */

const kinds: readonly (new (...args: never[]) => Error)[] = Object.values(Deno.errors);

/** Whether a call of the system failed. */
export function isOfSystem(error: unknown): error is Error {
  return error instanceof Error &&
    (kinds.some((kind) => error instanceof kind) ||
      /\(os error \d+\)/.test(error.message));
}

/**
 * Why a call of the system failed: its words, without their number and the name of the file, which
 * the caller has said already. Other errors, and permissions that Deno wants, speak for
 * themselves.
 */
export function systemWords(error: Error): string {
  const [, words] = /^(.*?) \(os error \d+\)/s.exec(error.message) ?? [];
  if (words !== undefined) return words.slice(0, 1).toLowerCase() + words.slice(1);
  return error.message.includes("NUL byte") || error.message.includes("nul byte")
    ? "no name has a NUL byte"
    : error.message;
}

/** A file that cannot be used; the message says what was to be done with it, and why not. */
export class FileError extends Error {
  override readonly name = "FileError";

  constructor(doing: "read" | "write", path: string, cause: Error) {
    super(`Cannot ${doing} ${path}: ${systemWords(cause)}`, { cause });
  }
}

/** Does something with a file. Throws `FileError` for what the system refuses. */
export async function withFile<T>(
  doing: "read" | "write",
  path: string,
  use: () => T | Promise<T>,
): Promise<T> {
  try {
    return await use();
  } catch (error) {
    throw fileFailure(doing, path, error);
  }
}

/** What an error of the use of a file is to be told as. */
export function fileFailure(
  doing: "read" | "write",
  path: string,
  error: unknown,
): unknown {
  const isOfName = error instanceof TypeError && path.includes("\0");
  return isOfSystem(error) || isOfName ? new FileError(doing, path, error) : error;
}
