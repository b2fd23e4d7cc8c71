#!/usr/bin/env -S deno run -A
// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl`: looks after datapaths, in the kernel and in programs. `deno run -A dpctl.ts help` tells of its verbs.
 *
 * @module
 */
import { dpctl } from "./cli/dpctl.ts";
import type { Terminal } from "./cli/terminal.ts";

function writeTo(
  stream: typeof Deno.stdout | typeof Deno.stderr,
): (text: string) => void {
  return (text) => {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += stream.writeSync(bytes.subarray(at));
  };
}

async function readText(path: string): Promise<string> {
  return path === "-"
    ? await new Response(Deno.stdin.readable).text()
    : await Deno.readTextFile(path);
}

if (import.meta.main) {
  const stop = new AbortController();
  const terminal: Terminal = {
    print: writeTo(Deno.stdout),
    complain: writeTo(Deno.stderr),
    readText,
    signal: stop.signal,
  };
  const abort = (): void => stop.abort();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, abort);
  }
  try {
    Deno.exitCode = await dpctl(Deno.args, terminal);
  } catch (error) {
    // The reader of our output has gone: `dpctl … | head`.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      Deno.removeSignalListener(signal, abort);
    }
  }
}
