// SPDX-License-Identifier: Apache-2.0
/**
 * Walks a key through the flows of a datapath and their actions.
 *
 * What only the datapath can know is said where it matters, and the usual case taken: a connection
 * is new, a meter lets pass. What happens to some packets only, and to this one perhaps, is
 * followed and marked.
 *
 * @module
 */
import type { Datapath } from "../../providers/datapath.ts";
import type { Flow } from "../../providers/flow.ts";
import { formatActions, formatKey } from "../../providers/odp/mod.ts";
import type { Action, FlowKey } from "../../providers/types.ts";
import { applySet } from "../../providers/odp/apply.ts";
import { moveHeader } from "./headers.ts";
import { covers, type DecodedFlow, decodeFlows } from "../../providers/odp/covers.ts";

/** One step. */
export interface TraceStep {
  /**
   * `lookup`: a flow was looked for. `output`, `upcall`: the packet left. `drop`: it ended.
   * `change`: it is another now.
   */
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
  /** It happens to some such packets only. */
  readonly perhaps?: true;
}

/** Recirculations of a packet after which it is taken to go round in circles. */
const maxRecirculations = 8;
/** Lookups after which a trace is cut: a list may recirculate many copies, each of them as many. */
const maxLookups = 1000;

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };
type Key = Mutable<FlowKey>;

/** A packet on its way, or a copy of it. */
interface Packet {
  readonly key: Key;
  /** In bytes, where it is known. */
  length: number | undefined;
  /** Whether it is there for some packets only. */
  readonly perhaps: boolean;
  /** How often it was looked up before. */
  readonly rounds: number;
}

/** A sample of this share is every packet. */
const always = 0xffffffff;

/** By how many bytes actions make a packet longer. */
const growth: Partial<Record<Action["type"], number>> = {
  pushVlan: 4,
  popVlan: -4,
  pushMpls: 4,
  popMpls: -4,
  addMpls: 4,
  pushEth: 14,
  popEth: -14,
};

/** Traces a packet with a key, and of a length in bytes if that is known. */
export function tracePacket(
  dp: Datapath,
  key: FlowKey,
  options: { length?: number } = {},
): TraceStep[] {
  const tracer = new Tracer(dp);
  const { length } = options;
  tracer.lookUp({ key: { recircId: 0, ...key }, length, perhaps: false, rounds: 0 }, 0);
  return tracer.steps;
}

class Tracer {
  readonly steps: TraceStep[] = [];
  readonly #dp: Datapath;
  readonly #flows: readonly DecodedFlow<Flow>[];
  #lookups = 0;

  constructor(dp: Datapath) {
    this.#dp = dp;
    this.#flows = decodeFlows(dp.flows.dump());
  }

  lookUp(packet: Packet, depth: number): void {
    const { key } = packet;
    const recircId = key.recircId ?? 0;
    const say = (step: Omit<TraceStep, "depth">): void =>
      this.#say({ ...step, depth }, packet);
    if (packet.rounds >= maxRecirculations) {
      return say({ kind: "drop", text: `recirculated ${maxRecirculations} times` });
    }
    if (++this.#lookups > maxLookups) {
      return say({ kind: "note", text: `the trace ends after ${maxLookups} lookups` });
    }
    const inSamePartition = this.#flows.filter(({ key: wanted }) =>
      (wanted.recircId ?? 0) === recircId
    );
    const hit = inSamePartition.find((flow) => covers(key, flow));
    if (hit === undefined) {
      const text = `no flow of ${inSamePartition.length} fits: the packet is handed up`;
      say({ kind: "lookup", recircId, text });
      return say({ kind: "upcall", action: "miss", text: "an upcall of kind miss" });
    }
    const text = this.#level(key, inSamePartition);
    say({ kind: "lookup", recircId, text, flow: hit.flow });
    const actions = hit.flow.actions ?? [];
    if (actions.length === 0) {
      say({ kind: "drop", action: "drop", text: "the packet ends here" });
    }
    this.#run(actions, packet, depth);
  }

  /** Where a datapath finds the flow, by what it keeps before and in its table. */
  #level(key: FlowKey, sharing: readonly DecodedFlow<Flow>[]): string {
    const recircId = key.recircId ?? 0;
    const caches = this.#dp.caches;
    if (this.#dp.type !== "netdev") {
      const before = (caches?.names() ?? []).map((name, level) =>
        `${name} of ${caches?.size(level)} entries, then the `
      ).join("");
      return `${before}flow table (${sharing.length} flows with this recirc_id)`;
    }
    // Its lookup has a table for each port and round, and no cache in front of it.
    const flows = sharing.filter(({ key: { inPort } }) =>
      inPort === undefined || inPort === key.inPort
    );
    const masks = new Set(flows.map(({ flow }) => `${flow.raw.mask}`)).size;
    return `table of in_port(${key.inPort ?? "none"}),recirc_id(${recircId}): ` +
      `a flow of ${flows.length}, by one of ${masks} masks`;
  }

  /** Runs a list of actions; the packet is changed by them. */
  #run(actions: readonly Action[], packet: Packet, depth: number): void {
    for (const action of actions) {
      if (!this.#one(action, packet, depth)) return;
      if (packet.length !== undefined) packet.length += growth[action.type] ?? 0;
    }
  }

  /** Runs a list of actions on a copy of the packet, which some packets only may have. */
  #runOnCopy(
    actions: readonly Action[],
    packet: Packet,
    depth: number,
    options: { perhaps?: boolean } = {},
  ): void {
    const copy = {
      ...packet,
      key: { ...packet.key },
      perhaps: packet.perhaps || options.perhaps === true,
    };
    this.#run(actions, copy, depth + 1);
  }

  #say(step: TraceStep, { perhaps }: Packet): void {
    this.steps.push({ ...step, ...(perhaps && { perhaps }) });
  }

  /** Runs one action; false if the packet is gone. */
  #one(action: Action, packet: Packet, depth: number): boolean {
    const { key } = packet;
    const name = formatActions([action]);
    const say = (kind: TraceStep["kind"], text: string, more = {}): void =>
      this.#say({ kind, depth, action: name, text, ...more }, packet);
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
        Object.assign(key, applySet(key, action));
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
        // A copy is, if actions follow.
        this.lookUp({
          ...packet,
          key: { ...key, recircId: action.id },
          rounds: packet.rounds + 1,
        }, depth + 1);
        return true;
      case "clone":
        say("note", "a copy of the packet:");
        this.#runOnCopy(action.actions, packet, depth);
        return true;
      case "sample": {
        const share = `${Number((100 * action.probability / always).toFixed(3))} %`;
        const perhaps = action.probability < always;
        say(
          "note",
          perhaps ? `of ${share} of packets, a copy:` : "a copy of the packet:",
        );
        this.#runOnCopy(action.actions, packet, depth, { perhaps });
        return true;
      }
      case "checkPktLen":
        this.#checkLength(action, packet, depth);
        return true;
      default:
        return this.#rare(action, key, say);
    }
  }

  #checkLength(
    action: Action & { type: "checkPktLen" },
    packet: Packet,
    depth: number,
  ): void {
    const { size, greater, lessEqual } = action;
    const { length } = packet;
    const perhaps = length === undefined;
    const branch = (text: string, actions: readonly Action[]): void => {
      const name = formatActions([action]);
      const known = length === undefined ? "if it has" : `it has ${length} bytes,`;
      this.#say({ kind: "note", depth, action: name, text: `${known} ${text}` }, packet);
      this.#runOnCopy(actions, packet, depth, { perhaps });
    };
    if (perhaps || length > size) branch(`more than ${size}:`, greater);
    if (perhaps || length <= size) branch(`${size} at most:`, lessEqual);
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
      case "meter":
        say("note", `${this.#meter(action.id)}: taken to be within its rate`);
        return true;
      case "psample":
        say("note", `shown to who looks at samples, for group ${action.group}`);
        return true;
      case "trunc":
        say("note", "the next output cuts the packet");
        return true;
      case "hash":
        say("note", "dp_hash is known to the datapath only");
        return true;
      default: {
        const moved = moveHeader(action, key);
        if (moved === true) say("change", `the packet is now: ${formatKey({ key })}`);
        else if (moved !== false) say("note", moved);
        else say("note", "done to the packet; the trace goes on with the key as it was");
        return true;
      }
    }
  }

  /** A meter with its rates, where the datapath tells them. */
  #meter(id: number): string {
    const meter = this.#dp.meters?.list?.().find((candidate) => candidate.id === id);
    if (meter === undefined) return `meter ${id}`;
    const rates = meter.bands.map(({ rate }) => `${rate} ${meter.unit}`);
    return `meter ${id} of ${rates.join(" and ")}`;
  }
}
