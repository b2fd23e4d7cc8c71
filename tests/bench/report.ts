// SPDX-License-Identifier: Apache-2.0
/**
 * Results of the comparison, as JSON and as a table for people.
 *
 * @module
 */
import type { MachineRecord } from "./machine.ts";
import { medianOf, type Series } from "./measure.ts";
import { NATIVE, type ProgramName, type SourceName } from "./program.ts";
import type { Measure } from "./scenario.ts";

/** What came of one scenario with one source. */
export interface ScenarioResult {
  readonly scenario: string;
  readonly about: string;
  readonly measure: Measure;
  readonly source: SourceName;
  readonly programs: Partial<Record<ProgramName, Series>>;
  /** Why a program has no figures. */
  readonly failures: Partial<Record<ProgramName, string>>;
  /** This project against the better of Open vSwitch's settings. */
  readonly ratio?: number;
  /** This project against Open vSwitch built for this processor. */
  readonly nativeRatio?: number;
}

/** Everything of one run. */
export interface Report {
  readonly machine: MachineRecord;
  readonly options: {
    readonly seconds: number;
    readonly rounds: number;
  };
  readonly results: readonly ScenarioResult[];
}

/**
 * This project over the better of some peers (by default Open vSwitch as it is shipped): of medians
 * on a quiet core, else the median of the ratios of each round, whose windows lie next to each
 * other in time. Undefined when either is missing.
 */
export function ratioOf(
  programs: ScenarioResult["programs"],
  peers: readonly ProgramName[] = ["ovs", "ovs-smc"],
): number | undefined {
  const ours = programs.upcall;
  const [better] = peers.map((name) => programs[name])
    .filter((series) => series !== undefined && series.median > 0)
    .sort((a, b) => (b?.median ?? 0) - (a?.median ?? 0));
  if (ours === undefined || better === undefined) return undefined;
  if (ours.quiet) return ours.median / better.median;
  return medianOf(
    ours.windows.map(({ rate }, i) => rate / (better.windows[i]?.rate ?? NaN)),
  );
}

/** The first lines of a table: what the numbers mean, and where they were taken. */
export function formatHead(
  machine: MachineRecord,
  programs: readonly ProgramName[],
): string {
  const pages = machine.hugepages ? "hugepages" : "no hugepages";
  return [
    `${machine.cpu}, ${machine.cores} cores, TSC ${
      (machine.tscHz / 1e9).toFixed(3)
    } GHz, ${pages}`,
    `DPDK ${machine.dpdk}; ${machine.openvswitch}; commit ${machine.commit}`,
    "Medians: Mpps [lowest-highest] TSC cycles a packet; for upcall and ct-new, thousand set-ups or connections a second.",
    "Under attack, cycles give way to the share of its rate that established traffic kept, at a fixed load.",
    "A ! marks figures of a core that somebody else kept busy as well, for all programs alike.",
    "",
    row([
      "scenario",
      "source",
      ...programs,
      "ratio",
      ...(programs.includes(NATIVE) ? ["to native"] : []),
    ]),
  ].join("\n");
}

/** The line of one scenario. */
export function formatResult(
  result: ScenarioResult,
  programs: readonly ProgramName[],
): string {
  const thousands = result.measure === "upcall" || result.measure === "connections";
  const unit = thousands ? 1e3 : 1e6;
  const cells = programs.map((name) => {
    const series = result.programs[name];
    if (series === undefined) return "-";
    const figure = (rate: number): string => short(rate / unit);
    return `${figure(series.median)} [${figure(series.lowest)}-${
      figure(series.highest)
    }] ` +
      (series.kept === undefined
        ? Math.round(series.cycles)
        : `${Math.round(100 * series.kept)}%`) +
      (series.quiet ? "" : " !");
  });
  const times = (ratio: number | undefined): string =>
    ratio === undefined ? "-" : `${ratio.toFixed(2)}x`;
  return row([
    result.scenario,
    result.source,
    ...cells,
    times(result.ratio),
    ...(programs.includes(NATIVE) ? [times(result.nativeRatio)] : []),
  ]);
}

/** Three digits. */
function short(value: number): string {
  return value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
}

function row(cells: readonly string[]): string {
  return cells.map((cell, i) =>
    i === 0 ? cell.padEnd(16) : cell.padStart(i === 1 ? 6 : 22)
  )
    .join(" ").trimEnd();
}
