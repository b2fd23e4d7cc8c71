// SPDX-License-Identifier: Apache-2.0
/**
 * Runs flows again when something that they rest on changed.
 *
 * The run is fenced by the mask that the datapath has: what is read within it is answered, and the
 * flow stays or gets other actions in place. A run that reads beyond proves nothing for the other
 * packets of the flow, which is then deleted: the next packet makes a better one.
 *
 * @module
 */
import { clockMs } from "../clock.ts";
import { areAlike } from "../copy.ts";
import { setImmediate } from "node:timers";
import { codeOf } from "../../providers/operations.ts";
import { type Core, count, countNamed } from "./core.ts";
import type { FlowRecord } from "./flow_record.ts";
import { OpList, putOf } from "./op_list.ts";
import { type Effect, hasCredit } from "../packet/effect.ts";
import { changesSoFar } from "../state/dependency.ts";
import { sameActions } from "../verdicts.ts";

/** What became of a flow that ran again. */
export type Became = "kept" | "modified" | "deleted";

/** Flows that are looked at before the event loop gets a turn, ms. */
const SLICE_MS = 4;
const BATCH = 256;
/** What the datapath did not do is tried again so much later, ms, and so often. */
const LATER_MS = 100;
const MOST_FAILED = 8;

/** Runs again what waits. */
export class Revalidator {
  readonly #core: Core;
  readonly #ops = new OpList();
  #scheduled = false;
  /** Slices that failed since the last that did not. */
  #failures = 0;
  /** Flows of which the datapath may have other actions than their records. */
  readonly #unsure = new Set<FlowRecord>();
  #idle: (() => void)[] = [];
  /** Told what became of each flow. */
  onBecame: ((flow: FlowRecord, became: Became, before: Uint8Array) => void) | undefined;

  /** Runs the flows of `core` when it says that some wait. */
  constructor(core: Core) {
    this.#core = core;
    core.onDirty = () => this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Behind what runs now, so that changes of one transaction are looked at together.
    queueMicrotask(() => this.#slice());
  }

  #slice(): void {
    this.#scheduled = false;
    const core = this.#core;
    if (core.dp.closed) return this.#settled();
    const end = performance.now() + SLICE_MS;
    try {
      while (core.waiting > 0 && performance.now() < end) this.#some(BATCH);
      this.#failures = 0;
    } catch (cause) {
      if (core.dp.closed) return this.#settled();
      return this.#later(cause);
    }
    if (core.waiting === 0) {
      this.#unsure.clear();
      return this.#settled();
    }
    this.#scheduled = true;
    setImmediate(() => this.#slice()); // A timer would wait a millisecond or two.
  }

  /** The datapath failed: what waits is looked at a little later. Throws where it does so again. */
  #later(cause: unknown): void {
    const core = this.#core;
    count(core.counters.failures, "rerun_failed");
    if (++this.#failures >= MOST_FAILED) throw cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    core.report("refused", `flows could not be changed: ${message}`, { cause });
    this.#scheduled = true;
    setTimeout(() => this.#slice(), LATER_MS);
  }

  #settled(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves when no flow waits. */
  async settled(): Promise<void> {
    while (this.#core.waiting > 0 && !this.#core.dp.closed) {
      this.#schedule();
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  /**
   * Runs again all that waits and is in `fresh`, flows that the datapath does not have yet, and
   * some of the others.
   */
  settle(fresh: ReadonlySet<FlowRecord>): void {
    const core = this.#core;
    const others: FlowRecord[] = [];
    for (const flow of core.takeWaiting(Infinity)) {
      if (fresh.has(flow)) this.#anew(flow);
      else others.push(flow);
    }
    core.putBack(others);
    const end = performance.now() + SLICE_MS;
    while (core.waiting > 0 && performance.now() < end) this.#some(BATCH);
    if (core.waiting > 0) this.#schedule();
  }

  /** Runs a flow that the datapath does not have: its mask may be any that the budget has. */
  #anew(flow: FlowRecord): void {
    flow.dirty = false;
    if (flow.gone) return;
    const core = this.#core;
    const nowMs = clockMs();
    const ran = core.runFlow(flow, nowMs, undefined);
    const { ledger, runner: { tracker } } = core;
    if (ran === undefined || ran.uncacheable !== undefined) {
      tracker.dropDependencies();
      ledger.remove(flow, nowMs);
      return;
    }
    const before = flow.effects;
    const { mask, step } = ledger.chooser.choose(core.settings.maxMasks, tracker);
    const freed = flow.mask.users === 1 ? 1 : 0;
    if (mask.users === 0 && ledger.masks.size - freed >= core.settings.maxMasks) {
      // The packet is executed all the same, and teaches what it does.
      countNamed(core.counters.withoutFlow, "mask_budget");
      tracker.dropDependencies();
      ledger.remove(flow, nowMs);
      flow.effects = tracker.effects;
      this.#teachAgain(flow, before, nowMs);
      return;
    }
    ledger.edges.depend(flow, tracker.dependencyIds, tracker.dependencyCount);
    flow.effects = tracker.effects;
    core.setDeadline(flow, tracker.deadline);
    flow.decision = ran.decision;
    ledger.setActions(flow, ran.actions, nowMs);
    ledger.remask(flow, mask, step, tracker.keyWords);
    flow.changes = changesSoFar();
    this.#teachAgain(flow, before, nowMs);
  }

  /**
   * A packet whose second run teaches something else than its first teaches that too. Where this
   * changes again what the run read, a third would not be the last.
   */
  #teachAgain(flow: FlowRecord, before: readonly Effect[], nowMs: number): void {
    const core = this.#core;
    const other = flow.effects.filter((effect) =>
      effect.kind === "learn" && !before.some((one) => isSameEffect(one, effect))
    );
    if (other.length === 0) return;
    core.learn(other, nowMs);
    if (!flow.dirty) return;
    core.report(
      "unstable",
      "a packet changes what its own verdict rests on, run by run",
      {
        key: flow.key,
      },
    );
    count(core.counters.failures, "unstable");
    core.ledger.remove(flow, nowMs);
  }

  /** Runs again the first that wait, and tells the datapath. */
  #some(most: number): void {
    const core = this.#core;
    const nowMs = clockMs();
    const batch = core.takeWaiting(most);
    try {
      this.#runAll(batch, nowMs);
    } catch (cause) {
      for (const flow of batch) {
        if (flow.gone) continue;
        this.#unsure.add(flow);
        core.markDirty(flow);
      }
      throw cause;
    }
  }

  #runAll(batch: readonly FlowRecord[], nowMs: number): void {
    const core = this.#core;
    const modified: FlowRecord[] = [];
    const deleted: FlowRecord[] = [];
    for (const flow of batch) {
      flow.dirty = false;
      if (flow.gone) continue;
      const before = flow.actions.bytes;
      const became = this.run(flow, nowMs);
      if (became === "modified") modified.push(flow);
      else if (became === "deleted") deleted.push(flow);
      this.onBecame?.(flow, became, before);
    }
    this.modify(modified, nowMs);
    core.deleteFlows(deleted, "changed", nowMs);
  }

  /** Runs a flow again within its mask; its record has the new verdict. */
  run(flow: FlowRecord, nowMs: number): Became {
    const core = this.#core;
    const { counters, ledger } = core;
    const { tracker } = core.runner;
    counters.reruns++;
    const ran = core.runAgain(flow, nowMs);
    if (ran === undefined) {
      if (core.lastThrow !== "hold") {
        tracker.dropDependencies();
        return "deleted";
      }
      // What it read before it threw may make an end of that; its mask may lack some of it.
      flow.changes = -1;
      ledger.edges.dependMore(flow, tracker.dependencyIds, tracker.dependencyCount);
      counters.kept++;
      return "kept";
    }
    if (ran.uncacheable !== undefined || tracker.grew) {
      tracker.dropDependencies();
      return "deleted";
    }
    const isUnsure = this.#unsure.size > 0 && this.#unsure.delete(flow);
    const hadOther = isUnsure || !sameActions(flow.actions, ran.actions);
    const isElsewhere = !areSameEffects(flow.effects, tracker.effects);
    if ((hadOther || isElsewhere) && flow.installed) {
      this.#settleStats(flow, nowMs, tracker.effects);
    }
    ledger.edges.depend(flow, tracker.dependencyIds, tracker.dependencyCount);
    flow.changes = changesSoFar();
    if (isElsewhere) flow.effects = tracker.effects;
    core.setDeadline(flow, tracker.deadline);
    flow.decision = ran.decision;
    if (!hadOther) {
      counters.kept++;
      return "kept";
    }
    ledger.setActions(flow, ran.actions, nowMs);
    counters.modified++;
    return "modified";
  }

  /** What a flow counted until now is for its old verdict, if that or `next` credits somebody. */
  #settleStats(flow: FlowRecord, nowMs: number, next: readonly Effect[]): void {
    const core = this.#core;
    if (!hasCredit(flow.effects) && !hasCredit(next)) return;
    const [result] = core.dp.operate([{ op: "get", ufid: flow.id }]);
    if (result?.ok === true && result.flow !== undefined) {
      core.account(flow, result.flow.stats, nowMs);
      core.asked?.add(flow);
    }
  }

  /**
   * Puts a flow in the place of one that the datapath has for its packets under another name or
   * mask, as one of another program that was adopted may be.
   */
  #replace(flow: FlowRecord): boolean {
    const { id, key } = flow;
    const [, , put] = this.#core.dp.operate([
      { op: "delete", ufid: id },
      { op: "delete", key },
      putOf(flow),
    ]);
    return put?.ok === true;
  }

  /** Gives flows of the datapath the actions of their records. */
  modify(flows: readonly FlowRecord[], nowMs: number): void {
    const core = this.#core;
    const installed = flows.filter((flow) => flow.installed && !flow.gone);
    if (installed.length === 0 || core.dp.closed) return;
    this.#ops.clear();
    const byName = core.dp.flows.changeByName;
    for (const flow of installed) this.#ops.modify(flow, byName);
    const results = core.dp.operate(this.#ops.all());
    const again: FlowRecord[] = [];
    for (const [i, flow] of installed.entries()) {
      const result = results[i];
      if (result?.ok === true) {
        core.settings.onFlow?.(flow, false);
        continue;
      }
      // Somebody deleted it: put it, as it is to be.
      const code = codeOf(result);
      if (code === "ENOENT") again.push(flow);
      else {
        core.report("refused", `the datapath refused a change: ${code}`, {
          key: flow.key,
          cause: result?.error,
        });
        core.deleteFlows([flow], "refused", nowMs);
      }
    }
    if (again.length === 0) return;
    const put = core.dp.operate(again.map(putOf));
    for (const [i, flow] of again.entries()) {
      flow.packets = 0n;
      flow.bytes = 0n;
      core.asked?.add(flow);
      if (put[i]?.ok === true || this.#replace(flow)) continue;
      count(core.counters.failures, "put_failed");
      core.gone(flow, undefined, "refused", nowMs);
    }
  }
}

function isSameEffect(a: Effect, b: Effect): boolean {
  if (a.kind === "credit") return b.kind === "credit" && a.counter === b.counter;
  return b.kind === "learn" && a.table === b.table && Object.is(a.key, b.key) &&
    areAlike(a.value, b.value);
}

function areSameEffects(a: readonly Effect[], b: readonly Effect[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (!isSameEffect(a[i] as Effect, b[i] as Effect)) return false;
  }
  return true;
}
