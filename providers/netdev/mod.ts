// SPDX-License-Identifier: Apache-2.0
/**
 * The provider `netdev`: datapaths in this process, forwarded by poll threads over DPDK.
 *
 * @module
 */
import { fromCString } from "../../ffi/memory.ts";
import { readSystemFile } from "../../ffi/system_file.ts";
import type { OpenOptions, Provider, ProviderDatapath } from "../contract/provider.ts";
import { NetdevDatapath } from "./datapath.ts";
import { check, holdLibrary, isLibraryHeld } from "./library.ts";

/**
 * Datapaths of this process, forwarded by poll threads over DPDK.
 *
 * Settings for `openDatapath(…, { config })`; the first three count when the datapath is opened
 * with `create`:
 *
 * - `local`: kind of port 0 of a new one: `dummy` (default), `tap`, `null`, or `none` for no port
 *   0;
 * - `pollThreads`: cores, as for `pollThreads.set`;
 * - `maxSleepUs`: longest nap of an idle poll thread, microseconds, from 0 to 10,000;
 * - `eal`: arguments of EAL, one a line; for the first datapath of the process;
 * - `library`: path of a library to use, instead of the one that is found or built.
 */
export const netdevProvider: Provider = {
  type: "netdev",
  cleanupRequired: true,

  async enumerate(): Promise<string[]> {
    if (!mayHaveDatapaths()) return [];
    const subject = { operation: "list datapaths", object: "netdev" };
    const library = await holdLibrary(subject);
    try {
      const { symbols } = library;
      const text = new Uint8Array(1 << 16);
      check(symbols, symbols.dp_enumerate(text, text.length), subject);
      return fromCString(text).split("\n").filter((name) => name !== "").sort();
    } finally {
      library.release();
    }
  },

  /** DPDK's device for an internal port is a tap device. */
  portOpenType(type: string): string {
    return type === "internal" ? "tap" : type;
  },

  open(name: string, options: OpenOptions): Promise<ProviderDatapath> {
    return NetdevDatapath.open(name, options);
  },
};

/**
 * Whether this process has ever mapped the library: another isolate of it may have. Without it
 * there can be no datapath, and listing them must not compile one.
 */
function mayHaveDatapaths(): boolean {
  if (isLibraryHeld()) return true;
  try {
    return readSystemFile("/proc/self/maps")?.includes("librte_eal") === true;
  } catch {
    return false; // A program that may not call the C library has none.
  }
}
