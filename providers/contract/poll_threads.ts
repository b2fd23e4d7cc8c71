// SPDX-License-Identifier: Apache-2.0
/**
 * Optional facet of a datapath: poll threads. dpif: `poll_threads_set`.
 *
 * @module
 */
import type { PmdId, PortNo } from "../ids.ts";
import type { PollThreadFigures } from "./poll_figures.ts";

/** A receive queue and the poll thread that polls it. */
export interface RxqAssignment {
  /** Port that the queue belongs to. */
  readonly port: PortNo;
  /** Number of the queue in its port, from 0. */
  readonly queue: number;
  /** The core that it is pinned to, by `pmd-rxq-affinity` of its port; absent: none. */
  readonly pinned?: PmdId;
  /** Packets that it received. */
  readonly packets?: bigint;
  /** TSC cycles that these packets took. */
  readonly cycles?: bigint;
  /** Its place among all receive queues, for {@linkcode PollThreadFigures}. */
  readonly index?: number;
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
  /** Its longest nap, microseconds; 0: it never sleeps. */
  readonly maxSleepUs?: number;
  /**
   * TSC cycles spent on packets, polling in vain, and asleep; `upcall`, of those on packets, for
   * handing them up, while `pmd-perf-metrics` is `true`.
   */
  readonly cycles: {
    readonly busy: bigint;
    readonly idle: bigint;
    readonly sleep: bigint;
    readonly upcall?: bigint;
  };
  /**
   * Counters by name: packets, hits, misses, batches, recirculations, sleeps, and those of them
   * that packets ended (`woken`) …
   */
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
   * last core that no poll thread of another process is on. `EINVAL` no such core or no mask.
   * dpif: `poll_threads_set`.
   */
  set(mask: string, options?: PollThreadOptions): Promise<void>;
  /**
   * Deals receive queues out anew over the threads that there are: by their load, by pins and by
   * the settings `pmd-rxq-assign` and `pmd-rxq-isolate`. For `dpif-netdev/pmd-rxq-rebalance`.
   */
  rebalance?(): Promise<void>;
  /** The poll threads, in order of core. */
  dump(): readonly PollThread[];
  /** Load, balance, and what iterations are like; absent where nobody measures. */
  readonly figures?: PollThreadFigures;
}
