// SPDX-License-Identifier: Apache-2.0
/**
 * What becomes of connections, as lines for people and programs, sent to a program as it happens.
 *
 * @module
 */
import type {
  ConnectionChange,
  ConntrackEvent,
  ConntrackEventOptions,
} from "../providers/contract/conntrack.ts";
import type { Datapath } from "../providers/datapath.ts";
import { DatapathError } from "../providers/errors.ts";
import { connectionText } from "./text/conntrack.ts";
import { readExact } from "./text/scan.ts";
import { type Flags, toJson } from "./verbs/verb.ts";

/** Which events are wanted, and how many. */
export interface EventChoice extends Omit<ConntrackEventOptions, "signal"> {
  /** Events at most; what was lost is none of them. */
  readonly count: number;
}

const changes: readonly ConnectionChange[] = ["new", "update", "destroy"];

const isChange = (word: string): word is ConnectionChange =>
  (changes as readonly string[]).includes(word);

/** Reads `zone=7 kind=new,destroy count=10`. Throws `SyntaxError`. */
export function parseEventChoice(words: readonly string[]): EventChoice {
  const given = new Map<string, string>();
  for (const word of words) {
    const [, name, value = ""] = /^(zone|kind|count)=(.+)$/.exec(word) ?? [];
    if (name === undefined || given.has(name)) {
      throw new SyntaxError(`cannot use ${word}`);
    }
    given.set(name, value);
  }
  const zoneText = given.get("zone");
  const zone = zoneText === undefined ? undefined : readExact(zoneText, 0xffff);
  if (zoneText !== undefined && zone === undefined) {
    throw new SyntaxError("zone must be a number from 0 to 65535");
  }
  const kinds = given.get("kind")?.toLowerCase().split(",");
  if (!(kinds ?? []).every(isChange)) {
    throw new SyntaxError(`kind must be some of ${changes.join(",")}`);
  }
  const count = Number(given.get("count") ?? Infinity);
  if (!(count === Infinity || (Number.isSafeInteger(count) && count > 0))) {
    throw new SyntaxError("count must be a whole number above 0");
  }
  return {
    count,
    ...(zone !== undefined && { zone }),
    ...(kinds !== undefined && { kinds: kinds.filter(isChange) }),
  };
}

/** Columns of the word that a line begins with, as conntrack(8) has them. */
const KIND_WIDTH = 9;

/** An event as a line; with `--json` as an object, for programs that read line by line. */
export function eventLine(event: ConntrackEvent, flags: Flags): string {
  if (flags.json) return `${toJson(event)}\n`;
  const kind = `[${event.kind.toUpperCase()}]`.padStart(KIND_WIDTH);
  if (event.kind === "lost") {
    return `${kind} ${event.count === undefined ? "some" : event.count} events\n`;
  }
  const { statistics, verbosity } = flags;
  const options = { statistics, verbose: verbosity > 0 };
  return `${kind} ${connectionText(event.connection, options)}\n`;
}

/**
 * Gives `put` a line for each event, until there were enough of them, `until` resolves or the
 * datapath is closed. While `put` waits no event is asked for: what is too much meanwhile is lost
 * where it happens, and told.
 */
export async function followConntrack(
  dp: Datapath,
  { count, ...options }: EventChoice,
  { flags, until, put }: {
    readonly flags: Flags;
    readonly until: Promise<unknown>;
    readonly put: (line: string) => void | Promise<void>;
  },
): Promise<void> {
  if (dp.conntrack === undefined) {
    throw new DatapathError({
      operation: "watch connections",
      datapath: dp.fullName,
      code: "EOPNOTSUPP",
    });
  }
  await using events = dp.conntrack.events(options);
  void until.then(() => events.close());
  let left = count;
  for await (const event of events) {
    await put(eventLine(event, flags));
    if (event.kind !== "lost" && --left <= 0) return;
  }
}

/**
 * Sends lines to the program that made the socket at `path`, until that has seen enough or `until`
 * resolves.
 */
export async function sendConntrackEvents(
  dp: Datapath,
  path: string,
  { choice, flags, until }: {
    readonly choice: EventChoice;
    readonly flags: Flags;
    readonly until: Promise<unknown>;
  },
): Promise<void> {
  const encoder = new TextEncoder();
  const reader = await Deno.connect({ transport: "unix", path });
  let isOver = false;
  const over = Promise.withResolvers<void>();
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    reader.close(); // A reader that takes nothing would hold this up for ever.
    over.resolve();
  };
  // It says nothing, so what is read is its end.
  void reader.read(new Uint8Array(1)).then(end, end);
  void until.then(end);
  const put = async (text: string): Promise<void> => {
    const bytes = encoder.encode(text);
    try {
      for (let at = 0; at < bytes.length;) at += await reader.write(bytes.subarray(at));
    } catch {
      end(); // It has seen enough.
    }
  };
  try {
    await followConntrack(dp, choice, { flags, until: over.promise, put });
  } finally {
    end();
  }
}
