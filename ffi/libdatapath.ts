// SPDX-License-Identifier: Apache-2.0
/**
 * The datapath library of `c/`, open and checked: `c/dp.h` as typed functions.
 *
 * @module
 */
import { type BuildOptions, findLibrary } from "./build.ts";
import { abiVersion, layoutText } from "./layout.ts";
import { type Library, LibraryError, openLibrary } from "./library.ts";
import { fromCString } from "./memory.ts";
import { datapathSymbols } from "./symbols.ts";

/** The datapath library, open. Every isolate's handle is on the same C statics. */
export type Libdatapath = Library<typeof datapathSymbols>;

/**
 * Finds the library, building it if need be, opens it and checks that it was made from the
 * `c/dp.h` that this module was made from. Throws `LibraryError`.
 */
export async function openLibdatapath(options: BuildOptions = {}): Promise<Libdatapath> {
  const path = await findLibrary(options);
  checkVersion(path);
  const library = openLibrary(path, { symbols: datapathSymbols });
  try {
    checkLayout(library);
    return library;
  } catch (error) {
    library.close();
    throw error;
  }
}

/** Before the rest is bound: a library of another version may lack functions. */
function checkVersion(path: string): void {
  const { dp_abi_version } = datapathSymbols;
  using library = openLibrary(path, { symbols: { dp_abi_version } });
  const version = library.symbols.dp_abi_version();
  if (version !== abiVersion) {
    throw new LibraryError(
      `Cannot use ${path}: its ABI is version ${version}, this module needs ${abiVersion}`,
      { code: "abi", library: path },
    );
  }
}

function checkLayout(library: Libdatapath): void {
  const text = new Uint8Array(2 * layoutText.length);
  const error = library.symbols.dp_abi_layout(text, text.length);
  const found = error === 0 ? fromCString(text).trim().split("\n") : [`error ${error}`];
  const wanted = layoutText.trim().split("\n");
  for (let at = 0; at < Math.max(found.length, wanted.length); at++) {
    if (found[at] === wanted[at]) continue;
    throw new LibraryError(
      `Cannot use ${library.path}: its layout differs from this module's: it has ` +
        `"${found[at] ?? "nothing"}" where "${wanted[at] ?? "nothing"}" is needed`,
      { code: "abi", library: library.path },
    );
  }
}
