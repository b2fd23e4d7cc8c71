// SPDX-License-Identifier: Apache-2.0
/**
 * The same mods and packets here and at Open vSwitch: error replies, flows, groups, meters, frames,
 * packet-ins, counters.
 *
 * `OPENFLOW_ROUNDS=2000 OPENFLOW_SEED=1` makes it long. With `OPENFLOW_REPORT=FILE` it goes on
 * behind what differs, writes that into the file, and begins behind the last seed that is there.
 */
import { deepStrictEqual } from "node:assert/strict";
import { figure } from "../../support/figure.ts";
import { skippable } from "../../support/skip.ts";
import { compareRound } from "./compare.ts";
import { roundOf } from "./rounds.ts";
import { startOurs, startTheirs } from "./sides.ts";

const rounds = Number(Deno.env.get("OPENFLOW_ROUNDS") ?? 4);
const first = Number(Deno.env.get("OPENFLOW_SEED") ?? 1);
const report = Deno.env.get("OPENFLOW_REPORT");

/** Where a report says that a campaign is to begin. */
async function seedOf(path: string): Promise<number> {
  const text = await Deno.readTextFile(path).catch(() => "");
  const last = [...text.matchAll(/^seed (\d+) done/gm)].at(-1)?.[1];
  return last === undefined ? first : Number(last) + 1;
}

Deno.test(
  "openflow campaign: mods and packets have the outcome that they have in Open vSwitch",
  skippable(async () => {
    await using theirs = await startTheirs();
    await using ours = await startOurs();
    const begin = report === undefined ? first : await seedOf(report);
    let cases = 0;
    for (let seed = begin; seed < begin + rounds; seed++) {
      const round = roundOf(seed);
      const compared = await compareRound(round, [ours, theirs]);
      cases += compared.cases;
      const text = compared.mismatches.join("\n\n");
      if (report === undefined) {
        deepStrictEqual(text, "", `seed ${seed}:\n${round.texts.join("\n")}\n${text}`);
      } else {
        const what = text === "" ? "" : `seed ${seed}, 1.${round.version - 1}\n${text}\n`;
        const done = `seed ${seed} done: ${compared.cases} cases\n`;
        await Deno.writeTextFile(report, what + done, { append: true });
      }
    }
    figure(`${cases} cases in ${rounds} rounds from ${begin} on`);
  }),
);
