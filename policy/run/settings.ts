// SPDX-License-Identifier: Apache-2.0
/**
 * Settings of a policy, with what they are where nothing is said.
 *
 * @module
 */
import type { Datapath } from "../../providers/datapath.ts";
import type { HandedPacket, PutFlow, Settings } from "./core.ts";
import type { PolicyError } from "./errors.ts";
import type { Recorder } from "./recorder.ts";

/** How a policy runs. */
export interface PolicyOptions {
  /** Ends the run. */
  readonly signal?: AbortSignal;
  /** Flows without packets for so long go, ms; 10,000 if absent. */
  readonly idleMs?: number;
  /** Bounds of the table. */
  readonly flows?: {
    /** Most flows; 200,000 if absent. */
    readonly max?: number;
    /**
     * Share of a core that statistics may take; 0.1 if absent. So far the table grows; flows that
     * are there go where it takes three times that.
     */
    readonly cpu?: number;
  };
  /** Masks that the datapath is to have at most; 64 for `system`, 256 for others if absent. */
  readonly masks?: number;
  /** Flows that run again although nothing changed, to find what is not tracked. */
  readonly audit?: {
    /** So many a second; 10 if absent, 0 for none. */
    readonly perSecond?: number;
  };
  /**
   * What becomes of flows that are there at the start: `flush` (if absent) deletes them, `adopt`
   * makes those that are true the policy's own, so that no packet is lost.
   */
  readonly existing?: "adopt" | "flush";
  /** The first recirculation id of stages, for tests; somewhere at random if absent. */
  readonly firstStageId?: number;
  /** Keeps what happens. */
  readonly record?: Recorder;
  /**
   * Told of faults, each at most once a second. For one of a flow that runs again, `"hold"` keeps
   * the flow; else it goes.
   */
  readonly onError?: (error: PolicyError) => "drop" | "hold" | void;
  /** Gets packets that `toProgram` hands up. */
  readonly onPacket?: (packet: HandedPacket) => void;
  /** Told of flows that the datapath has taken: new ones, and others with other actions. */
  readonly onFlow?: (flow: PutFlow, isNew: boolean) => void;
}

/** Settings as options say. Throws `RangeError`. */
export function settingsOf(dp: Datapath, options: PolicyOptions): Settings {
  const { idleMs = 10_000, flows = {}, masks = dp.type === "system" ? 64 : 256 } =
    options;
  const { max = 200_000, cpu = 0.1 } = flows;
  const positive = { idleMs, "flows.max": max, "flows.cpu": cpu, masks };
  for (const [name, value] of Object.entries(positive)) {
    if (!(value > 0)) throw new RangeError(`${name} must be above 0: it is ${value}`);
  }
  return {
    idleMs,
    maxFlows: max,
    cpu,
    maxMasks: masks,
    auditsPerSecond: options.audit?.perSecond ?? 10,
    firstStageId: options.firstStageId,
    recorder: options.record,
    onError: options.onError ?? ((error) => console.error(`policy: ${error.message}`)),
    onPacket: options.onPacket,
    onFlow: options.onFlow,
  };
}
