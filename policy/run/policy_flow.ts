// SPDX-License-Identifier: Apache-2.0
/**
 * What a running policy shows: its flows, and what it counted.
 *
 * @module
 */
import type { Ufid } from "../../providers/ids.ts";
import type { Action, FlowKey, FlowMask } from "../../providers/types.ts";
import type { Counters } from "./core.ts";

/** A flow of a policy. */
export interface PolicyFlow {
  /** Its name in the datapath. */
  readonly ufid: Ufid;
  /** The packet that made it. */
  readonly key: FlowKey;
  /** The bits that matter. */
  readonly mask: FlowMask;
  /** What happens to its packets. */
  readonly actions: readonly Action[];
  /** What the policy said of it. */
  readonly reason: string | undefined;
  /** Stage that decided; undefined for the policy itself. */
  readonly stage: string | undefined;
  /** Packets, as of the last walk. */
  readonly packets: bigint;
  /** Their bytes. */
  readonly bytes: bigint;
  /** When it last counted a packet, ms since 1970. */
  readonly usedMs: number;
  /** Prefixes in its mask were rounded up to multiples of so many bits. */
  readonly coarse: number;
  /** What state it rests on. */
  readonly dependencies: readonly string[];
  /** What its packets teach and credit. */
  readonly effects: readonly string[];
}

/** Counters of a running policy. */
export interface PolicyStats extends Counters {
  /** Flows there are. */
  readonly flows: number;
  /** Flows that there may be, by `max` and by what the CPU share allows. */
  readonly limit: number;
  /** Masks that the flows have. */
  readonly masks: number;
  /** Recirculation ids of stages. */
  readonly stages: number;
}
