// SPDX-License-Identifier: Apache-2.0
/**
 * The datapath library in this isolate: opened with the first datapath, closed with the last.
 *
 * The library is only unmapped from this isolate's view then; its code and its threads belong to
 * the process (it is linked with `nodelete`), and so does DPDK's EAL, which is started once and
 * never stopped before exit.
 *
 * @module
 */
import { constants } from "../../ffi/layout.ts";
import { type Libdatapath, openLibdatapath } from "../../ffi/libdatapath.ts";
import { WaitError } from "../../ffi/waiter.ts";
import { LibraryError, type LibraryErrorCode } from "../../ffi/library.ts";
import { cString, fromCString } from "../../ffi/memory.ts";
import type { ErrnoName } from "../errno.ts";
import { DatapathError, type OperationContext } from "../errors.ts";

/** Functions of `c/dp.h`. */
export type Symbols = Libdatapath["symbols"];

/** The library, held by one user. */
export interface HeldLibrary {
  readonly symbols: Symbols;
  /** Lets go of it. No function of `symbols` may be called afterwards. Idempotent. */
  release(): void;
}

let users = 0;
let opening: Promise<Libdatapath> | undefined;

/**
 * Holds the library, opening it if need be: found, or built on first use. `path` names a library
 * instead. Failure is a `DatapathError` that says what to do, with the `LibraryError` as its cause.
 */
export async function holdLibrary(
  subject: OperationContext,
  options: { readonly path?: string; readonly onNotice?: (message: string) => void } = {},
): Promise<HeldLibrary> {
  const { path, onNotice: onProgress } = options;
  users++;
  opening ??= openLibdatapath({ path, ...(onProgress && { onProgress }) });
  let library: Libdatapath;
  try {
    library = await opening;
    library.symbols.dp_isolate_begin(isolateNumber());
  } catch (error) {
    users--;
    opening = undefined;
    throw error instanceof LibraryError ? libraryFailure(error, subject) : error;
  }
  let held = true;
  return {
    symbols: library.symbols,
    release(): void {
      if (!held) return;
      held = false;
      if (--users > 0) return;
      opening = undefined;
      library.close();
    },
  };
}

/**
 * A number of this isolate's own, the same for every copy of this module in it: one that is loaded
 * twice must not pass for another isolate.
 */
function isolateNumber(): bigint {
  const key = Symbol.for("upcall.isolate");
  const place = globalThis as unknown as Record<symbol, bigint | undefined>;
  return place[key] ??= crypto.getRandomValues(new BigUint64Array(1))[0] as bigint | 1n;
}

/** Whether somebody in this isolate holds the library. */
export function isLibraryHeld(): boolean {
  return users > 0;
}

const errnoOfLibrary: Readonly<Record<LibraryErrorCode, ErrnoName>> = {
  missing: "ENOENT",
  tool: "ENOENT",
  permission: "EACCES",
  unusable: "EINVAL",
  symbol: "EINVAL",
  abi: "EINVAL",
  compile: "EINVAL",
  integrity: "EBADMSG",
};

function libraryFailure(error: LibraryError, subject: OperationContext): DatapathError {
  const code = errnoOfLibrary[error.code];
  return new DatapathError({ ...subject, code, detail: error.message, cause: error });
}

const textSize = 1024;
const text = new Uint8Array(textSize);

/**
 * The error of a call that just failed on this thread, with the library's own words for it. Not for
 * nonblocking calls, which ran on another thread: use {@linkcode waitedFailure}.
 */
export function failure(
  symbols: Symbols,
  errno: number,
  subject: OperationContext,
): DatapathError {
  symbols.dp_error_text(text, textSize);
  return plainFailure(errno, subject, fromCString(text));
}

/**
 * The error of a nonblocking call that just failed, with the library's own words for it. `about`
 * is the port that `dp_port_delete` was about.
 */
export function waitedFailure(
  symbols: Symbols,
  errno: number,
  subject: OperationContext,
  { dp = 0n, about = constants.DP_ABOUT_ALL }: { dp?: bigint; about?: number } = {},
): DatapathError {
  symbols.dp_waited_text(dp, about, text, textSize);
  return plainFailure(errno, subject, fromCString(text));
}

/** The error of a call that failed elsewhere. `detail` as it was reported, if it was. */
export function plainFailure(
  errno: number,
  subject: OperationContext,
  detail = "",
): DatapathError {
  return new DatapathError({ ...subject, code: errno, detail: detail || undefined });
}

/** What the failure to wait for a descriptor comes to. */
export function waitFailure(error: unknown, subject: OperationContext): unknown {
  return error instanceof WaitError ? plainFailure(error.errno, subject) : error;
}

/** Why the last operation on a flow failed on this thread. */
export function reason(symbols: Symbols): string | undefined {
  symbols.dp_error_text(text, textSize);
  return fromCString(text) || undefined;
}

/** Throws the error of a call on this thread, unless it returned 0. */
export function check(symbols: Symbols, errno: number, subject: OperationContext): void {
  if (errno !== 0) throw failure(symbols, errno, subject);
}

let noticed = false;

/**
 * Starts EAL if nobody has. `args`: its arguments, one a line, which only the first start of the
 * process can have; empty: chosen for this machine. What was chosen is told once.
 */
export async function startEal(
  symbols: Symbols,
  subject: OperationContext,
  options: { readonly args?: string; readonly onNotice?: (message: string) => void },
): Promise<void> {
  if (options.args !== undefined) {
    check(symbols, symbols.dp_eal_configure(cString(options.args)), subject);
  }
  const errno = await symbols.dp_eal_start();
  if (errno !== 0) throw waitedFailure(symbols, errno, subject);
  const notice = symbols.dp_eal_notice(text, textSize) === 0 ? fromCString(text) : "";
  if (notice === "" || noticed) return;
  noticed = true;
  (options.onNotice ?? toStderr)(`upcall: ${notice}`);
}

/** A notice to people who gave no other way to tell them. */
export function toStderr(message: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(`${message}\n`));
  } catch {
    // A notice that nobody can read must not keep the datapath from being opened.
  }
}

/**
 * `key=value` lines, as the library takes settings. Throws `TypeError` for what would break out of
 * its line.
 */
export function settingLines(
  settings: Readonly<Record<string, string | number | boolean>>,
): string {
  return Object.entries(settings).map(([name, value]) => {
    const line = `${name}=${value}`;
    if (name === "" || name.includes("=") || /[\n\0]/.test(line)) {
      throw new TypeError(`Cannot use ${JSON.stringify(line)} as a setting`);
    }
    return line;
  }).join("\n");
}

/** The inverse of {@linkcode settingLines}. */
export function parseSettings(lines: string): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const line of lines.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) settings[line.slice(0, at)] = line.slice(at + 1);
  }
  return settings;
}
