// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { type Curve, drawCurves, short } from "./growth_chart.ts";

const steps = [1, 10, 100];
const curve: Curve = {
  name: "flows",
  unit: "cycles",
  points: steps.map((at, i) => ({ at, value: 20 + i, low: 19, high: 30 })),
};

Deno.test("a curve has a dot for each step, in order, inside of its chart", () => {
  const svg = drawCurves([curve, curve, curve], "a < b");
  const dots = [...svg.matchAll(/<circle class="dot" cx="([\d.]+)" cy="([\d.]+)"/g)]
    .map(([, x, y]) => [Number(x), Number(y)] as const);
  assert.equal(dots.length, 9);
  const [first = [0, 0], second = [0, 0], third = [0, 0]] = dots;
  assert.ok(first[0] < second[0] && second[0] < third[0], "further right");
  assert.ok(first[1] > second[1] && second[1] > third[1], "higher up");
  // Decades are as far from each other as any others.
  assert.ok(Math.abs(third[0] - 2 * second[0] + first[0]) < 0.2);
  const [, w, h] = /width="(\d+)" height="(\d+)"/.exec(svg) ?? [];
  for (const [x, y] of dots) assert.ok(x > 0 && x < Number(w) && y > 0 && y < Number(h));
  assert.match(svg, /a &lt; b/);
  assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
});

Deno.test("a curve of one step, or of none, is drawn too", () => {
  const points = curve.points.slice(0, 1);
  const svg = drawCurves([{ ...curve, points }, { ...curve, points: [] }], "");
  assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
});

Deno.test("steps are short", () => {
  const texts = [1, 2.5, 999, 1000, 1536, 100_000, 10_000_000].map(short);
  assert.deepEqual(texts, ["1", "2.5", "999", "1k", "1.5k", "100k", "10M"]);
});
