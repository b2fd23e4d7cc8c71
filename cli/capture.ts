// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl capture`: has the program that serves a datapath write packets to a file.
 *
 * @module
 */
import { removeMarks } from "../control/capture/marks.ts";
import { fullName, openableDatapaths } from "../control/datapath_source.ts";
import { type CommandLine, flagWords } from "../control/options.ts";
import { openDatapath } from "../providers/registry.ts";
import { ask } from "./ask.ts";
import { ToolError, UsageError } from "./failure.ts";
import { findPath } from "./target.ts";
import type { Terminal } from "./terminal.ts";

/** Captures packets; the exit status. */
export async function capture(line: CommandLine, terminal: Terminal): Promise<number> {
  const settings = line.words.slice(1).filter((word) => word.includes("="));
  const names = line.words.slice(1).filter((word) => !word.includes("="));
  const file = names.pop();
  const [name, ...more] = names;
  if (file === undefined || more.length > 0) {
    throw new UsageError("capture", "'capture' needs the name of a file to be written");
  }
  const path = await findPath(line, name, terminal);
  if (path === undefined) {
    throw new ToolError(
      "packets can be captured where a program serves the datapath: taking them from a " +
        "program that does not know would disturb it",
      { hint: `"dpctl serve ${name ?? "DP"}", or serve(dp) of control/serve.ts` },
    );
  }
  const absolute = file.startsWith("/") ? file : `${Deno.cwd()}/${file}`;
  const options = line.flags.json ? flagWords({ ...line.flags, names: false }) : [];
  const words = ["upcall/capture", ...options, absolute, ...settings];
  const status = await ask(path, { ...line, words }, terminal);
  if (status !== 0) await tidyUp(name);
  return status;
}

/** A program that was killed is given so long until it is gone, milliseconds. */
const patienceMs = 2000;
const pauseMs = 100;

/**
 * Takes the marks of captures off flows whose program was killed: the flows of the kernel outlive
 * it. Those of a datapath in userspace went with it.
 */
async function tidyUp(name: string | undefined): Promise<void> {
  const { names } = await openableDatapaths(["system"]).list();
  const full = name === undefined ? undefined : fullName(name);
  for (const one of names.filter((each) => full === undefined || each === full)) {
    await using dp = await openDatapath(one);
    const end = performance.now() + patienceMs;
    while (removeMarks(dp) > 0 && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}
