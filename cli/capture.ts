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
import { sizeOf } from "./patience.ts";
import { receivePiped } from "./pipe.ts";
import { findPath } from "./target.ts";
import { control } from "../control/socket.ts";
import type { JsonAnswer } from "../control/verbs/verb.ts";
import { program, type Terminal } from "./terminal.ts";

/** Captures packets; the exit status. */
export async function capture(line: CommandLine, terminal: Terminal): Promise<number> {
  const settings = line.words.slice(1).filter((word) => word.includes("="));
  const names = line.words.slice(1).filter((word) => !word.includes("="));
  const file = names.pop();
  const [name, ...more] = names;
  // A datapath alone is no file; one of that name is written ./netdev@br0.
  const isDatapath = file !== undefined && /^(netdev|system)@/.test(file);
  if (file === undefined || isDatapath || more.length > 0) {
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
  if (file === "-") return await capturePiped(path, { line, settings }, terminal);
  const absolute = file.startsWith("/") ? file : `${Deno.cwd()}/${file}`;
  const options = line.flags.json ? flagWords({ ...line.flags, names: false }) : [];
  const words = ["upcall/capture", ...options, absolute, ...settings];
  const status = await ask(path, { ...line, words }, terminal, sizeOf(absolute));
  if (status !== 0) await tidyUp(name);
  return status;
}

/** Limits of a capture that somebody looks at, until he has seen enough. */
const unlimited = ["count=1000000000", "seconds=3600"];

/**
 * Captures to standard output, for tcpdump and Wireshark, until the reader has seen enough or this
 * program is told to end; the exit status.
 */
async function capturePiped(
  path: string,
  { line, settings }: { line: CommandLine; settings: readonly string[] },
  { write, complain, signal }: Terminal,
): Promise<number> {
  if (write === undefined) {
    throw new ToolError("a capture is no text to be read on a terminal", {
      hint: `"${program} capture DP - | tcpdump -nr -", or "… | wireshark -k -i -"`,
    });
  }
  const given = new Set(settings.map((word) => word.split("=")[0]));
  const limits = unlimited.filter((word) => !given.has(word.split("=")[0]));
  const answer = await receivePiped(
    (socket) =>
      control(path, "upcall/capture", [socket, ...settings, ...limits], { signal }),
    { take: write, signal },
  );
  if (answer === undefined) return 0;
  const { result } = JSON.parse(answer) as JsonAnswer;
  const [{ packets, lost }] = result as [{ packets: number; lost: number }];
  const left = lost === 0 ? "" : `, ${lost} left out: they came too fast`;
  if (!line.flags.json) complain(`${program}: ${packets} packets${left}\n`);
  return 0;
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
