// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { chartRows, drawChart } from "./chart.ts";
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

Deno.test("drawChart() draws longer bars for higher rates", () => {
  const svg = drawChart(chartRows([report(result("a", 100, [1]))]), "machine");
  const widths = [
    ...svg.matchAll(/class="(ours|peer)" x="\d+" y="\d+" width="([\d.]+)"/g),
  ]
    .map(([, kind, width]) => [kind, Number(width)] as const);
  const [ours, peer] = widths;
  assert.equal(ours?.[0], "ours");
  assert.equal(peer?.[0], "peer");
  // A hundred times the rate is two of the scale's decades further.
  const decade = (720 - 120 - 70) / Math.log10(200 / 0.05);
  assert(Math.abs((ours?.[1] ?? 0) - (peer?.[1] ?? 0) - 2 * decade) < 1);
  assert.match(svg, />100×</);
});
