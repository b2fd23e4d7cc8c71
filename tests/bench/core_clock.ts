// SPDX-License-Identifier: Apache-2.0
/**
 * How fast the core of the poll threads runs between two windows: a program of its own, `clock.c`,
 * answers for it. See there for what can slow a core down unseen.
 *
 * @module
 */
import { delay, run } from "./child.ts";
import { POLL_CORE } from "./machine.ts";

/**
 * Below this share of the best speed, somebody else is at work on the physical core. Measured on
 * such a machine: 1.46 to 1.48 alone, 1.2 to 1.39 in company, and programs at 0.6 of their speed.
 */
const QUIET_SHARE = 0.965;
const SAMPLES = 40;

/** Measures the clock of a core, while nothing else runs there. */
export class CoreClock implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamDefaultReader<string>;
  #best = 0;

  private constructor(program: string, core: number) {
    this.#process = new Deno.Command(program, {
      args: [String(core)],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#output = this.#process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /**
   * Compiles the program to `path` and looks for the best speed of `POLL_CORE`, or of another core.
   */
  static async start(
    path: string,
    { core = POLL_CORE }: { core?: number } = {},
  ): Promise<CoreClock> {
    const source = new URL("./clock.c", import.meta.url).pathname;
    const flags = "-std=gnu11 -O2 -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes";
    await run("cc", [...flags.split(" "), "-o", path, source]);
    const clock = new CoreClock(path, core);
    for (let i = 0; i < SAMPLES; i++) {
      await clock.read();
      await delay(10);
    }
    return clock;
  }

  /** Core cycles for each cycle of the time stamp counter. */
  async read(): Promise<number> {
    await this.#input.write(new Uint8Array([10]));
    const { value = "" } = await this.#output.read();
    const speed = Number(value);
    if (!(speed > 0)) throw new Error(`clock: no answer but "${value}"`);
    this.#best = Math.max(this.#best, speed);
    return speed;
  }

  /** Whether `speed` is about the best that this core was seen to run at, up to now. */
  isQuiet(speed: number): boolean {
    return speed >= QUIET_SHARE * this.#best;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close();
    await this.#output.cancel();
    await this.#process.status;
  }
}
