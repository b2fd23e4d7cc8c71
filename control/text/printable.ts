// SPDX-License-Identifier: Apache-2.0
/**
 * Text that a terminal shows and does not obey. Names of ports and datapaths come from anybody who
 * may make a device, and may hold escape sequences.
 *
 * @module
 */

/** Control characters, C0 and C1, and those that turn the direction of what follows. */
// deno-lint-ignore no-control-regex -- they are what is looked for
const controls = /[\0-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

function escaped(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x100
    ? `\\x${code.toString(16).padStart(2, "0")}`
    : `\\u${code.toString(16)}`;
}

/** Text with its control characters written out, line breaks among them. */
export function printableLine(text: string): string {
  return text.replace(controls, escaped);
}

/** Text with its control characters written out, but for line breaks and tabs. */
export function printable(text: string): string {
  return text.replace(controls, (c) => c === "\n" || c === "\t" ? c : escaped(c));
}
