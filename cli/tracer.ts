// SPDX-License-Identifier: Apache-2.0
/**
 * Walks a key through the flows of a datapath and their actions.
 *
 * What only the datapath can know is said where it matters, and the usual case taken: a connection is new, a meter lets pass, a
 * sample is not taken.
 *
 * @module
 */
import type { Datapath } from "../providers/datapath.ts";
import type { Flow } from "../providers/flow.ts";
import { formatActions, formatKey } from "../providers/odp/mod.ts";
import type { Action, FlowKey } from "../providers/types.ts";
import { covers, type DecodedFlow, decodeFlows } from "./match.ts";

/** One step. */
export interface TraceStep {
  /** `lookup`: a flow was looked for. `output`, `upcall`: the packet left. `drop`: it ended. `change`: it is another now. */
  readonly kind: "lookup" | "output" | "upcall" | "drop" | "change" | "note";
  /** How many recirculations and nested actions it is behind. */
  readonly depth: number;
  /** What happened, in words. */
  readonly text: string;
  /** The action that did it, in text. */
  readonly action?: string;
  readonly recircId?: number;
  /** The flow that was hit. */
  readonly flow?: Flow;
  /** Number of the port that the packet left by. */
  readonly port?: number;
}

/** Lookups after which a packet is taken to go round in circles. */
const maxLookups = 8;

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };
type Key = Mutable<FlowKey>;

/** Traces a packet with a key. */
export function tracePacket(dp: Datapath, key: FlowKey): TraceStep[] {
  const tracer = new Tracer(dp);
  tracer.lookUp({ recircId: 0, ...key }, 0);
  return tracer.steps;
}

class Tracer {
  readonly steps: TraceStep[] = [];
  readonly #dp: Datapath;
  readonly #flows: readonly DecodedFlow[];
  #lookups = 0;

  constructor(dp: Datapath) {
    this.#dp = dp;
    this.#flows = decodeFlows(dp.flows.dump());
  }

  lookUp(key: Key, depth: number): void {
    const recircId = key.recircId ?? 0;
    if (++this.#lookups > maxLookups) {
      this.#say({ kind: "drop", depth, text: `recirculated ${maxLookups} times` });
      return;
    }
    const inSamePartition = this.#flows.filter(({ key: wanted }) =>
      (wanted.recircId ?? 0) === recircId
    );
    const hit = inSamePartition.find((flow) => covers(key, flow));
    if (hit === undefined) {
      const text = `no flow of ${inSamePartition.length} fits: the packet is handed up`;
      this.#say({ kind: "lookup", depth, recircId, text });
      this.#say({
        kind: "upcall",
        depth,
        action: "miss",
        text: "an upcall of kind miss",
      });
      return;
    }
    const text = `flow table (${inSamePartition.length} flows with this recirc_id)`;
    this.#say({ kind: "lookup", depth, recircId, text, flow: hit.flow });
    this.#run(hit.flow.actions ?? [], key, depth);
  }

  /** Runs a list of actions; the key is changed as the packet would be. */
  #run(actions: readonly Action[], key: Key, depth: number): void {
    if (actions.length === 0) {
      this.#say({ kind: "drop", depth, action: "drop", text: "the packet ends here" });
    }
    for (const action of actions) {
      if (!this.#one(action, key, depth)) return;
    }
  }

  #say(step: TraceStep): void {
    this.steps.push(step);
  }

  /** Runs one action; false if the packet is gone. */
  #one(action: Action, key: Key, depth: number): boolean {
    const name = formatActions([action]);
    const say = (kind: TraceStep["kind"], text: string, more = {}): void =>
      this.#say({ kind, depth, action: name, text, ...more });
    const changed = (text: string): void =>
      say("change", `${text}: ${formatKey({ key })}`);
    switch (action.type) {
      case "output": {
        const port = this.#dp.ports.get(action.port);
        if (port) {
          say("output", `sent to port ${port.no}, ${port.name}`, { port: port.no });
        } else say("drop", `there is no port ${action.port}`);
        return true;
      }
      case "userspace":
        say("upcall", "an upcall of kind action");
        return true;
      case "drop":
        say("drop", `the packet ends here, counted under ${action.reason}`);
        return false;
      case "set":
        applySet(action, key);
        changed("the packet is now");
        return true;
      case "pushVlan": {
        const { type: _, ...tag } = action;
        key.vlans = [tag, ...key.vlans ?? []];
        changed("the packet is now");
        return true;
      }
      case "popVlan":
        if (key.vlans) key.vlans = key.vlans.slice(1);
        changed("the packet is now");
        return true;
      case "recirc":
        say("note", `looked up again with recirc_id(${action.id})`);
        this.lookUp({ ...key, recircId: action.id }, depth + 1);
        return false;
      case "clone":
        say("note", "a copy of the packet:");
        this.#run(action.actions, { ...key }, depth + 1);
        return true;
      default:
        return this.#rare(action, key, say);
    }
  }

  #rare(
    action: Action,
    key: Key,
    say: (kind: TraceStep["kind"], text: string) => void,
  ): boolean {
    switch (action.type) {
      case "ct":
        key.ctState = 0x21; // trk | new
        key.ctZone = action.zone ?? 0;
        say("change", `tracked in zone ${action.zone ?? 0}; taken to be new (+trk+new)`);
        return true;
      case "ctClear":
        key.ctState = 0;
        key.ctZone = 0;
        say("change", "no longer tracked");
        return true;
      case "sample":
        say("note", "taken for some packets only; not followed");
        return true;
      case "meter":
        say("note", "taken to be within its rate");
        return true;
      case "trunc":
        say("note", "the next output cuts the packet");
        return true;
      case "checkPktLen":
        say("note", "depends on the length of the packet; not followed");
        return true;
      case "hash":
        say("note", "dp_hash is known to the datapath only");
        return true;
      default:
        say("note", "done to the packet; the trace goes on with the key as it was");
        return true;
    }
  }
}

/** Lays a set action over a key: the bits that its mask has, all of them if it has none. */
function applySet(action: Action & { type: "set" }, key: Key): void {
  for (const [name, value] of Object.entries(action.key)) {
    const before = key[name as keyof FlowKey];
    const merged = isRecord(value) && isRecord(before) ? { ...before, ...value } : value;
    Object.assign(key, { [name]: kept(before, merged, action, name) });
  }
}

/** Parts that the mask of a set action does not name keep their values. */
function kept(
  before: unknown,
  merged: unknown,
  { mask }: Action & { type: "set" },
  name: string,
): unknown {
  const part = (mask as Record<string, unknown> | undefined)?.[name];
  if (mask === undefined || part === true) return merged;
  if (!isRecord(part) || !isRecord(merged) || !isRecord(before)) return merged;
  return Object.fromEntries(
    Object.entries(merged).map(([field, value]) => [
      field,
      part[field] === undefined || isZero(part[field]) ? before[field] : value,
    ]),
  );
}

function isZero(mask: unknown): boolean {
  return mask === 0 || mask === 0n || (typeof mask === "string" && /^[0:.]*$/.test(mask));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Uint8Array);
}
