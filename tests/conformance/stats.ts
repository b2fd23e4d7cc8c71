// SPDX-License-Identifier: Apache-2.0
/** Counters of the datapath: they balance exactly. */
import assert from "node:assert/strict";
import { udpFrame } from "../support/frames.ts";
import { patience } from "../support/wait.ts";
import type { Suite } from "./environment.ts";

export const statsSuite: Suite = {
  "a new datapath has counted nothing": ({ dp }) => {
    const { hit, missed, lost, flows } = dp.stats();
    assert.deepEqual({ hit, missed, lost, flows }, {
      hit: 0n,
      missed: 0n,
      lost: 0n,
      flows: 0,
    });
  },

  "every lookup is a hit or a miss": async ({ env, dp, ports: [a, b] }) => {
    dp.flows.put({
      key:
        `recirc_id(0),in_port(${a}),eth(),eth_type(0x0800),ipv4(dst=10.1.0.0/255.255.0.0,frag=no)`,
      actions: `${b}`,
    });
    const stream = dp.upcallBatches({ signal: patience() });
    for (let i = 0; i < 30; i++) {
      await env.inject(dp, a, udpFrame({ dst: i % 3 === 0 ? "10.1.2.3" : "10.2.2.3" }));
    }
    let upcalls = 0;
    while (upcalls < 20) upcalls += (await stream.next()).value?.length ?? 0;
    await stream.close();
    await env.settle(dp);
    const { hit, missed, lost } = dp.stats();
    assert.deepEqual({ hit, missed, lost, upcalls }, {
      hit: 10n,
      missed: 20n,
      lost: 0n,
      upcalls: 20,
    });
    assert.equal((await env.collect(dp, b)).length, 10);
  },

  "upcalls that nobody takes are lost, and counted": async ({ env, dp, ports: [a] }) => {
    for (let i = 0; i < 10; i++) await env.inject(dp, a, udpFrame());
    await env.settle(dp);
    const { hit, missed, lost } = dp.stats();
    assert.equal(hit, 0n);
    assert.equal(lost, 10n);
    assert.equal(missed, env.differences.has("lostIsMissedToo") ? 10n : 0n);
  },

  "masks are counted": ({ dp }) => {
    const put = (text: string) =>
      dp.flows.put({
        key: `recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(${text},frag=no)`,
        actions: "2",
      });
    put("dst=10.0.0.1");
    put("dst=10.0.0.2");
    put("dst=10.1.0.0/255.255.0.0");
    const { flows, masks } = dp.stats();
    assert.equal(flows, 3);
    if (masks !== undefined) assert.equal(masks, 2);
  },
};
