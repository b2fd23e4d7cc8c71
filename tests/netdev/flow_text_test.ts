// SPDX-License-Identifier: Apache-2.0
/** What dump-flows prints is what add-flow takes; for the kernel's datapath see `tests/system`. */
import assert from "node:assert/strict";
import { assertTablesComeBack, cut } from "../odp/dumped_flows.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

Deno.test(
  "netdev: every flow comes back from the text that dump-flows prints of it",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2", "p3");
    const { dp } = bench;
    await assertTablesComeBack(dp, (lines) => {
      const puts = lines.map((line) => ({ op: "put" as const, ...cut(line) }));
      for (const [i, result] of dp.operate(puts).entries()) {
        if (!result.ok) assert.fail(`${lines[i]}: ${result.error}`);
      }
    }, { random: 1500, least: 2000 });
  }),
);
