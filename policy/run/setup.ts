// SPDX-License-Identifier: Apache-2.0
/**
 * What comes up: each packet gets its verdict, and mostly a flow.
 *
 * A batch is decided packet by packet in the order of arrival; what one teaches is known to the
 * next. Flows whose ground changed meanwhile run again before the batch's flows are put.
 *
 * @module
 */
import type { Op } from "../../providers/operations.ts";
import type { Upcall } from "../../providers/upcall.ts";
import { Admission, portShare } from "./admission.ts";
import { type Core, count, countNamed } from "./core.ts";
import { handedBy, rateOf } from "../decision.ts";
import type { FlowRecord } from "./ledger.ts";
import type { Ran } from "../runner.ts";
import type { Effect } from "../packet/effect.ts";

/** A packet, and what is to be done with it. */
interface Pending {
  readonly upcall: Upcall;
  readonly key: Uint8Array;
  readonly actions: Uint8Array;
  /** Its flow, if it gets one; `isFirst` if the flow is not in the datapath yet. */
  readonly flow: FlowRecord | undefined;
  readonly isFirst: boolean;
}

/** Decides on upcalls. */
export class SetUp {
  readonly #core: Core;
  readonly #admission = new Admission();
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
    const nowMs = Date.now();
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
      count(core.counters.failures, "upcall_failed");
      core.report("threw", `an upcall could not be decided: ${cause}`, {
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
    const { tracker } = core.runner;
    const { ledger, settings } = core;
    tracker.step = stepFor(ledger.masks.size, settings.maxMasks);
    const ran = core.run(key, nowMs, at);
    tracker.step = stepFor(0, settings.maxMasks);
    if (ran === undefined) {
      tracker.dropDependencies();
      return undefined;
    }
    const { decision } = ran;
    if (decision.actions.length === 0) {
      countNamed(core.counters.drops, decision.reason ?? "no reason");
    }
    const mask = core.runner.mask;
    settings.recorder?.upcall(upcall, ran, mask, nowMs);
    const effects: readonly Effect[] = tracker.effects.length === 0
      ? NONE
      : [...tracker.effects];
    const { dependencies } = tracker;
    if (effects.length > 0) {
      const bytes = BigInt(upcall.originalLength ?? upcall.packet.length);
      core.credit(effects, 1n, bytes, nowMs);
    }
    const known = ledger.find(ran.key, mask, tracker.layout.isAligned);
    if (known !== undefined && !known.gone) {
      core.counters.repeated++;
      tracker.dropDependencies();
      core.learn(effects, nowMs);
      return this.#execute(upcall, ran, known);
    }
    const why = ran.uncacheable ?? this.#whyNot(mask, nowMs, hasShare);
    if (why !== undefined) {
      countNamed(core.counters.withoutFlow, why);
      tracker.dropDependencies();
      core.learn(effects, nowMs);
      return this.#execute(upcall, ran, undefined);
    }
    const flow = ledger.add({
      key: ran.key,
      aligned: tracker.layout.isAligned,
      mask,
      actions: ran.actions,
      decision,
      at,
      nowMs,
      step: stepFor(ledger.masks.size, settings.maxMasks),
    });
    flow.effects = effects;
    core.setDeadline(flow, tracker.deadline);
    ledger.depend(flow, dependencies);
    // Only now: a flow that makes room may be the last that rests on what this one rests on.
    if (ledger.size > this.limit && !this.#hasRoom(flow, nowMs)) {
      core.learn(effects, nowMs);
      return this.#execute(upcall, ran, undefined);
    }
    core.learn(effects, nowMs);
    return { upcall, key: flow.key, actions: ran.actions.bytes, flow, isFirst: true };
  }

  /** Why a packet gets no flow though its policy allows one. */
  #whyNot(mask: Uint8Array, nowMs: number, hasShare: boolean): string | undefined {
    const { ledger, settings } = this.#core;
    if (!hasShare) return "port_share";
    const { masks } = ledger;
    if (masks.size >= settings.maxMasks && masks.find(mask) === undefined) {
      return "mask_budget";
    }
    if (ledger.size >= 0.9 * this.limit) {
      const { key } = this.#core.runner.tracker;
      const { isAligned } = this.#core.runner.tracker.layout;
      if (!this.#admission.admits(key, mask, isAligned, nowMs)) return "admission";
    }
    return undefined;
  }

  /** Evicts for a new flow; gives that up where nothing can be evicted. */
  #hasRoom(flow: FlowRecord, nowMs: number): boolean {
    const { ledger, counters } = this.#core;
    this.#makeRoom();
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
    return { upcall, key: ran.key, actions: actions.bytes, flow, isFirst: false };
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
      if (!this.#takesToken(reason, nowMs)) {
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
    try {
      const packet = core.runner.edit(ran.decision, upcall.packet.slice(), ran.key);
      if (packet === undefined) return undefined;
      const { bytes } = core.runner.actions.of(ran.decision.actions);
      if (bytes.length > 0) core.dp.execute({ packet, key: ran.key, actions: bytes });
    } catch (cause) {
      count(core.counters.failures, "edit_failed");
      core.report("threw", "slowly: the edit or what follows it failed", {
        key: ran.key,
        cause,
      });
    }
    return undefined;
  }

  #takesToken(reason: string, nowMs: number): boolean {
    const { perSecond, burst = perSecond } = rateOf(reason);
    if (perSecond === 0) return false; // A reason that no policy of this program has given.
    let bucket = this.#buckets.get(reason);
    if (bucket === undefined) {
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
    const ops: Op[] = [];
    const of: Pending[] = [];
    for (const one of pending) {
      const op = operation(one);
      if (op === undefined) continue;
      ops.push(op);
      of.push(one);
    }
    if (ops.length === 0) return;
    const results = core.dp.operate(ops);
    for (let i = 0; i < ops.length; i++) {
      const { flow, isFirst, key } = of[i] as Pending;
      const result = results[i];
      if (result?.ok === true) {
        if (isFirst && flow !== undefined && !flow.gone) {
          flow.installed = true;
          core.counters.setUps++;
        }
        continue;
      }
      if (!isFirst || flow === undefined || flow.gone) {
        count(core.counters.failures, "execute_failed");
        continue;
      }
      this.#refused(flow, key, result?.error, nowMs);
    }
  }

  /**
   * The datapath did not take a flow. One that is there already is made ours, others are given up.
   */
  #refused(
    flow: FlowRecord,
    key: Uint8Array,
    error: { readonly code: string; readonly message: string } | undefined,
    nowMs: number,
  ): void {
    const core = this.#core;
    if (error?.code === "EEXIST") {
      // Ours, of a packet whose key has other attributes and under whose mask both are one, or
      // another program's, or one that we lost: the next walk would find it, whatever its name.
      const [there] = core.dp.operate([{ op: "get", key }]);
      const ufid = there?.ok === true ? there.flow?.ufid : undefined;
      const ours = ufid === undefined ? undefined : core.ledger.byUfid(ufid);
      if (ours !== undefined && ours !== flow) core.deleteFlows([ours], "changed", nowMs);
      else core.dp.operate([{ op: "delete", key }]);
      const [result] = core.dp.operate([putOf(flow)]);
      if (result?.ok === true) {
        flow.installed = true;
        core.counters.setUps++;
        count(core.counters.failures, "replaced");
        return;
      }
    }
    count(core.counters.failures, "put_failed");
    core.report("refused", `the datapath refused a flow: ${error?.code}`, {
      key,
      cause: error,
    });
    core.gone(flow, undefined, "refused", nowMs);
  }
}

const NONE: readonly Effect[] = [];

/** Flows that the datapath does not have yet. */
function firstOf(pending: readonly Pending[]): Set<FlowRecord> {
  const found = new Set<FlowRecord>();
  for (const { flow, isFirst } of pending) {
    if (isFirst && flow !== undefined) found.add(flow);
  }
  return found;
}

/** The operation that puts a flow. */
export function putOf(flow: FlowRecord): Op & { readonly op: "put" } {
  return {
    op: "put",
    ufid: flow.ufid,
    key: flow.key,
    mask: flow.mask.bytes,
    actions: flow.actions.bytes,
  };
}

function operation({ upcall, key, actions, flow, isFirst }: Pending): Op | undefined {
  const { packet, originalLength } = upcall;
  if (!isFirst || flow === undefined || flow.gone) {
    if (actions.length === 0 || originalLength !== undefined) return undefined;
    return withOrigin({ op: "execute", packet, key, actions }, upcall);
  }
  // A packet that was cut is not sent on: the next of its flow will be whole.
  if (originalLength !== undefined || flow.actions.bytes.length === 0) return putOf(flow);
  return withOrigin({
    op: "put",
    ufid: flow.ufid,
    key: flow.key,
    mask: flow.mask.bytes,
    actions: flow.actions.bytes,
    packet,
  }, upcall);
}

/** An operation on a packet with what its upcall said beside. */
function withOrigin(op: Op & { readonly op: "put" | "execute" }, upcall: Upcall): Op {
  const { mru, hash } = upcall;
  if (mru === undefined && hash === undefined) return op;
  return {
    ...op,
    ...(mru !== undefined && { mru }),
    ...(hash !== undefined && { hash }),
  };
}

/** How prefixes are rounded: the more of the budget is used, the more coarsely. */
export function stepFor(masks: number, budget: number): number {
  return masks < budget / 2 ? 1 : masks < budget ? 2 : 4;
}
