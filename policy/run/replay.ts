// SPDX-License-Identifier: Apache-2.0
/**
 * Replays a record under another policy: the same packets, the same changes of state.
 *
 * @module
 */
import { formatActions, formatKey, parseActions } from "../../providers/odp/text/text.ts";
import type { Action } from "../../providers/types_action.ts";
import type { Policy } from "../decision.ts";
import { Runner } from "../runner.ts";
import { Continuations } from "../stage.ts";
import type { Rule, RuleTable } from "../state/rule_table.ts";
import { type Cell, PortsView } from "../state/state.ts";
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
  delete?(key: unknown): unknown;
  clear?(): void;
}

const MAX_SHOWN = 1000;

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
  readonly #before = new Set<string>();
  readonly #after = new Set<string>();
  readonly #differences: ReplayDifference[] = [];
  #upcalls = 0;
  #different = 0;
  #threw = 0;
  #skipped = 0;

  constructor(policy: Policy, state: ReplayedState) {
    this.#policy = policy;
    this.#state = new Map(state.map((one) => [one.name, one as unknown as Written]));
    this.#runner = new Runner(new Continuations(), this.#ports);
  }

  all(lines: Iterable<string>): ReplayReport {
    let number = 0;
    let ms = 0;
    for (const line of lines) {
      number++;
      if (line.trim() === "") continue;
      const event = parse(line, number);
      if (event.event === "ports") this.#ports.update(event.ports);
      else if (event.event === "state") this.#write(event);
      else if (event.event === "upcall") {
        const start = performance.now();
        this.#upcall(event, number);
        ms += performance.now() - start;
      }
    }
    return {
      upcalls: this.#upcalls,
      differences: this.#differences,
      different: this.#different,
      flows: { before: this.#before.size, after: this.#after.size },
      threw: this.#threw,
      skipped: this.#skipped,
      ms,
    };
  }

  #write(event: RecordedEvent & { readonly event: "state" }): void {
    const state = this.#state.get(event.name);
    if (state === undefined) return;
    const { op, key, value } = event;
    if (op === "rules") this.#changeRules(state, event);
    else if (op === "delete") state.delete?.(key);
    else if (op === "clear") state.clear?.();
    else if ("value" in state) (state as unknown as Cell<unknown>).value = value;
    else state.set?.(key, value);
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

  #upcall(event: RecordedEvent & { readonly event: "upcall" }, line: number): void {
    const key = read(event.key, keyRoom);
    // Which stage an id led to is not in the record: ids are new in each run.
    if (this.#runner.recircOf(key) !== 0) {
      this.#skipped++;
      return;
    }
    this.#upcalls++;
    this.#before.add(masked(key, read(event.mask, maskRoom)));
    const { tracker } = this.#runner;
    let to: string;
    try {
      const ran = this.#runner.run(this.#policy, key, event.at);
      to = formatActions(ran.actions.bytes);
      if (ran.uncacheable === undefined) this.#after.add(masked(key, this.#runner.mask));
      for (const effect of [...tracker.effects]) {
        if (effect.kind !== "learn") continue;
        effect.table.hear(effect.key, effect.value, event.at);
      }
    } catch (error) {
      this.#threw++;
      to = `throws ${error}`;
    }
    tracker.dropDependencies();
    if (isSame(event.verdict, to)) return;
    this.#different++;
    if (this.#differences.length === MAX_SHOWN) return;
    const packet = formatKey({ key });
    this.#differences.push({ line, packet, from: event.verdict, to });
  }
}

function parse(line: string, number: number): RecordedEvent {
  let event: RecordedEvent | undefined;
  try {
    // Packets have no values that were written in a form of their own.
    const isPlain = line.startsWith('{"event":"upcall"');
    event = isPlain ? JSON.parse(line) : JSON.parse(line, revived);
  } catch {
    // Said below.
  }
  if (typeof event !== "object" || typeof event?.event !== "string") {
    throw new SyntaxError(`line ${number} is no event of a record`);
  }
  return event;
}

// Making a buffer costs more than running a policy; these are used again for each packet.
const LONGEST = 1 << 16;
const keyRoom = new Uint8Array(LONGEST);
const maskRoom = new Uint8Array(LONGEST);
const bothRoom = new Uint8Array(2 * LONGEST);

/** Reads hexadecimal digits into a room. */
function read(hex: string, room: Uint8Array): Uint8Array {
  const { read, written } = room.setFromHex(hex);
  if (read !== hex.length) throw new RangeError("a key of a record is too long");
  return room.subarray(0, written);
}

/** What a key is under a mask, as text. */
function masked(key: Uint8Array, mask: Uint8Array): string {
  if (key.length !== mask.length) return key.toHex() + mask.toHex();
  const { length } = mask;
  for (let i = 0; i < length; i++) {
    const bits = mask[i] as number;
    bothRoom[i] = (key[i] as number) & bits;
    bothRoom[length + i] = bits;
  }
  return bothRoom.subarray(0, 2 * length).toHex();
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
