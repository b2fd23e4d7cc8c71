// SPDX-License-Identifier: Apache-2.0
/**
 * Open vSwitch's scenarios of connection tracking (`tests/conformance/scenarios/`) on the kernel's
 * datapath.
 */
import { runScenarios } from "../conformance/scenarios/suite.ts";
import { makeDatapath, systemTest } from "./system.ts";

systemTest("Open vSwitch's scenarios of connection tracking", async () => {
  await using made = await makeDatapath();
  await runScenarios(made.dp, "system");
});
