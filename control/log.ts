// SPDX-License-Identifier: Apache-2.0
/**
 * What a served datapath says on stderr, with levels that a control socket can change: `vlog/list`,
 * `vlog/set` of ovs-appctl(8), for the one destination that there is.
 *
 * @module
 */

import { printableLine } from "./text/printable.ts";

/** How much is said. */
export type LogLevel = "off" | "emer" | "err" | "warn" | "info" | "dbg";
/** Levels, from the one that says least. */
export const logLevels: readonly LogLevel[] = [
  "off",
  "emer",
  "err",
  "warn",
  "info",
  "dbg",
];

/** What may say something. */
export type LogModule = "control" | "pmd" | "serve" | "upcall";
/** All of them. */
export const logModules: readonly LogModule[] = ["control", "pmd", "serve", "upcall"];

/** A log. */
export class Log {
  readonly #levels = new Map<LogModule, LogLevel>(
    logModules.map((module) => [module, "info"]),
  );
  readonly #write: (line: string) => void;
  #serial = 0;

  /** `write` is given whole lines; stderr if absent. */
  constructor(write: (line: string) => void = writeToStderr) {
    this.#write = write;
  }

  /** Says something, if that is to be said. */
  say(module: LogModule, level: Exclude<LogLevel, "off">, text: string): void {
    const limit = this.#levels.get(module) ?? "info";
    if (logLevels.indexOf(level) > logLevels.indexOf(limit)) return;
    const serial = `${++this.#serial}`.padStart(5, "0");
    const time = new Date().toISOString();
    const line = printableLine(text);
    try {
      this.#write(`${time}|${serial}|${module}|${level.toUpperCase()}|${line}\n`);
    } catch {
      // A log that cannot be written, to a full disk or to nobody, must not end its program.
    }
  }

  /** Levels as `vlog/list` prints them. */
  list(): string {
    const lines = logModules.map((module) =>
      `${module.padEnd(16)}  ${
        (this.#levels.get(module) ?? "").toUpperCase().padStart(5)
      }\n`
    );
    return `                 console\n                 -------\n${lines.join("")}`;
  }

  /**
   * Sets levels: `dbg`, `upcall:dbg`, `upcall:console:dbg`. Throws `SyntaxError` and changes
   * nothing then.
   */
  set(spec: string): void {
    let level: LogLevel = "dbg";
    let modules: readonly LogModule[] = logModules;
    for (
      const word of spec.toLowerCase().split(/[:\s,]+/).filter((part) => part !== "")
    ) {
      const asLevel = logLevels.find((candidate) => candidate === word);
      const asModule = logModules.find((candidate) => candidate === word);
      if (asLevel !== undefined) level = asLevel;
      else if (asModule !== undefined) modules = [asModule];
      else if (word !== "console" && word !== "any") {
        throw new SyntaxError(`no destination, level, or module "${word}"`);
      }
    }
    for (const module of modules) this.#levels.set(module, level);
  }
}

function writeToStderr(line: string): void {
  const bytes = new TextEncoder().encode(line);
  for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
}
