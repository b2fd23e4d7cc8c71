// SPDX-License-Identifier: Apache-2.0
/**
 * What a running policy counted, as text.
 *
 * @module
 */
import type { PolicyStats } from "../../policy/mod.ts";
import { printableLine } from "./printable.ts";

/** `name count, …`, the largest first; without those that count nothing. */
function counts(of: Readonly<Record<string, number>>): string {
  const some = Object.entries(of).filter(([, n]) => n > 0).sort(([, a], [, b]) => b - a);
  if (some.length === 0) return "none";
  return some.map(([name, n]) => `${printableLine(name)} ${n}`).join(", ");
}

/** The statistics of a policy, a subject a line. */
export function policyText(stats: PolicyStats): string {
  const lines = [
    `flows:        ${stats.flows} of at most ${stats.limit}, of ${stats.masks} masks`,
    `stages:       ${stats.stages}`,
    `upcalls:      ${stats.upcalls}: ${stats.setUps} set up a flow, ` +
    `${stats.repeated} met one of their batch, ${stats.executed} had none`,
    `no flow for:  ${counts(stats.withoutFlow)}`,
    `run again:    ${stats.reruns}: ${stats.kept} stayed, ${stats.modified} changed`,
    `flows gone:   ${counts(stats.gone)}`,
    `drops:        ${counts(stats.drops)}`,
    `failures:     ${counts(stats.failures)}`,
  ];
  return lines.map((line) => `${line}\n`).join("");
}
