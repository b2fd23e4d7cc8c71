// SPDX-License-Identifier: Apache-2.0
/**
 * Draws what `bench:peers` measured as an SVG: one row a scenario, a logarithmic scale.
 *
 *     deno task bench:peers --json peers.json
 *     deno run -A tests/bench/chart.ts peers.svg peers.json…
 *
 * Several reports are drawn as one; a scenario in more than one of them is taken from the last.
 *
 * @module
 */
import type { Report, ScenarioResult } from "./report.ts";
import { helpIfAsked } from "./usage.ts";

/** One bar or mark of a row, millions of packets a second. */
interface Row {
  readonly name: string;
  readonly limit: number | undefined;
  readonly peer: number | undefined;
  readonly ours: number;
  readonly ratio: number | undefined;
}

const width = 720;
const left = 120;
const right = 70;
const top = 58;
const rowHeight = 34;
const least = 0.05;
const most = 200;

/** The rows of a chart: scenarios that forward, where this project has a figure. */
export function chartRows(reports: readonly Report[]): Row[] {
  const last = new Map<string, ScenarioResult>();
  for (const { results } of reports) {
    for (const result of results) {
      if (result.measure === "forward" && result.source === "gen") {
        last.set(result.scenario, result);
      }
    }
  }
  return [...last.values()].flatMap(({ scenario, programs, ratio }) => {
    const rate = (name: keyof typeof programs): number | undefined => {
      const series = programs[name];
      return series === undefined ? undefined : series.median / 1e6;
    };
    const ours = rate("upcall");
    if (ours === undefined) return [];
    const peers = [rate("ovs"), rate("ovs-smc")].filter((value) => value !== undefined);
    const peer = peers.length === 0 ? undefined : Math.max(...peers);
    return [{ name: scenario, limit: rate("testpmd"), peer, ours, ratio }];
  });
}

/** Where a rate lies, pixels from the left edge. */
function x(rate: number): number {
  const share = Math.log(Math.max(rate, least) / least) / Math.log(most / least);
  return Math.round((left + share * (width - left - right)) * 10) / 10;
}

function bar(at: number, rate: number, kind: "ours" | "peer"): string {
  return `<rect class="${kind}" x="${left}" y="${at}" width="${
    (x(rate) - left).toFixed(1)
  }" height="11" rx="2"/>`;
}

function drawRow(row: Row, i: number): string {
  const y = top + i * rowHeight;
  const label = (rate: number, at: number): string =>
    `<text class="figure" x="${x(rate) + 4}" y="${at}">${
      rate.toFixed(rate < 10 ? 2 : 0)
    }</text>`;
  return [
    `<text class="name" x="${left - 8}" y="${y + 16}">${row.name}</text>`,
    bar(y, row.ours, "ours"),
    label(row.ours, y + 9),
    ...(row.peer === undefined
      ? []
      : [bar(y + 12, row.peer, "peer"), label(row.peer, y + 21)]),
    ...(row.limit === undefined
      ? []
      : [`<path class="limit" d="M${x(row.limit)} ${y - 1}v25"/>`]),
    ...(row.ratio === undefined ? [] : [
      `<text class="ratio" x="${width - 6}" y="${y + 16}">${
        row.ratio.toFixed(row.ratio < 10 ? 1 : 0)
      }×</text>`,
    ]),
  ].join("\n");
}

/** An SVG of the rows, with `caption` under its title. */
export function drawChart(rows: readonly Row[], caption: string): string {
  const height = top + rows.length * rowHeight + 26;
  const ticks = [0.1, 1, 10, 100].map((rate) =>
    `<path class="grid" d="M${x(rate)} ${top - 8}V${height - 22}"/>` +
    `<text class="tick" x="${x(rate)}" y="${height - 8}">${rate}</text>`
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">
<style>
text { fill: #24292f } .name, .ratio { text-anchor: end } .ratio { font-weight: bold } .tick { text-anchor: middle; font-size: 10px }
.figure { font-size: 10px } .caption { font-size: 10px } .title { font-size: 14px; font-weight: bold }
.ours { fill: #0a7d5a } .peer { fill: #b0b7bf } .limit { stroke: #c2410c; stroke-width: 2 } .grid { stroke: #d0d7de }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ours { fill: #2fbf8f } .peer { fill: #6e7681 } .grid { stroke: #30363d } }
</style>
<text class="title" x="6" y="18">Million packets a second on one core (logarithmic)</text>
<text class="caption" x="6" y="34">Green: Upcall. Grey: the better of Open vSwitch's two settings. Red: testpmd, which only forwards. Right: how many times faster.</text>
<text class="caption" x="6" y="47">${caption}</text>
${ticks.join("\n")}
${rows.map(drawRow).join("\n")}
</svg>
`;
}

function captionOf({ machine }: Report): string {
  const text = `${machine.cpu}, ${machine.cores} cores; DPDK ${machine.dpdk}; ` +
    `${machine.openvswitch}; ${machine.date.slice(0, 10)}`;
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

if (import.meta.main) {
  helpIfAsked(import.meta.url);
  const [target, ...files] = Deno.args;
  const reports = files.map((file) => JSON.parse(Deno.readTextFileSync(file)) as Report);
  const [newest] = reports.slice(-1);
  if (target === undefined || newest === undefined) {
    console.error("usage: chart.ts CHART.svg REPORT.json…");
    Deno.exit(2);
  }
  Deno.writeTextFileSync(target, drawChart(chartRows(reports), captionOf(newest)));
}
