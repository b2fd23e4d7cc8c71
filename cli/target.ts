// SPDX-License-Identifier: Apache-2.0
/**
 * Which datapath a tool is about: the one that was named, or the only one.
 *
 * @module
 */
import type { Datapath } from "../providers/datapath.ts";
import { DatapathError } from "../providers/errors.ts";
import { openDatapath } from "../providers/registry.ts";
import { fullName, openableDatapaths } from "../control/datapath_source.ts";
import type { CommandLine } from "../control/options.ts";
import { didYouMean } from "../control/verbs/advice.ts";
import { ToolError, whichDatapath } from "./failure.ts";
import { reachableDatapaths, servedDatapaths } from "./served.ts";
import type { Terminal } from "./terminal.ts";

/**
 * The control socket of the program that serves a datapath; undefined for one that this program can
 * open itself.
 */
export async function findPath(
  { socket }: CommandLine,
  name: string | undefined,
  { complain }: Pick<Terminal, "complain">,
): Promise<string | undefined> {
  if (socket !== undefined) return socket;
  const served = await servedDatapaths(complain);
  if (name !== undefined) return served.get(fullName(name) ?? "");
  const { names } = await openableDatapaths(["system"]).list();
  const [only, ...others] = served;
  return only !== undefined && others.length === 0 && names.length === 0
    ? only[1]
    : undefined;
}

/** Opens the datapath of the kernel that was named, or the only one. */
export async function withTarget<T>(
  name: string | undefined,
  use: (dp: Datapath) => T | Promise<T>,
): Promise<T> {
  let target = name;
  if (target === undefined) {
    const { names } = await openableDatapaths(["system"]).list();
    [target] = names;
    if (target === undefined || names.length > 1) throw whichDatapath(await all());
  }
  const full = fullName(target);
  if (!full?.startsWith("system@")) throw notServed(target, await all());
  await using dp = await openDatapath(target);
  return await use(dp);
}

/** Whether nobody has deleted a datapath. */
export function isThere(dp: Datapath): boolean {
  try {
    dp.stats();
    return true;
  } catch (error) {
    if (error instanceof DatapathError) return false;
    throw error;
  }
}

/** Every datapath that there is: of the kernel, and those that are served. */
async function all(): Promise<string[]> {
  const served = await servedDatapaths(() => {}); // It has been complained of before.
  return (await reachableDatapaths(served).list()).names;
}

function notServed(name: string, names: readonly string[]): ToolError {
  return new ToolError(`nobody serves ${name === "" ? '""' : name}`, {
    hint: didYouMean(name, names) ??
      `"dpctl serve ${name || "DP"}" runs one, and a program of ` +
        "yours answers dpctl once it calls serve(dp) of control/serve.ts",
  });
}
