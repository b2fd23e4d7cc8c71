// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl top`: watches a datapath; on a terminal as a page that changes, elsewhere as lines.
 *
 * @module
 */
import { openDatapath } from "../../providers/registry.ts";
import { control } from "../../control/socket.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../failure.ts";
import type { CommandLine } from "../../control/options.ts";
import { type Status, statusOf } from "../../control/status.ts";
import { findPath, withTarget } from "../target.ts";
import { lineOf, pageOf } from "./page.ts";
import { toJson } from "../../control/verbs/verb.ts";

/** The whole terminal, and the way back: another screen, without cursor. */
const enter = "\x1b[?1049h\x1b[?25l";
const leave = "\x1b[?25h\x1b[?1049l";
/** To the upper left; what is below is written over, and then cleared. */
const home = "\x1b[H";
const clearLine = "\x1b[K";
const clearBelow = "\x1b[J";

/** What a live view needs of a terminal besides printing. */
export interface Screen {
  readonly columns: number;
  readonly rows: number;
}

/** The terminal of this program; undefined if output goes elsewhere. */
function realScreen(): Screen | undefined {
  return Deno.stdout.isTerminal() ? Deno.consoleSize() : undefined;
}

/** Watches a datapath; the exit status. */
export async function top(
  line: CommandLine,
  terminal: Terminal,
  screen: () => Screen | undefined = realScreen,
): Promise<number> {
  const [, name, ...more] = line.words;
  if (more.length > 0) throw new UsageError("top", "'top' takes one datapath");
  const seconds = Number(line.extra.get("interval") ?? 1);
  const count = Number(line.extra.get("count") ?? Infinity);
  if (!(seconds > 0) || !(count >= 1)) {
    throw new UsageError("top", "--interval and --count must be numbers above 0");
  }
  const path = await findPath(line, name, terminal);
  const options = { line, terminal, screen, seconds, count };
  if (path !== undefined) {
    const look = async (): Promise<Status> =>
      JSON.parse(await control(path, "upcall/status", [])) as Status;
    await watch(look, options);
  } else {
    await withTarget(name, async ({ fullName }) => {
      await using dp = await openDatapath(fullName);
      await watch(() => Promise.resolve(statusOf(dp)), options);
    });
  }
  return 0;
}

interface WatchOptions {
  readonly line: CommandLine;
  readonly terminal: Terminal;
  readonly screen: () => Screen | undefined;
  readonly seconds: number;
  readonly count: number;
}

async function watch(
  look: () => Promise<Status>,
  { line, terminal, screen, seconds, count }: WatchOptions,
): Promise<void> {
  const { print, draw = print, signal } = terminal;
  const isPage = screen() !== undefined && !line.flags.json;
  if (isPage) draw(enter);
  try {
    let before = await look();
    for (let n = 0; n < count && !signal?.aborted; n++) {
      await pause(seconds * 1000, signal);
      const now = await look();
      const size = screen();
      if (line.flags.json) print(`${toJson(now)}\n`);
      else if (!isPage || size === undefined) print(`${lineOf(before, now)}\n`);
      else {
        const rows = pageOf(before, now, size).map((row) => row + clearLine);
        draw(home + rows.join("\r\n") + clearBelow);
      }
      before = now;
    }
  } finally {
    if (isPage) draw(leave);
  }
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}
