// SPDX-License-Identifier: Apache-2.0
/**
 * Figures in prose are those that are committed in `tests/bench/figures`: whoever commits others is
 * told here what to write.
 */
import assert from "node:assert/strict";
import type { Report, ScenarioResult } from "../bench/report.ts";
import { root } from "../support/tree.ts";
import { pages } from "./pages.ts";

const folder = `${root}tests/bench/figures/`;

/** Files of figures by name, the oldest first. */
const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

const read = (path: string): string => Deno.readTextFileSync(root + path);

/** Results of `bench:peers` by scenario, of a later file in the place of an earlier one's. */
const peers = new Map<string, ScenarioResult>();
for (const name of names.filter((one) => /^\d{4}-\d\d-\d\d/.test(one))) {
  const { results } = JSON.parse(Deno.readTextFileSync(folder + name)) as Report;
  for (const result of results) peers.set(result.scenario, result);
}

/** The better median of Open vSwitch's two settings, or what `of` says of them. */
function theirs(
  { programs }: ScenarioResult,
  of: (series: NonNullable<ScenarioResult["programs"]["ovs"]>) => number,
): number {
  const both = [programs["ovs"], programs["ovs-smc"]].filter((one) => one !== undefined);
  return Math.max(...both.map(of));
}

const percent = (share: number): string => `${Math.round(Math.min(1, share) * 100)} %`;

function assertSays(page: string, words: string, what: string): void {
  // Where a line ends is the formatter's affair.
  const text = read(page).replaceAll(/\s+/g, " ");
  assert.ok(text.includes(words), `${page} should say of ${what}: ${words}`);
}

Deno.test("the attack table of README has the committed figures", () => {
  const table = read("README.md").split("\n").filter((line) =>
    line.startsWith("| `attack-")
  );
  const attacks = [...peers.values()].filter(({ measure }) => measure === "attack");
  assert.equal(table.length, attacks.length);
  for (const result of attacks) {
    const row = table.find((line) => line.startsWith(`| \`${result.scenario}\`:`));
    const cells = row?.split("|").map((cell) => cell.trim());
    const kept = (series: { readonly kept?: number }): number => series.kept ?? NaN;
    const ours = result.programs["upcall"];
    assert.ok(ours !== undefined);
    assert.deepEqual(
      cells?.slice(2, 4),
      [percent(kept(ours)), percent(theirs(result, kept))],
      result.scenario,
    );
  }
});

Deno.test("set-ups are told as they were measured", () => {
  const result = peers.get("upcall");
  const ours = result?.programs["upcall"];
  assert.ok(result !== undefined && ours !== undefined);
  const words = [
    ...["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    ...["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"],
  ];
  const times = words[Math.round(ours.median / theirs(result, ({ median }) => median))];
  const thousands = Math.round(ours.median / 1e3).toLocaleString("en");
  const rate = `${thousands},000 of them a second`;
  assertSays("README.md", rate, "set-ups");
  assertSays("README.md", `${times} times what Open vSwitch sets up`, "set-ups");
});

Deno.test("rates of small packets are told as they were measured", () => {
  const small = [...peers.values()].filter(({ measure, scenario, source }) =>
    measure === "forward" && source === "gen" && scenario !== "mixed"
  );
  const range = (values: readonly number[], digits: number): string => {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return `${(least / 1e6).toFixed(digits)} to ${Math.round(most / 1e6)} million`;
  };
  const ours = range(small.map(({ programs }) => programs["upcall"]?.median ?? NaN), 0);
  const others = range(
    small.map((result) => theirs(result, ({ median }) => median)),
    1,
  );
  assertSays("docs/comparison.md", `| ${ours} ([figures]`, "packets a second");
  assertSays("docs/comparison.md", `| ${others} (same machine)`, "Open vSwitch");
  assertSays("docs/tuning.md", `One thread forwards ${ours} small packets`, "a thread");
});

interface IperfReport {
  readonly runs: Readonly<
    Record<string, readonly { readonly bitsPerSecond: number; readonly rttUs: number }[]>
  >;
}

Deno.test("TCP between hosts is told as it was measured", () => {
  const [name = ""] = names.filter((one) => one.startsWith("iperf-")).slice(-1);
  const { runs } = JSON.parse(Deno.readTextFileSync(folder + name)) as IperfReport;
  const rows = {
    "Linux bridge": "bridge",
    "this, `system` ports": "upcall",
    "Open vSwitch in user space, `userspace-tso-enable=true`": "ovs-tso",
    "Open vSwitch in user space, as it comes": "ovs",
  };
  const lines = read("README.md").split("\n");
  for (const [label, key] of Object.entries(rows)) {
    const run = runs[key] ?? [];
    assert.ok(run.length > 0, key);
    const rates = run.map(({ bitsPerSecond }) => bitsPerSecond / 1e9).sort((a, b) =>
      a - b
    );
    const middle = Math.floor(run.length / 2);
    const rtts = run.map(({ rttUs }) => rttUs).sort((a, b) => a - b);
    const figures = rates.map((rate) => rate.toFixed(1));
    const rate = rates.at(-1) === 0
      ? "0.00"
      : `${figures[middle]} (${figures[0]} to ${figures.at(-1)})`;
    const cells = lines.find((line) => line.startsWith(`| ${label} `))?.split("|")
      .map((cell) => cell.trim());
    assert.deepEqual(cells?.slice(2, 4), [rate, `${rtts[middle]}`], label);
  }
});

Deno.test("the chart of README is drawn from the committed figures", () => {
  const svg = read("tests/bench/peers.svg");
  for (const { scenario, measure, ratio = NaN, source } of peers.values()) {
    if (source !== "gen" || !["forward", "connections"].includes(measure)) continue;
    const text = `${ratio < 10 ? ratio.toFixed(1) : Math.round(ratio)}×`;
    assert.ok(svg.includes(`>${text}<`), `${scenario}: ${text}`);
  }
});

Deno.test("pages tell the lengths of examples as they are", () => {
  let count = 0;
  for (const page of pages()) {
    for (
      const [, lines, path = ""] of read(page).matchAll(
        /\[(\d+) lines\]\(\.\.\/([^)]+)\)/g,
      )
    ) {
      assert.equal(Number(lines), read(path).trimEnd().split("\n").length, path);
      count++;
    }
  }
  assert.ok(count > 0);
});
