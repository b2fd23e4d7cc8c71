// SPDX-License-Identifier: Apache-2.0
/**
 * The table of Open vSwitch's scenarios, `tests/conformance/conntrack_scenarios.md`, from the
 * scenarios themselves:
 *
 *     deno run -A tests/conformance/scenarios/table.ts
 *
 * @module
 */
import { scenarios } from "./suite.ts";
import type { Scenario } from "./world.ts";

/** Where it is. */
export const tablePath: string =
  new URL("../conntrack_scenarios.md", import.meta.url).pathname;

/** Scenarios of Open vSwitch that have no test here. */
export const absent: Readonly<Record<string, string>> = {
  "multiple bridges": "bridges are Open vSwitch's: the datapath below them is one",
  "multiple namespaces, internal ports": "not written yet",
  "multiple zones, local": "not written yet: it is about the local port",
  "multi-stage pipeline, local": "not written yet: it is about the local port",
  "Fragmentation over vxlan": "not written yet",
  "IPv6 Fragmentation over vxlan": "not written yet",
  "SCTP SNAT with port range":
    "SCTP has no ports in `netdev`, as in Open vSwitch 3.1; not written yet for `system`",
};

/** What stands for a provider. */
function cell({ not, needs }: Scenario, provider: "netdev" | "system"): string {
  const why = not?.[provider];
  if (why !== undefined) return `no: ${why}`;
  if (provider === "system" && needs === "zones") return "where the kernel has zones";
  return "yes";
}

/** The text of the table. */
export function tableText(): string {
  const rows = [
    ...scenarios.filter(({ own }) => !own).map((scenario) => [
      scenario.name,
      cell(scenario, "netdev"),
      cell(scenario, "system"),
    ]),
    ...Object.entries(absent).map(([name, why]) => [name, `no: ${why}`, "no"]),
  ].sort(([a = ""], [b = ""]) => a < b ? -1 : 1);
  const widths = [0, 1, 2].map((i) =>
    Math.max(8, ...rows.map((row) => row[i]?.length ?? 0))
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((text, i) => text.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  const count = (i: number) =>
    rows.filter((row) => row[i] !== undefined && !row[i]?.startsWith("no")).length;
  const zoned = rows.filter(([, , text]) => text?.startsWith("where")).length;
  return [
    "# Open vSwitch's scenarios of connection tracking",
    "",
    "Each test `conntrack - NAME` of Open vSwitch's `system-traffic.at`, and whether it is run here between hosts, on the userspace",
    "datapath and on the kernel's. A scenario has the name that it has there; `FTP $1` is six of theirs. What is OpenFlow's of them",
    "(registers, groups, tables) is told by flows of the datapath. `scenarios/table.ts` writes this file, and a test compares it.",
    "",
    `${rows.length} scenarios: ${count(1)} on \`netdev\`, ${
      count(2)
    } on \`system\`, of which ${zoned} need a kernel with zones.`,
    "",
    line(["Scenario", "netdev", "system"]),
    line(widths.map((width) => "-".repeat(width))),
    ...rows.map(line),
    "",
  ].join("\n");
}

if (import.meta.main) await Deno.writeTextFile(tablePath, tableText());
