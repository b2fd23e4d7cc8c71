// SPDX-License-Identifier: Apache-2.0
/**
 * Waiting for a switch to have dealt with what came.
 *
 * @module
 */
import type { OpenFlowSwitch } from "../../openflow/open.ts";
import { type Lab, until } from "../../testing/mod.ts";

/** Resolves when what was put into a lab was forwarded, and what missed has been decided. */
export async function handled(lab: Lab, of: OpenFlowSwitch): Promise<void> {
  await lab.settle();
  await until(
    "misses to be decided",
    () => BigInt(of.run.stats.upcalls) >= BigInt(lab.dp.stats().missed),
  );
  await of.run.settled();
}
