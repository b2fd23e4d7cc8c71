// SPDX-License-Identifier: Apache-2.0
/**
 * What a build says while it goes on.
 *
 * @module
 */

const progressDelayMs = 1000;
/** And from then on it is told so often how far it is. */
const progressEveryMs = 5000;

/** Says nothing about a quick build, and what is going on about a slow one. */
export class Progress {
  readonly #tell: (message: string) => void;
  readonly #started = performance.now();
  #timer: ReturnType<typeof setTimeout>;
  #told = false;
  #steps = 0;
  #expected = 0;

  /** Begins to count the time. */
  constructor(tell: (message: string) => void) {
    this.#tell = tell;
    this.#timer = setTimeout(() => this.#report(), progressDelayMs);
  }

  #report(): void {
    this.#told = true;
    const so = this.#expected === 0
      ? "" // The compiler is still being asked what it can do.
      : ` (${this.#steps} of ${this.#expected} files done)`;
    this.#tell(`upcall: compiling the datapath for this machine, once${so}`);
    this.#timer = setTimeout(() => this.#report(), progressEveryMs);
  }

  /** So many steps there are. */
  expect(steps: number): void {
    this.#expected = steps;
  }

  /** One more is done. */
  step(): void {
    this.#steps++;
  }

  /** Says how long it took, if anything was said. */
  done(): void {
    if (!this.#told) return;
    const seconds = (performance.now() - this.#started) / 1000;
    this.#tell(`upcall: compiled in ${seconds.toFixed(1)} s`);
  }

  /** Says nothing more. */
  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** Writes a line to standard error. */
export function toStderr(message: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(`${message}\n`));
  } catch {
    // A notice that nobody can read must not keep the datapath from being opened.
  }
}
