// SPDX-License-Identifier: Apache-2.0
/**
 * A program that is killed: a learning switch on the kernel's datapath whose name it is given, with
 * the flows of the program before it. Says `ready` and what it adopted.
 */
import { policy } from "../../examples/switch.ts";
import { openDatapath } from "../../mod.ts";
import { runPolicy } from "../../policy/mod.ts";

const [name = ""] = Deno.args;
await using dp = await openDatapath(name);
await using run = await runPolicy(dp, policy, {
  existing: "adopt",
  idleMs: 60_000,
  onError: ({ message, packet, cause }) => console.error(message, packet, cause),
});
await run.settled();
console.log(`ready ${run.stats.failures.stranger_adopted ?? 0}`);
await run.ended;
