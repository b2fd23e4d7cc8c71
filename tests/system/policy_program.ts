// SPDX-License-Identifier: Apache-2.0
/**
 * A program that is killed: a learning switch on the kernel's datapath whose name it is given, with
 * the flows of the program before it; with `--many` one that has a flow for each pair of stations,
 * of which there may be millions. Says `ready` and what it adopted.
 */
import { policy as learning } from "../../examples/switch.ts";
import { openDatapath } from "../../mod.ts";
import { drop, forward, type Policy, runPolicy } from "../../policy/mod.ts";

const pairs: Policy = ({ ethernet, inPort }) =>
  ethernet?.src === ethernet?.dst ? drop() : forward(3 - inPort);

const [name = "", many] = Deno.args;
const policy = many === "--many" ? pairs : learning;
await using dp = await openDatapath(name);
await using run = await runPolicy(dp, policy, {
  existing: "adopt",
  idleMs: many === "--many" ? 3_600_000 : 60_000,
  flows: { max: 4_000_000, cpu: 1 },
  onError: ({ message, packet, cause }) => console.error(message, packet, cause),
});
await run.settled();
console.log(`ready ${run.stats.failures.stranger_adopted ?? 0}`);
await run.ended;
