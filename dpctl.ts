#!/usr/bin/env -S deno run -A
// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl`: looks after datapaths, in the kernel and in programs. `deno run -A dpctl.ts help` lists
 * its verbs.
 *
 * @module
 */
import { dpctl } from "./cli/dpctl.ts";
import { parseCommandLine } from "./control/options.ts";
import { systemWords } from "./control/system_words.ts";
import { Output, OutputError } from "./cli/output.ts";
import { endsInOrder, type Keys, program, type Terminal } from "./cli/terminal.ts";

async function readText(path: string): Promise<string> {
  return path === "-"
    ? await new Response(Deno.stdin.readable).text()
    : await Deno.readTextFile(path);
}

/** Whether somebody waits for a key, who would keep the program from ending. */
let isReading = false;

function takeKeyboard(): Keys {
  const bytes = new Uint8Array(64);
  // A read of stdin that waits would hold up `setRaw`.
  const terminal = Deno.openSync("/dev/tty");
  Deno.stdin.setRaw(true, { cbreak: true }); // Ctrl-C is a signal still.
  return {
    async next() {
      isReading = true;
      const size = await terminal.read(bytes);
      isReading = false;
      return size === null
        ? undefined
        : new TextDecoder().decode(bytes.subarray(0, size));
    },
    [Symbol.dispose]: () => Deno.stdin.setRaw(false),
  };
}

/** Whether the command line is of a verb that ends in order. A wrong one is complained of later. */
function isInOrder(): boolean {
  try {
    const { words: [verb = "", ...args] } = parseCommandLine(Deno.args);
    return endsInOrder.includes(verb) || (verb === "capture" && args.includes("-"));
  } catch {
    return false;
  }
}

async function main(): Promise<number> {
  const stop = new AbortController();
  const stdout = new Output(Deno.stdout);
  const stderr = new Output(Deno.stderr);
  let isNoted = false;
  const terminal: Terminal = {
    print: (text) => stdout.print(text),
    draw: (text) => stdout.draw(text),
    ...(!Deno.stdout.isTerminal() && {
      write: (bytes: Uint8Array) => {
        for (let at = 0; at < bytes.length;) {
          at += Deno.stdout.writeSync(bytes.subarray(at));
        }
      },
    }),
    complain: (text) => {
      stdout.flush(); // In the order in which it was said.
      if (isNoted) terminal.note?.("");
      stderr.print(text);
      stderr.flush();
    },
    ...(Deno.stderr.isTerminal() && {
      note: (text: string) => {
        stdout.flush();
        stderr.draw(`\r\x1b[K${text}`);
        stderr.flush();
        isNoted = text !== "";
      },
    }),
    ...(Deno.stdin.isTerminal() && { keys: takeKeyboard }),
    readText,
    signal: stop.signal,
  };
  const signals = isInOrder() ? ["SIGINT", "SIGTERM"] as const : [];
  const abort = (): void => stop.abort();
  for (const signal of signals) Deno.addSignalListener(signal, abort);
  try {
    const status = await dpctl(Deno.args, terminal);
    stdout.flush();
    return status;
  } catch (error) {
    if (!(error instanceof OutputError)) throw error;
    // Nobody reads the output any more: `dpctl … | head`. Anything else is worth a word.
    if (error.cause instanceof Deno.errors.BrokenPipe) return 0;
    try {
      stderr.print(`${program}: cannot write: ${systemWords(error)}\n`);
      stderr.flush();
    } catch {
      // That cannot be written either.
    }
    return 1;
  } finally {
    for (const signal of signals) Deno.removeSignalListener(signal, abort);
  }
}

if (import.meta.main) {
  Deno.exitCode = await main();
  if (isReading) Deno.exit();
}
