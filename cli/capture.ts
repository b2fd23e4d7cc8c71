// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl capture`: has the program that serves a datapath write packets to a file.
 *
 * @module
 */
import { ask } from "./ask.ts";
import type { Terminal } from "./terminal.ts";
import type { CommandLine } from "../control/options.ts";
import { findPath } from "./target.ts";

/** Captures packets; the exit status. */
export async function capture(line: CommandLine, terminal: Terminal): Promise<number> {
  const settings = line.words.slice(1).filter((word) => word.includes("="));
  const names = line.words.slice(1).filter((word) => !word.includes("="));
  const file = names.pop();
  const [name, ...more] = names;
  if (file === undefined || more.length > 0) {
    throw new Error("'capture' needs the name of a file to be written");
  }
  const path = await findPath(line, name);
  if (path === undefined) {
    throw new Error(
      "packets can be captured where a program serves the datapath (dpctl serve, or " +
        "serve(dp)): taking them from a program that does not know would disturb it",
    );
  }
  const absolute = file.startsWith("/") ? file : `${Deno.cwd()}/${file}`;
  const words = ["upcall/capture", absolute, ...settings];
  return await ask(path, { ...line, words }, terminal);
}
