// SPDX-License-Identifier: Apache-2.0
/**
 * Flows and their counters in the words of `ovs-dpctl dump-flows`.
 *
 * @module
 */
import type { FlowStats } from "../../providers/contract/flows.ts";
import type { Flow } from "../../providers/flow.ts";
import { formatActions, formatKey, type PortList } from "../../providers/odp/mod.ts";
import { monotonicMs } from "../../ffi/clock.ts";

/** Letters of TCP flags, in the order that Open vSwitch prints them. */
const tcpFlagLetters: readonly (readonly [bit: number, letter: string])[] = [
  [0x002, "S"],
  [0x001, "F"],
  [0x008, "P"],
  [0x004, "R"],
  [0x020, "U"],
  [0x010, "."],
  [0x040, "E"],
  [0x080, "C"],
  [0x100, "N"],
  [0x200, "[200]"],
  [0x400, "[400]"],
  [0x800, "[800]"],
];

/** TCP flags in letters: `S.`. */
export function tcpFlagsText(flags: number): string {
  return tcpFlagLetters.map(([bit, letter]) => flags & bit ? letter : "").join("");
}

/** Seconds since a flow was hit; undefined: never. */
export function secondsSince(usedMs: bigint | undefined): number | undefined {
  if (usedMs === undefined) return undefined;
  // Whole milliseconds, as the other end counts them: a fraction would let a flow be used in the
  // future.
  return Math.max(0, Math.floor(monotonicMs()) - Number(usedMs)) / 1000;
}

/** `packets:1, bytes:98, used:0.120s, flags:S`. */
export function flowStatsText(stats: FlowStats): string {
  const used = secondsSince(stats.usedMs);
  const flags = stats.tcpFlags ? `, flags:${tcpFlagsText(stats.tcpFlags)}` : "";
  return `packets:${stats.packets}, bytes:${stats.bytes}, ` +
    `used:${used === undefined ? "never" : `${used.toFixed(3)}s`}${flags}`;
}

/** How flows are printed. */
export interface FlowTextOptions {
  /** `-m`: identifier, wildcarded fields, layer. */
  readonly verbose: boolean;
  /** Ports to be named; absent: numbers. */
  readonly ports?: PortList | undefined;
}

/** One line of `dump-flows`, without its line break. */
export function flowText(flow: Flow, { verbose, ports }: FlowTextOptions): string {
  const { key = new Uint8Array(), mask, actions = new Uint8Array(), ufid } = flow.raw;
  const { layer, offloaded, extraInfo } = flow.raw;
  const parts: string[] = [];
  if (verbose && ufid !== undefined) parts.push(`ufid:${ufid}`);
  parts.push(formatKey({ key, mask }, { verbose, ports }));
  parts.push(flowStatsText(flow.stats));
  if (verbose && offloaded) {
    parts.push(`offloaded:${layer === "ovs" ? "partial" : "yes"}`);
  }
  if (verbose && layer !== undefined) parts.push(`dp:${layer}`);
  parts.push(`actions:${formatActions(actions, { ports })}`);
  if (verbose && extraInfo !== undefined) parts.push(`dp-extra-info:${extraInfo}`);
  return parts.join(", ");
}

/** A flow for `--json`. */
export function flowJson(flow: Flow, { ports }: { readonly ports?: PortList }): unknown {
  const { key = new Uint8Array(), mask, actions = new Uint8Array(), ufid } = flow.raw;
  return {
    ...(ufid !== undefined && { ufid }),
    key: formatKey({ key, mask }, { ports }),
    actions: formatActions(actions, { ports }),
    ...flowStatsJson(flow.stats),
    ...(flow.layer !== undefined && { layer: flow.layer }),
    ...(flow.pmd !== undefined && { pmd: flow.pmd }),
    offloaded: flow.offloaded,
  };
}

/** Counters of a flow for `--json`; `usedSeconds` is null for a flow that was never hit. */
export function flowStatsJson(stats: FlowStats): Readonly<Record<string, unknown>> {
  return {
    packets: stats.packets,
    bytes: stats.bytes,
    usedSeconds: secondsSince(stats.usedMs) ?? null,
    tcpFlags: tcpFlagsText(stats.tcpFlags),
  };
}
