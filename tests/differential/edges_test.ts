// SPDX-License-Identifier: Apache-2.0
/** The rows of edges.ts, held against Open vSwitch's userspace datapath and this one. */
import assert from "node:assert/strict";
import { startDummy } from "../odp/ovs_dummy.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { ethernet } from "../support/frames.ts";
import { until } from "../support/wait.ts";
import { edges, shown } from "./edges.ts";

/** Comes after a row's frame and leaves by port 4: then all of the row has left. */
const last = ethernet(0x88b5, new Uint8Array(46));
const lastKey = "in_port(1),eth(),eth_type(0x88b5)";

Deno.test(
  "every known difference from Open vSwitch is one, and is as it is said to be",
  skippable(async (t) => {
    await using dummy = await startDummy();
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2", "p3");
    await dummy.call("upcall/set-flow-limit", "0");
    for (const { name, flows, frame, ours, theirs = ours } of edges) {
      await t.step(name, async () => {
        await dummy.call("dpctl/del-flows", "dummy@ovs-dummy");
        dp.flows.flush();
        for (const [key, actions] of [...flows, [lastKey, "4"] as const]) {
          const text = key === lastKey ? key : `in_port(1),${key}`;
          await dummy.call("dpctl/add-flow", "dummy@ovs-dummy", text, actions)
            .catch((error) => assert.deepEqual(theirs, [[], []], `${error}`));
          const [result] = dp.operate([{ op: "put", key: text, actions }]);
          if (result?.ok === false) assert.deepEqual(ours, [[], []], `${result.error}`);
        }
        await dummy.call("netdev-dummy/receive", "p1", frame.toHex());
        await dummy.call("netdev-dummy/receive", "p1", last.toHex());
        await until("the last frame", async () => (await dummy.sent(4))[0]);
        const them = [await dummy.sent(2), await dummy.sent(3)];
        assert.deepEqual(them.map((list) => list.map(shown)), theirs, "Open vSwitch");
        bench.inject(1, frame);
        await bench.settle();
        const us = [collectAll(dp, 2), collectAll(dp, 3)];
        assert.deepEqual(us.map((list) => list.map(shown)), ours, "ours");
      });
    }
  }),
);
