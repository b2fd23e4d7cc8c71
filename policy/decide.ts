// SPDX-License-Identifier: Apache-2.0
/**
 * A policy without a datapath: what it says of one packet, and why.
 *
 * @module
 */
import { extractKey } from "../providers/odp/extract.ts";
import { toKeyBytes } from "../providers/odp/input.ts";
import type { Action } from "../providers/types_action.ts";
import type { KeyInput } from "../providers/types.ts";
import type { Decision, Policy } from "./decision.ts";
import { describeDependency } from "./state/dependency.ts";
import { completed } from "./packet/layout.ts";
import { Runner } from "./runner.ts";
import { PortsView } from "./state/state.ts";
import { Continuations } from "./stage.ts";
import type { Effect } from "./packet/effect.ts";
import type { Read } from "./packet/call_site.ts";

/** What a policy said of a packet. */
export interface Decided {
  /** What happens to it; recirculations into stages have ids of this call. */
  readonly actions: readonly Action[];
  /** The verdict as the policy gave it. */
  readonly decision: Decision;
  /** The key with all metadata, attribute bytes. */
  readonly key: Uint8Array;
  /** The mask of its flow, attribute bytes. */
  readonly mask: Uint8Array;
  /** Why there is to be no flow: `policy`, `clock` …; undefined if there may be one. */
  readonly uncacheable: string | undefined;
  /** When the verdict ends, ms since 1970; infinite if it does not. */
  readonly deadlineMs: number;
  /** What was read of the packet, in order. */
  readonly reads: readonly Read[];
  /** What state the verdict rests on, in words. */
  readonly dependencies: readonly string[];
  /** What packets like this teach and credit. */
  readonly effects: readonly Effect[];
}

/** How to decide. */
export interface DecideOptions {
  /** The time that `packet.now` says, ms since 1970. */
  readonly nowMs?: number;
  /** The ports that there are; 1 to 4 if absent. */
  readonly ports?: PortsView;
}

/** The bytes of a key with all metadata that it lacks: those that datapaths hand up. */
export function keyBytes(key: KeyInput): Uint8Array {
  return completed(toKeyBytes(key));
}

/**
 * Runs a policy on one packet, without a datapath, and changes nothing: what the packet teaches is
 * in `effects`. The packet is a key in any form; or a frame, of which `key` then gives the
 * metadata, `{ inPort: 1 }`. Throws what the policy throws.
 */
export function decide(
  policy: Policy,
  key: KeyInput,
  frame?: Uint8Array,
  options: DecideOptions = {},
): Decided {
  const whole = frame === undefined
    ? key
    : extractKey(frame, typeof key === "object" ? key as never : {});
  const runner = new Runner(
    new Continuations(),
    options.ports ?? new PortsView([1, 2, 3, 4]),
  );
  const { tracker } = runner;
  tracker.reads = [];
  try {
    const ran = runner.run(policy, keyBytes(whole), options.nowMs ?? Date.now());
    return {
      actions: ran.actions.list,
      decision: ran.decision,
      key: runner.key,
      mask: runner.mask.slice(),
      uncacheable: ran.uncacheable,
      deadlineMs: tracker.deadline,
      reads: tracker.reads,
      dependencies: tracker.dependencies.flatMap(describeDependency),
      effects: tracker.effects,
    };
  } finally {
    tracker.dropDependencies();
  }
}
