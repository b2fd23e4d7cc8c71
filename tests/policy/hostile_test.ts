// SPDX-License-Identifier: Apache-2.0
/**
 * The oracle over policies that lean on state: `HOSTILE_SEEDS=1000 HOSTILE_SEED=1` makes it long.
 */
import { ok } from "node:assert/strict";
import { seeded } from "../../policy/check/random.ts";
import { checkPolicy } from "../../policy/check/check.ts";
import { figure } from "../support/figure.ts";
import { hints, hostilePolicy, HostileState } from "./hostile_policy.ts";

const seeds = Number(Deno.env.get("HOSTILE_SEEDS") ?? 24);
const first = Number(Deno.env.get("HOSTILE_SEED") ?? 1);
const RUNS = 60;

Deno.test("oracle: policies that lean on state have sound flows", () => {
  let [mutants, named, surplus] = [0, 0, 0];
  for (let seed = first; seed < first + seeds; seed++) {
    const random = seeded(seed * 6151);
    const state = new HostileState(random, seed % 4 === 0 ? 120 : 12);
    const policy = hostilePolicy(random, state);
    try {
      const report = checkPolicy(policy, {
        ...{ runs: RUNS, seed, mutants: 48, hints },
        change: (next) => state.change(next),
      });
      mutants += report.mutants;
      named += report.named;
      surplus += report.surplus;
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  figure(`${mutants} packets, ${named} flows ran again, ${surplus} for nothing`);
  ok(mutants > seeds * 1000, `${mutants} packets were tried`);
});
