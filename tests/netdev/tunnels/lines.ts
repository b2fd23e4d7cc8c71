// SPDX-License-Identifier: Apache-2.0
/**
 * Lines of what a program says.
 *
 * @module
 */

/** Lines as they come. */
export async function* lines(
  from: ReadableStream<Uint8Array>,
): AsyncGenerator<string, undefined, undefined> {
  let rest = "";
  for await (const text of from.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
  if (rest !== "") yield rest;
  return undefined;
}
