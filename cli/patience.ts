// SPDX-License-Identifier: Apache-2.0
/**
 * What a person sees of work that takes long: nothing of a second's, then how long it takes and how
 * far it is, in a line that goes when the work is done.
 *
 * @module
 */
import type { Terminal } from "./terminal.ts";

/** Work of less is not spoken of, milliseconds; and so often is said how it is. */
const everyMs = 1000;

/** How far work is, in words: "3 of 8 flows". */
export type HowFar = () => string | Promise<string>;

/** Says how work is until it is disposed of. */
export class Patience implements Disposable {
  readonly #what: string;
  readonly #note: Terminal["note"];
  readonly #started = performance.now();
  #timer: ReturnType<typeof setInterval> | undefined;
  #noted = this.#started;
  #isShown = false;

  /** `what` is the work, as the user called it. Without a screen nothing is said. */
  constructor(what: string, { note }: Pick<Terminal, "note">) {
    this.#what = what;
    this.#note = note;
  }

  /** Looks every second how far work is that somebody else does, and says it. */
  watch(howFar: HowFar): void {
    if (this.#note === undefined) return;
    this.#timer = setInterval(async () => {
      const words = await howFar();
      if (this.#timer !== undefined) this.#show(words);
    }, everyMs);
  }

  /** For work that lets no timer run: called now and then, says how far that is, if it is time. */
  step(howFar: () => string): void {
    const now = performance.now();
    if (this.#note === undefined || now - this.#noted < everyMs) return;
    this.#show(howFar());
  }

  #show(words: string): void {
    this.#noted = performance.now();
    const seconds = Math.floor((this.#noted - this.#started) / 1000);
    this.#note?.(`${this.#what}: ${seconds} s${words === "" ? "" : `, ${words}`}`);
    this.#isShown = true;
  }

  /** Takes the line away. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#isShown) this.#note?.("");
    this.#isShown = false;
  }
}

/** The size of a file that grows, in words. */
export function sizeOf(path: string): HowFar {
  return async () => {
    try {
      const { size } = await Deno.stat(path);
      return size < 1e6
        ? `${Math.round(size / 1e3)} kB`
        : `${(size / 1e6).toFixed(1)} MB`;
    } catch {
      return ""; // It is not there yet, or may not be looked at.
    }
  };
}
