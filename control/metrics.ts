// SPDX-License-Identifier: Apache-2.0
/**
 * Counters of datapaths as OpenMetrics text: one naming for every provider.
 *
 * What a provider does not know is left out, never written as 0.
 *
 * @module
 */
import type { PortStats } from "../providers/contract/ports.ts";
import type { Datapath } from "../providers/datapath.ts";
import { portsWithStats } from "./port_counters.ts";
import { toJson } from "./verbs/verb.ts";

/** Media type of the text. */
export const metricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/** Labels of a sample, by name. */
export type Labels = Readonly<Record<string, string | number>>;

/** A metric and its samples. */
export interface Family {
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly help: string;
  readonly unit?: string;
  readonly samples: { readonly labels: Labels; readonly value: bigint | number }[];
}

/** Families by name, in the order of their first sample. */
class Exposition {
  readonly #families = new Map<string, Family>();

  /** Adds a sample; nothing for a value that is not known. */
  add(
    [name, type, help, unit]: readonly [
      string,
      Family["type"],
      string,
      (string | undefined)?,
    ],
    labels: Labels,
    value: bigint | number | undefined,
  ): void {
    if (value === undefined) return;
    const family = this.#families.get(name) ??
      { name, type, help, samples: [], ...(unit !== undefined && { unit }) };
    family.samples.push({ labels, value });
    this.#families.set(name, family);
  }

  /** Every metric that has a sample. */
  get families(): Family[] {
    return [...this.#families.values()];
  }

  toString(): string {
    const lines: string[] = [];
    for (const { name, type, help, unit, samples } of this.#families.values()) {
      lines.push(`# TYPE ${name} ${type}`);
      if (unit !== undefined) lines.push(`# UNIT ${name} ${unit}`);
      lines.push(`# HELP ${name} ${help}`);
      const suffix = type === "counter" ? "_total" : "";
      for (const { labels, value } of samples) {
        lines.push(`${name}${suffix}${labelText(labels)} ${value}`);
      }
    }
    return [...lines, "# EOF", ""].join("\n");
  }
}

function labelText(labels: Labels): string {
  const escaped = (value: string | number): string =>
    `${value}`.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  const pairs = Object.entries(labels).map(([name, value]) =>
    `${name}="${escaped(value)}"`
  );
  return `{${pairs.join(",")}}`;
}

/** Metrics of some datapaths, as OpenMetrics text. */
export function metricsText(datapaths: readonly Datapath[]): string {
  return collect(datapaths).toString();
}

/** The same as one JSON object: an item of `result` for each metric. */
export function metricsJson(datapaths: readonly Datapath[]): string {
  const { families: result } = collect(datapaths);
  return `${toJson({ verb: "metrics", ok: true, result, errors: [] })}\n`;
}

/** Metrics of some datapaths. */
export function metricFamilies(datapaths: readonly Datapath[]): readonly Family[] {
  return collect(datapaths).families;
}

function collect(datapaths: readonly Datapath[]): Exposition {
  const exposition = new Exposition();
  for (const dp of datapaths) {
    const labels = { datapath: dp.fullName };
    addTotals(exposition, dp, labels);
    addPorts(exposition, dp, labels);
    addThreads(exposition, dp, labels);
  }
  return exposition;
}

function addTotals(exposition: Exposition, dp: Datapath, labels: Labels): void {
  const { hit, missed, lost, flows, masks, maskHit, cacheHit, counters = {} } = dp
    .stats();
  const lookups = (result: string, value: bigint): void =>
    exposition.add(
      ["upcall_lookups", "counter", "Packets by what looking them up came to."],
      { ...labels, result },
      value,
    );
  lookups("hit", hit);
  lookups("missed", missed);
  exposition.add(
    ["upcall_lost", "counter", "Upcalls dropped before a program saw them."],
    labels,
    lost,
  );
  exposition.add(["upcall_flows", "gauge", "Flows in the table."], labels, flows);
  exposition.add(["upcall_masks", "gauge", "Masks in the table."], labels, masks);
  exposition.add(
    ["upcall_mask_lookups", "counter", "Masks looked at for all packets."],
    labels,
    maskHit,
  );
  exposition.add(
    ["upcall_cache_hits", "counter", "Hits of the mask cache."],
    labels,
    cacheHit,
  );
  for (const [name, value] of Object.entries(counters)) {
    if (name.startsWith("drop_")) {
      exposition.add(
        ["upcall_drops", "counter", "Packets dropped, by reason."],
        { ...labels, reason: name.slice("drop_".length) },
        value,
      );
    } else {
      exposition.add(
        ["upcall_events", "counter", "Further counters of the provider."],
        { ...labels, event: name },
        value,
      );
    }
  }
}

/** Counters of a port by family: field, direction. */
const portCounters: readonly (readonly [
  keyof PortStats & `${"rx" | "tx"}${string}`,
  family: string,
  help: string,
  unit?: string,
])[] = [
  ["rxPackets", "upcall_port_packets", "Packets through a port."],
  ["txPackets", "upcall_port_packets", "Packets through a port."],
  ["rxBytes", "upcall_port_bytes", "Bytes through a port.", "bytes"],
  ["txBytes", "upcall_port_bytes", "Bytes through a port.", "bytes"],
  ["rxErrors", "upcall_port_errors", "Errors of a port."],
  ["txErrors", "upcall_port_errors", "Errors of a port."],
  ["rxDropped", "upcall_port_drops", "Packets that a port dropped."],
  ["txDropped", "upcall_port_drops", "Packets that a port dropped."],
];

function addPorts(exposition: Exposition, dp: Datapath, labels: Labels): void {
  const ports = portsWithStats(dp);
  for (const [field, family, help, unit] of portCounters) {
    for (const { port, stats } of ports) {
      exposition.add(
        [family, "counter", help, unit],
        {
          ...labels,
          port: port.no,
          name: port.name,
          type: port.type,
          direction: field.slice(0, 2),
        },
        stats[field],
      );
    }
  }
}

function addThreads(exposition: Exposition, dp: Datapath, labels: Labels): void {
  for (const { core, cycles, counters } of dp.pollThreads?.dump() ?? []) {
    for (const [state, value] of Object.entries(cycles)) {
      exposition.add(
        ["upcall_poll_thread_cycles", "counter", "TSC cycles of poll threads, by state."],
        { ...labels, core, state },
        value,
      );
    }
    for (const [event, value] of Object.entries(counters)) {
      exposition.add(
        ["upcall_poll_thread_events", "counter", "Counters of poll threads."],
        { ...labels, core, event },
        value,
      );
    }
  }
}
