// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { chartRows, drawChart, titles, x } from "./chart.ts";
import { listScenarios, readScenario } from "./scenario.ts";
import type { Series } from "./measure.ts";
import type { Report, ScenarioResult } from "./report.ts";

function result(
  scenario: string,
  ours: number,
  peers: readonly number[],
): ScenarioResult {
  const series = (rate: number): Series => ({ median: rate * 1e6 }) as Series;
  return {
    scenario,
    about: "",
    measure: "forward",
    source: "gen",
    programs: {
      upcall: series(ours),
      ...(peers[0] !== undefined && { ovs: series(peers[0]) }),
      ...(peers[1] !== undefined && { "ovs-smc": series(peers[1]) }),
    },
    failures: {},
    ratio: ours / Math.max(...peers),
  };
}

const report = (...results: ScenarioResult[]): Report =>
  ({ results }) as unknown as Report;

Deno.test("chartRows() takes the better peer, and the last of several reports", () => {
  const rows = chartRows([
    report(result("a", 10, [5, 2]), result("b", 30, [1, 3])),
    report(result("a", 20, [5, 4])),
  ]);
  assert.deepEqual(rows.map(({ name, ours, peer }) => [name, ours, peer]), [
    ["a", 20, 5],
    ["b", 30, 3],
  ]);
});

Deno.test("drawChart() draws a ratio where the scale has it, and says it", () => {
  const rows = chartRows([
    report(result("one-flow", 100, [1]), result("a", 20, [10, 4])),
  ]);
  const svg = drawChart(rows, "machine");
  const [first, second] = [
    ...svg.matchAll(/class="ours" x="(\d+)" y="\d+" width="([\d.]+)"/g),
  ]
    .map(([, left, width]) => Number(left) + Number(width));
  assert.equal(first, x(100));
  assert.equal(second, x(2));
  assert(x(10) - x(1) > 80, "ratios are read off");
  assert(
    Math.abs((x(100) - x(10)) - (x(10) - x(1))) < 0.2,
    "equal steps for equal ratios",
  );
  for (const text of [">100×<", ">2.0×<", ">one flow<", ">100 / 1.0<", ">20 / 10<"]) {
    assert(svg.includes(text), text);
  }
});

Deno.test("every scenario that forwards is named in words", () => {
  for (const name of listScenarios()) {
    const { measure = "forward", attack } = readScenario(name);
    if (measure === "forward" && attack === undefined) assert(titles[name], name);
  }
});
