// SPDX-License-Identifier: Apache-2.0
/**
 * Draws what growth costs as an SVG: a small chart for each curve, its steps on a logarithmic
 * scale.
 *
 * @module
 */

/** A step of growth: the median there, with the lowest and the highest. */
export interface Point {
  readonly at: number;
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** What grows, by name, and what it costs. */
export interface Curve {
  readonly name: string;
  readonly unit: string;
  readonly points: readonly Point[];
}

const columns = 2;
const width = 380;
const height = 190;
const left = 52;
const right = 16;
const top = 34;
const bottom = 40;
const head = 44;

/** `2`, `10k`, `1M`. */
export function short(value: number): string {
  if (value >= 1e6) return `${+(value / 1e6).toFixed(1)}M`;
  if (value >= 1e3) return `${+(value / 1e3).toFixed(1)}k`;
  return `${+value.toFixed(value < 10 ? 1 : 0)}`;
}

/** A round number that is not below `value`. */
function roundUp(value: number): number {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= value) ?? value;
}

function drawCurve({ name, unit, points }: Curve, i: number): string {
  const [x0, y0] = [i % columns * width, head + Math.floor(i / columns) * height];
  const first = points[0]?.at ?? 1;
  const last = points.at(-1)?.at ?? 1;
  const most = roundUp(Math.max(...points.map(({ value }) => value), 1e-9));
  const x = (at: number): string => {
    const share = last === first ? 0 : Math.log(at / first) / Math.log(last / first);
    return (x0 + left + share * (width - left - right)).toFixed(1);
  };
  const y = (value: number): string =>
    (y0 + height - bottom - Math.min(value / most, 1) * (height - top - bottom)).toFixed(
      1,
    );
  // More than eight numbers run into each other.
  const every = Math.ceil(points.length / 8);
  return [
    `<text class="name" x="${x0 + left}" y="${y0 + 18}">${unit}</text>`,
    `<text class="axis" x="${x0 + (left + width - right) / 2}" y="${
      y0 + height - 6
    }">${name}</text>`,
    ...[0, most / 2, most].map((value) =>
      `<path class="grid" d="M${x0 + left} ${y(value)}H${x0 + width - right}"/>` +
      `<text class="value" x="${x0 + left - 6}" y="${Number(y(value)) + 4}">${
        short(value)
      }</text>`
    ),
    ...points.filter((_, k) => k % every === 0).map(({ at }) =>
      `<text class="tick" x="${x(at)}" y="${y0 + height - bottom + 14}">${
        short(at)
      }</text>`
    ),
    ...points.map(({ at, low, high }) =>
      `<path class="spread" d="M${x(at)} ${y(low)}V${y(high)}"/>`
    ),
    `<polyline class="line" points="${
      points.map(({ at, value }) => `${x(at)},${y(value)}`).join(" ")
    }"/>`,
    ...points.map(({ at, value }) =>
      `<circle class="dot" cx="${x(at)}" cy="${y(value)}" r="2.5"><title>${short(at)}: ${
        short(value)
      } ${unit}</title></circle>`
    ),
  ].join("\n");
}

/** An SVG of the curves, with `caption` under its title. */
export function drawCurves(curves: readonly Curve[], caption: string): string {
  const w = columns * width;
  const h = head + Math.ceil(curves.length / columns) * height + 6;
  const plain = caption.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" font-family="system-ui, sans-serif" font-size="11">
<style>
text { fill: #24292f } .title { font-size: 14px; font-weight: bold } .name { font-weight: bold } .value { text-anchor: end; font-size: 10px }
.tick, .axis { text-anchor: middle } .tick { font-size: 10px } .grid { stroke: #d0d7de } .line { fill: none; stroke: #0a7d5a; stroke-width: 2 }
.dot { fill: #0a7d5a } .spread { stroke: #0a7d5a; stroke-opacity: 0.4; stroke-width: 3 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .grid { stroke: #30363d } .line, .spread { stroke: #2fbf8f } .dot { fill: #2fbf8f } }
</style>
<text class="title" x="6" y="18">What growth costs</text>
<text x="6" y="35">Medians, bars from the lowest to the highest. ${plain}</text>
${curves.map(drawCurve).join("\n")}
</svg>
`;
}
