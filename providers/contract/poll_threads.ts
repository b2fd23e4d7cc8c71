// SPDX-License-Identifier: Apache-2.0
/**
 * Optional facet of a datapath: poll threads. dpif: `poll_threads_set`.
 *
 * @module
 */
import type { PmdId, PortNo } from "../ids.ts";

/** A receive queue and the poll thread that polls it. */
export interface RxqAssignment {
  /** Port that the queue belongs to. */
  readonly port: PortNo;
  /** Number of the queue in its port, from 0. */
  readonly queue: number;
  /** The core that it is pinned to, by `pmd-rxq-affinity` of its port; absent: none. */
  readonly pinned?: PmdId;
}

/** One poll thread. */
export interface PollThread {
  /** Its core, which is its name too. */
  readonly core: PmdId;
  /** NUMA node of its core. */
  readonly numa?: number;
  /** Whether queues are pinned to it, so that it takes no others. */
  readonly isolated?: boolean;
  /** Receive queues that it polls. */
  readonly rxqs: readonly RxqAssignment[];
  /** TSC cycles spent on packets, polling in vain, and asleep. */
  readonly cycles: {
    readonly busy: bigint;
    readonly idle: bigint;
    readonly sleep: bigint;
  };
  /** Counters by name: packets, hits, misses, batches, recirculations … */
  readonly counters: Readonly<Record<string, bigint>>;
}

/** How poll threads behave. */
export interface PollThreadOptions {
  /** Longest nap of an idle poll thread, microseconds; 0: never sleep; 10,000 at most. */
  readonly maxSleepUs?: number;
}

/** Poll threads of a datapath. */
export interface PollThreadFacet {
  /**
   * Runs poll threads on exactly the cores of a hexadecimal mask, `"0x2"`, and spreads receive
   * queues over them; traffic goes on meanwhile.  `"0"` or `""`: the default, one thread on the
   * last core. `EINVAL` no such core or no mask. dpif: `poll_threads_set`.
   */
  set(mask: string, options?: PollThreadOptions): Promise<void>;
  /**
   * Deals receive queues out anew over the threads that there are: by their load, by pins and by
   * the settings `pmd-rxq-assign` and `pmd-rxq-isolate`. For `dpif-netdev/pmd-rxq-rebalance`.
   */
  rebalance?(): Promise<void>;
  /** The poll threads, in order of core. */
  dump(): readonly PollThread[];
}
