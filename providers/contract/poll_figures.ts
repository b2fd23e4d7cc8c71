// SPDX-License-Identifier: Apache-2.0
/**
 * What poll threads do with their time: load, balance, and what their iterations are like. Part of
 * the facet of poll threads.
 *
 * @module
 */
import type { PmdId, PortNo } from "../ids.ts";

/** Cycles of the last samples of a poll thread. TSC cycles, as everything here. */
export interface PollThreadLoad {
  /** Core of the thread. */
  readonly core: PmdId;
  /** Samples that were taken, at most those asked for; 0: none yet. */
  readonly samples: number;
  /** How long a sample is, milliseconds. */
  readonly sampleMs: number;
  /** All that passed in these samples. */
  readonly cycles: bigint;
  /** Of iterations that received packets. */
  readonly busy: bigint;
  /** Of the packets of each queue. */
  readonly rxqs: readonly RxqLoad[];
}

/** Cycles of a receive queue's packets, in the same samples. */
export interface RxqLoad {
  /** Its port. */
  readonly port: PortNo;
  /** Its number there. */
  readonly queue: number;
  /** TSC cycles. */
  readonly cycles: bigint;
}

/** What was decided about dealing receive queues out anew. */
export type BalanceVerdict =
  /** It is worth it. */
  | "worth-it"
  /** The variance would not become smaller by as much as is asked for. */
  | "too-little"
  /** `pmd-rxq-assign` is `roundrobin`, which does not look at load. */
  | "roundrobin"
  /** There are no two threads that are not isolated, or none of them has two queues. */
  | "too-few"
  /** Queues of one NUMA node are polled by threads of another, so nothing can be said. */
  | "cross-numa";

/** Balance of poll threads: settings (`pmd-auto-lb` and its like), events, and a dry run. */
export interface BalanceReport {
  /** Setting `pmd-auto-lb`. */
  readonly enabled: boolean;
  /** Setting `pmd-auto-lb-load-threshold`, per cent. */
  readonly loadThreshold: number;
  /** Setting `pmd-auto-lb-improvement-threshold`, per cent. */
  readonly improvementThreshold: number;
  /** Setting `pmd-auto-lb-rebal-interval`, minutes. */
  readonly intervalMinutes: number;
  /** Threads, not isolated, all of whose samples were at the load threshold or above. */
  readonly overloaded: number;
  /** Intervals that ended with such a thread. */
  readonly checks: bigint;
  /** Checks after which the queues were dealt out anew. */
  readonly rebalances: bigint;
  /** What the last check said; absent: there was none. */
  readonly last?: {
    readonly verdict: BalanceVerdict;
    /** Per cent, of the NUMA node that gains most. */
    readonly improvement: number;
  };
  /** What a check would say now. */
  readonly dryRun: {
    readonly verdict: BalanceVerdict;
    /**
     * Of each NUMA node with threads: variance of how busy they are, in per cent, now and if the
     * queues were dealt out anew, and by how many per cent it would become smaller.
     */
    readonly nodes: readonly NodeBalance[];
  };
}

/** Balance of the threads of a NUMA node. */
export interface NodeBalance {
  /** The node. */
  readonly numa: number;
  /** Variance of the busy per cent now. */
  readonly current: bigint;
  /** Variance if the queues were dealt out anew. */
  readonly estimate: bigint;
  /** By how many per cent that is smaller. */
  readonly improvement: number;
}

/** What histograms are kept of. */
export type HistogramName =
  | "cyclesPerIteration"
  | "packetsPerIteration"
  | "cyclesPerPacket"
  | "packetsPerBatch"
  | "vhostQueueFill"
  | "upcallsPerIteration"
  | "cyclesPerUpcall";

/** How often values fell into bins. */
export interface Histogram {
  /** The largest value of each bin but the last, which takes what is larger. */
  readonly walls: readonly number[];
  /** Values in each bin; one more than `walls`. */
  readonly counts: readonly bigint[];
}

/** An iteration of a poll thread, or all of them in a millisecond. */
export interface IterationSample {
  /** Number of the iteration, from 0; or when the millisecond began, monotonic clock, ms. */
  readonly when: bigint;
  /** Iterations that it stands for. */
  readonly iterations: number;
  /** Cycles of all of them. */
  readonly cycles: number;
  /** Cycles of iterations with packets. */
  readonly busyCycles: number;
  /** Packets received. */
  readonly packets: number;
  /** Batches in which they came, one a queue and iteration. */
  readonly batches: number;
  /** Packets handed up. */
  readonly upcalls: number;
  /** Cycles of handing them up. */
  readonly upcallCycles: number;
  /** Largest number of packets that waited in a vhost queue; of a millisecond, the sum. */
  readonly vhostQueueFill: number;
}

/** What was recorded of a poll thread's iterations, while `pmd-perf-metrics` was `true`. */
export interface PollThreadPerformance {
  /** Whether it is recorded now. */
  readonly enabled: boolean;
  /** Cycles of a second. */
  readonly cyclesPerSecond: number;
  /** Sums of all iterations recorded, up to the last whole millisecond. */
  readonly totals: Readonly<
    Record<
      | "iterations"
      | "cycles"
      | "busyCycles"
      | "packets"
      | "batches"
      | "upcalls"
      | "upcallCycles"
      | "vhostQueueFill",
      bigint
    >
  >;
  /** Suspicious iterations that were not fetched in time. */
  readonly suspiciousLost: bigint;
  /** How often which values were seen. */
  readonly histograms: Readonly<Record<HistogramName, Histogram>>;
}

/** What makes an iteration suspicious, and how much around it is kept. */
export interface SuspicionRules {
  /** Whether any is looked for; while iterations are recorded. */
  readonly enabled: boolean;
  /** A further one, while it waits for what follows, makes that longer. */
  readonly extend: boolean;
  /** Iterations before it that are kept; with those after it, 998 at most. */
  readonly before: number;
  /** And after it. */
  readonly after: number;
  /** It took longer than this, microseconds. */
  readonly us: number;
  /** At least so many packets waited in a vhost queue. */
  readonly vhostQueueFill: number;
}

/** An iteration that took suspiciously long, or left a queue suspiciously full. */
export interface SuspiciousIteration {
  /** Core of its thread. */
  readonly core: PmdId;
  /** What made it suspicious. */
  readonly reason: "cycles" | "vhost-queue";
  /** Its number. */
  readonly iteration: bigint;
  /** How long it took, TSC cycles. */
  readonly cycles: bigint;
  /** Those around it and itself, the newest first; none for one that a further one made longer. */
  readonly around: readonly IterationSample[];
}

/** Figures of poll threads. All calls answer at once, and throw `EBADF` or `ENODEV` as any. */
export interface PollThreadFigures {
  /** Load of every thread, in the last `samples`, 12 at most, which are a minute by default. */
  load(samples?: number): readonly PollThreadLoad[];
  /** Settings and events of the balance, and what a check would say now. */
  balance(): BalanceReport;
  /** What was recorded of a thread; undefined: no thread on that core. */
  performance(core: PmdId): PollThreadPerformance | undefined;
  /** The last iterations of a thread, the newest first; 1,000 are kept. */
  iterations(core: PmdId, count: number): readonly IterationSample[];
  /** The last milliseconds with iterations, the newest first; 998 are kept. */
  milliseconds(core: PmdId, count: number): readonly IterationSample[];
  /** What is suspicious. */
  suspicion(): SuspicionRules;
  /** Says what is suspicious; what is not named stays. `EINVAL` for too many around it. */
  setSuspicion(rules: Partial<SuspicionRules>): void;
  /** Takes the suspicious iterations that nobody has taken yet; 8 a thread are kept. */
  takeSuspicious(): readonly SuspiciousIteration[];
}
