// SPDX-License-Identifier: Apache-2.0
/** The oracle over policies at random: whatever a policy reads, its flows are true. */
import { ok, throws } from "node:assert/strict";
import { seeded } from "../../policy/check/random.ts";
import { checkPolicy } from "../../policy/check/check.ts";
import { PolicyUnsound } from "../../policy/check/outcome.ts";
import { drop, forward } from "../../policy/decision.ts";
import { StateMap } from "../../policy/state/state_map.ts";
import { hintsOf, randomPolicy, State } from "./random_policy.ts";

const seeds = Number(Deno.env.get("POLICY_SEEDS") ?? 60);
const first = Number(Deno.env.get("POLICY_SEED") ?? 1);

Deno.test("oracle: policies at random have sound flows, also when state changes", () => {
  let mutants = 0;
  for (let seed = first; seed < first + seeds; seed++) {
    const random = seeded(seed * 7919);
    const state = new State(random);
    const policy = randomPolicy(random, state);
    try {
      const report = checkPolicy(policy, {
        runs: 60,
        seed,
        mutants: 48,
        hints: hintsOf(seed),
        change: (next) => state.change(next),
      });
      mutants += report.mutants;
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  ok(mutants > seeds * 1000, `${mutants} packets were tried`);
});

Deno.test("oracle: what was taught is as it was when it was taught", () => {
  const seen = new StateMap<string, { turn: number }>({ name: "seen" });
  const scratch = { turn: 0 };
  let calls = 0;
  throws(() =>
    checkPolicy((packet) => {
      // Alike in the two runs of the first packet, and another from then on.
      scratch.turn = calls++ < 2 ? 0 : 1;
      packet.learn(seen, "last", scratch);
      return drop();
    }), PolicyUnsound);
});

Deno.test("oracle: a policy that reads around its packet is found", () => {
  let count = 0;
  const moody = () => forward(++count % 2);
  throws(() => checkPolicy(moody), PolicyUnsound);
  const error = (() => {
    try {
      checkPolicy((packet) => {
        const { tcp } = packet;
        return tcp !== undefined && count++ > 100 ? forward(1) : drop();
      });
    } catch (found) {
      return found as PolicyUnsound;
    }
    return undefined;
  })();
  ok(error?.flow.includes("eth_type"), error?.message);
});
