// SPDX-License-Identifier: Apache-2.0
/**
 * Open vSwitch's scenarios of connection tracking (`tests/conformance/scenarios/`) on the userspace
 * datapath.
 */
import { runScenarios } from "../conformance/scenarios/suite.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needRoot, skippable } from "../support/skip.ts";

Deno.test(
  "netdev: Open vSwitch's scenarios of connection tracking",
  skippable(async () => {
    needRoot("netdev");
    await using bench = await NetdevBench.open();
    await runScenarios(bench.dp, "netdev");
  }),
);
