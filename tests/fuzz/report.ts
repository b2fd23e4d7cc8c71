// SPDX-License-Identifier: Apache-2.0
/**
 * What a fuzzer says when it fails, without what it says while nothing fails.
 *
 * @module
 */

/** Lines of libFuzzer about itself: what is new, what it loaded, how it goes. */
const ordinary = /^(?:#\d+\s|INFO: |\s*NEW_(?:FUNC|PC)\[)/;

/** Characters of a failure that are shown, of its beginning and of its end. */
const first = 4000;
const last = 2000;

/**
 * The lines that name a failure: what the harness printed, what a sanitizer found, the stack. Where
 * that is long its beginning counts, because the rest of a failure follows from that.
 */
export function failureOf(said: string): string {
  const lines = said.split("\n").filter((line) => !ordinary.test(line));
  const text = lines.join("\n").trim();
  if (text.length <= first + last) return text;
  const head = text.slice(0, first);
  const tail = text.slice(-last);
  return `${head.slice(0, head.lastIndexOf("\n"))}\n[…]\n${
    tail.slice(tail.indexOf("\n") + 1)
  }`;
}

/** How a program ended, in words: a fuzzer that was killed says nothing of it. */
export function endOf(status: Pick<Deno.CommandStatus, "code" | "signal">): string {
  return status.signal === null
    ? `it ended with ${status.code}`
    : `it was ended by ${status.signal}`;
}
