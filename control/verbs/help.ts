// SPDX-License-Identifier: Apache-2.0
/**
 * Help: what `dpctl help`, `dpctl --help` and `dpctl help VERB` print.
 *
 * @module
 */
import type { NamedVerb, Verb } from "./verb.ts";

/** What options there are, for help and completions. */
export const optionHelp: readonly (readonly [names: string, summary: string])[] = [
  ["-s, --statistics", "counters of ports, of changed flows, of connections"],
  ["-m, --more", "more of everything; twice for still more"],
  ["--names, --no-names", "print ports by name (-m does), or by number"],
  ["--clear", "mod-flow: start counting anew"],
  ["--may-create", "mod-flow: add the flow if there is none"],
  ["--read-only", "refuse to change anything"],
  ["--json", "one JSON object: verb, ok, result, errors"],
  ["--socket=FILE", "ask the program that serves FILE"],
  ["-t, --timeout=SECS", "give up after SECS seconds"],
  ["-h, --help", "show this"],
  ["-V, --version", "show the version"],
];

/** Help for all verbs, or for one: `verbs` are those of ovs-dpctl(8), `own` are the others. */
export function helpText(
  verbs: readonly Verb[],
  { program, own, verb: name }: {
    readonly program: string;
    readonly own: readonly NamedVerb[];
    readonly verb?: string | undefined;
  },
): string {
  const known = [...verbs, ...own];
  if (name !== undefined) {
    const verb = known.find((candidate) => candidate.name === name);
    return verb === undefined ? "" : oneVerb(program, verb);
  }
  return [
    `${program}: looks after datapaths, in the kernel and in programs`,
    `usage: ${program} [OPTION...] VERB [ARGUMENT...]`,
    "",
    "Verbs of ovs-dpctl(8):",
    ...verbs.map(line),
    "",
    ...(own.length > 0 ? ["Verbs of our own:", ...own.map(line), ""] : []),
    "Options:",
    ...optionHelp.map(([names, summary]) => `  ${names.padEnd(22)} ${summary}`),
    "",
    "A datapath is TYPE@NAME; without TYPE it is one of the kernel's. One that a program serves",
    "is found by its name. DP may be left out where there is only one.",
    "",
  ].join("\n");
}

function line({ name, summary }: NamedVerb): string {
  return `  ${name.padEnd(22)} ${summary}`;
}

function oneVerb(
  program: string,
  { name, usage, summary, details = [] }: NamedVerb,
): string {
  const head = `usage: ${program} [OPTION...] ${
    `${name} ${usage}`.trim()
  }\n  ${summary}\n`;
  const rows = details.map(([words, meaning]) => `  ${words.padEnd(24)} ${meaning}\n`);
  return rows.length === 0 ? head : `${head}\n${rows.join("")}`;
}
