// SPDX-License-Identifier: Apache-2.0
/**
 * Replays a record under another policy: the same packets, the same changes of state.
 *
 * @module
 */
import { formatActions, formatKey, parseActions } from "../../providers/odp/text/text.ts";
import type { Action } from "../../providers/types_action.ts";
import { safeText } from "../copy.ts";
import type { Policy } from "../decision.ts";
import { Runner } from "../runner.ts";
import { Continuations } from "../stage.ts";
import type { Rule, RuleTable } from "../state/rule_table.ts";
import { type Cell, PortsView } from "../state/state.ts";
import type { Actions } from "../verdicts.ts";
import { FlowSet, MaskNumbers } from "./flow_set.ts";
import { type RecordedEvent, revived } from "./recorder.ts";

/** State whose recorded changes are made again, found by its name: cells, maps, tables. */
export type ReplayedState = readonly { readonly name: string }[];

/** A packet that gets another verdict. */
export interface ReplayDifference {
  /** Line of the record, from 1. */
  readonly line: number;
  /** The packet in text of ovs-dpctl(8). */
  readonly packet: string;
  /** The verdict then. */
  readonly from: string;
  /** The verdict now. */
  readonly to: string;
}

/** What a replay found. */
export interface ReplayReport {
  /** Packets. */
  readonly upcalls: number;
  /** Packets that get another verdict; the first thousand. */
  readonly differences: readonly ReplayDifference[];
  /** How many there are. */
  readonly different: number;
  /** Flows that the packets needed then, and need now. */
  readonly flows: { readonly before: number; readonly after: number };
  /** Packets that the policy threw on. */
  readonly threw: number;
  /** Packets of stages, which are replayed with the verdicts that led to them only. */
  readonly skipped: number;
  /** Time that the policy took, ms. */
  readonly ms: number;
}

/** Names that state may have in a record. */
interface Written {
  readonly name: string;
  set?(key: unknown, value?: unknown): unknown;
  setAt?(key: unknown, value: unknown, atMs: number): void;
  age?(): void;
  delete?(key: unknown): unknown;
  clear?(): void;
}

const MAX_SHOWN = 1000;
/** Packets that are run together, for asking the clock costs as much as a tenth of a run. */
const TOGETHER = 64;

/**
 * Runs every packet of a record under `policy`. Changes that were recorded are made to the state of
 * `state` that has their names; what packets teach they teach again. Throws `SyntaxError` for lines
 * that are no record.
 */
export function replay(
  lines: Iterable<string>,
  policy: Policy,
  state: ReplayedState = [],
): ReplayReport {
  return new Replay(policy, state).all(lines);
}

class Replay {
  readonly #policy: Policy;
  readonly #state: ReadonlyMap<string, Written>;
  readonly #ports = new PortsView();
  readonly #runner: Runner;
  readonly #masks = new MaskNumbers();
  readonly #before = new FlowSet();
  readonly #after = new FlowSet();
  readonly #differences: ReplayDifference[] = [];
  #upcalls = 0;
  #different = 0;
  #threw = 0;
  #skipped = 0;
  #ms = 0;
  /** Packets that were read and wait to be run. */
  readonly #waiting: { readonly event: ReplayedUpcall; readonly line: number }[] = [];

  constructor(policy: Policy, state: ReplayedState) {
    this.#policy = policy;
    this.#state = new Map(state.map((one) => [one.name, one as unknown as Written]));
    this.#runner = new Runner(new Continuations(), this.#ports);
  }

  all(lines: Iterable<string>): ReplayReport {
    let number = 0;
    for (const line of lines) {
      number++;
      if (line.trim() === "") continue;
      const event = upcallIn(line) ?? parse(line, number);
      if (event.event === "upcall") {
        this.#waiting.push({ event, line: number });
        if (this.#waiting.length === TOGETHER) this.#runWaiting();
        continue;
      }
      if (event.event === "end") continue;
      this.#runWaiting();
      if (event.event === "ports") this.#ports.update(event.ports);
      else if (event.event === "state") this.#write(event);
    }
    this.#runWaiting();
    return {
      upcalls: this.#upcalls,
      differences: this.#differences,
      different: this.#different,
      flows: { before: this.#before.size, after: this.#after.size },
      threw: this.#threw,
      skipped: this.#skipped,
      ms: this.#ms,
    };
  }

  /** Runs the packets that were read: the clock is asked twice for all of them. */
  #runWaiting(): void {
    if (this.#waiting.length === 0) return;
    const start = performance.now();
    for (const { event, line } of this.#waiting) this.#upcall(event, line);
    this.#ms += performance.now() - start;
    this.#waiting.length = 0;
  }

  #write(event: RecordedEvent & { readonly event: "state" }): void {
    const state = this.#state.get(event.name);
    if (state === undefined) return;
    const { op, key, value } = event;
    if (op === "rules") this.#changeRules(state, event);
    else if (op === "delete") state.delete?.(key);
    else if (op === "clear") state.clear?.();
    else if ("value" in state) (state as unknown as Cell<unknown>).value = value;
    else if (state.setAt !== undefined) {
      this.#begin(state);
      state.setAt(key, value, event.at);
    } else state.set?.(key, value);
  }

  /** Rules are named by the order in which the table got them, which is the same here. */
  #changeRules(state: Written, { key, value }: { key?: unknown; value?: unknown }): void {
    const table = state as unknown as RuleTable<Rule>;
    const gone = (key as number[]).map((order) => table.at(order));
    table.transact((changes) => {
      for (const rule of gone) if (rule !== undefined) changes.delete(rule);
      for (const rule of value as Rule[]) changes.add(rule);
    });
  }

  /** What a table had before the replay is older than what is replayed, whenever it was put in. */
  #begin(table: { readonly name: string; age?(): void }): void {
    if (this.#begun.has(table)) return;
    this.#begun.add(table);
    table.age?.();
  }
  readonly #begun = new Set<object>();

  #textOf(actions: Actions): string {
    let text = this.#texts.get(actions);
    if (text === undefined) {
      this.#texts.set(actions, text = formatActions(actions.bytes));
    }
    return text;
  }
  readonly #texts = new WeakMap<Actions, string>();

  #upcall(event: ReplayedUpcall, line: number): void {
    const key = readKey(event.key);
    // Which stage an id led to is not in the record: ids are new in each run.
    if (this.#runner.recircOf(key) !== 0) {
      this.#skipped++;
      return;
    }
    this.#upcalls++;
    if (event.uncacheable === undefined) {
      this.#before.add(keyWords, key.length, this.#masks.ofText(event.mask));
    }
    const { tracker } = this.#runner;
    let to: string;
    try {
      const ran = this.#runner.run(this.#policy, key, event.at);
      to = this.#textOf(ran.actions);
      if (ran.uncacheable === undefined) {
        const mask = this.#masks.ofBytes(this.#runner.mask);
        this.#after.add(keyWords, key.length, mask);
      }
      for (const effect of tracker.effects) {
        if (effect.kind !== "learn") continue;
        this.#begin(effect.table);
        effect.table.hear(effect.key, effect.value, event.at);
      }
    } catch (error) {
      this.#threw++;
      to = `throws ${safeText(error)}`;
    }
    tracker.dropDependencies();
    if (isSame(event.verdict, to)) return;
    this.#different++;
    if (this.#differences.length === MAX_SHOWN) return;
    const packet = formatKey({ key });
    this.#differences.push({ line, packet, from: event.verdict, to });
  }
}

/** What a replay needs of a packet. */
type ReplayedUpcall = Pick<
  RecordedEvent & { readonly event: "upcall" },
  "event" | "at" | "key" | "verdict" | "uncacheable" | "mask"
>;

const HEAD = '{"event":"upcall","at":';
const KEY = ',"key":"';
const VERDICT = ',"verdict":"';
const UNCACHEABLE = ',"uncacheable":"';
const MASK = ',"mask":"';

/**
 * A packet in a line as recorders write it, in a quarter of the time that JSON takes; undefined for
 * any other line.
 */
function upcallIn(line: string): ReplayedUpcall | undefined {
  if (!line.startsWith(HEAD) || !line.endsWith('"}')) return undefined;
  const key = line.indexOf(KEY, HEAD.length);
  const keyEnd = line.indexOf('"', key + KEY.length);
  // Between them may be a part of the frame, in digits.
  const verdict = line.indexOf(VERDICT, keyEnd);
  const verdictEnd = line.indexOf('"', verdict + VERDICT.length);
  const mask = line.lastIndexOf(MASK);
  if (key < 0 || keyEnd < 0 || verdict < 0 || verdictEnd < 0 || mask < verdictEnd) {
    return undefined;
  }
  const at = Number(line.slice(HEAD.length, key));
  const said = line.slice(verdict + VERDICT.length, verdictEnd);
  if (!Number.isFinite(at) || said.includes("\\")) return undefined;
  return {
    event: "upcall",
    at,
    key: line.slice(key + KEY.length, keyEnd),
    verdict: said,
    // A reason, which a program gives, comes behind it and cannot look like it: quotes are escaped.
    ...(line.startsWith(UNCACHEABLE, verdictEnd + 1) && { uncacheable: "yes" }),
    mask: line.slice(mask + MASK.length, -2),
  };
}

function parse(line: string, number: number): RecordedEvent {
  let event: RecordedEvent | undefined;
  try {
    event = JSON.parse(line, revived);
  } catch {
    // Said below.
  }
  if (typeof event !== "object" || typeof event?.event !== "string") {
    throw new SyntaxError(`line ${number} is no event of a record`);
  }
  return event;
}

// Making a buffer costs more than running a policy; this one is used again for each packet.
const keyWords = new Uint32Array(1 << 14);
const keyRoom = new Uint8Array(keyWords.buffer);

/** Reads hexadecimal digits; zeros follow up to a multiple of four bytes. */
function readKey(hex: string): Uint8Array {
  const { length } = hex;
  keyWords[length >> 3] = 0;
  const { read, written } = keyRoom.setFromHex(hex);
  if (read !== length) throw new RangeError("a key of a record is too long");
  return keyRoom.subarray(0, written);
}

/** Whether verdicts are the same but for the ids of their recirculations. */
function isSame(a: string, b: string): boolean {
  if (a === b) return true;
  if (!a.includes("recirc(") || !b.includes("recirc(")) return false;
  const plain = (text: string): string =>
    formatActions(parseActions(text).map(withoutId));
  return plain(a) === plain(b);
}

function withoutId(action: Action): Action {
  return action.type === "recirc" ? { ...action, id: 0 } : action;
}
