// SPDX-License-Identifier: Apache-2.0
/**
 * Draws what `bench:peers` measured as an SVG: one row a scenario, the ratio to Open vSwitch as a
 * bar.
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
  /** Open vSwitch built for the processor of the machine. */
  readonly native: number | undefined;
  readonly ours: number;
  readonly ratio: number | undefined;
}

/** Scenarios in words. */
export const titles: Readonly<Record<string, string>> = {
  "one-flow": "one flow",
  "l3-1k": "1,000 connections, one route",
  "l3-10k": "10,000 connections, one route",
  "l3-100k": "100,000 connections, one route",
  "l3-1M": "1,000,000 connections, one route",
  "masks20-10k": "10,000 connections, 20 masks",
  "masks64-10k": "10,000 connections, 64 masks",
  "masks64-1M": "1,000,000 connections, 64 masks",
  "megaflows-18k": "18,816 flows, 64 masks",
  "exact-100k": "100,000 exact flows",
  "rewrite-10k": "addresses, TTL and VLAN changed",
  "ipv6-10k": "10,000 connections of IPv6",
  "vlan-10k": "10,000 connections, VLAN-tagged",
  "mixed": "six kinds of packets at random, IMIX",
  "acl-10k": "10,000 flows of access lists, 100 masks",
  "multi-out": "10,000 connections to 8 ports",
  "explosion-512": "512 masks, no cache helps",
  "vxlan-push-10k": "into a VXLAN tunnel, ready headers",
  "vxlan-set-10k": "into a VXLAN tunnel, set by a flow",
  "vxlan-pop-10k": "out of a VXLAN tunnel",
  "geneve-pop-10k": "out of a Geneve tunnel, one option",
  "ct-udp-10k": "10,000 tracked connections",
  "ct-udp-1M": "1,000,000 tracked connections",
  "ct-tcp-10k": "10,000 tracked connections of TCP",
  "ct-tcp-1M": "1,000,000 tracked connections of TCP",
  "ct-nat-10k": "10,000 translated connections",
  "ct-new": "new connections, one a packet",
};

const width = 820;
const left = 262;
const right = 170;
const top = 92;
const rowHeight = 24;
/** The largest ratio of the scale. */
const most = 2000;

/**
 * The rows of a chart: scenarios that forward or begin connections, where this project has a
 * figure.
 */
export function chartRows(reports: readonly Report[]): Row[] {
  const last = new Map<string, ScenarioResult>();
  for (const { results } of reports) {
    for (const result of results) {
      const isDrawn = result.measure === "forward" || result.measure === "connections";
      if (isDrawn && result.source === "gen") {
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
    return [{
      name: scenario,
      limit: rate("testpmd"),
      peer,
      native: rate("ovs-native"),
      ours,
      ratio,
    }];
  });
}

/** Where a ratio lies, pixels from the left edge; Open vSwitch itself is 1. */
export function x(ratio: number): number {
  const share = Math.log(Math.max(ratio, 1)) / Math.log(most);
  return Math.round((left + Math.min(share, 1) * (width - left - right)) * 10) / 10;
}

/** A ratio in two digits at least: `2.0×`, `33×`. */
function times(ratio: number): string {
  return `${ratio.toFixed(ratio < 10 ? 1 : 0)}×`;
}

/** Millions of packets a second. */
function millions(rate: number): string {
  return rate.toFixed(rate < 1 ? 2 : rate < 10 ? 1 : 0);
}

/** Pixels that the text of a ratio takes, and those between it and what is left of it. */
const ratioWidth = 40;
const gap = 5;

function drawRow({ name, ours, peer, native, limit, ratio }: Row, i: number): string {
  const y = top + i * rowHeight;
  const title = titles[name] ?? name;
  const parts = [`<text class="name" x="${left - 8}" y="${y + 12}">${title}</text>`];
  if (peer === undefined || ratio === undefined) {
    parts.push(`<text x="${left + 4}" y="${y + 12}">${millions(ours)} M/s</text>`);
    return parts.join("\n");
  }
  const end = x(ratio);
  const mark = limit === undefined ? undefined : x(limit / peer);
  const isCrossed = mark !== undefined && mark > end && mark < end + gap + ratioWidth;
  const text = isCrossed ? mark : end;
  const rates = [ours, peer, ...(native === undefined ? [] : [native])].map(millions);
  parts.push(
    `<rect class="ours" x="${left}" y="${y + 2}" width="${
      (end - left).toFixed(1)
    }" height="13" rx="2"/>`,
    `<text class="ratio" x="${(text + gap).toFixed(1)}" y="${y + 13}">${
      times(ratio)
    }</text>`,
    `<text class="figure" x="${width - 6}" y="${y + 12}">${rates.join(" / ")}</text>`,
  );
  if (native !== undefined && native > peer && native < ours) {
    parts.push(`<path class="native" d="M${x(native / peer)} ${y + 2}v13"/>`);
  }
  if (mark !== undefined) parts.push(`<path class="limit" d="M${mark} ${y}v17"/>`);
  return parts.join("\n");
}

/** An SVG of the rows, with `caption` under its title. */
export function drawChart(rows: readonly Row[], caption: string): string {
  const height = top + rows.length * rowHeight + 26;
  const ticks = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].map((ratio) =>
    `<path class="grid" d="M${x(ratio)} ${top - 4}V${height - 22}"/>` +
    `<text class="tick" x="${x(ratio)}" y="${height - 8}">${ratio}×</text>`
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">
<style>
text { fill: #24292f } .name, .figure, .head { text-anchor: end } .ratio { font-weight: bold } .tick { text-anchor: middle; font-size: 10px }
.figure, .head { font-size: 11px } .caption { font-size: 11px } .title { font-size: 14px; font-weight: bold }
.ours { fill: #0a7d5a } .limit { stroke: #c2410c; stroke-width: 2 } .native { stroke: #ffffff; stroke-width: 2 } .grid { stroke: #d0d7de }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ours { fill: #2fbf8f } .grid { stroke: #30363d } }
</style>
<text class="title" x="6" y="18">How many times the packets of Open vSwitch, on one core</text>
<text class="caption" x="6" y="35">1× is the better of Open vSwitch's two settings. Red: testpmd, which forwards without looking.</text>
<text class="caption" x="6" y="49">White: Open vSwitch built for this very processor. The scale is logarithmic.</text>
<text class="caption" x="6" y="63">${caption}</text>
<text class="head" x="${width - 6}" y="${
    top - 6
  }">M packets/s: here / there / built for it</text>
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
