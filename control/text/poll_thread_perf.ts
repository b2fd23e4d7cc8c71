// SPDX-License-Identifier: Apache-2.0
/**
 * What iterations of poll threads were like, and the balance of threads, in the words of Open
 * vSwitch: the second half of `pmd-perf-show`, and its log.
 *
 * @module
 */
import type {
  BalanceReport,
  BalanceVerdict,
  Histogram,
  HistogramName,
  IterationSample,
  PollThreadPerformance,
  SuspiciousIteration,
} from "../../providers/contract/poll_figures.ts";

/** Columns of the table of histograms, with their titles there and below it. */
const columns: readonly (readonly [HistogramName, string, string])[] = [
  ["cyclesPerIteration", "cycles/it", "cycles/it"],
  ["packetsPerIteration", "packets/it", "packets/it"],
  ["cyclesPerPacket", "cycles/pkt", "cycles/pkt"],
  ["packetsPerBatch", "pkts/batch", "pkts/batch"],
  ["vhostQueueFill", "max vhost qlen", "vhost qlen"],
  ["upcallsPerIteration", "upcalls/it", "upcalls/it"],
  ["cyclesPerUpcall", "cycles/upcall", "cycles/upcall"],
];

const row = (cells: readonly string[]): string =>
  `   ${cells.map((cell) => cell.padEnd(21)).join("  ")}\n`;

const whole = (part: number, by: number): number => by === 0 ? 0 : Math.floor(part / by);

/** What was recorded after `before`, of the same thread; of a thread made anew, all. */
export function performanceSince(
  now: PollThreadPerformance,
  before: PollThreadPerformance | undefined,
): PollThreadPerformance {
  if (before === undefined || before.totals.iterations > now.totals.iterations) {
    return now;
  }
  const { totals } = before;
  return {
    ...now,
    totals: Object.fromEntries(
      Object.entries(now.totals).map(([name, sum]) => [
        name,
        sum - totals[name as keyof typeof totals],
      ]),
    ) as PollThreadPerformance["totals"],
    histograms: mapHistograms(now.histograms, ({ walls, counts }, name) => {
      const then = before.histograms[name].counts;
      return { walls, counts: counts.map((n, i) => n - (then[i] ?? 0n)) };
    }),
  };
}

function mapHistograms(
  histograms: PollThreadPerformance["histograms"],
  change: (histogram: Histogram, name: HistogramName) => Histogram,
): PollThreadPerformance["histograms"] {
  const changed = columns.map(([name]) => [name, change(histograms[name], name)]);
  return Object.fromEntries(changed) as PollThreadPerformance["histograms"];
}

/** The table of histograms, and what iterations were like on average. */
export function histogramsText(
  { histograms, totals }: PollThreadPerformance,
): string {
  let text = `Histograms\n${row(columns.map(([, title]) => title))}`;
  const bins = histograms.cyclesPerIteration.counts.length;
  for (let bin = 0; bin < bins; bin++) {
    text += row(columns.map(([name]) => {
      const { walls, counts } = histograms[name];
      const wall = bin < walls.length ? `${walls[bin]}` : ">";
      return `${wall.padEnd(9)} ${`${counts[bin]}`.padEnd(11)}`;
    }));
  }
  const number = (name: keyof typeof totals): number => Number(totals[name]);
  const iterations = number("iterations");
  if (iterations === 0) return text;
  const each = (name: keyof typeof totals): string =>
    (number(name) / iterations).toFixed(5);
  const batches = number("batches");
  return `${text}${"-".repeat(154)}\n${row(columns.map(([, , title]) => title))}${
    row([
      `${whole(number("cycles"), iterations)}`,
      each("packets"),
      `${whole(number("busyCycles"), number("packets"))}`,
      batches === 0 ? (0).toFixed(5) : (number("packets") / batches).toFixed(5),
      each("vhostQueueFill"),
      each("upcalls"),
      `${whole(number("upcallCycles"), number("upcalls"))}`,
    ])
  }`;
}

/** Iterations, `-it`: nothing for none asked for. */
export function iterationsText(samples: readonly IterationSample[]): string {
  const titles = ["iter", "cycles", "packets", "cycles/pkt", "pkts/batch", "vhost qlen"];
  const head = [...titles, "upcalls", "cycles/upcall"];
  const widths = head.map((_, i) => i === 0 ? 17 : 10);
  return line(head, widths) + samples.map((sample) =>
    values([
      Number(sample.when),
      sample.cycles,
      sample.packets,
      whole(sample.cycles, sample.packets),
      whole(sample.packets, sample.batches),
      sample.vhostQueueFill,
      sample.upcalls,
      whole(sample.upcallCycles, sample.upcalls),
    ], 17)
  ).join("");
}

/** Milliseconds, `-ms`. */
export function millisecondsText(samples: readonly IterationSample[]): string {
  const titles = ["ms", "iterations", "cycles/it", "Kpps", "cycles/pkt", "pkts/batch"];
  const head = [...titles, "vhost qlen", "upcalls", "cycles/upcall"];
  const widths = head.map((_, i) => i === 0 ? 12 : 10);
  return line(head, widths) + samples.map((sample) =>
    values([
      Number(sample.when),
      sample.iterations,
      whole(sample.cycles, sample.iterations),
      sample.packets,
      whole(sample.busyCycles, sample.packets),
      whole(sample.packets, sample.batches),
      whole(sample.vhostQueueFill, sample.iterations),
      sample.upcalls,
      whole(sample.upcallCycles, sample.upcalls),
    ], 12)
  ).join("");
}

function line(cells: readonly string[], widths: readonly number[]): string {
  return `   ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 10)).join("   ")}\n`;
}

function values([first = 0, ...rest]: readonly number[], width: number): string {
  return `   ${`${first}`.padEnd(width)}   ${
    rest.map((value) => `${value}`.padEnd(11)).join("  ")
  }\n`;
}

/** Lines that are logged of a suspicious iteration. */
export function suspiciousLines(
  { reason, iteration, cycles, around }: SuspiciousIteration,
  cyclesPerSecond: number,
): string[] {
  const why = reason === "cycles" ? "Excessive total cycles" : "Vhost RX queue full";
  const us = whole(Number(cycles) * 1e6, cyclesPerSecond);
  const text = around.length === 0
    ? ""
    : `Neighborhood of suspicious iteration:\n${iterationsText(around)}`;
  return [
    `Suspicious iteration (${why}): iter=${iteration} duration=${us} us`,
    ...text.split("\n").filter((part) => part !== ""),
  ];
}

/** Whether queues are dealt out anew by themselves. */
export function balanceLine(report: BalanceReport): string {
  if (!report.enabled) return "PMD auto load balance is disabled.";
  return `PMD auto load balance is enabled, interval ${report.intervalMinutes} mins, ` +
    `pmd load threshold ${report.loadThreshold}%, ` +
    `improvement threshold ${report.improvementThreshold}%.`;
}

/** Why a check leaves the queues where they are, or that it does not. */
export function verdictLine(verdict: BalanceVerdict, threshold: number): string {
  switch (verdict) {
    case "roundrobin":
      return "PMD auto load balance nothing to do, " +
        "pmd-rxq-assign=roundrobin assignment type configured.";
    case "too-few":
      return "PMD auto load balance nothing to do, " +
        "not enough non-isolated PMDs or RxQs.";
    case "cross-numa":
      return "PMD auto load balance detected cross-numa polling with multiple numa " +
        "nodes. Unable to accurately estimate.";
    default:
      return `PMD load variance improvement threshold ${threshold}% is ${
        verdict === "worth-it" ? "met" : "not met"
      }.`;
  }
}

/** `upcall/pmd-auto-lb-show`: the setting, the dry run, and what has happened. */
export function balanceText(report: BalanceReport): string {
  const { dryRun, overloaded, checks, rebalances, improvementThreshold } = report;
  return `${balanceLine(report)}\n` +
    dryRun.nodes.map((node) =>
      `Numa node ${node.numa}. Current variance ${node.current} Estimated variance ` +
      `${node.estimate}. Variance improvement ${node.improvement}%.\n`
    ).join("") + `${verdictLine(dryRun.verdict, improvementThreshold)}\n` +
    `overloaded threads: ${overloaded}, checks: ${checks}, rebalances: ${rebalances}\n`;
}
