// SPDX-License-Identifier: Apache-2.0
/**
 * Has the program that serves a datapath do a verb.
 *
 * @module
 */
import { type CommandLine, flagWords } from "../control/options.ts";
import { control, ControlError } from "../control/socket.ts";
import { findVerb } from "../control/verbs/verbs.ts";
import { program, type Terminal } from "./terminal.ts";

/** Verbs whose last argument is a file, which the other program would look for where it runs. */
const withFile: readonly string[] = ["add-flows", "mod-flows", "del-flows"];

/** Has another program do a verb. */
export async function ask(
  path: string,
  { flags, words }: CommandLine,
  terminal: Terminal,
): Promise<number> {
  const [verb = "", ...args] = words;
  const method = findVerb(verb) === undefined && verb.includes("/")
    ? verb
    : `dpctl/${verb}`;
  const options = method.startsWith("dpctl/") ? flagWords(flags) : [];
  const file = withFile.includes(verb) && !args.at(-1)?.includes("@")
    ? args.pop()
    : undefined;
  const made = file === undefined ? undefined : await fileFor(file, terminal);
  try {
    const params = [...options, ...args, ...(made === undefined ? [] : [made.path])];
    terminal.print(await control(path, method, params));
    return 0;
  } catch (error) {
    if (error instanceof ControlError) {
      // An answer in JSON says by itself that it is of a failure.
      const say = flags.json && error.message.startsWith("{") ? "print" : "complain";
      terminal[say](error.message);
      return 1;
    }
    if (!(error instanceof Deno.errors.NotFound) && !isRefusal(error)) throw error;
    terminal.complain(`${program}: nobody serves ${path}\n`);
    return 1;
  } finally {
    if (made?.isOurs === true) await Deno.remove(made.path);
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionRefused ||
    error instanceof Deno.errors.PermissionDenied;
}

/** A file that the other program can read: standard input is made one. */
async function fileFor(
  path: string,
  { readText }: Terminal,
): Promise<{ path: string; isOurs: boolean }> {
  if (path !== "-") {
    const absolute = path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
    return { path: absolute, isOurs: false };
  }
  const copy = await Deno.makeTempFile({ prefix: "dpctl-" });
  await Deno.writeTextFile(copy, await readText("-"));
  return { path: copy, isOurs: true };
}
