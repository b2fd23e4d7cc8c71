// SPDX-License-Identifier: Apache-2.0
/**
 * Opens shared libraries: the one place that calls `Deno.dlopen`.
 *
 * A system library is looked for by absolute path first. A bare name such as `libmnl.so.0`
 * only works under an unrestricted `--allow-ffi`: Deno 2.9 resolves a bare name against the
 * working directory as soon as the permission is limited to paths, for the permission check
 * and for the load alike.
 *
 * **Threads:** an open library belongs to the isolate that opened it. Opening the same path
 * from a worker gives that worker its own handle on the same loaded image, so C statics are
 * shared by all isolates of the process.
 *
 * @module
 */

/** What went wrong while a library was found, built or opened. */
export type LibraryErrorCode =
  /** No candidate path holds the library. */
  | "missing"
  /** The file is there, but the loader refuses it. */
  | "unusable"
  /** The library lacks a function that is needed. */
  | "symbol"
  /** The library was built for another version of the interface. */
  | "abi"
  /** A tool or a header that the build needs is not installed. */
  | "tool"
  /** The compiler rejected the sources. */
  | "compile"
  /** The embedded sources are not the ones that were pinned. */
  | "integrity"
  /** Deno was not given the permission. */
  | "permission";

/** A shared library could not be found, built or opened. */
export class LibraryError extends Error {
  override readonly name = "LibraryError";
  /** What went wrong. */
  readonly code: LibraryErrorCode;
  /** Name or path of the library. */
  readonly library: string;
  /** Paths that were looked at, in order; empty when nothing was looked for. */
  readonly tried: readonly string[];

  /** `message` is the whole sentence; it says what to do where something can be done. */
  constructor(
    message: string,
    options: {
      code: LibraryErrorCode;
      library: string;
      tried?: readonly string[];
      cause?: unknown;
    },
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = options.code;
    this.library = options.library;
    this.tried = options.tried ?? [];
  }
}

/** A library that is open in this isolate. */
export interface Library<S extends Deno.ForeignLibraryInterface> extends Disposable {
  /** Path it was loaded from; a bare name if the loader's own search found it. */
  readonly path: string;
  /** Its functions. Throws `LibraryError` once the library is closed. */
  readonly symbols: Deno.StaticForeignLibraryInterface<S>;
  /** Whether `close()` was called. */
  readonly closed: boolean;
  /**
   * Gives the handle back. May be called again. A function that was taken from `symbols` must not
   * be called afterwards: its code may be unmapped.
   */
  close(): void;
}

class OpenLibrary<S extends Deno.ForeignLibraryInterface> implements Library<S> {
  readonly path: string;
  #library: Deno.DynamicLibrary<S> | undefined;

  constructor(path: string, library: Deno.DynamicLibrary<S>) {
    this.path = path;
    this.#library = library;
  }

  get symbols(): Deno.StaticForeignLibraryInterface<S> {
    if (this.#library === undefined) {
      throw new LibraryError(`Cannot call into ${this.path}: library is closed`, {
        code: "unusable",
        library: this.path,
      });
    }
    return this.#library.symbols;
  }

  get closed(): boolean {
    return this.#library === undefined;
  }

  close(): void {
    this.#library?.close();
    this.#library = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Opens the library at `path`, which must be absolute. */
export function openLibrary<const S extends Deno.ForeignLibraryInterface>(
  path: string,
  options: { symbols: S },
): Library<S> {
  if (!path.startsWith("/")) {
    throw new TypeError(`Cannot open library "${path}": path must be absolute`);
  }
  return load(path, options.symbols);
}

/**
 * Opens a library that the system provides, by its soname, for example `libmnl.so.0`.
 *
 * `debianPackage` is named in the error when the library is not there. `directories`
 * replaces the usual places.
 */
export function openSystemLibrary<const S extends Deno.ForeignLibraryInterface>(
  soname: string,
  options: { symbols: S; debianPackage: string; directories?: readonly string[] },
): Library<S> {
  const tried = systemCandidates(soname, options.directories);
  let refusal: unknown;
  for (const path of permittedFirst(tried)) {
    try {
      return load(path, options.symbols);
    } catch (error) {
      if (!(error instanceof LibraryError)) throw error;
      if (error.code === "symbol") throw error;
      // A 32-bit library in /lib is no reason to overlook the right one elsewhere.
      if (error.code !== "missing") refusal ??= error;
    }
  }
  if (refusal !== undefined) throw refusal;
  throw new LibraryError(
    `Cannot find ${soname} (looked at ${tried.join(", ")}). ` +
      `On Debian: apt-get install ${options.debianPackage}`,
    { code: "missing", library: soname, tried },
  );
}

const triplets: Readonly<Record<string, string>> = {
  x86_64: "x86_64-linux-gnu",
  aarch64: "aarch64-linux-gnu",
};

function systemCandidates(soname: string, directories?: readonly string[]): string[] {
  const triplet = triplets[Deno.build.arch];
  const places = directories ?? [
    ...(triplet === undefined ? [] : [`/usr/lib/${triplet}`, `/lib/${triplet}`]),
    "/usr/lib64",
    "/usr/lib",
    "/lib64",
    "/lib",
    "/usr/local/lib",
  ];
  const paths = places.map((place) => `${place}/${soname}`);
  // Last, the loader's own search: systems that keep libraries elsewhere, LD_LIBRARY_PATH.
  return directories === undefined ? [...paths, soname] : paths;
}

/** Keeps order but puts paths that need no question before the others. */
function permittedFirst(paths: readonly string[]): string[] {
  const granted = (path: string): boolean =>
    Deno.permissions.querySync({ name: "ffi", path }).state === "granted";
  return [...paths.filter(granted), ...paths.filter((path) => !granted(path))];
}

function load<const S extends Deno.ForeignLibraryInterface>(
  path: string,
  symbols: S,
): Library<S> {
  try {
    return new OpenLibrary(path, Deno.dlopen(path, symbols));
  } catch (error) {
    throw loadError(path, error);
  }
}

/** The loader reports failures as text only (dlerror); this gives them a code. */
function loadError(path: string, error: unknown): unknown {
  if (error instanceof Deno.errors.NotCapable) {
    return new LibraryError(
      `Cannot open ${path}: no permission to load it; run with --allow-ffi`,
      { code: "permission", library: path, tried: [path], cause: error },
    );
  }
  if (!(error instanceof Error)) return error;
  const symbol = /Failed to register symbol ([^:]+):/.exec(error.message)?.[1];
  if (symbol !== undefined) {
    return new LibraryError(
      `Cannot open ${path}: it has no function ${symbol}; it is too old or not the right one`,
      { code: "symbol", library: path, tried: [path], cause: error },
    );
  }
  // "libx.so: cannot open shared object file" about another file is a missing dependency.
  const missing = /: ?([^:\s]+): cannot open shared object file/.exec(error.message)?.[1];
  if (missing === path) {
    return new LibraryError(`Cannot open ${path}: there is no such file`, {
      code: "missing",
      library: path,
      tried: [path],
      cause: error,
    });
  }
  return new LibraryError(`Cannot open ${path}: ${error.message}`, {
    code: "unusable",
    library: path,
    tried: [path],
    cause: error,
  });
}
