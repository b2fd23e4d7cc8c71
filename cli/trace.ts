// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl trace`: what a datapath would do with a packet, step by step, without sending anything.
 *
 * @module
 */
import { ask } from "./ask.ts";
import type { Terminal } from "./terminal.ts";
import { UsageError } from "./failure.ts";
import type { CommandLine } from "../control/options.ts";
import { flagWords } from "../control/options.ts";
import { findPath, withTarget } from "./target.ts";
import { traceText } from "../control/trace/text.ts";

/** Traces a packet or flow; the exit status. */
export async function trace(line: CommandLine, terminal: Terminal): Promise<number> {
  const args = line.words.slice(1);
  const what = args.pop();
  const [name, ...more] = args;
  if (what === undefined || more.length > 0) {
    throw new UsageError(
      "trace",
      "'trace' needs a packet in hexadecimal digits, or a flow",
    );
  }
  const path = await findPath(line, name, terminal);
  if (path !== undefined) {
    const words = ["upcall/trace", ...flagWords({ ...line.flags, names: false }), what];
    return await ask(path, { ...line, words }, terminal);
  }
  await withTarget(name, (dp) => terminal.print(traceText(dp, what, line.flags)));
  return 0;
}
