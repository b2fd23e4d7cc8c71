// SPDX-License-Identifier: Apache-2.0
/**
 * Runs a short script in a Deno process of its own: with other permissions, another cache,
 * or to see how a process starts and ends.
 *
 * @module
 */

/** How a script ended. */
export interface ScriptResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs TypeScript text. `flags` are of `deno run`: there are no permissions but these. `under`: a
 * program, with its arguments, that Deno is run by.
 */
export async function runScript(
  text: string,
  options: {
    flags?: readonly string[];
    env?: Record<string, string>;
    under?: readonly string[];
    signal?: AbortSignal;
  } = {},
): Promise<ScriptResult> {
  const [program = "", ...words] = [...options.under ?? [], Deno.execPath()];
  const child = new Deno.Command(program, {
    args: [
      ...words,
      "run",
      "--no-prompt",
      "--no-config",
      "--no-lock",
      "--quiet",
      ...options.flags ?? [],
      "--ext=ts",
      "-",
    ],
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
