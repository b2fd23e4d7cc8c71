// SPDX-License-Identifier: Apache-2.0
/**
 * Has the program that serves a datapath do a verb.
 *
 * @module
 */
import { type CommandLine, flagWords } from "../control/options.ts";
import { control, ControlError } from "../control/socket.ts";
import { ControlPathError } from "../control/socket_path.ts";
import { toJson } from "../control/verbs/verb.ts";
import { findVerb } from "../control/verbs/verbs.ts";
import { asText, ToolError } from "./failure.ts";
import { type HowFar, Patience } from "./patience.ts";
import { toolVerbs } from "./tool_verbs.ts";
import { program, type Terminal } from "./terminal.ts";

/** Verbs whose last argument is a file, which the other program would look for where it runs. */
const withFile: readonly string[] = ["add-flows", "mod-flows", "del-flows"];

/** Has another program do a verb, whose work `howFar` knows of; the exit status. */
export async function ask(
  path: string,
  { flags, words }: CommandLine,
  terminal: Terminal,
  howFar?: HowFar,
): Promise<number> {
  const [verb = "", ...args] = words;
  const method = findVerb(verb) === undefined && verb.includes("/")
    ? verb
    : `dpctl/${verb}`;
  const options = method.startsWith("dpctl/") ? flagWords(flags) : [];
  const file = withFile.includes(verb) && !args.at(-1)?.includes("@")
    ? args.pop()
    : undefined;
  using made = file === undefined ? undefined : await fileFor(file, terminal);
  const params = [...options, ...args, ...(made === undefined ? [] : [made.path])];
  const patiently = async (): Promise<string> => {
    using patience = new Patience(verb.replace(/^upcall\//, ""), terminal);
    patience.watch(howFar ?? (() => ""));
    return await control(path, method, params);
  };
  try {
    const answer = await patiently();
    if (!withFile.includes(verb) || flags.json) terminal.print(answer);
    else sayLines(answer, terminal);
    return 0;
  } catch (error) {
    const message = whyNot(error, path);
    if (message === undefined) throw error;
    if (flags.json) {
      // An answer in JSON says by itself that it is of a failure.
      const answer = {
        verb,
        ok: false,
        result: [],
        errors: [{ message: message.trim() }],
      };
      terminal.print(message.startsWith("{") ? message : `${toJson(answer)}\n`);
    } else {
      // What the verbs of ovs-dpctl complain of begins with a program's name, and has its advice.
      const isRefused = error instanceof ControlError;
      const hint = isRefused ? hintFor({ method, path }, message) : undefined;
      terminal.complain(
        isRefused && method.startsWith("dpctl/")
          ? ours(message)
          : asText(new ToolError(message.trimEnd(), { hint })),
      );
    }
    return 1;
  }
}

/** Complaints of the other program as those of this one, which is what was called. */
function ours(text: string): string {
  return text.replaceAll(/^upcall: /gm, `${program}: `);
}

/** Answers of a verb whose complaints about lines of a file leave its exit status alone. */
function sayLines(answer: string, terminal: Terminal): void {
  const complaint = /^upcall: .*\n(?: {2}(?:reason|hint): .*\n)?/gm;
  const complaints = (answer.match(complaint) ?? []).join("");
  if (complaints !== "") terminal.complain(ours(complaints));
  terminal.print(answer.replaceAll(complaint, ""));
}

/** What to do about a command that was refused: how it is called, if an argument was wrong. */
function hintFor(
  { method, path }: { readonly method: string; readonly path: string },
  message: string,
): string | undefined {
  const tool = toolVerbs.find(({ name }) => method === `upcall/${name}`);
  if (/^no policy runs/.test(message)) {
    return `"${program} serve DP --policy FILE" runs one, and so does runPolicy()`;
  }
  if (/is not a valid command/.test(message)) {
    return `"ovs-appctl -t ${path} list-commands" lists those that there are`;
  }
  if (tool === undefined || /running already|told of/.test(message)) return undefined;
  return `usage: ${program} ${tool.name} ${tool.usage}`;
}

/** Why a program could not be asked, in words; undefined for what is a fault of this one. */
function whyNot(error: unknown, path: string): string | undefined {
  if (error instanceof ControlError || error instanceof ControlPathError) {
    return error.message;
  }
  const { NotFound, ConnectionRefused, PermissionDenied, NotADirectory } = Deno.errors;
  const { ConnectionReset, BrokenPipe, UnexpectedEof } = Deno.errors;
  const isAny = (kinds: readonly (new (message?: string) => Error)[]): boolean =>
    kinds.some((kind) => error instanceof kind);
  if (isAny([NotFound, ConnectionRefused, PermissionDenied, NotADirectory])) {
    return `nobody serves ${path}`;
  }
  return isAny([ConnectionReset, BrokenPipe, UnexpectedEof])
    ? `${path}: the server hung up`
    : undefined;
}

/** Signals that end a program which leaves them alone. */
const endingSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A file that the other program can read. Standard input is made one, until it is disposed of. */
async function fileFor(
  path: string,
  { readText }: Terminal,
): Promise<Disposable & { readonly path: string }> {
  if (path !== "-") {
    const absolute = path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
    return { path: absolute, [Symbol.dispose]: () => {} };
  }
  const text = await readText("-");
  const copy = await Deno.makeTempFile({ prefix: "dpctl-" });
  const remove = (): void => {
    for (const [signal, listener] of listeners) {
      Deno.removeSignalListener(signal, listener);
    }
    Deno.removeSync(copy);
  };
  const listeners = endingSignals.map((signal) => {
    const listener = (): void => {
      remove();
      Deno.kill(Deno.pid, signal); // Nobody listens any more: it ends the program.
    };
    Deno.addSignalListener(signal, listener);
    return [signal, listener] as const;
  });
  try {
    await Deno.writeTextFile(copy, text);
  } catch (error) {
    remove();
    throw error;
  }
  return { path: copy, [Symbol.dispose]: remove };
}
