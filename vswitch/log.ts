// SPDX-License-Identifier: Apache-2.0
/**
 * The log of a daemon: to stderr and to a file, with levels by module that ovs-appctl(8) changes.
 *
 * Lines are Open vSwitch's: `2026-01-01T00:00:00.000Z|00001|bridge|INFO|text`.
 *
 * @module
 */
import { fileFailure } from "../control/system_words.ts";
import { printableLine } from "../control/text/printable.ts";

/** How much a message matters. */
export type Level = "emer" | "err" | "warn" | "info" | "dbg";

/** A text, or what makes one, or several lines, when it is asked. */
type Said = string | (() => string | readonly string[]);

/** Says something of a module; what is given as a function is made only if it is said. */
export type Say = (module: string, level: Level, text: Said) => void;

const levels = ["off", "emer", "err", "warn", "info", "dbg"] as const;
const destinations = ["console", "syslog", "file"] as const;
type Limit = typeof levels[number];
type Destination = typeof destinations[number];

/** Modules that say something here, and that programs set levels of. */
const known = [
  ...["bridge", "ovsdb", "unixctl", "daemon", "vswitch", "dpif", "dpif_netdev", "vconn"],
  ...["rconn", "ofproto", "ofproto_dpif", "netdev", "netdev_dummy", "connmgr", "memory"],
] as const;

/** A log. */
export class DaemonLog implements Disposable {
  /** Levels by destination, and by module where one is another. */
  readonly #usual: Record<Destination, Limit> = {
    console: "info",
    syslog: "off",
    file: "info",
  };
  readonly #levels = new Map<string, Limit>();
  /** How lines look, where that is not as usual. */
  readonly #patterns = new Map<Destination, string>();
  #path: string | undefined;
  #file: Deno.FsFile | undefined;
  #serial = 0;

  /** Says something, where that is to be said; what a function gives may have more lines. */
  say(module: string, level: Level, what: Said): void {
    const toFile = this.#file !== undefined && this.#says("file", module, level);
    const toConsole = this.#says("console", module, level);
    if (!toFile && !toConsole) return;
    const said = typeof what === "string" ? what : what();
    if (typeof said !== "string") {
      for (const line of said) this.say(module, level, line);
      return;
    }
    const serial = `${++this.#serial}`.padStart(5, "0");
    const time = new Date().toISOString();
    // Others may have given a text, and must not make lines of their own.
    const text = typeof what === "string"
      ? printableLine(said)
      : said.split("\n").map(printableLine).join("\n");
    const words = { c: module, p: level.toUpperCase(), m: text, N: serial };
    const lineTo = (to: Destination, date: string): string => {
      const pattern = this.#patterns.get(to);
      return pattern === undefined
        ? `${date}|${serial}|${module}|${words.p}|${text}\n`
        : `${fill(pattern, { ...words, d: date, D: date })}\n`;
    };
    if (toConsole) write(Deno.stderr, lineTo("console", `${time.slice(0, 19)}Z`));
    if (toFile && this.#file !== undefined) write(this.#file, lineTo("file", time));
  }

  #says(to: Destination, module: string, level: Level): boolean {
    return levels.indexOf(level) <= levels.indexOf(this.#limit(to, module));
  }

  #limit(to: Destination, module: string): Limit {
    return this.#levels.get(`${module} ${to}`) ?? this.#usual[to];
  }

  /** Writes to the end of a file from now on. Throws `FileError` for what the system refuses. */
  open(path: string): void {
    let file: Deno.FsFile;
    try {
      file = Deno.openSync(path, { append: true, create: true });
    } catch (error) {
      throw fileFailure("write", path, error);
    }
    this.close();
    [this.#path, this.#file] = [path, file];
  }

  /** Opens its file again, which may have been renamed. */
  reopen(): void {
    if (this.#path === undefined) throw new Error("Logging to file not configured");
    this.open(this.#path);
  }

  /** Closes its file. */
  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  /** Closes its file. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Sets levels: words are a level, a destination, a module, `any` or `ANY`, with colons, commas
   * or white space between them. Throws `SyntaxError` and changes nothing then.
   */
  set(spec: string): void {
    if (/^facility:/i.test(spec)) return; // Nothing is said to syslogd.
    const [, place, pattern] = /^pattern:(\w+):(.*)$/is.exec(spec) ?? [];
    if (place !== undefined && pattern !== undefined) {
      for (const to of destinations) {
        const lower = place.toLowerCase();
        if (lower === "any" || lower === to) this.#patterns.set(to, pattern);
      }
      return;
    }
    let level: Limit | undefined;
    let to: Destination | undefined;
    let module: string | undefined;
    for (const word of spec.split(/[:\s,]+/).filter((part) => part !== "")) {
      const lower = word.toLowerCase();
      const asLevel = levels.find((one) => one === lower);
      const asDestination = destinations.find((one) => one === lower);
      if (lower === "any") continue;
      if (asLevel !== undefined) level = asLevel;
      else if (asDestination !== undefined) to = asDestination;
      else if (/^[a-z][a-z0-9_-]*$/.test(lower)) module = lower.replaceAll("-", "_");
      else throw new SyntaxError(`no destination, level, or module "${word}"`);
    }
    for (const one of to === undefined ? destinations : [to]) {
      const limit = level ?? "dbg";
      if (module !== undefined) this.#levels.set(`${module} ${one}`, limit);
      else {
        this.#usual[one] = limit;
        for (const key of [...this.#levels.keys()]) {
          if (key.endsWith(` ${one}`)) this.#levels.delete(key);
        }
      }
    }
  }

  /** Levels as `vlog/list` prints them. */
  list(): string {
    const asked = [...this.#levels.keys()].map((key) => key.split(" ")[0] as string);
    const modules = [...new Set([...known, ...asked])].sort();
    const head = "                 console    syslog    file\n" +
      "                 -------    ------    ------\n";
    return head + modules.map((module) => {
      const row = destinations.map((to) =>
        this.#limit(to, module).toUpperCase().padStart(10)
      );
      return `${module.padEnd(16)}${row.join("")}\n`;
    }).join("");
  }
}

/** A line by its pattern, as ovs-appctl(8) has it; of what is not known here nothing is said. */
function fill(pattern: string, words: Readonly<Record<string, string>>): string {
  const parts = /%-?0?\d*([a-zA-Z%])(\{[^}]*\})?/g;
  return pattern.replace(
    parts,
    (_, letter: string) =>
      letter === "%" ? "%" : letter === "n" ? "\n" : words[letter] ?? "",
  );
}

function write(to: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
  } catch {
    // A log that cannot be written, to a full disk or to nobody, must not end its program.
  }
}
