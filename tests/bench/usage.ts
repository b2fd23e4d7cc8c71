// SPDX-License-Identifier: Apache-2.0
/**
 * What people see of a bench besides its figures: help, complaints without a stack, and how far it
 * is.
 *
 * @module
 */

/** A bench that was called wrongly, or that this machine cannot run: the message says it all. */
export class BenchError extends Error {
  override readonly name = "BenchError";
}

/** Whether a failure is the caller's to mend. */
export function isExpected(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  return error instanceof BenchError || `${code}`.startsWith("ERR_PARSE_ARGS");
}

/**
 * For `--help`, prints the opening comment of a bench, which says how it is called, and ends it.
 */
export function helpIfAsked(url: string): void {
  if (!Deno.args.includes("--help") && !Deno.args.includes("-h")) return;
  const [, comment = ""] = /^\/\*\*\n([^]*?)\n \*\//m.exec(
    Deno.readTextFileSync(new URL(url)),
  ) ?? [];
  const lines = comment.split("\n").map((line) => line.replace(/^ \* ?/, ""));
  console.log(lines.filter((line) => !line.startsWith("@")).join("\n").trim());
  Deno.exit(0);
}

/** A number of the command line. Throws `BenchError`. */
export function numberOf(name: string, text: string, most = Infinity): number {
  const value = Number(text);
  if (value > 0 && value <= most) return value;
  const limit = most === Infinity ? "" : ` up to ${most}`;
  throw new BenchError(`${name} must be a number above 0${limit}: it is ${text}`);
}

/** Runs `main`; a failure that is the caller's to mend is a sentence, and exit status 1. */
export async function orComplain<T>(main: () => T | Promise<T>): Promise<T> {
  try {
    return await main();
  } catch (error) {
    if (!isExpected(error)) throw error;
    console.error(`${error.message}\nWith --help it says how it is called.`);
    Deno.exit(1);
  }
}

/** Shows how far it is, on a terminal: the line is written over. An empty text clears it. */
export function showProgress(text: string): void {
  if (!Deno.stderr.isTerminal()) return;
  const { columns } = Deno.consoleSize();
  Deno.stderr.writeSync(
    new TextEncoder().encode(`\r\x1b[K${text.slice(0, columns - 1)}`),
  );
}
