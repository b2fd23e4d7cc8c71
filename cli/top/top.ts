// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl top`: watches a datapath; on a terminal as a page that changes, elsewhere as lines.
 *
 * @module
 */
import { openDatapath } from "../../providers/registry.ts";
import { control } from "../../control/socket.ts";
import type { Keys, Terminal } from "../terminal.ts";
import { UsageError } from "../failure.ts";
import type { CommandLine } from "../../control/options.ts";
import { type Status, statusOf } from "../../control/status.ts";
import { findPath, withTarget } from "../target.ts";
import { explanation, keysLine, lineOf, pageOf } from "./page.ts";
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

/** Timers take no more seconds; so many looks take days. */
const maxNumber = 1_000_000;

/** A number in the notation of people; NaN for what is none. */
function numberOf(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  return value <= maxNumber ? value : NaN;
}

/** Watches a datapath; the exit status. */
export async function top(
  line: CommandLine,
  terminal: Terminal,
  screen: () => Screen | undefined = realScreen,
): Promise<number> {
  const [, name, ...more] = line.words;
  if (more.length > 0) throw new UsageError("top", "'top' takes one datapath");
  const seconds = numberOf(line.extra.get("interval") ?? "1");
  const count = numberOf(line.extra.get("count") ?? `${maxNumber}`);
  if (!(seconds > 0) || !(count >= 1)) {
    const message = `--interval and --count must be numbers above 0, to ${maxNumber}`;
    throw new UsageError("top", message);
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

/** What is shown on a terminal, and what keys have made of it. */
class View {
  readonly #draw: (text: string) => void;
  readonly #screen: () => Screen | undefined;
  #looks: readonly [before: Status, now: Status] | undefined;
  #explains = false;
  isPaused = false;

  constructor(draw: (text: string) => void, screen: () => Screen | undefined) {
    this.#draw = draw;
    this.#screen = screen;
  }

  show(before: Status, now: Status): void {
    this.#looks = [before, now];
    this.#redraw();
  }

  /** Does what a key says; false for the one that ends it. */
  press(key: string): boolean {
    if (key === "q" || key === "Q") return false;
    if (key === "p" || key === " ") this.isPaused = !this.isPaused;
    if (key === "h" || key === "?") this.#explains = !this.#explains;
    this.#redraw();
    return true;
  }

  #redraw(): void {
    const size = this.#screen();
    if (size === undefined || this.#looks === undefined) return;
    const { columns } = size;
    const rows = size.rows - 1;
    const page = this.#explains
      ? explanation.slice(0, rows).map((row) => row.slice(0, columns))
      : pageOf(...this.#looks, { columns, rows });
    const lines = [...page, ...Array<string>(Math.max(0, rows - page.length)).fill("")];
    const text = [...lines, keysLine(this.isPaused).slice(0, columns)];
    this.#draw(home + text.map((row) => row + clearLine).join("\r\n") + clearBelow);
  }
}

async function watch(
  look: () => Promise<Status>,
  { line, terminal, screen, seconds, count }: WatchOptions,
): Promise<void> {
  const { print, draw = print, keys } = terminal;
  const isPage = screen() !== undefined && !line.flags.json;
  const quit = new AbortController();
  const signal = AbortSignal.any([
    quit.signal,
    ...(terminal.signal ? [terminal.signal] : []),
  ]);
  const view = isPage ? new View(draw, screen) : undefined;
  if (isPage) draw(enter);
  const keyboard = view && keys?.();
  if (view && keyboard) {
    void obey(keyboard, view).then((isOver) => isOver && quit.abort());
  }
  try {
    let before = await look();
    for (let n = 0; n < count && !signal.aborted; n++) {
      await pause(seconds * 1000, signal);
      if (view?.isPaused) continue;
      const now = await look();
      if (line.flags.json) print(`${toJson(now)}\n`);
      else if (view === undefined || screen() === undefined) {
        print(`${lineOf(before, now)}\n`);
      } else view.show(before, now);
      before = now;
    }
  } finally {
    keyboard?.[Symbol.dispose]();
    if (isPage) draw(leave);
  }
}

/** Does what keys say; true once they say to end. */
async function obey(keyboard: Keys, view: View): Promise<boolean> {
  for (;;) {
    const keys = await keyboard.next();
    if (keys === undefined) return false;
    if (![...keys].every((key) => view.press(key))) return true;
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
