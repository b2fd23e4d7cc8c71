// SPDX-License-Identifier: Apache-2.0
/**
 * Programs under measurement as child processes: log to a file, stopped and continued so that
 * several can share a core in turns, always ended.
 *
 * @module
 */

import { cleanedUp } from "./interrupt.ts";

/** How to start a child. */
export interface ChildOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** File for its standard output and error. */
  readonly log: string;
}

/** CPU time of a thread, ns: used, and waited for while another thread had its core. */
export interface ThreadTime {
  readonly usedNs: number;
  readonly waitedNs: number;
}

/** A child process. Dispose ends it, stopped or not. */
export class Child {
  readonly pid: number;
  readonly #name: string;
  readonly #log: string;
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #life: AsyncDisposable;
  #end: Deno.CommandStatus | undefined;

  constructor(command: string, args: readonly string[], options: ChildOptions) {
    this.#name = command;
    this.#log = options.log;
    // What a program before has written there does not say that this one is ready.
    Deno.writeTextFileSync(options.log, "");
    // The shell redirects and then becomes the program, so that the pid is the program's.
    this.#process = new Deno.Command("/bin/sh", {
      args: ["-c", 'exec "$@" > "$CHILD_LOG" 2>&1', "sh", command, ...args],
      env: { ...options.env, CHILD_LOG: options.log },
      stdin: "piped",
      stdout: "null",
      stderr: "inherit",
    }).spawn();
    this.pid = this.#process.pid;
    this.#input = this.#process.stdin.getWriter();
    this.#process.status.then((status) => this.#end = status);
    this.#life = cleanedUp(() => this.#kill());
  }

  /** Whether the process has ended. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  /** Everything that it wrote so far. */
  log(): string {
    try {
      return Deno.readTextFileSync(this.#log);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "";
      throw error;
    }
  }

  /** Writes a line to its standard input. */
  async say(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(line + "\n"));
  }

  /** Resolves when `done` is true of its log, or throws after `seconds` or at its end. */
  async until<T>(done: (log: string) => T | undefined, seconds: number): Promise<T> {
    const deadline = performance.now() + seconds * 1000;
    while (true) {
      const ended = this.ended;
      const value = done(this.log());
      if (value !== undefined) return value;
      if (ended || performance.now() > deadline) {
        throw new Error(
          ended
            ? this.obituary()
            : `${this.#name} was not ready after ${seconds} s${this.#tail()}`,
        );
      }
      await delay(20);
    }
  }

  /** How it ended, with its last lines. */
  obituary(): string {
    const { signal, code } = this.#end ?? {};
    const how = signal
      ? `was ended by ${signal}`
      : `ended with code ${code ?? "unknown"}`;
    return `${this.#name} ${how}${this.#tail()}`;
  }

  #tail(): string {
    const lines = this.log().trimEnd().split("\n").slice(-12).join("\n");
    return lines === "" ? "" : `; its last lines:\n${lines}`;
  }

  /** Takes it off the CPU. */
  pause(): void {
    this.#signal("SIGSTOP");
  }

  /** Lets it go on. */
  resume(): void {
    this.#signal("SIGCONT");
  }

  /** CPU time of its thread that is bound to `core` alone; undefined when there is none. */
  threadOn(core: number): ThreadTime | undefined {
    for (const task of this.#tasks()) {
      const folder = `/proc/${this.pid}/task/${task.name}`;
      const status = Deno.readTextFileSync(`${folder}/status`);
      if (!status.includes(`\nCpus_allowed_list:\t${core}\n`)) continue;
      const [used = "0", waited = "0"] = Deno.readTextFileSync(`${folder}/schedstat`)
        .split(" ");
      if (Number(used) < 1e6) continue;
      return { usedNs: Number(used), waitedNs: Number(waited) };
    }
    return undefined;
  }

  #tasks(): Deno.DirEntry[] {
    try {
      return [...Deno.readDirSync(`/proc/${this.pid}/task`)];
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      throw new Error(this.obituary(), { cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#life[Symbol.asyncDispose]();
  }

  async #kill(): Promise<void> {
    this.#signal("SIGKILL");
    await this.#process.status;
    await this.#input.close().catch(() => {}); // the pipe broke with the process
  }

  #signal(signal: Deno.Signal): void {
    if (this.ended) return;
    try {
      this.#process.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has just ended
    }
  }
}

/** Resolves after `ms`. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Runs a command to its end and returns its output, or throws with what it said. */
export async function run(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    env: { LC_ALL: "C", ...env },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  if (!success) {
    throw new Error(`${command} ${args.join(" ")}: ${decoder.decode(stderr).trim()}`);
  }
  return decoder.decode(stdout);
}
