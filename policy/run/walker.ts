// SPDX-License-Identifier: Apache-2.0
/**
 * Walks the flows of the datapath without end: counts, ages, refreshes what packets teach, and
 * finds what is not as it should be.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Flow } from "../../providers/flow.ts";
import type { Ufid } from "../../providers/ids.ts";
import { type Core, count } from "./core.ts";
import type { FlowRecord } from "./ledger.ts";

/** Flows that are looked at before the event loop gets a turn. */
const SLICE = 512;
/** Walks over which the pace is smoothed. */
const MEMORY = 8;
const LEAST_FLOWS = 1000;

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
  /** Flows that the CPU share allows; what bounds the table beside `max`. */
  allowed: number;

  /** `adopt` takes flows that the ledger does not know. */
  constructor(core: Core, adopt: (flow: Flow) => void) {
    this.#core = core;
    this.#adopt = adopt;
    this.allowed = core.settings.maxFlows;
  }

  /** Walks over all flows once; joins the walk under way, if there is one. */
  walk(): Promise<void> {
    return this.#walking ??= this.#walk().finally(() => this.#walking = undefined);
  }

  /** Resolves when no walk is under way. */
  async idle(): Promise<void> {
    await this.#walking;
  }

  async #walk(): Promise<void> {
    const core = this.#core;
    if (core.dp.closed) return;
    const startedMs = Date.now();
    const idle: FlowRecord[] = [];
    const hard: FlowRecord[] = [];
    const strangers: Flow[] = [];
    let best = Infinity;
    let slice = 0;
    let sliceAt = performance.now();
    const walk = ++this.#walks;
    let nowMs = startedMs;
    for (const flow of core.dp.flows.dump({ terse: true })) {
      const record = flow.ufid === undefined ? undefined : core.ledger.byUfid(flow.ufid);
      if (record === undefined) strangers.push(flow);
      else {
        record.walk = walk;
        this.#one(record, flow, nowMs, idle, hard);
      }
      if (++slice < SLICE) continue;
      best = Math.min(best, (performance.now() - sliceAt) / slice);
      await turn();
      if (core.dp.closed) return;
      nowMs = Date.now();
      slice = 0;
      sliceAt = performance.now();
    }
    if (slice > SLICE / 4) best = Math.min(best, (performance.now() - sliceAt) / slice);
    nowMs = Date.now();
    core.deleteFlows(idle, "idle", nowMs);
    core.deleteFlows(hard, "hard", nowMs);
    for (const flow of strangers) this.#stranger(flow.ufid, flow);
    // Flows that were there before the walk and are not in it were taken away by somebody.
    for (const flow of core.ledger.all()) {
      if (flow.walk === walk || !flow.installed || flow.createdMs >= startedMs) continue;
      count(core.counters.failures, "lost_flow");
      core.gone(flow, undefined, "lost", nowMs);
    }
    this.#pace(best);
    this.lastMs = Date.now();
  }

  #one(
    record: FlowRecord,
    flow: Flow,
    nowMs: number,
    idle: FlowRecord[],
    hard: FlowRecord[],
  ): void {
    const core = this.#core;
    const more = core.account(record, flow.stats, nowMs);
    record.recent = Number(more);
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

  #stranger(ufid: Ufid | undefined, terse: Flow): void {
    const core = this.#core;
    // It may have been put, and deleted, while the walk went on.
    if (core.dp.closed || ufid === undefined || core.ledger.byUfid(ufid)) return;
    const [result] = core.dp.operate([{ op: "get", ufid }]);
    if (result?.ok !== true) return;
    this.#adopt(result.flow ?? terse);
  }

  /**
   * How many flows the share of CPU allows: by the quickest slices, for a core that others use
   * shrinks nothing.
   */
  #pace(best: number): void {
    if (!Number.isFinite(best)) return;
    this.#paces.push(best);
    if (this.#paces.length > MEMORY) this.#paces.shift();
    const pace = Math.min(...this.#paces);
    const { cpu, idleMs, maxFlows } = this.#core.settings;
    const wanted = cpu * idleMs / 4 / Math.max(pace, 1e-6);
    const bounded = Math.min(this.allowed * 1.25, Math.max(this.allowed * 0.75, wanted));
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
    core.deleteFlows(victims, "evicted", Date.now());
  }
  #hand = 0;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => resolve()));
}
