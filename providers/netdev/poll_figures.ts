// SPDX-License-Identifier: Apache-2.0
/**
 * Figures of poll threads of a datapath of this process, over `dp_perf.h`.
 *
 * @module
 */
import {
  constants,
  dpBalanceInfo,
  dpLoadInfo,
  dpPerfIncident,
  dpPerfInfo,
  dpPerfSample,
  dpPerfWatch,
} from "../../ffi/layout.ts";
import type {
  BalanceReport,
  BalanceVerdict,
  Histogram,
  HistogramName,
  IterationSample,
  PollThreadFigures,
  PollThreadLoad,
  PollThreadPerformance,
  SuspicionRules,
  SuspiciousIteration,
} from "../contract/poll_figures.ts";
import type { PollThread } from "../contract/poll_threads.ts";
import { Errno } from "../errno.ts";
import type { PmdId } from "../ids.ts";
import type { Context } from "./context.ts";
import { check } from "./library.ts";

const { ENOENT } = Errno;

/** In the order of the library. */
const kinds: readonly HistogramName[] = [
  "cyclesPerIteration",
  "packetsPerIteration",
  "cyclesPerPacket",
  "packetsPerBatch",
  "vhostQueueFill",
  "upcallsPerIteration",
  "cyclesPerUpcall",
];

const verdicts: readonly BalanceVerdict[] = [
  "worth-it",
  "too-little",
  "roundrobin",
  "too-few",
  "cross-numa",
];

/** `dp_perf.h` as {@linkcode PollThreadFigures}. */
export class NetdevPollFigures implements PollThreadFigures {
  readonly #context: Context;
  readonly #threads: () => readonly PollThread[];
  #walls: readonly (readonly number[])[] | undefined;

  /** `threads` lists the poll threads. */
  constructor(context: Context, threads: () => readonly PollThread[]) {
    this.#context = context;
    this.#threads = threads;
  }

  load(samples: number = constants.DP_LOAD_SAMPLES): readonly PollThreadLoad[] {
    if (!Number.isInteger(samples) || samples < 1) {
      throw new RangeError(`samples must be a positive integer: it is ${samples}`);
    }
    const { symbols, dp, subject } = this.#context;
    const info = new Uint8Array(dpLoadInfo.structSize);
    const view = new DataView(info.buffer);
    const loads: PollThreadLoad[] = [];
    for (const { core, rxqs } of this.#threads()) {
      const errno = symbols.dp_load_get(dp, core, samples, info);
      if (errno === ENOENT) continue; // It has ended meanwhile.
      check(symbols, errno, subject("read load of poll thread", `${core}`));
      const taken = view.getUint32(dpLoadInfo.samples, true);
      loads.push({
        core,
        samples: taken,
        sampleMs: view.getUint32(dpLoadInfo.sampleMs, true),
        cycles: view.getBigUint64(dpLoadInfo.cycles, true),
        busy: view.getBigUint64(dpLoadInfo.busy, true),
        rxqs: rxqs.map(({ port, queue, index }) => ({
          port,
          queue,
          cycles: taken === 0 ? 0n : this.#rxqLoad(index ?? 0, taken),
        })),
      });
    }
    return loads;
  }

  #rxqLoad(index: number, samples: number): bigint {
    const { symbols, dp, subject } = this.#context;
    const cycles = new BigUint64Array(1);
    const bytes = new Uint8Array(cycles.buffer);
    const errno = symbols.dp_load_rxq(dp, index, samples, bytes);
    if (errno !== ENOENT) check(symbols, errno, subject("read load of receive queue"));
    return cycles[0] ?? 0n;
  }

  balance(): BalanceReport {
    const { symbols, dp, subject } = this.#context;
    const info = new Uint8Array(dpBalanceInfo.structSize);
    const view = new DataView(info.buffer);
    check(symbols, symbols.dp_balance_get(dp, 1, info), subject("read balance"));
    const u32 = (at: number): number => view.getUint32(at, true);
    const u64 = (at: number): bigint => view.getBigUint64(at, true);
    const checks = u64(dpBalanceInfo.checks);
    return {
      enabled: u32(dpBalanceInfo.enabled) !== 0,
      loadThreshold: u32(dpBalanceInfo.loadThreshold),
      improvementThreshold: u32(dpBalanceInfo.improvementThreshold),
      intervalMinutes: u32(dpBalanceInfo.intervalMin),
      overloaded: u32(dpBalanceInfo.overloaded),
      checks,
      rebalances: u64(dpBalanceInfo.rebalances),
      ...(checks > 0n && {
        last: {
          verdict: verdict(u32(dpBalanceInfo.last)),
          improvement: u32(dpBalanceInfo.lastImprovement),
        },
      }),
      dryRun: {
        verdict: verdict(u32(dpBalanceInfo.verdict)),
        nodes: Array.from({ length: u32(dpBalanceInfo.nodes) }, (_, i) => ({
          numa: u32(dpBalanceInfo.numa + 4 * i),
          current: u64(dpBalanceInfo.current + 8 * i),
          estimate: u64(dpBalanceInfo.estimate + 8 * i),
          improvement: u32(dpBalanceInfo.improvement + 4 * i),
        })),
      },
    };
  }

  performance(core: PmdId): PollThreadPerformance | undefined {
    const { symbols, dp, subject } = this.#context;
    const info = new Uint8Array(dpPerfInfo.structSize);
    const errno = symbols.dp_perf_get(dp, core, info);
    if (errno === ENOENT) return undefined;
    check(symbols, errno, subject("read figures of poll thread", `${core}`));
    const view = new DataView(info.buffer);
    const u64 = (at: number): bigint => view.getBigUint64(at, true);
    const walls = this.#walls ??= this.#readWalls();
    const histogram = (kind: number): Histogram => ({
      walls: walls[kind] ?? [],
      counts: Array.from(
        { length: constants.DP_PERF_BINS },
        (_, bin) => u64(dpPerfInfo.counts + 8 * (kind * constants.DP_PERF_BINS + bin)),
      ),
    });
    return {
      enabled: view.getUint32(dpPerfInfo.enabled, true) !== 0,
      cyclesPerSecond: Number(u64(dpPerfInfo.hz)),
      totals: {
        iterations: u64(dpPerfInfo.iterations),
        cycles: u64(dpPerfInfo.cycles),
        busyCycles: u64(dpPerfInfo.cyclesBusy),
        packets: u64(dpPerfInfo.packets),
        batches: u64(dpPerfInfo.batches),
        upcalls: u64(dpPerfInfo.upcalls),
        upcallCycles: u64(dpPerfInfo.cyclesUpcall),
        vhostQueueFill: u64(dpPerfInfo.fill),
      },
      suspiciousLost: u64(dpPerfInfo.incidentsLost),
      histograms: Object.fromEntries(
        kinds.map((name, kind) => [name, histogram(kind)]),
      ) as Record<HistogramName, Histogram>,
    };
  }

  #readWalls(): readonly (readonly number[])[] {
    const { symbols, subject } = this.#context;
    const all = new Uint32Array(constants.DP_PERF_WALLS);
    const bytes = new Uint8Array(all.buffer);
    const errno = symbols.dp_perf_walls(bytes, bytes.length);
    check(symbols, errno, subject("read bounds of histograms"));
    const each = constants.DP_PERF_BINS - 1;
    return kinds.map((_, kind) => [...all.subarray(kind * each, (kind + 1) * each)]);
  }

  iterations(core: PmdId, count: number): readonly IterationSample[] {
    return this.#history(core, constants.DP_PERF_ITERATIONS, count);
  }

  milliseconds(core: PmdId, count: number): readonly IterationSample[] {
    return this.#history(core, constants.DP_PERF_MILLISECONDS, count);
  }

  #history(core: PmdId, which: number, wanted: number): readonly IterationSample[] {
    if (!Number.isInteger(wanted) || wanted < 0) {
      throw new RangeError(`count must be an integer from 0: it is ${wanted}`);
    }
    const { symbols, dp, subject } = this.#context;
    const room = Math.min(wanted, constants.DP_PERF_HISTORY);
    const samples = new Uint8Array(room * dpPerfSample.structSize);
    const count = new Uint32Array(1);
    const errno = symbols.dp_perf_history(
      dp,
      core,
      which,
      samples,
      room,
      new Uint8Array(count.buffer),
    );
    if (errno === ENOENT) return [];
    check(symbols, errno, subject("read iterations of poll thread", `${core}`));
    return readSamples(samples, count[0] ?? 0);
  }

  suspicion(): SuspicionRules {
    const { symbols, dp, subject } = this.#context;
    const watch = new Uint8Array(dpPerfWatch.structSize);
    const errno = symbols.dp_perf_watch_get(dp, watch);
    check(symbols, errno, subject("read what is suspicious"));
    const view = new DataView(watch.buffer);
    const u32 = (at: number): number => view.getUint32(at, true);
    return {
      enabled: u32(dpPerfWatch.enabled) !== 0,
      extend: u32(dpPerfWatch.extend) !== 0,
      before: u32(dpPerfWatch.before),
      after: u32(dpPerfWatch.after),
      us: u32(dpPerfWatch.us),
      vhostQueueFill: u32(dpPerfWatch.fill),
    };
  }

  setSuspicion(rules: Partial<SuspicionRules>): void {
    const { symbols, dp, subject } = this.#context;
    const all = { ...this.suspicion(), ...rules };
    for (const name of ["before", "after", "us", "vhostQueueFill"] as const) {
      if (!Number.isInteger(all[name]) || all[name] < 0 || all[name] > 0xffffffff) {
        throw new RangeError(`${name} must be an unsigned 32-bit integer: ${all[name]}`);
      }
    }
    const watch = new Uint8Array(dpPerfWatch.structSize);
    const view = new DataView(watch.buffer);
    view.setUint32(dpPerfWatch.enabled, all.enabled ? 1 : 0, true);
    view.setUint32(dpPerfWatch.extend, all.extend ? 1 : 0, true);
    view.setUint32(dpPerfWatch.before, all.before, true);
    view.setUint32(dpPerfWatch.after, all.after, true);
    view.setUint32(dpPerfWatch.us, all.us, true);
    view.setUint32(dpPerfWatch.fill, all.vhostQueueFill, true);
    const errno = symbols.dp_perf_watch_set(dp, watch);
    check(symbols, errno, subject("say what is suspicious"));
  }

  takeSuspicious(): readonly SuspiciousIteration[] {
    const { symbols, dp, subject } = this.#context;
    const incident = new Uint8Array(dpPerfIncident.structSize);
    const view = new DataView(incident.buffer);
    const room = constants.DP_PERF_HISTORY;
    const samples = new Uint8Array(room * dpPerfSample.structSize);
    const taken: SuspiciousIteration[] = [];
    for (const { core } of this.#threads()) {
      for (;;) {
        const errno = symbols.dp_perf_suspicious(dp, core, incident, samples, room);
        if (errno === ENOENT) break;
        check(symbols, errno, subject("take suspicious iterations"));
        taken.push({
          core,
          reason: view.getUint32(dpPerfIncident.reason, true) === constants.DP_PERF_CYCLES
            ? "cycles"
            : "vhost-queue",
          iteration: view.getBigUint64(dpPerfIncident.iteration, true),
          cycles: view.getBigUint64(dpPerfIncident.cycles, true),
          around: readSamples(samples, view.getUint32(dpPerfIncident.count, true)),
        });
      }
    }
    return taken;
  }
}

function verdict(index: number): BalanceVerdict {
  return verdicts[index] ?? "too-little";
}

function readSamples(bytes: Uint8Array, count: number): IterationSample[] {
  return Array.from({ length: count }, (_, i) => {
    const start = i * dpPerfSample.structSize;
    const view = new DataView(bytes.buffer, start, dpPerfSample.structSize);
    const number = (at: number): number => Number(view.getBigUint64(at, true));
    return {
      when: view.getBigUint64(dpPerfSample.when, true),
      iterations: number(dpPerfSample.iterations),
      cycles: number(dpPerfSample.cycles),
      busyCycles: number(dpPerfSample.cyclesBusy),
      packets: number(dpPerfSample.packets),
      batches: number(dpPerfSample.batches),
      upcalls: number(dpPerfSample.upcalls),
      upcallCycles: number(dpPerfSample.cyclesUpcall),
      vhostQueueFill: number(dpPerfSample.fill),
    };
  });
}
