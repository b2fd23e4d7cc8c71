// SPDX-License-Identifier: Apache-2.0
/**
 * What the parts of a running policy share: datapath, policy, ledger, counters; and the ways to run
 * a flow and to be rid of it.
 *
 * @module
 */
import { clockMs } from "../clock.ts";
import { randomBytes } from "node:crypto";
import type { Datapath } from "../../providers/datapath.ts";
import { formatKey } from "../../providers/odp/text/text.ts";
import type { Flow } from "../../providers/flow.ts";
import type { Op, Result } from "../../providers/operations.ts";
import { textOfThrown } from "../copy.ts";
import type { Policy } from "../decision.ts";
import { listen, type Touches } from "../state/dependency.ts";
import { PolicyError, type PolicyErrorCode } from "./errors.ts";
import type { FlowRecord } from "./flow_record.ts";
import { Ledger } from "./ledger.ts";
import type { Recorder } from "./recorder.ts";
import type { Ufid } from "../../providers/ids.ts";
import { type Fence, type Ran, Runner } from "../runner.ts";
import { type Continuation, Continuations } from "../stage.ts";
import type { PortsView } from "../state/state.ts";
import { type Effect, hasCredit, type Learner } from "../packet/effect.ts";

/** Settings with their defaults filled in. */
export interface Settings {
  readonly idleMs: number;
  readonly maxFlows: number;
  readonly cpu: number;
  readonly maxMasks: number;
  readonly auditsPerSecond: number;
  readonly recorder: Recorder | undefined;
  readonly onError: (error: PolicyError) => "drop" | "hold" | void;
  readonly firstStageId: number | undefined;
  readonly onPacket: ((packet: HandedPacket) => void) | undefined;
  readonly onFlow: ((flow: PutFlow, isNew: boolean) => void) | undefined;
}

/** A flow that the datapath has taken: attribute bytes, and its name. */
export interface PutFlow {
  /** Its name. */
  readonly ufid: Ufid;
  /** Its key. */
  readonly key: Uint8Array;
  /** Which bits of the key matter. */
  readonly mask: { readonly bytes: Uint8Array };
  /** What happens to its packets. */
  readonly actions: { readonly bytes: Uint8Array };
}

/** A packet that a policy handed to the program. */
export interface HandedPacket {
  /** The reason that `toProgram` gave. */
  readonly reason: string;
  /** The packet from the Ethernet header on. */
  readonly packet: Uint8Array;
  /** Its key, attribute bytes. */
  readonly key: Uint8Array;
  /** Bytes that `toProgram` gave. */
  readonly userdata: Uint8Array;
}

/** Why flows go. */
export type GoneReason =
  | "idle"
  | "hard"
  | "changed"
  | "evicted"
  | "closed"
  | "refused"
  | "lost"
  | "threw";

/** What a policy counted. */
export interface Counters {
  /** Packets that came up. */
  upcalls: number;
  /** Flows that were put. */
  setUps: number;
  /** Packets that were executed without a flow. */
  executed: number;
  /** Packets whose flow another packet of their batch put. */
  repeated: number;
  /** Flows that ran again because something that they rest on changed. */
  reruns: number;
  /** Of these, flows that stayed as they were. */
  kept: number;
  /** Of these, flows that got other actions. */
  modified: number;
  /** Flows that went, by reason. */
  readonly gone: Record<GoneReason, number>;
  /** Packets without a flow, by reason. */
  readonly withoutFlow: Record<string, number>;
  /** Packets dropped by the policy that came up, by its reason. */
  readonly drops: Record<string, number>;
  /** Failures, by name: `policy_error`, `put_failed`, `unknown_stage` … */
  readonly failures: Record<string, number>;
}

/** Counts one more under a name. */
export function count(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

const MAX_NAMES = 256;

/** Counts under a name that a policy chose: there may be many. */
export function countNamed(counts: Record<string, number>, name: string): void {
  const isKnown = Object.hasOwn(counts, name);
  count(counts, isKnown || Object.keys(counts).length < MAX_NAMES ? name : "other");
}

/** A running policy's inside. */
export class Core {
  readonly dp: Datapath;
  readonly settings: Settings;
  readonly continuations: Continuations;
  readonly ledger: Ledger;
  readonly runner: Runner;
  readonly counters: Counters = {
    upcalls: 0,
    setUps: 0,
    executed: 0,
    repeated: 0,
    reruns: 0,
    kept: 0,
    modified: 0,
    gone: {
      idle: 0,
      hard: 0,
      changed: 0,
      evicted: 0,
      closed: 0,
      refused: 0,
      lost: 0,
      threw: 0,
    },
    withoutFlow: {},
    drops: {},
    failures: {},
  };
  /** Tables that packets teach. */
  readonly tables: Set<Learner> = new Set();
  /** Flows whose verdict ends at a time, to be watched. */
  readonly withDeadline: FlowRecord[] = [];
  /** Flows that wait to be run again; those before `#dirtyAt` were taken. */
  #dirty: FlowRecord[] = [];
  #dirtyAt = 0;
  /** Called with the time when a verdict ends. */
  onDeadline: (atMs: number) => void = () => {};
  /** Called when flows wait that did not before. */
  onDirty: () => void = () => {};
  policy: Policy;
  readonly #listening: Disposable;
  readonly #reported = new Map<string, { atMs: number; answer: "drop" | "hold" }>();

  /** Begins to listen to state. */
  constructor(
    dp: Datapath,
    policy: Policy,
    settings: Settings,
    ports: PortsView,
  ) {
    this.dp = dp;
    this.policy = policy;
    this.settings = settings;
    // Ids of an earlier program may still be in flows and on packets: begin elsewhere.
    const [a = 0, b = 0, c = 0] = randomBytes(3);
    const first = settings.firstStageId ?? 1 + (a << 16 | b << 8 | c) * 64;
    this.continuations = new Continuations(
      first,
      (stage, ids) =>
        this.report("many_ids", `stage "${stage}" has ${ids} recirculation ids`),
    );
    this.ledger = new Ledger(this.continuations);
    this.runner = new Runner(this.continuations, ports);
    this.#listening = listen(this);
  }

  /** State changed: flows that rest on it wait to be run again. */
  changed(id: number, touches?: Touches): void {
    const before = this.waiting;
    this.ledger.each(id, (flow) => {
      if (flow.dirty || touches !== undefined && !touches(flow)) return;
      this.markDirty(flow);
    });
    if (before === 0 && this.waiting > 0) this.onDirty();
  }

  /** How many flows wait to be run again. */
  get waiting(): number {
    return this.#dirty.length - this.#dirtyAt;
  }

  /** Takes those that wait longest, `most` of them; they do not wait any more. */
  takeWaiting(most: number): FlowRecord[] {
    const taken = this.#dirty.slice(this.#dirtyAt, this.#dirtyAt + most);
    this.#dirtyAt += taken.length;
    if (this.waiting === 0) {
      this.#dirty = [];
      this.#dirtyAt = 0;
    }
    return taken;
  }

  /** Has flows that were taken wait again, before those that came meanwhile. */
  putBack(flows: readonly FlowRecord[]): void {
    this.#dirty = [...flows, ...this.takeWaiting(Infinity)];
    this.#dirtyAt = 0;
  }

  /** Says when a flow's verdict ends, and has it watched if it does. */
  setDeadline(flow: FlowRecord, deadline: number): void {
    flow.deadline = deadline;
    if (deadline === Infinity) return;
    this.withDeadline.push(flow);
    this.onDeadline(deadline);
  }

  /** Has a flow run again. */
  markDirty(flow: FlowRecord): void {
    if (flow.dirty || flow.gone) return;
    flow.dirty = true;
    this.#dirty.push(flow);
  }

  /** Reports a fault, once a second for each kind and message. */
  report(
    code: PolicyErrorCode,
    message: string,
    more: { readonly key?: Uint8Array; readonly cause?: unknown } = {},
  ): "drop" | "hold" {
    const place = `${code} ${message}`;
    const now = clockMs();
    const last = this.#reported.get(place);
    const { key, cause } = more;
    if (last !== undefined && now - last.atMs < 1000) return last.answer;
    if (this.#reported.size > 256) this.#reported.clear();
    const packet = key === undefined ? undefined : textOfKey(key);
    const error = new PolicyError(code, message, { packet, cause });
    const said = { atMs: now, answer: "drop" as "drop" | "hold" };
    this.#reported.set(place, said);
    try {
      said.answer = this.settings.onError(error) ?? "drop";
    } catch {
      // A listener of faults must not make more of them.
      count(this.counters.failures, "on_error_threw");
    }
    return said.answer;
  }

  /**
   * The stage that a key is for: undefined for the policy itself, null if no such stage is known.
   */
  stageOf(key: Uint8Array): Continuation | undefined | null {
    const id = this.runner.recircOf(key);
    return id === 0 ? undefined : this.continuations.get(id) ?? null;
  }

  /**
   * Runs the policy on a key; undefined if it threw, which is counted and reported. What it rests
   * on is in the tracker then too, for the caller to keep or drop.
   */
  run(
    key: Uint8Array,
    nowMs: number,
    at: Continuation | undefined,
    fence?: Fence,
  ): Ran | undefined {
    try {
      return this.runner.run(this.policy, key, nowMs, at, fence);
    } catch (cause) {
      return this.#threw(key, cause);
    }
  }

  /** As `run`, on the key of a flow. */
  runFlow(
    flow: FlowRecord,
    nowMs: number,
    fence: Fence | undefined,
    at = flow.at,
  ): Ran | undefined {
    try {
      return this.runner.runStored(this.policy, flow, nowMs, at, fence);
    } catch (cause) {
      return this.#threw(flow.key, cause);
    }
  }

  /** As `runFlow`, within the flow's mask, of which all was read that the flow rests on. */
  runAgain(flow: FlowRecord, nowMs: number): Ran | undefined {
    this.ledger.edges.recall(flow, this.runner.tracker.former);
    return this.runFlow(flow, nowMs, flow.mask);
  }

  #threw(key: Uint8Array, cause: unknown): undefined {
    this.runner.tracker.former.forget(); // The run may not have come so far as to begin.
    count(this.counters.failures, "policy_error");
    const text = `the policy threw: ${textOfThrown(cause)}`;
    this.lastThrow = this.report("threw", text, { key, cause });
    return undefined;
  }
  /** What `onError` said to the last throw. */
  lastThrow: "drop" | "hold" = "drop";

  /** Does what packets teach that came between `sinceMs` and `atMs`. */
  learn(effects: readonly Effect[], atMs: number, sinceMs = atMs): void {
    for (let i = 0; i < effects.length; i++) {
      const effect = effects[i] as Effect;
      if (effect.kind !== "learn") continue;
      this.tables.add(effect.table);
      try {
        effect.table.hear(effect.key, effect.value, atMs, sinceMs);
      } catch (cause) {
        // A key that the table cannot have: what one packet teaches must not end the policy.
        count(this.counters.failures, "learn_failed");
        const text = `${effect.table.name} did not learn: ${textOfThrown(cause)}`;
        this.report("threw", text, { cause });
      }
    }
  }

  /** Credits packets and bytes. */
  credit(
    effects: readonly Effect[],
    packets: bigint,
    bytes: bigint,
    usedMs: number,
    tcpFlags: number,
  ): void {
    for (let i = 0; i < effects.length; i++) {
      const effect = effects[i] as Effect;
      if (effect.kind !== "credit") continue;
      try {
        effect.counter.add(packets, bytes, usedMs, tcpFlags);
      } catch (cause) {
        count(this.counters.failures, "credit_failed");
        const text = `${effect.counter.name} did not add: ${textOfThrown(cause)}`;
        this.report("threw", text, { cause });
      }
    }
  }

  /**
   * Takes over what the datapath counted for a flow: credits what is new, answers how many packets.
   */
  account(flow: FlowRecord, stats: Flow["stats"], nowMs: number): bigint {
    const { packets, bytes, tcpFlags } = stats;
    // Fewer than before: the flow was replaced, and counts anew.
    const isNew = packets < flow.packets || bytes < flow.bytes;
    const more = isNew ? packets : packets - flow.packets;
    const moreBytes = isNew ? bytes : bytes - flow.bytes;
    flow.packets = packets;
    flow.bytes = bytes;
    if (more === 0n) return more;
    flow.usedMs = nowMs;
    this.credit(flow.effects, more, moreBytes, nowMs, tcpFlags);
    return more;
  }

  /**
   * Flows whose counters somebody else asked for while a walk goes on, which may have older ones
   * of them; undefined while none does.
   */
  asked: Set<FlowRecord> | undefined;

  /** The operation that takes a flow out of the datapath. */
  deletion(flow: FlowRecord): Op {
    // Nobody waits for what is credited to none.
    const wantStats = hasCredit(flow.effects) ? "final" : true;
    return { op: "delete", ufid: flow.id, wantStats };
  }

  /** Does operations; with the result of a deletion the flow's last counters are credited. */
  deleteFlows(flows: readonly FlowRecord[], reason: GoneReason, nowMs: number): void {
    const installed = flows.filter((flow) => flow.installed && !flow.gone);
    const results = this.#operate(installed.map((flow) => this.deletion(flow)));
    for (const [i, flow] of installed.entries()) {
      this.gone(flow, results[i], reason, nowMs);
    }
    for (const flow of flows) if (!flow.gone) this.gone(flow, undefined, reason, nowMs);
  }

  /** A flow is out of the datapath. */
  gone(
    flow: FlowRecord,
    result: Result | undefined,
    reason: GoneReason,
    nowMs: number,
  ): void {
    if (result?.ok === true && result.stats !== undefined) {
      this.account(flow, result.stats, nowMs);
    }
    this.counters.gone[reason]++;
    this.settings.recorder?.ended(flow, reason, nowMs);
    this.ledger.remove(flow, nowMs);
  }

  #operate(ops: readonly Op[]): Result[] {
    if (ops.length === 0 || this.dp.closed) return [];
    const results: Result[] = [];
    // Not fewer: a batch with last counters waits for poll threads once.
    for (let i = 0; i < ops.length; i += 2048) {
      results.push(...this.dp.operate(ops.slice(i, i + 2048)));
    }
    return results;
  }

  /** Listens no longer. */
  end(): void {
    this.#listening[Symbol.dispose]();
  }
}

/** Text of a key; never throws. */
export function textOfKey(key: Uint8Array): string | undefined {
  try {
    return formatKey({ key });
  } catch {
    return undefined;
  }
}
