// SPDX-License-Identifier: Apache-2.0
/**
 * Walks the flows of the datapath without end: counts, ages, refreshes what packets teach, and
 * finds what is not as it should be.
 *
 * @module
 */
import { clockMs } from "../clock.ts";
import { setImmediate } from "node:timers";
import type { Flow } from "../../providers/flow.ts";
import type { Ufid } from "../../providers/ids.ts";
import { codeOf } from "../../providers/operations.ts";
import { type Core, count } from "./core.ts";
import type { FlowRecord } from "./flow_record.ts";

/** Flows that are looked at before the event loop gets a turn. */
const SLICE = 512;
/** Walks over which the pace is smoothed. */
const MEMORY = 8;
const LEAST_FLOWS = 1000;
/** A walk may take so many times its share before flows go for that. */
const PATIENCE = 3;
/** Walks that fail one after the other until the datapath is taken to have failed. */
const MOST_FAILED = 8;

/** The one walk under way. */
export class Walker {
  readonly #core: Core;
  readonly #adopt: (flow: Flow) => void;
  #walking: Promise<void> | undefined;
  #walks = 0;
  /** Cost of a flow in the quickest slice of recent walks, ms. */
  readonly #paces: number[] = [];
  /** When the last walk ended, ms since 1970. */
  lastMs = 0;
  /** When the last one ended or failed, ms since 1970. */
  triedMs = 0;
  /** Walks that failed since the last that did not. */
  #failed = 0;
  /** Flows that the CPU share allows; what bounds the table beside `max`. */
  allowed: number;

  /** `adopt` takes flows that the ledger does not know. */
  constructor(core: Core, adopt: (flow: Flow) => void) {
    this.#core = core;
    this.#adopt = adopt;
    this.allowed = core.settings.maxFlows;
  }

  /**
   * Walks over all flows once; joins the walk under way, if there is one. One that fails is
   * reported and counted as `walk_failed`, for the next may do better; after eight in a row what
   * the datapath throws is thrown.
   */
  walk(): Promise<void> {
    return this.#walking ??= this.#try().finally(() => this.#walking = undefined);
  }

  async #try(): Promise<void> {
    try {
      await this.#walk();
      this.#failed = 0;
    } catch (cause) {
      const core = this.#core;
      if (core.dp.closed) return;
      count(core.counters.failures, "walk_failed");
      if (++this.#failed >= MOST_FAILED) throw cause;
      const message = cause instanceof Error ? cause.message : String(cause);
      core.report("refused", `a walk over the flows failed: ${message}`, { cause });
    } finally {
      this.#core.asked = undefined;
      this.triedMs = clockMs();
    }
  }

  /** Resolves when no walk is under way. */
  async idle(): Promise<void> {
    await this.#walking;
  }

  async #walk(): Promise<void> {
    const core = this.#core;
    if (core.dp.closed) return;
    core.asked = new Set();
    const startedMs = clockMs();
    const idle: FlowRecord[] = [];
    const hard: FlowRecord[] = [];
    const strangers: Flow[] = [];
    let best = Infinity;
    let slice = 0;
    let sliceAt = performance.now();
    const walk = ++this.#walks;
    let nowMs = startedMs;
    let failure: { readonly cause: unknown } | undefined;
    try {
      for (const flow of core.dp.flows.dump({ terse: true })) {
        const record = this.#recordOf(flow);
        if (record === undefined) strangers.push(flow);
        else {
          record.walk = walk;
          this.#one(record, flow, nowMs, idle, hard);
        }
        if (++slice < SLICE) continue;
        best = Math.min(best, (performance.now() - sliceAt) / slice);
        await turn();
        if (core.dp.closed) return;
        nowMs = clockMs();
        slice = 0;
        sliceAt = performance.now();
      }
    } catch (cause) {
      // What it found until then is true all the same.
      failure = { cause };
    }
    if (slice > SLICE / 4) best = Math.min(best, (performance.now() - sliceAt) / slice);
    nowMs = clockMs();
    core.deleteFlows(idle, "idle", nowMs);
    core.deleteFlows(hard, "hard", nowMs);
    if (failure !== undefined) throw failure.cause;
    for (const flow of strangers) this.#stranger(flow.ufid, flow);
    const missing: FlowRecord[] = [];
    for (const flow of core.ledger.all()) {
      if (flow.walk === walk || !flow.installed || flow.createdMs >= startedMs) continue;
      missing.push(flow);
    }
    this.#missing(missing, nowMs);
    this.#pace(best);
    this.lastMs = clockMs();
  }

  /** The record of a flow. Text of its name is made only where nothing else tells. */
  #recordOf({ raw }: Flow): FlowRecord | undefined {
    const { ledger } = this.#core;
    if (raw.writeUfid !== undefined) {
      raw.writeUfid(this.#name);
      const record = ledger.byWords(this.#name);
      if (record !== undefined) return record;
    }
    return raw.ufid === undefined ? undefined : ledger.byUfid(raw.ufid);
  }
  readonly #name = new Uint32Array(4);

  #one(
    record: FlowRecord,
    flow: Flow,
    nowMs: number,
    idle: FlowRecord[],
    hard: FlowRecord[],
  ): void {
    const core = this.#core;
    // What was listed before somebody asked would look like a flow that counts anew.
    const isOld = core.asked?.has(record) === true;
    const isSilent = flow.raw.packetCount === Number(record.packets);
    const more = isOld || isSilent ? 0n : core.account(record, flow.stats, nowMs);
    if (!isOld) record.recent = Number(more);
    // Some of the packets may have come right after the last look.
    if (more > 0n) core.learn(record.effects, nowMs, record.lookedMs);
    record.lookedMs = nowMs;
    const { decision } = record;
    const idleMs = decision.idleMs ?? core.settings.idleMs;
    // Counters of offloaded flows lag behind by up to two seconds.
    const lag = flow.offloaded ? 2000 : 0;
    if (nowMs - record.usedMs > idleMs + lag) idle.push(record);
    else if (nowMs - record.createdMs > (decision.hardMs ?? Infinity)) hard.push(record);
  }

  /**
   * Flows that were there before the walk and are not in it: somebody took them away, or the
   * listing left them out.
   */
  #missing(flows: readonly FlowRecord[], nowMs: number): void {
    const core = this.#core;
    for (let from = 0; from < flows.length; from += SLICE) {
      const some = flows.slice(from, from + SLICE);
      const results = core.dp.operate(some.map(({ id }) => ({ op: "get", ufid: id })));
      for (const [i, flow] of some.entries()) {
        const result = results[i];
        if (result?.ok === true && result.flow !== undefined) {
          core.account(flow, result.flow.stats, nowMs);
        } else if (codeOf(result) === "ENOENT") {
          count(core.counters.failures, "lost_flow");
          core.gone(flow, undefined, "lost", nowMs);
        }
      }
    }
  }

  #stranger(ufid: Ufid | undefined, terse: Flow): void {
    const core = this.#core;
    // It may have been put, and deleted, while the walk went on.
    if (core.dp.closed || ufid === undefined || core.ledger.byUfid(ufid)) return;
    const [result] = core.dp.operate([{ op: "get", ufid }]);
    if (result?.ok !== true) return;
    this.#adopt(result.flow ?? terse);
  }

  /**
   * How many flows the share of CPU allows: by the quickest slices, which had a core for
   * themselves. Others that take the CPU make even these dearer, twice where threads share a core:
   * for that the table stops to grow, and no flow that is there goes, which would cost an upcall.
   * Only where a walk takes so much more than its share, flows go.
   */
  #pace(best: number): void {
    if (!Number.isFinite(best)) return;
    this.#paces.push(best);
    if (this.#paces.length > MEMORY) this.#paces.shift();
    const pace = Math.min(...this.#paces);
    const { ledger, settings: { cpu, idleMs, maxFlows } } = this.#core;
    const wanted = cpu * idleMs / 4 / Math.max(pace, 1e-6);
    const kept = Math.min(this.allowed, ledger.size, PATIENCE * wanted);
    const target = Math.max(wanted, kept);
    const bounded = Math.min(this.allowed * 1.25, Math.max(this.allowed * 0.75, target));
    this.allowed = Math.min(maxFlows, Math.max(LEAST_FLOWS, Math.floor(bounded)));
  }

  /** Takes out the flows that were silent longest, so many that new ones find room. */
  evict(limit: number): void {
    const core = this.#core;
    const excess = core.ledger.size - limit;
    const wanted = Math.max(1, excess, Math.floor(limit / 100));
    const { end } = core.ledger;
    const victims: FlowRecord[] = [];
    const others: FlowRecord[] = [];
    for (let looked = 0; victims.length < wanted && looked < end; looked++) {
      this.#hand = (this.#hand + 1) % end;
      const flow = core.ledger.at(this.#hand);
      if (flow === undefined || !flow.installed) continue;
      // Silent in the last walk, and not so new that no walk has seen it.
      const isCold = flow.recent === 0 && flow.usedMs < this.lastMs;
      (isCold ? victims : others).push(flow);
    }
    if (victims.length < wanted) {
      others.sort((a, b) => a.recent - b.recent || a.usedMs - b.usedMs);
      victims.push(...others.slice(0, wanted - victims.length));
    }
    core.deleteFlows(victims, "evicted", clockMs());
  }
  #hand = 0;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => resolve()));
}
