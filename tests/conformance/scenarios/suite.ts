// SPDX-License-Identifier: Apache-2.0
/**
 * All scenarios, and how they are run.
 *
 * @module
 */
import { figure } from "../../support/figure.ts";
import type { Datapath } from "../../../providers/datapath.ts";
import { alg } from "./alg.ts";
import { basic } from "./basic.ts";
import { errors } from "./errors.ts";
import { fragments } from "./fragments.ts";
import { halfOpen } from "./half_open.ts";
import { nat } from "./nat.ts";
import { type Provider, type Scenario, World } from "./world.ts";

/** All of them. */
export const scenarios: readonly Scenario[] = [
  ...basic,
  ...errors,
  ...fragments,
  ...nat,
  ...halfOpen,
  ...alg,
];

/** Runs them one after the other, on hosts that they share; rejects with all that failed. */
export async function runScenarios(
  dp: Datapath,
  provider: Provider,
  wanted = Deno.env.get("UPCALL_SCENARIO") ?? "",
): Promise<void> {
  await using world = await World.open(dp, provider);
  const failed: string[] = [];
  const without = new Set<string>();
  let passed = 0;
  for (const { name, not, needs, run } of scenarios) {
    if (not?.[provider] !== undefined || !name.includes(wanted)) continue;
    if (needs === "zones" && !world.zones) {
      without.add(needs);
      continue;
    }
    world.reset();
    try {
      await run(world);
      passed++;
    } catch (error) {
      failed.push(`${name}: ${error instanceof Error ? error.stack : error}`);
    }
  }
  const lacks = without.size > 0 ? `, without ${[...without].join(", ")}` : "";
  figure(
    `conntrack scenarios on ${provider}: ${passed} pass, ${failed.length} fail${lacks}`,
  );
  if (failed.length > 0) throw new Error(failed.join("\n\n"));
}
