// SPDX-License-Identifier: Apache-2.0
/**
 * Lines of files of flows: those that people write, `[add|modify] FLOW ACTIONS` and `delete FLOW`,
 * and those that `dump-flows` prints.
 *
 * @module
 */

const entryWords = ["add", "delete", "modify"] as const;
/** What a line asks for. */
export type EntryWord = typeof entryWords[number];

/** A line of a file of flows; the text of flow and actions is not looked at. */
export interface FlowEntry {
  readonly word: EntryWord;
  readonly flow?: string;
  readonly actions?: string;
}

/**
 * A line that `dump-flows` has printed: key, counters, what `-m` tells besides, actions. Counters
 * and where the flow was are facts about the datapath that was dumped.
 */
const dumped =
  /^(?:(add|delete|modify)[,\s]+)?(\S.*?), packets:\d+, bytes:\d+, used:[^,]+(?:, (?:flags|offloaded|dp):[^,]*)*, actions:(.*?)(?:, dp-extra-info:.*)?$/;

/** What `dump-flows` prints before the flows of a poll thread. */
const heading = /^flow-dump from (?:the main thread|pmd on cpu core: \d+):$/;

/** The flow and the actions of a line that was dumped; undefined for any other. */
export function splitDumped(
  line: string,
):
  | { readonly word?: EntryWord; readonly flow: string; readonly actions: string }
  | undefined {
  const [, word, flow, actions] = dumped.exec(line.trim()) ?? [];
  if (flow === undefined || actions === undefined) return undefined;
  return { flow, actions, ...(word !== undefined && { word: word as EntryWord }) };
}

/** Reads a line; undefined for one that says nothing. `usual` is what a bare flow asks for. */
export function parseEntry(line: string, usual: EntryWord): FlowEntry | undefined {
  const content = line.replace(/#.*$/, "").trim();
  if (content === "" || heading.test(content)) return undefined;
  const whole = splitDumped(content);
  if (whole !== undefined) {
    const { flow, actions, word = usual } = whole;
    return word === "delete" ? { word, flow } : { word, flow, actions };
  }
  const first = /^[^,\s]*/.exec(content)?.[0] ?? "";
  // Any beginning of a word will do, the empty one as well.
  const word = entryWords.find((candidate) => candidate.startsWith(first));
  const rest = (word === undefined ? content : content.slice(first.length)).trimStart();
  // Fields that have no name are written as bytes, with spaces between them.
  const [, flow, actions] = /^((?:key\d+\([^()]*\)|\S)+)\s*([^]*)$/.exec(rest) ?? [];
  return {
    word: word ?? usual,
    ...(flow !== undefined && { flow }),
    ...(actions && { actions }),
  };
}
