// SPDX-License-Identifier: Apache-2.0
/**
 * Patterns of the tester of os-ken, here and in Open vSwitch: what passes there passes here.
 *
 * Every pattern is run by `TESTER_ALL=1`; otherwise few of those that take a second each.
 * `TESTER_PATTERNS=FOLDER TESTER_VERSION=1.3` runs others, such as Ryu's `tests/switch/of13`.
 */
import { deepStrictEqual } from "node:assert/strict";
import { figure } from "../../support/figure.ts";
import { skippable } from "../../support/skip.ts";
import { type Pattern, patternFiles } from "./patterns.ts";
import { runTester, type TesterOptions, type Verdicts } from "./tester.ts";

const isAll = Deno.env.get("TESTER_ALL") !== undefined;
const given = Deno.env.get("TESTER_PATTERNS");
const version = (Deno.env.get("TESTER_VERSION") ?? "1.3") as TesterOptions["version"];

/** A table miss takes a second: one in twelve is enough for each run. */
function some(patterns: readonly Pattern[]): readonly Pattern[] {
  let count = 0;
  return patterns.filter(({ description }) =>
    isAll || !description.endsWith("another value") || count++ % 12 === 0
  );
}

/** Writes the patterns, or those that `only` names as verdicts do. */
async function writePatterns(folder: string, only?: readonly string[]): Promise<void> {
  for (const [name, patterns] of patternFiles()) {
    const title = `${name}: of our own`;
    const wanted = some(patterns).filter(({ description }) =>
      only === undefined || only.includes(`${title} | ${description}`)
    );
    if (wanted.length === 0) continue;
    await Deno.writeTextFile(
      `${folder}/${name}.json`,
      JSON.stringify([title, ...wanted]),
    );
  }
}

/**
 * The verdicts on patterns that failed, run once more by themselves: the tester waits for a packet
 * for a moment only, and the machine may be busy then.
 */
async function again(names: readonly string[]): Promise<Verdicts> {
  const folder = await Deno.makeTempDir({ prefix: "patterns-" });
  try {
    await writePatterns(folder, names);
    return await runTester({ patterns: folder, version, target: "ours" });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const passed = (verdicts: Verdicts): string[] =>
  [...verdicts].filter(([, why]) => why === undefined).map(([name]) => name);

Deno.test(
  "openflow tester: what passes in Open vSwitch passes here",
  skippable(async () => {
    const folder = await Deno.makeTempDir({ prefix: "patterns-" });
    try {
      if (given === undefined) await writePatterns(folder);
      const options = { patterns: given ?? folder, version };
      // Side by side: most of it is waiting for packets that do not come.
      const [ours, theirs] = await Promise.all([
        runTester({ ...options, target: "ours" }),
        runTester({ ...options, target: "Open vSwitch" }),
      ]);
      deepStrictEqual([...ours.keys()].sort(), [...theirs.keys()].sort());
      const lost = passed(theirs).filter((name) => ours.get(name) !== undefined);
      figure(
        `${ours.size} patterns: ${passed(ours).length} pass here, ` +
          `${passed(theirs).length} in Open vSwitch`,
      );
      const late = lost.length > 0 && given === undefined ? await again(lost) : ours;
      const failed = lost.filter((name) =>
        !late.has(name) || late.get(name) !== undefined
      );
      deepStrictEqual(failed.map((name) => [name, ours.get(name)]), []);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);
