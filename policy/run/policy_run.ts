// SPDX-License-Identifier: Apache-2.0
/**
 * A policy that runs on a datapath.
 *
 * @module
 */
import { clockMs, every } from "../clock.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { toKeyBytes } from "../../providers/odp/input.ts";
import { decodeActions } from "../../providers/odp/action.ts";
import { decodeMask } from "../../providers/odp/mask.ts";
import { extractKey } from "../../providers/odp/extract.ts";
import { encodeKey } from "../../providers/odp/key.ts";
import { keyView } from "../../providers/odp/view.ts";
import type { PortNo, RecircId, Ufid } from "../../providers/ids.ts";
import type { Action } from "../../providers/types_action.ts";
import type { KeyInput } from "../../providers/types.ts";
import { adopt } from "./adopt.ts";
import { Core } from "./core.ts";
import type { Policy } from "../decision.ts";
import { diffOf, type FlowDiff } from "./diff.ts";
import { Endings } from "./endings.ts";
import { explainKey, Explanation, textOfEffect } from "./explain.ts";
import type { FlowRecord } from "./flow_record.ts";
import type { Recorder } from "./recorder.ts";
import { Revalidator } from "./revalidator.ts";
import type { PolicyFlow, PolicyStats } from "./policy_flow.ts";
import { type PolicyOptions, settingsOf } from "./settings.ts";
import { SetUp } from "./setup.ts";
import type { Learner } from "../packet/effect.ts";
import { PortsView } from "../state/state.ts";
import type { Carry } from "../stage.ts";
import { sameActions } from "../verdicts.ts";
import { Walker } from "./walker.ts";

const runs = new WeakMap<Datapath, PolicyRun>();

/** The policy that runs on a datapath in this program. */
export function policyRunOf(dp: Datapath): PolicyRun | undefined {
  return runs.get(dp);
}

const views = new WeakMap<Datapath, PortsView>();

/** The ports of a datapath, as policies read them; kept true while a policy runs on it. */
export function portsOf(dp: Datapath): PortsView {
  let view = views.get(dp);
  if (view === undefined) views.set(dp, view = new PortsView(numbersOf(dp)));
  return view;
}

function numbersOf(dp: Datapath): PortNo[] {
  return [...dp.ports.dump()].map(({ no }) => no);
}

const TICK_MS = 100;

/**
 * Runs a policy on a datapath: decides what comes up, puts flows, and keeps them true. Returns when
 * it listens. The policy ends with the datapath, with its signal, and when the run is disposed of;
 * flows then stay as they are and forward on.
 */
export function runPolicy(
  dp: Datapath,
  policy: Policy,
  options: PolicyOptions = {},
): Promise<PolicyRun> {
  const { signal } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  try {
    return Promise.resolve(new PolicyRun(dp, policy, options));
  } catch (error) {
    return Promise.reject(error);
  }
}

/** A running policy. */
export class PolicyRun implements AsyncDisposable {
  readonly #core: Core;
  readonly #setUp: SetUp;
  readonly #revalidator: Revalidator;
  readonly #walker: Walker;
  readonly #endings: Endings;
  readonly #abort = new AbortController();
  readonly #tasks: Promise<void>[] = [];
  readonly #ticker: Disposable;
  readonly #onClose: Disposable;
  #audited = 0;
  #expireAtMs = 0;
  #closing: Promise<void> | undefined;
  readonly #ended = Promise.withResolvers<void>();

  /** Made by `runPolicy`. */
  constructor(dp: Datapath, policy: Policy, options: PolicyOptions) {
    const settings = settingsOf(dp, options);
    // A handler that another run has is refused here, before anything else is begun.
    const batches = dp.upcallBatches({ signal: this.#abort.signal, batch: 256 });
    portsOf(dp).update(numbersOf(dp));
    const core = this.#core = new Core(dp, policy, settings, portsOf(dp));
    this.#endings = new Endings(core);
    this.#revalidator = new Revalidator(core);
    this.#walker = new Walker(core, (flow) => void adopt(core, this.#revalidator, flow));
    this.#setUp = new SetUp(
      core,
      (fresh) => this.#revalidator.settle(fresh),
      () => this.#walker.evict(this.#setUp.limit),
    );
    try {
      if (options.existing === "adopt") this.#adoptAll();
      else dp.flows.flush();
    } catch (error) {
      core.end();
      this.#endings.end();
      this.#abort.abort();
      throw error;
    }
    settings.recorder?.start();
    settings.recorder?.ports(numbersOf(dp), Date.now());
    this.#tasks.push(this.#serve(batches), this.#watchPorts());
    this.#ticker = every(TICK_MS, () => this.#tick());
    runs.set(dp, this);
    this.#onClose = dp.onClose(this);
    const { signal } = options;
    const ended = this.#abort.signal;
    signal?.addEventListener("abort", () => void this.close(), { signal: ended });
  }

  #adoptAll(): void {
    const core = this.#core;
    for (const flow of [...core.dp.flows.dump()]) adopt(core, this.#revalidator, flow);
  }

  async #serve(batches: ReturnType<Datapath["upcallBatches"]>): Promise<void> {
    try {
      for await (const batch of batches) this.#setUp.batch(batch);
    } catch (error) {
      if (!this.#abort.signal.aborted && !this.#core.dp.closed) this.#failed(error);
    }
  }

  async #watchPorts(): Promise<void> {
    const core = this.#core;
    const { dp, settings } = core;
    try {
      for await (const _ of dp.ports.changes({ signal: this.#abort.signal })) {
        if (dp.closed) return;
        const ports = numbersOf(dp);
        settings.recorder?.ports(ports, Date.now());
        portsOf(dp).update(ports);
      }
    } catch (error) {
      if (!this.#abort.signal.aborted && !dp.closed) this.#failed(error);
    }
  }

  /** The datapath failed under the policy: nothing more comes up. */
  #failed(cause: unknown): void {
    const message = cause instanceof Error ? cause.message : String(cause);
    this.#core.report("refused", `the datapath failed: ${message}`, { cause });
    void this.close();
  }

  #tick(): Promise<void> | undefined {
    const core = this.#core;
    if (core.dp.closed) return;
    const nowMs = clockMs();
    if (nowMs >= this.#expireAtMs) {
      this.#expireAtMs = nowMs + 1000;
      for (const table of core.tables) {
        const next = table.expire?.(nowMs) ?? Infinity;
        this.#expireAtMs = Math.min(this.#expireAtMs, Math.max(next, nowMs + TICK_MS));
      }
      core.continuations.sweep(nowMs);
    }
    this.#endings.look(); // The clock may have been put forward.
    this.#setUp.limit = Math.min(core.settings.maxFlows, this.#walker.allowed);
    if (core.ledger.size > this.#setUp.limit) this.#walker.evict(this.#setUp.limit);
    const everyMs = core.settings.idleMs / 4;
    const walk = nowMs - this.#walker.triedMs >= everyMs ? this.#walk() : undefined;
    this.#audit(core.settings.auditsPerSecond * TICK_MS / 1000);
    return walk;
  }

  async #walk(): Promise<void> {
    try {
      await this.#walker.walk();
    } catch (error) {
      if (!this.#core.dp.closed) this.#failed(error);
    }
  }

  /**
   * Runs some flows again although nothing changed: another verdict is a dependency that nobody
   * tracks.
   */
  #audit(share: number): void {
    const core = this.#core;
    this.#audited += share;
    for (let tries = 0; this.#audited >= 1 && tries < 8; tries++) {
      const nowMs = clockMs();
      const flow = core.ledger.at(1 + Math.floor(Math.random() * (core.ledger.end - 1)));
      if (flow === undefined || !flow.installed || flow.dirty) continue;
      if (flow.deadline <= nowMs) continue; // It is about to run again.
      this.#audited--;
      const said = flow.actions;
      const ran = core.runFlow(flow, nowMs, undefined);
      core.runner.tracker.dropDependencies();
      if (ran === undefined || sameActions(ran.actions, said)) continue;
      core.report("untracked", "a verdict changed though nothing that was read did", {
        key: flow.key,
      });
      core.markDirty(flow);
      core.onDirty();
    }
    this.#audited = Math.min(this.#audited, 8);
  }

  /** Counters of now: walks over the flows first, so that credits have all that they counted. */
  async statistics(): Promise<PolicyStats> {
    await this.settled();
    // One that is under way may have passed a flow already.
    await this.#walker.idle();
    await this.#walk();
    return this.stats;
  }

  /** Counters as they are. */
  get stats(): PolicyStats {
    const { counters, ledger, continuations } = this.#core;
    return {
      ...counters,
      gone: { ...counters.gone },
      withoutFlow: { ...counters.withoutFlow },
      drops: { ...counters.drops },
      failures: { ...counters.failures },
      flows: ledger.size,
      limit: this.#setUp.limit,
      masks: ledger.masks.size,
      stages: continuations.size,
    };
  }

  /** What keeps its record, if it was given something. */
  get record(): Recorder | undefined {
    return this.#core.settings.recorder;
  }

  /** The tables that packets have taught so far. */
  tables(): Learner[] {
    return [...this.#core.tables];
  }

  /** The flows. */
  *flows(): IterableIterator<PolicyFlow> {
    for (const flow of [...this.#core.ledger.all()]) {
      if (!flow.gone) yield this.#describe(flow);
    }
  }

  #describe(flow: FlowRecord): PolicyFlow {
    const { ledger } = this.#core;
    const { key } = flow;
    return {
      ufid: flow.ufid,
      key: keyView(key),
      mask: decodeMask(flow.mask.bytes, key),
      actions: decodeActions(flow.actions.bytes),
      reason: flow.decision.reason,
      stage: flow.at?.stage.name,
      packets: flow.packets,
      bytes: flow.bytes,
      usedMs: flow.usedMs,
      coarse: flow.mask.step,
      dependencies: ledger.edges.describe(flow),
      effects: flow.effects.map(textOfEffect),
    };
  }

  /**
   * Runs another policy from now on: flows that it says the same of stay as they are. See
   * {@linkcode FlowDiff}.
   */
  async replace(
    policy: Policy,
    options: { readonly dryRun?: boolean } = {},
  ): Promise<FlowDiff> {
    await this.settled();
    return diffOf(this.#core, policy, options.dryRun ?? false);
  }

  /** Runs flows again, all or some. */
  async revalidate(which?: (flow: PolicyFlow) => boolean): Promise<FlowDiff> {
    await this.settled();
    const core = this.#core;
    const chosen = which && ((flow: FlowRecord) => which(this.#describe(flow)));
    return diffOf(core, core.policy, false, chosen);
  }

  /**
   * Why a packet gets its verdict: a key in any form, a frame with its port, or the name of a flow.
   */
  explain(
    what: KeyInput | Ufid | { readonly frame: Uint8Array; readonly inPort: PortNo },
  ): Explanation {
    const core = this.#core;
    if (typeof what === "object" && "frame" in what) {
      const { frame, inPort } = what;
      return explainKey(core, encodeKey(extractKey(frame, { inPort })));
    }
    const flow = typeof what === "string" ? core.ledger.byUfid(what) : undefined;
    return explainKey(core, flow?.key ?? toKeyBytes(what));
  }

  /**
   * Does actions on a packet, whose key is attribute bytes: recirculations into stages of the
   * policy go on there. Throws what the datapath throws, and what encoding does.
   */
  execute(packet: Uint8Array, key: Uint8Array, actions: readonly Action[]): void {
    const { dp, runner } = this.#core;
    dp.execute({ packet, key, actions: runner.actions.of(actions).bytes });
  }

  /** Actions as the datapath has them: recirculations into stages of the policy by their ids. */
  resolved(actions: readonly Action[]): Action[] {
    return decodeActions(this.#core.runner.actions.of(actions).bytes);
  }

  /** What goes with packets of a recirculation id; undefined for an id that is no stage's. */
  carriedTo(id: RecircId): Carry {
    return this.#core.continuations.get(id)?.carry;
  }

  /** Resolves when every flow is true: nothing waits to be run again. */
  settled(): Promise<void> {
    return this.#revalidator.settled();
  }

  /** Resolves when the policy has ended, for whatever reason. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Ends the policy; flows stay and forward on. Idempotent. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#ticker[Symbol.dispose]();
    this.#endings.end();
    if (runs.get(this.#core.dp) === this) runs.delete(this.#core.dp);
    this.#abort.abort();
    this.#core.end();
    this.#core.settings.recorder?.stop();
    this.#onClose[Symbol.dispose]();
    // What is waited for keeps no program from its end: this does.
    const alive = setInterval(() => {}, 1000);
    await Promise.allSettled(this.#tasks);
    clearInterval(alive);
    for (const flow of [...this.#core.ledger.all()]) {
      this.#core.ledger.remove(flow, clockMs());
    }
    this.#ended.resolve();
  }

  /** Ends the policy. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
