// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl monitor-conntrack`: a line for whatever becomes of a connection, as it happens.
 *
 * @module
 */
import { followConntrack, parseEventChoice } from "../control/conntrack_events.ts";
import { type CommandLine, flagWords } from "../control/options.ts";
import { control } from "../control/socket.ts";
import { UsageError } from "./failure.ts";
import { receivePiped } from "./pipe.ts";
import { findPath, withTarget } from "./target.ts";
import type { Terminal } from "./terminal.ts";

/** Follows the connections of a datapath; the exit status. */
export async function monitorConntrack(
  line: CommandLine,
  terminal: Terminal,
): Promise<number> {
  const { flags } = line;
  const settings = line.words.slice(1).filter((word) => word.includes("="));
  const [name, ...more] = line.words.slice(1).filter((word) => !word.includes("="));
  if (more.length > 0) {
    throw new UsageError("monitor-conntrack", "'monitor-conntrack' takes one datapath");
  }
  const choice = choiceOf(settings);
  const { signal, print } = terminal;
  const path = await findPath(line, name, terminal);
  if (path === undefined) {
    const { promise, resolve } = Promise.withResolvers<void>();
    signal?.addEventListener("abort", () => resolve(), { once: true });
    await withTarget(name, async (dp) => {
      if (signal?.aborted) return; // While it was looked for.
      await followConntrack(dp, choice, { flags, until: promise, put: print });
    });
    return 0;
  }
  const decoder = new TextDecoder();
  const words = [...flagWords({ ...flags, names: flags.verbosity > 0 }), ...settings];
  await receivePiped(
    (socket) => control(path, "upcall/monitor-conntrack", [...words, socket], { signal }),
    { take: (bytes) => print(decoder.decode(bytes, { stream: true })), signal },
  );
  return 0;
}

function choiceOf(settings: readonly string[]): ReturnType<typeof parseEventChoice> {
  try {
    return parseEventChoice(settings);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new UsageError("monitor-conntrack", error.message);
  }
}
