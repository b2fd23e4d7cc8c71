// SPDX-License-Identifier: Apache-2.0
/**
 * Runs a program in a Linux guest whose kernel has the openvswitch datapath, for `deno task guest`:
 * for machines whose own kernel lacks it, for lessons, and for CI.
 *
 *     deno task guest [--timeout SECONDS] [--keep FOLDER] [--zones] PROGRAM [ARGUMENT...]
 *
 * A PROGRAM that ends in `.ts` is run by Deno, one in `.sh` by the shell. The guest is root, sees
 * the files of this machine, and what it writes is gone when it ends, but for files in the folder
 * that `$SHARED` names. The exit status is the program's; 125: the guest did not come up. SIGINT,
 * SIGTERM and SIGHUP end the guest.
 *
 * @module
 */
import { Unsupported } from "./skip.ts";
import { runInGuest } from "./uml.ts";
import { builtKernel } from "./uml_kernel.ts";

const usage =
  "usage: deno task guest [--timeout SECONDS] [--keep FOLDER] [--zones] PROGRAM [ARGUMENT...]\n" +
  "  PROGRAM    a program of this machine, a script of the shell (.sh), or of Deno (.ts)\n" +
  "  --timeout  the guest ends after so many seconds; 600 if absent\n" +
  "  --keep     copy what the program leaves in the folder $SHARED to FOLDER\n" +
  "  --zones    boot the kernel that tests/support/uml_kernel.ts builds: conntrack zones\n";

interface Wanted {
  readonly timeoutMs: number;
  readonly keep?: string;
  readonly zones: boolean;
  readonly command: readonly string[];
}

/** Reads the words of a call; a text instead says what is wrong with them, or is the usage. */
export function parseCall(words: readonly string[]): Wanted | string {
  let seconds = 600;
  let keep: string | undefined;
  let zones = false;
  let at = 0;
  for (; at < words.length; at++) {
    const word = words[at] as string;
    if (word === "--") {
      at++;
      break;
    }
    if (!word.startsWith("-")) break;
    if (word === "--help" || word === "-h") return usage;
    if (word === "--zones") zones = true;
    else if (word === "--timeout") {
      seconds = Number(words[++at]);
      if (!(seconds > 0)) return `guest: --timeout needs a number of seconds\n${usage}`;
    } else if (word === "--keep") {
      keep = words[++at];
      if (keep === undefined) return `guest: --keep needs a folder\n${usage}`;
    } else return `guest: unknown option ${word}\n${usage}`;
  }
  const command = words.slice(at);
  if (command.length === 0) return `guest: which program?\n${usage}`;
  return {
    timeoutMs: seconds * 1000,
    zones,
    command: commandOf(command),
    ...(keep !== undefined && { keep }),
  };
}

/** How a program is started. */
function commandOf([program = "", ...rest]: readonly string[]): string[] {
  if (program.endsWith(".ts")) {
    return [Deno.execPath(), "run", "-A", "--no-check", program, ...rest];
  }
  if (program.endsWith(".sh")) return ["sh", program, ...rest];
  return [program, ...rest];
}

async function main(words: readonly string[]): Promise<number> {
  const wanted = parseCall(words);
  if (typeof wanted === "string") {
    const isHelp = wanted === usage;
    const out = isHelp ? Deno.stdout : Deno.stderr;
    await out.write(new TextEncoder().encode(wanted));
    return isHelp ? 0 : 2;
  }
  const { timeoutMs, keep, zones, command } = wanted;
  const kernel = zones ? await builtKernel() : undefined;
  if (zones && kernel === undefined) {
    console.error("guest: needed first: deno run -A tests/support/uml_kernel.ts");
    return 125;
  }
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(name, () => stop.abort(name));
  }
  if (Deno.stderr.isTerminal()) console.error("guest: Linux starts, some seconds");
  try {
    const { status } = await runInGuest([...command], {
      timeoutMs,
      signal: stop.signal,
      // The guest's streams are files: whether anybody looks is known here.
      env: Deno.stdout.isTerminal() ? {} : { NO_COLOR: "1" },
      onLine: (line, stream) =>
        stream === "stderr" ? console.error(line) : console.log(line),
      ...(kernel !== undefined && { kernel }),
      ...(keep !== undefined && { keep }),
    });
    return status;
  } catch (error) {
    const { aborted, reason } = stop.signal;
    if (aborted) {
      return 128 + ({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }[String(reason)] ?? 0);
    }
    const { message } = error as Error;
    console.error(
      error instanceof Unsupported
        ? `guest: no ${message}; deno task setup installs it`
        : `guest: ${message.trim()}`,
    );
    return 125;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
