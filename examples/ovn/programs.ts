// SPDX-License-Identifier: Apache-2.0
/**
 * Programs in network namespaces, each with a file for what it says, all ended together.
 *
 * @module
 */

/** How a program ends that does not at once, ms. */
const PATIENCE_MS = 5000;
/** Between two looks at something that is waited for, ms. */
const PAUSE_MS = 50;

/** What a program came to. */
export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The words that run `words` in a namespace. */
export function within(
  namespace: string | undefined,
  words: readonly string[],
): string[] {
  return namespace === undefined
    ? [...words]
    : ["ip", "netns", "exec", namespace, ...words];
}

/** Runs a program to its end, whatever that is. */
export async function say(
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Said> {
  const [program = "", ...args] = words;
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args,
    env: { LC_ALL: "C", ...env },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** As {@linkcode say}; what it printed. Throws what it complained of. */
export async function get(
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { code, stdout, stderr } = await say(words, env);
  if (code === 0) return stdout.trim();
  throw new Error(
    `${words.join(" ")}: status ${code}: ${stderr.trim() || stdout.trim()}`,
  );
}

/** Looks until there is something, and gives it. Throws after a while, with what `why` says. */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  { limitMs = 60_000, why = () => "" }: {
    readonly limitMs?: number;
    readonly why?: () => string | Promise<string>;
  } = {},
): Promise<Exclude<T, undefined | false>> {
  const end = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) {
      return found as Exclude<T, undefined | false>;
    }
    if (performance.now() >= end) {
      throw new Error(`${what}: not within ${limitMs / 1000} s. ${await why()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** How a program is started. */
export interface Start {
  /** The namespace that it is in; this program's own if absent. */
  readonly namespace?: string | undefined;
  /** The file that has what it says. */
  readonly log: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A program that was started. */
export class Program {
  readonly #child: Deno.ChildProcess;
  readonly #written: Promise<unknown>;

  /** Starts one; `words` are its name and arguments. */
  constructor({ namespace, log, env = {} }: Start, words: readonly string[]) {
    const [program = "", ...args] = within(namespace, words);
    this.#child = new Deno.Command(program, {
      args,
      env: { ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      // Ctrl-C is for the program that started it, which ends it in its turn.
      detached: true,
    }).spawn();
    const { stdout, stderr } = this.#child;
    const append = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
      for await (const chunk of stream) {
        await Deno.writeFile(log, chunk, { append: true });
      }
    };
    this.#written = Promise.allSettled([append(stdout), append(stderr)]);
  }

  /** Its number. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Ends it with a signal, and waits for its end; what does not end is killed. */
  async end(signal: Deno.Signal = "SIGTERM"): Promise<void> {
    const send = (what: Deno.Signal): void => {
      try {
        this.#child.kill(what);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // It ended already.
      }
    };
    send(signal);
    const kill = setTimeout(() => send("SIGKILL"), PATIENCE_MS);
    await this.#child.status;
    clearTimeout(kill);
    await this.#written;
  }
}
