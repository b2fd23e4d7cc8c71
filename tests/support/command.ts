// SPDX-License-Identifier: Apache-2.0
/**
 * Runs programs for tests.
 *
 * @module
 */

/** What a program came to. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever that is. */
export async function tryRun(...words: string[]): Promise<CommandResult> {
  const [program = "", ...args] = words;
  const command = new Deno.Command(program, {
    args,
    stdin: "null",
    env: { LC_ALL: "C", NO_COLOR: "1" },
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Runs a program and gives what it printed; rejects with what it complained about. */
export async function run(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await tryRun(...words);
  if (code === 0) return stdout;
  throw new Error(`${words.join(" ")}: status ${code}\n${stdout}${stderr}`);
}

/** Runs a line of shell, which is one process where several commands would be several. */
export function shell(script: string): Promise<string> {
  return run("sh", "-ec", script);
}
