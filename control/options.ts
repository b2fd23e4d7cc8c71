// SPDX-License-Identifier: Apache-2.0
/**
 * Options of dpctl: from the command line, where they may stand anywhere, and from a control
 * socket, where they come first.
 *
 * @module
 */
import { type Advice, nearest } from "./verbs/advice.ts";
import { type Flags, noFlags } from "./verbs/verb.ts";

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

/** What was on the command line. */
export interface CommandLine {
  readonly flags: Flags;
  /** `--socket`: ask this program. */
  readonly socket?: string;
  /** `--timeout`, seconds. */
  readonly timeout?: number;
  /** `--help` or `--version`. */
  readonly instead?: "help" | "version";
  /** Options of our own verbs, by name. */
  readonly extra: ReadonlyMap<string, string>;
  /** Verb and arguments. */
  readonly words: readonly string[];
}

/** An option that is wrong; the message is getopt_long(3)'s. */
export class OptionError extends Error {
  override readonly name = "OptionError";
  /** What to do. */
  readonly advice: Advice;

  constructor(message: string, advice: Advice = {}) {
    super(message);
    this.advice = advice;
  }
}

/** Long options without a value, and what they set. */
const longFlags: Readonly<Record<string, (flags: Mutable<Flags>) => void>> = {
  statistics: (flags) => flags.statistics = true,
  clear: (flags) => flags.clear = true,
  "may-create": (flags) => flags.mayCreate = true,
  "read-only": (flags) => flags.readOnly = true,
  more: (flags) => flags.verbosity++,
  names: (flags) => flags.names = true,
  "no-names": (flags) => flags.names = false,
  json: (flags) => flags.json = true,
};

const shortFlags: Readonly<Record<string, string>> = { s: "statistics", m: "more" };
const shortInstead: Readonly<Record<string, "help" | "version">> = {
  h: "help",
  V: "version",
};

/** Options with a value, for our own verbs. */
const valued = [
  "socket",
  "timeout",
  "flows",
  "miss",
  "policy",
  "poll-threads",
  "metrics",
  "web",
  "web-token",
  "output",
  "sysroot",
  "interval",
  "count",
] as const;
/** Options that every verb has. */
const common: readonly string[] = ["socket", "timeout"];

/** Flags for our own verbs. */
const extraFlags = ["verbose", "portable"] as const;

/** Reads a command line. Throws `OptionError`. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const reader = new Reader(args);
  reader.read();
  return reader.result();
}

class Reader {
  readonly #args: readonly string[];
  readonly #flags: Mutable<Flags> = { ...noFlags };
  readonly #values = new Map<string, string>();
  readonly #words: string[] = [];
  #instead: "help" | "version" | undefined;
  #setNames = false;

  constructor(args: readonly string[]) {
    this.#args = args;
  }

  read(): void {
    for (let i = 0; i < this.#args.length; i++) {
      const arg = this.#args[i] as string;
      const next = this.#args[i + 1];
      if (arg === "--") {
        this.#words.push(...this.#args.slice(i + 1));
        return;
      }
      if (this.#words.length === 0 && isSocketCommand(arg)) {
        this.#words.push(...this.#args.slice(i)); // It has options of its own.
        return;
      }
      if (arg.startsWith("--")) {
        if (this.#long(arg.slice(2), next)) i++;
      } else if (arg.startsWith("-") && arg !== "-") {
        if (this.#short(arg.slice(1), next)) i++;
      } else this.#words.push(arg);
      if (this.#instead !== undefined) return;
    }
  }

  result(): CommandLine {
    const flags = this.#flags;
    if (!this.#setNames) flags.names = flags.verbosity > 0;
    const socket = this.#values.get("socket");
    const timeout = this.#values.get("timeout");
    return {
      flags,
      words: this.#words,
      extra: this.#values,
      ...(socket !== undefined && { socket }),
      ...(timeout !== undefined && { timeout: Number(timeout) }),
      ...(this.#instead !== undefined && { instead: this.#instead }),
    };
  }

  /** Takes a long option; true if it took the next word too. */
  #long(text: string, next: string | undefined): boolean {
    const at = text.indexOf("=");
    const given = at < 0 ? text : text.slice(0, at);
    const name = expand(given);
    if (
      Object.hasOwn(longFlags, name) || name === "help" || name === "version" ||
      isExtraFlag(name)
    ) {
      if (at >= 0) {
        throw new OptionError(`option '--${name}' doesn't allow an argument`);
      }
      if (name === "help" || name === "version") this.#instead = name;
      else if (isExtraFlag(name)) this.#values.set(name, "");
      else this.#flag(name);
      return false;
    }
    const value = at < 0 ? next : text.slice(at + 1);
    if (value === undefined) {
      throw new OptionError(`option '--${name}' requires an argument`);
    }
    this.#value(name, value);
    return at < 0;
  }

  /** Takes short options; true if the last one took the next word. */
  #short(letters: string, next: string | undefined): boolean {
    for (let i = 0; i < letters.length; i++) {
      const letter = letters[i] as string;
      const flag = shortFlags[letter];
      const instead = shortInstead[letter];
      if (flag !== undefined) this.#flag(flag);
      else if (instead !== undefined) {
        this.#instead = instead;
        return false;
      } else if (letter === "t") {
        const rest = letters.slice(i + 1);
        const value = rest === "" ? next : rest;
        if (value === undefined) {
          throw new OptionError("option requires an argument -- 't'");
        }
        this.#value("timeout", value);
        return rest === "";
      } else throw new OptionError(`invalid option -- '${letter}'`);
    }
    return false;
  }

  #flag(name: string): void {
    longFlags[name]?.(this.#flags);
    if (name.endsWith("names")) this.#setNames = true;
  }

  #value(name: string, value: string): void {
    if (name === "timeout" && !/^[1-9]\d*$/.test(value)) {
      throw new OptionError(`value ${value} on -t or --timeout is invalid`);
    }
    // One of getopt_long(3)'s may come again, and the last one counts.
    if (name !== "timeout" && this.#values.has(name)) {
      throw new OptionError(`option '--${name}' is given twice`);
    }
    this.#values.set(name, value);
  }
}

/** Throws `OptionError` for an option that a verb, whose usage is given, has no use for. */
export function checkOptions(
  { extra }: CommandLine,
  { name, usage }: { readonly name: string; readonly usage: string },
): void {
  const own: readonly string[] = usage.match(/--[a-z-]+/g) ?? [];
  for (const option of extra.keys()) {
    if (common.includes(option) || own.includes(`--${option}`)) continue;
    throw new OptionError(`'${name}' has no option '--${option}'`, {
      hint: `usage: dpctl ${`${name} ${usage}`.trimEnd()}`,
    });
  }
}

/** Whether a word is a command of control sockets, `dpif-netdev/pmd-rxq-show`. */
export function isSocketCommand(word: string): boolean {
  return /^[a-z][a-z-]*(\/[a-z-]+)+$/.test(word);
}

function isExtraFlag(name: string): boolean {
  return (extraFlags as readonly string[]).includes(name);
}

/** The option that a name, or the beginning of one, stands for, as getopt_long(3) has it. */
function expand(given: string): string {
  const names = [...Object.keys(longFlags), "help", "version", ...extraFlags, ...valued];
  if (names.includes(given)) return given;
  const candidates = names.filter((name) => name.startsWith(given));
  const [only] = candidates;
  if (only !== undefined && candidates.length === 1) return only;
  if (only === undefined) {
    const meant = nearest(given, names);
    throw new OptionError(`unrecognized option '--${given}'`, {
      hint: meant === undefined
        ? '"dpctl help" lists the options'
        : `did you mean "--${meant}"?`,
    });
  }
  const list = candidates.map((name) => `'--${name}'`).join(" ");
  throw new OptionError(`option '--${given}' is ambiguous; possibilities: ${list}`);
}

/**
 * Takes the options off the front of what came by a control socket. Throws `OptionError` in the
 * words of Open vSwitch, which knows fewer options there.
 */
export function parseControlOptions(
  args: readonly string[],
): { flags: Flags; rest: readonly string[] } {
  const flags: Mutable<Flags> = { ...noFlags };
  let setNames = false;
  let at = 0;
  for (; at < args.length; at++) {
    const arg = args[at] as string;
    if (arg.startsWith("--")) {
      const name = arg.slice(2);
      if (name === "read-only" || !Object.hasOwn(longFlags, name)) {
        throw new OptionError(`Unrecognized option ${arg}`);
      }
      longFlags[name]?.(flags);
      if (name.endsWith("names")) setNames = true;
    } else if (arg.startsWith("-") && arg !== "-") {
      for (const letter of arg.slice(1)) {
        const name = shortFlags[letter];
        if (name === undefined) {
          throw new OptionError(`Unrecognized option -${letter}`);
        }
        longFlags[name]?.(flags);
      }
    } else break;
  }
  if (!setNames) flags.names = flags.verbosity > 0;
  return { flags, rest: args.slice(at) };
}

/** Flags as words, to be sent to a control socket. */
export function flagWords(flags: Flags): string[] {
  const words: string[] = Array(flags.verbosity).fill("--more");
  if (flags.statistics) words.push("--statistics");
  if (flags.names !== flags.verbosity > 0) {
    words.push(flags.names ? "--names" : "--no-names");
  }
  if (flags.clear) words.push("--clear");
  if (flags.mayCreate) words.push("--may-create");
  if (flags.json) words.push("--json");
  return words;
}
