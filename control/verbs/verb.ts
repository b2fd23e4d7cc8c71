// SPDX-License-Identifier: Apache-2.0
/**
 * A verb of dpctl, and what it works with: arguments, flags, datapaths, and where its words go.
 *
 * One verb serves the command line, the control socket and `--json`: it prints text, records
 * results, and fails with the words that ovs-dpctl(8) has for it.
 *
 * @module
 */
import type { Datapath } from "../../providers/datapath.ts";
import { DatapathError } from "../../providers/errors.ts";
import { type ErrnoName, errnoName, errnoText } from "../../providers/errno.ts";
import type { DatapathSource } from "../datapath_source.ts";
import { type Advice, adviceOf, adviceText, didYouMean, nearest } from "./advice.ts";

/** What the options before and between the arguments say. */
export interface Flags {
  /** `-m`, how often it was given. */
  readonly verbosity: number;
  /** `-s`: counters. */
  readonly statistics: boolean;
  /** `--names`, or `-m` without `--no-names`: ports by name. */
  readonly names: boolean;
  /** `--clear`: start counting anew. */
  readonly clear: boolean;
  /** `--may-create`: make what is to be changed, if there is none. */
  readonly mayCreate: boolean;
  /** `--read-only`: refuse verbs that change anything. */
  readonly readOnly: boolean;
  /** `--json`: results instead of text. */
  readonly json: boolean;
}

/** No options. */
export const noFlags: Flags = {
  verbosity: 0,
  statistics: false,
  names: false,
  clear: false,
  mayCreate: false,
  readOnly: false,
  json: false,
};

/** What `--json` answers for a verb. Numbers above 2^53 are strings. */
export interface JsonAnswer {
  readonly verb: string;
  /** Whether the exit status is 0. */
  readonly ok: boolean;
  /** One item for each thing that was asked for: a datapath, a flow, a connection … */
  readonly result: readonly unknown[];
  /** What went wrong. */
  readonly errors: readonly JsonError[];
}

/** A failure: the words of the text form, the errno where there is one, why, and what to do. */
export interface JsonError extends Advice {
  readonly message: string;
  readonly code?: ErrnoName | undefined;
}

/** A verb as help shows it. */
export interface NamedVerb {
  readonly name: string;
  /** Its arguments, as ovs-dpctl's `list-commands` has them. */
  readonly usage: string;
  /** What it does, in a line. */
  readonly summary: string;
  /** What words of its usage mean, and examples: for `help VERB`. */
  readonly details?: readonly (readonly [words: string, meaning: string])[];
}

/** One verb. */
export interface Verb extends NamedVerb {
  /** Fewest and most arguments. */
  readonly args: readonly [min: number, max: number];
  /** Whether it changes anything: refused with `--read-only`. */
  readonly writes: boolean;
  /** Does it. Failures go to `run.fail`, or are thrown as `VerbFailure`. */
  readonly perform: (run: VerbRun, args: readonly string[]) => void | Promise<void>;
}

/** Ends a verb with a complaint. */
export class VerbFailure extends Error {
  override readonly name = "VerbFailure";
  /** Reason, shown in brackets after the message; undefined: none. */
  readonly code: ErrnoName | undefined;
  /** Why, and what to do. */
  readonly advice: Advice;

  constructor(message: string, code?: ErrnoName, advice: Advice = {}) {
    super(message);
    this.code = code;
    this.advice = advice;
  }
}

/** The failure of a verb that an error of the datapath is; `advice` besides the error's own. */
export function failureOf(message: string, error: unknown, advice?: Advice): VerbFailure {
  return new VerbFailure(message, codeOf(error), { ...adviceOf(error), ...advice });
}

/** Where the words of a verb go. */
export interface VerbOutput {
  /** Text without a line break of its own. */
  print(text: string): void;
  /** A complaint: whole lines. */
  complain(text: string): void;
}

/** What a verb that runs has been given. */
export interface VerbOptions {
  /** What complaints begin with: `dpctl`. */
  readonly program: string;
  /** Verbs that the program has besides those of ovs-dpctl(8), for help. */
  readonly ownVerbs?: readonly NamedVerb[];
  /** Whether it came by a control socket: ovs-appctl's habits, where they differ. */
  readonly isControl: boolean;
  readonly flags: Flags;
  readonly datapaths: DatapathSource;
  readonly output: VerbOutput;
  /** Text of a file; `-` is standard input. */
  readonly readText: (path: string) => Promise<string>;
  /** Told how many lines of a file are done, and how many there are. */
  readonly onLine?: ((done: number, all: number) => void) | undefined;
}

/** One run of a verb. */
export class VerbRun {
  readonly program: string;
  readonly ownVerbs: readonly NamedVerb[];
  readonly isControl: boolean;
  readonly flags: Flags;
  readonly datapaths: DatapathSource;
  readonly readText: (path: string) => Promise<string>;
  readonly onLine: VerbOptions["onLine"];
  readonly #output: VerbOutput;
  readonly #results: unknown[] = [];
  readonly #errors: JsonError[] = [];
  #failed = false;

  constructor(options: VerbOptions) {
    this.program = options.program;
    this.ownVerbs = options.ownVerbs ?? [];
    this.isControl = options.isControl;
    this.flags = options.flags;
    this.datapaths = options.datapaths;
    this.readText = options.readText;
    this.onLine = options.onLine;
    this.#output = options.output;
  }

  /** Whether it came to an exit status other than 0. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Prints text, unless results are wanted. A function makes the text only if it is printed. */
  print(text: string | (() => string)): void {
    if (this.flags.json) return;
    this.#output.print(typeof text === "string" ? text : text());
  }

  /** Records something for `--json`. A function makes it only if that was asked for. */
  result(value: unknown): void {
    if (!this.flags.json) return;
    this.#results.push(typeof value === "function" ? value() : value);
  }

  /** Complains, and leaves the exit status as it is. */
  complain(message: string, code?: ErrnoName, advice: Advice = {}): void {
    if (this.flags.json) {
      this.#errors.push({ message, ...(code !== undefined && { code }), ...advice });
      return;
    }
    const reason = code === undefined ? "" : ` (${reasonOf(code)})`;
    this.#output.complain(
      `${this.program}: ${message}${reason}\n${adviceText(advice)}`,
    );
  }

  /** Says what to do where Open vSwitch says nothing. `message` is for `--json`. */
  advise(message: string, advice: Advice): void {
    if (this.flags.json) this.#errors.push({ message, ...advice });
    else this.#output.complain(adviceText(advice));
  }

  /** Complains of a failure, and makes the exit status 1. The verb may go on. */
  fail({ message, code, advice }: VerbFailure): void {
    this.#failed = true;
    this.complain(message, code, advice);
  }

  /** Makes the exit status 1 without a word. */
  failSilently(): void {
    this.#failed = true;
  }

  /** Prints what `--json` answers. */
  finish(verb: string): void {
    if (!this.flags.json) return;
    const answer: JsonAnswer = {
      verb,
      ok: !this.#failed,
      result: this.#results,
      errors: this.#errors,
    };
    this.#output.print(`${toJson(answer)}\n`);
  }

  /**
   * Opens the datapath that the first argument names, or the only one if that is no datapath. With
   * `max` arguments the first must be one, and behind it there may be one less. Gives the arguments
   * behind it.
   */
  async withDatapath<T>(
    args: readonly string[],
    max: number,
    use: (dp: Datapath, rest: readonly string[]) => T | Promise<T>,
  ): Promise<T> {
    const [first] = args;
    const named = first !== undefined && await this.datapaths.exists(first);
    const name = named
      ? first
      : args.length !== max
      ? await this.#onlyDatapath()
      : undefined;
    if (name === undefined) {
      const advice = await this.#whyNone(first);
      throw new VerbFailure("datapath not found", "EINVAL", advice);
    }
    const rest = named ? args.slice(1) : args;
    if (rest.length >= max) {
      // Open vSwitch lets some of these pass, and does something else.
      throw new VerbFailure(`invalid argument "${rest.at(-1)}"`, "EINVAL");
    }
    return await this.withNamed(name, "opening datapath", (dp) => use(dp, rest));
  }

  /** Opens a datapath by name; complains with `message` if that fails. */
  async withNamed<T>(
    name: string,
    message: string,
    use: (dp: Datapath) => T | Promise<T>,
  ): Promise<T> {
    let dp: Datapath;
    try {
      dp = await this.datapaths.open(name, { create: false });
    } catch (error) {
      throw failureOf(message, error, await this.#whyUnopened(name, error));
    }
    try {
      return await use(dp);
    } finally {
      await dp.close();
    }
  }

  async #onlyDatapath(): Promise<string | undefined> {
    const { names } = await this.datapaths.list();
    if (names.length === 1) return names[0];
    this.complain(
      names.length === 0 ? "no datapaths exist" : "multiple datapaths, specify one",
    );
    return undefined;
  }

  /** Why no datapath was meant: nothing was named, or what is none. */
  async #whyNone(word: string | undefined): Promise<Advice> {
    const { names } = await this.datapaths.list();
    if (names.length === 0) return { hint: noDatapaths };
    const meant = word === undefined ? undefined : didYouMean(word, names);
    return { hint: meant ?? `name one of ${names.join(", ")}` };
  }

  /** Why a datapath could not be opened, where the error does not say it. */
  async #whyUnopened(name: string, error: unknown): Promise<Advice> {
    const { names } = await this.datapaths.list();
    const meant = names.find((one) => one.endsWith(`@${name}`)) ?? nearest(name, names);
    if (meant !== undefined) return { hint: `did you mean "${meant}"?` };
    if (name.startsWith("netdev@")) {
      return {
        reason: `no program on this machine serves ${name}`,
        hint:
          `"dpctl serve ${name}" runs one, and a program of yours answers dpctl once it ` +
          "calls serve(dp) of control/serve.ts",
      };
    }
    const others = names.length === 0 ? noDatapaths : `there are: ${names.join(", ")}`;
    return { hint: adviceOf(error).hint ?? others };
  }

  /** Runs `action`; a failure of the datapath becomes a complaint with `message`. */
  attempt<T>(message: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw failureOf(message, error);
    }
  }
}

/** What to do where there is no datapath. */
export const noDatapaths = '"dpctl serve netdev@br0" runs a datapath in user space, ' +
  '"dpctl add-dp br0" makes one in the kernel';

/** The errno of a failure; what is not a datapath's is thrown again, for it is a bug. */
export function codeOf(error: unknown): ErrnoName {
  if (error instanceof DatapathError) return error.code;
  if (error instanceof TypeError && error.message.startsWith("Cannot use")) {
    return "ENODEV"; // What cannot be a datapath's name is no datapath.
  }
  throw error;
}

/** What an errno says to people, with a capital, as strerror(3) has it. */
export function reasonOf(code: ErrnoName | number): string {
  const text = errnoText(typeof code === "number" ? errnoName(code) : code);
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** JSON of results: integers above 2^53 become strings, bytes hexadecimal. */
export function toJson(value: unknown, space?: number): string {
  return JSON.stringify(value, (_, item: unknown) => {
    if (typeof item === "bigint") {
      return item <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(item) : `${item}`;
    }
    if (item instanceof Uint8Array) {
      return Array.from(item, (byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return item;
  }, space);
}
