// SPDX-License-Identifier: Apache-2.0
/**
 * What comes up: each packet gets its verdict, and mostly a flow.
 *
 * A batch is decided packet by packet in the order of arrival; what one teaches is known to the
 * next. Flows whose ground changed meanwhile run again before the batch's flows are put.
 *
 * @module
 */
import { clockMs } from "../clock.ts";
import { textOfThrown } from "../copy.ts";
import type { Ufid } from "../../providers/ids.ts";
import { codeOf, type Result } from "../../providers/operations.ts";
import type { Upcall } from "../../providers/upcall.ts";
import { Admission, portShare } from "./admission.ts";
import { type Core, count, countNamed } from "./core.ts";
import { type Handed, handedBy } from "../decision.ts";
import { hasCredit } from "../packet/effect.ts";
import type { FlowRecord } from "./flow_record.ts";
import type { Mask } from "./mask_table.ts";
import { OpList, putOf } from "./op_list.ts";
import type { Ran } from "../runner.ts";
import { placeOf, words } from "../packet/leaf.ts";
import type { Tracker } from "../packet/tracker.ts";
import { changesSoFar } from "../state/dependency.ts";

/** A flow so young may have come while packets that it covers waited for their turn, ms. */
const YOUNG_MS = 1000;
/** Reasons for which packets are handed to the program; those of others are not. */
const MAX_REASONS = 1024;
/** Flows that cover one packet, and are all taken away for its own. */
const MOST_IN_THE_WAY = 16;

/** A packet, and what is to be done with it. */
class Pending {
  constructor(
    readonly upcall: Upcall,
    readonly key: Uint8Array,
    readonly actions: Uint8Array,
    /** Its flow, if it gets one. */
    readonly flow: FlowRecord | undefined,
    /** Whether the flow is not in the datapath yet. */
    readonly isFirst: boolean,
  ) {}

  /** Appends what is to be done; false if there is nothing. */
  writeTo(ops: OpList): boolean {
    const { upcall, key, actions, flow, isFirst } = this;
    const isWhole = upcall.originalLength === undefined;
    if (!isFirst || flow === undefined || flow.gone) {
      if (actions.length === 0 || !isWhole) return false;
      ops.execute(upcall, key, actions);
      return true;
    }
    // A packet that was cut is not sent on: the next of its flow will be whole.
    ops.put(flow, key, isWhole && flow.actions.bytes.length > 0 ? upcall : undefined);
    return true;
  }
}

const NOTHING = new Uint8Array();
const tcpFlags = placeOf("tcpFlags");
const flags = words();

/** The flags of TCP of a tracker's packet, 0 if it has none. Nothing is masked for it. */
function tcpFlagsOf(tracker: Tracker): number {
  return (tracker.valueOf(tcpFlags, flags)[0] as number) >>> 32 - tcpFlags.width;
}

/** Decides on upcalls. */
export class SetUp {
  readonly #core: Core;
  readonly #admission = new Admission();
  readonly #ops = new OpList();
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>();
  /** Runs again what waits, and must before flows are put. */
  readonly #settle: (pending: ReadonlySet<FlowRecord>) => void;
  /** Makes room for flows. */
  readonly #makeRoom: () => void;
  /** Flows that there may be. */
  limit: number;

  /** `settle` runs flows again that wait; `makeRoom` evicts. */
  constructor(
    core: Core,
    settle: (pending: ReadonlySet<FlowRecord>) => void,
    makeRoom: () => void,
  ) {
    this.#core = core;
    this.#settle = settle;
    this.#makeRoom = makeRoom;
    this.limit = core.settings.maxFlows;
  }

  /** Handles a batch. */
  batch(upcalls: readonly Upcall[]): void {
    const core = this.#core;
    const nowMs = clockMs();
    const pending: Pending[] = [];
    const share = portShare(upcalls);
    for (let i = 0; i < upcalls.length; i++) {
      const upcall = upcalls[i] as Upcall;
      core.counters.upcalls++;
      const one = this.#one(upcall, nowMs, share?.(upcall.inPort) ?? true);
      if (one === undefined) continue;
      pending.push(one);
    }
    if (core.waiting > 0) this.#settle(firstOf(pending));
    this.#put(pending, nowMs);
  }

  /** Decides one upcall. Nothing that it does may end the others. */
  #one(upcall: Upcall, nowMs: number, hasShare: boolean): Pending | undefined {
    try {
      return upcall.kind === "action"
        ? this.#handed(upcall, nowMs)
        : this.#miss(upcall, nowMs, hasShare);
    } catch (cause) {
      const core = this.#core;
      core.runner.tracker.dropDependencies();
      count(core.counters.failures, "upcall_failed");
      core.report("threw", `an upcall could not be decided: ${textOfThrown(cause)}`, {
        key: upcall.raw.key,
        cause,
      });
      return undefined;
    }
  }

  /** A packet that no flow fits. */
  #miss(upcall: Upcall, nowMs: number, hasShare: boolean): Pending | undefined {
    const core = this.#core;
    const { key } = upcall.raw;
    const at = core.stageOf(key);
    if (at === null) {
      count(core.counters.failures, "unknown_stage");
      return undefined;
    }
    const { ledger, settings } = core;
    const { tracker } = core.runner;
    const ran = core.run(key, nowMs, at);
    if (ran === undefined) {
      tracker.dropDependencies();
      return undefined;
    }
    const { decision } = ran;
    if (decision.actions.length === 0) {
      countNamed(core.counters.drops, decision.reason ?? "no reason");
    }
    const read = settings.recorder === undefined ? NOTHING : core.runner.mask.slice();
    const { mask, step } = ledger.chooser.choose(settings.maxMasks, tracker);
    const { effects, keyWords, layout } = tracker;
    if (hasCredit(effects)) {
      const bytes = BigInt(upcall.originalLength ?? upcall.packet.length);
      core.credit(effects, 1n, bytes, nowMs, tcpFlagsOf(tracker));
    }
    const hash = ledger.hashOf(keyWords, layout, mask);
    const known = ledger.find(keyWords, layout, mask, hash);
    const why = known === undefined
      ? ran.uncacheable ?? this.#whyNot(mask, hash, nowMs, hasShare)
      : undefined;
    settings.recorder?.upcall(upcall, ran, why, read, nowMs);
    if (known !== undefined) {
      core.counters.repeated++;
      tracker.dropDependencies();
      core.learn(effects, nowMs);
      return this.#execute(upcall, ran, known);
    }
    if (why !== undefined) {
      countNamed(core.counters.withoutFlow, why);
      tracker.dropDependencies();
      core.learn(effects, nowMs);
      return this.#execute(upcall, ran, undefined);
    }
    const { actions } = ran;
    const parts = { keyWords, layout, mask, hash, actions, decision, at, effects };
    const flow = ledger.add({ ...parts, nowMs, step });
    core.setDeadline(flow, tracker.deadline);
    ledger.edges.depend(flow, tracker.dependencyIds, tracker.dependencyCount);
    flow.changes = changesSoFar();
    // Only now: a flow that makes room may be the last that rests on what this one rests on.
    if (ledger.size > this.limit && !this.#hasRoom(flow, nowMs)) {
      core.learn(effects, nowMs);
      return this.#execute(upcall, ran, undefined);
    }
    const pending = new Pending(upcall, core.runner.key, actions.bytes, flow, true);
    core.learn(effects, nowMs);
    return pending;
  }

  /** Why a packet gets no flow though its policy allows one. */
  #whyNot(
    mask: Mask,
    hash: number,
    nowMs: number,
    hasShare: boolean,
  ): string | undefined {
    const { ledger, settings } = this.#core;
    if (!hasShare) return "port_share";
    if (mask.users === 0 && ledger.masks.size >= settings.maxMasks) return "mask_budget";
    if (ledger.size < 0.9 * this.limit) return undefined;
    return this.#admission.admits(hash, nowMs) ? undefined : "admission";
  }

  /** Evicts for a new flow; gives that up where nothing can be evicted. */
  #hasRoom(flow: FlowRecord, nowMs: number): boolean {
    const { ledger, counters } = this.#core;
    try {
      this.#makeRoom();
    } catch (error) {
      // One that is in the ledger alone would keep its packets from ever getting a flow.
      ledger.remove(flow, nowMs);
      throw error;
    }
    if (ledger.size <= this.limit) return true;
    ledger.remove(flow, nowMs);
    countNamed(counters.withoutFlow, "limit");
    return false;
  }

  #execute(upcall: Upcall, ran: Ran, flow: FlowRecord | undefined): Pending | undefined {
    const { actions } = ran;
    if (flow === undefined) this.#core.counters.executed++;
    if (ran.decision.edit !== undefined) return this.#edited(upcall, ran);
    if (actions.bytes.length === 0 || upcall.originalLength !== undefined) {
      return undefined;
    }
    return new Pending(upcall, this.#core.runner.key, actions.bytes, flow, false);
  }

  /** A packet of a flow that hands packets up. */
  #handed(upcall: Upcall, nowMs: number): Pending | undefined {
    const core = this.#core;
    const handed = handedBy(upcall.userdata);
    if (handed === undefined) {
      count(core.counters.failures, "unknown_userdata");
      return undefined;
    }
    if (handed.kind === "toProgram") {
      const { reason, userdata } = handed;
      if (!this.#takesToken(handed, nowMs)) {
        countNamed(core.counters.failures, `to_program_rate`);
        return undefined;
      }
      const { packet, raw: { key } } = upcall;
      try {
        core.settings.onPacket?.({ reason, packet, key, userdata });
      } catch (cause) {
        core.report("threw", "onPacket threw", { key, cause });
      }
      return undefined;
    }
    const at = core.stageOf(upcall.raw.key);
    if (at === null) return undefined;
    const ran = core.run(upcall.raw.key, nowMs, at);
    core.runner.tracker.dropDependencies();
    if (ran === undefined) return undefined;
    if (ran.decision.edit === undefined) return this.#execute(upcall, ran, undefined);
    return this.#edited(upcall, ran);
  }

  /** Has the policy change the bytes, and executes what comes of it. */
  #edited(upcall: Upcall, ran: Ran): undefined {
    const core = this.#core;
    if (upcall.originalLength !== undefined) {
      count(core.counters.failures, "truncated");
      return undefined;
    }
    const { key } = core.runner;
    try {
      const edited = core.runner.edit(ran.decision, upcall.packet.slice(), key);
      if (edited === undefined) return undefined;
      const { packet, actions: { bytes } } = edited;
      if (bytes.length > 0) core.dp.execute({ packet, key, actions: bytes });
    } catch (cause) {
      count(core.counters.failures, "edit_failed");
      core.report("threw", "slowly: the edit or what follows it failed", {
        key,
        cause,
      });
    }
    return undefined;
  }

  #takesToken(
    { reason, perSecond, burst }: Handed & { readonly kind: "toProgram" },
    nowMs: number,
  ): boolean {
    let bucket = this.#buckets.get(reason);
    if (bucket === undefined) {
      if (this.#buckets.size >= MAX_REASONS) return false;
      this.#buckets.set(reason, bucket = { tokens: burst, atMs: nowMs });
    }
    const gained = perSecond * Math.max(0, nowMs - bucket.atMs) / 1000;
    bucket.tokens = Math.min(Math.max(1, burst), bucket.tokens + gained);
    bucket.atMs = nowMs;
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  /** Puts flows and executes packets. */
  #put(pending: readonly Pending[], nowMs: number): void {
    const core = this.#core;
    if (core.dp.closed) return;
    const of: Pending[] = [];
    this.#ops.clear();
    for (const one of pending) if (one.writeTo(this.#ops)) of.push(one);
    if (of.length === 0) return;
    const results = core.dp.operate(this.#ops.all());
    for (let i = 0; i < of.length; i++) {
      const { flow, isFirst, key } = of[i] as Pending;
      const result = results[i];
      if (result?.ok === true) {
        if (isFirst && flow !== undefined && !flow.gone) {
          flow.installed = true;
          core.counters.setUps++;
          core.settings.onFlow?.(flow, true);
        }
        continue;
      }
      if (!isFirst || flow === undefined || flow.gone) {
        count(core.counters.failures, "execute_failed");
        continue;
      }
      this.#refused(flow, key, result, nowMs);
    }
  }

  /**
   * The datapath did not take a flow. One that is there already is made ours, others are given up.
   */
  #refused(
    flow: FlowRecord,
    key: Uint8Array,
    refusal: Result | undefined,
    nowMs: number,
  ): void {
    const core = this.#core;
    let code = codeOf(refusal);
    for (let i = 0; code === "EEXIST" && i < MOST_IN_THE_WAY; i++) {
      const ufid = thereBy(refusal) ?? this.#flowOf(key);
      const ours = ufid === undefined ? undefined : core.ledger.byUfid(ufid);
      if (ours === undefined || ours === flow) {
        // Another program's, or one that we lost: the next walk would find it, whatever its name.
        core.dp.operate([{ op: "delete", key }]);
      } else if (!ours.dirty && nowMs - ours.createdMs < YOUNG_MS) {
        // It came while this packet waited, and what covers a packet has its verdict.
        core.counters.repeated++;
        core.ledger.remove(flow, nowMs);
        return;
      } else core.deleteFlows([ours], "changed", nowMs);
      [refusal] = core.dp.operate([putOf(flow)]);
      if (refusal?.ok === true) {
        flow.installed = true;
        core.counters.setUps++;
        count(core.counters.failures, "replaced");
        return;
      }
      code = codeOf(refusal);
    }
    count(core.counters.failures, "put_failed");
    const error = refusal?.ok === false ? refusal.error : undefined;
    core.report("refused", `the datapath refused a flow: ${error?.code}`, {
      key,
      cause: error,
    });
    core.gone(flow, undefined, "refused", nowMs);
  }

  /** The name of the flow that a packet with this key hits. */
  #flowOf(key: Uint8Array): Ufid | undefined {
    const [there] = this.#core.dp.operate([{ op: "get", key }]);
    return there?.ok === true ? there.flow?.ufid : undefined;
  }
}

/** The flow that a put met, where the datapath said it. */
function thereBy(result: Result | undefined): Ufid | undefined {
  return result?.ok === false ? result.there : undefined;
}

/** Flows that the datapath does not have yet. */
function firstOf(pending: readonly Pending[]): Set<FlowRecord> {
  const found = new Set<FlowRecord>();
  for (const { flow, isFirst } of pending) {
    if (isFirst && flow !== undefined) found.add(flow);
  }
  return found;
}
