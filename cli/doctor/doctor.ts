// SPDX-License-Identifier: Apache-2.0
/**
 * `dpctl doctor`: what stands between this machine and a running datapath, and how to mend it.
 *
 * @module
 */
import { checks, type Finding } from "./checks.ts";
import { machineAt } from "./machine.ts";

/** How to report. */
export interface DoctorOptions {
  /** Root of the machine to examine; `/` if absent. */
  readonly sysroot?: string;
  /** One JSON array instead of text. */
  readonly json?: boolean;
  /** Show what is in order, too. */
  readonly verbose?: boolean;
}

/** Text of the report, and the exit status: 0, or 2 if something cannot run. */
export interface DoctorReport {
  readonly text: string;
  readonly status: 0 | 2;
}

/** Examines a machine. */
export function examine(options: DoctorOptions = {}): DoctorReport {
  const machine = machineAt(options.sysroot ?? "/");
  const findings = checks.map((check) => check(machine));
  const some = (state: Finding["state"]): boolean =>
    findings.some((f) => f.state === state);
  return {
    text: options.json
      ? JSON.stringify(findings, undefined, 2)
      : report(findings, options),
    status: some("fail") ? 2 : 0,
  };
}

function report(
  findings: readonly Finding[],
  { verbose = false }: DoctorOptions,
): string {
  const shown = findings.filter(({ state }) => verbose || state !== "ok");
  const well = findings.filter(({ state }) => state === "ok").length;
  return [
    ...shown.map(paragraph),
    `${well} of ${findings.length} checks are well.`,
  ].join("\n");
}

function paragraph({ id, state, found, why, fix, persist }: Finding): string {
  const lines = [`[${state}] ${id}: ${found}`];
  if (state !== "ok") lines.push(`    why: ${why}`);
  if (fix !== undefined) lines.push(`    fix: ${fix}`);
  if (persist !== undefined) lines.push(`    for good: ${persist}`);
  return lines.join("\n");
}
