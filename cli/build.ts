// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl build`: the datapath library as a file, for machines without a compiler.
 *
 * @module
 */
import { buildLibrary } from "../ffi/build.ts";
import type { CommandLine } from "../control/options.ts";
import { withFile } from "../control/system_words.ts";
import { toJson } from "../control/verbs/verb.ts";
import { UsageError } from "./failure.ts";
import type { Terminal } from "./terminal.ts";

/** Finds out whether a file can be written, before a minute is spent on what is to be in it. */
async function tryToWrite(path: string): Promise<void> {
  await withFile("write", path, async () => {
    const isNew = await Deno.lstat(path).then(() => false, () => true);
    (await Deno.open(path, { write: true, create: true })).close();
    if (isNew) await Deno.remove(path);
  });
}

/** Compiles the library; the exit status. */
export async function build(line: CommandLine, terminal: Terminal): Promise<number> {
  const { extra, words, flags } = line;
  const output = extra.get("output");
  if (output === undefined || output === "" || words.length > 1) {
    throw new UsageError("build", "'build' needs --output FILE");
  }
  const portable = extra.has("portable");
  await tryToWrite(output);
  const onProgress = (message: string): void => terminal.complain(`${message}\n`);
  await withFile("write", output, () => buildLibrary(output, { portable, onProgress }));
  const { size } = await withFile("write", output, () => Deno.stat(output));
  const result = [{ file: output, portable, bytes: size }];
  terminal.print(
    flags.json
      ? `${toJson({ verb: "build", ok: true, result, errors: [] })}\n`
      : `${output}: ${size} bytes; use it with UPCALL_LIBRARY=${output}\n`,
  );
  return 0;
}
