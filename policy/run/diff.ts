// SPDX-License-Identifier: Apache-2.0
/**
 * What another policy, or another look, changes: every flow is run, and what comes of it is told or
 * done.
 *
 * @module
 */
import { clockMs } from "../clock.ts";
import type { Ufid } from "../../providers/ids.ts";
import { formatActions, formatKey } from "../../providers/odp/text/text.ts";
import { type Core, count } from "./core.ts";
import type { Policy } from "../decision.ts";
import type { FlowRecord } from "./flow_record.ts";
import { sameActions } from "../verdicts.ts";

/** A flow that a policy changes. */
export interface FlowChange {
  /** Its name. */
  readonly ufid: Ufid;
  /** Key and mask, in text of ovs-dpctl(8). */
  readonly flow: string;
  /** Actions until now. */
  readonly from: string;
  /** Actions from now on; undefined for a flow that goes. */
  readonly to: string | undefined;
  /** Packets that it counted, as of the last walk. */
  readonly packets: bigint;
  /** Packets a second over its life. */
  readonly packetsPerSecond: number;
}

/** What became of all flows. */
export interface FlowDiff {
  /** Flows that stay as they are. */
  readonly kept: number;
  /** Flows with other actions. */
  readonly modified: readonly FlowChange[];
  /** Flows that the policy reads more of than their mask has: their packets come up again. */
  readonly unprovable: readonly FlowChange[];
  /** Flows that the policy threw on. */
  readonly threw: readonly FlowChange[];
}

/** A policy that throws on more than this part of the flows is refused. */
const MAX_THROWS = 0.01;

function changeOf(
  flow: FlowRecord,
  to: Uint8Array | undefined,
  nowMs: number,
): FlowChange {
  const seconds = Math.max(0.001, (nowMs - flow.createdMs) / 1000);
  return {
    ufid: flow.ufid,
    flow: formatKey({ key: flow.key, mask: flow.mask.bytes }),
    from: formatActions(flow.actions.bytes),
    to: to && formatActions(to),
    packets: flow.packets,
    packetsPerSecond: Number(flow.packets) / seconds,
  };
}

/**
 * Runs `policy` on every flow, or those that `which` says true to. With `dryRun` nothing is
 * changed. Throws `TypeError` if the policy throws on more than 1 % of the flows, and changes
 * nothing then.
 */
export function diffOf(
  core: Core,
  policy: Policy,
  dryRun: boolean,
  which: (flow: FlowRecord) => boolean = () => true,
): FlowDiff {
  const before = core.policy;
  const flows = [...core.ledger.all()].filter((flow) => flow.installed && which(flow));
  const look = new Look(core);
  // First without consequences: a policy that is refused must not have changed anything.
  const isOther = policy !== before;
  core.policy = policy;
  if (isOther) {
    core.runner.actions.forgetLists();
    core.continuations.beginOther();
  }
  let isTaken = false;
  try {
    look.all(flows, isOther);
    isTaken = !dryRun && look.threw.length <= MAX_THROWS * flows.length;
  } finally {
    if (isOther) {
      core.continuations.endOther(isTaken);
      core.runner.actions.forgetLists();
    }
    if (!isTaken) core.policy = before;
  }
  const { kept, modified, unprovable, threw } = look;
  if (threw.length > MAX_THROWS * flows.length) {
    count(core.counters.failures, "replace_refused");
    throw new TypeError(
      `the policy throws on ${threw.length} of ${flows.length} flows: it was not taken`,
    );
  }
  if (isTaken) {
    core.deleteFlows(look.left, "changed", clockMs());
    for (const flow of flows) core.markDirty(flow);
    core.onDirty();
  }
  return { kept, modified, unprovable, threw };
}

/** Looks at what a policy says of flows. */
class Look {
  kept = 0;
  readonly modified: FlowChange[] = [];
  readonly unprovable: FlowChange[] = [];
  readonly threw: FlowChange[] = [];
  /** Flows of stages that the policy does not have. */
  left: FlowRecord[] = [];
  readonly #core: Core;
  readonly #nowMs = clockMs();

  constructor(core: Core) {
    this.#core = core;
  }

  /** Flows of stages come after those that lead to them: only then are the stages known. */
  all(flows: readonly FlowRecord[], isOther: boolean): void {
    let left = flows.filter((flow) => flow.at !== undefined);
    for (const flow of flows) if (flow.at === undefined) this.#one(flow, undefined);
    for (let before = -1; left.length > 0 && before !== left.length;) {
      before = left.length;
      left = left.filter((flow) => {
        const at = isOther && flow.at
          ? this.#core.continuations.inOther(flow.at)
          : flow.at;
        if (at !== undefined) this.#one(flow, at);
        return at === undefined;
      });
    }
    this.left = left;
    for (const flow of left) {
      this.unprovable.push(changeOf(flow, undefined, this.#nowMs));
    }
  }

  #one(flow: FlowRecord, at: FlowRecord["at"]): void {
    const { runner } = this.#core;
    const ran = this.#core.runFlow(flow, this.#nowMs, flow.mask, at);
    const change = (to?: Uint8Array) => changeOf(flow, to, this.#nowMs);
    if (ran === undefined) this.threw.push(change());
    else if (ran.uncacheable !== undefined || runner.tracker.grew) {
      this.unprovable.push(change());
    } else if (sameActions(ran.actions, flow.actions)) this.kept++;
    else this.modified.push(change(ran.actions.bytes));
    runner.tracker.dropDependencies();
  }
}
