// SPDX-License-Identifier: Apache-2.0
/** How a flow is named: by a key that it covers, by its key where it has an identifier, by that. */
import assert from "node:assert/strict";
import { formatActions } from "../../providers/odp/mod.ts";
import { arpFrame } from "../support/frames.ts";
import { fails } from "./assert.ts";
import type { Suite } from "./environment.ts";

const ipv4 = (src: string, mask: string): string =>
  "recirc_id(0),in_port(1),eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02)," +
  `eth_type(0x0800),ipv4(src=${src}/${mask},frag=no)`;
const own = ipv4("10.1.1.1", "255.0.0.0");
const covered = ipv4("10.2.2.2", "255.255.255.255");
const foreign = ipv4("11.1.1.1", "255.255.255.255");
const ufid = "00000000-0000-0000-0000-000000000001";

export const referenceSuite: Suite = {
  "get, delete and modify find the flow that covers a key": async ({ dp }) => {
    for (const named of [undefined, ufid]) {
      dp.flows.put({ key: own, actions: "2", ...(named && { ufid: named }) });
      for (const key of [own, covered]) {
        assert.equal(formatActions(dp.flows.get({ key }).actions ?? []), "2");
      }
      dp.flows.put({ key: covered, actions: "3", modify: true });
      dp.flows.put({ key: covered, actions: "3", modify: true, create: false });
      assert.equal(dp.stats().flows, 1);
      assert.equal(formatActions(dp.flows.get({ key: own }).actions ?? []), "3");
      await fails(() => dp.flows.get({ key: foreign }), "ENOENT");
      await fails(() => dp.flows.delete({ key: foreign }), "ENOENT");
      const change = { key: foreign, actions: "3", modify: true, create: false };
      await fails(() => dp.flows.put(change), "ENOENT");
      dp.flows.delete({ key: covered });
      assert.equal(dp.stats().flows, 0);
    }
  },

  "a batch may name flows by keys that they cover": ({ dp }) => {
    dp.flows.put({ key: own, actions: "2" });
    dp.flows.put({ key: ipv4("12.0.0.1", "255.0.0.0"), actions: "2", ufid });
    const results = dp.operate([
      { op: "get", key: covered },
      { op: "delete", key: ipv4("12.9.9.9", "255.255.255.255") },
      { op: "get", key: foreign },
      { op: "delete", key: covered },
    ]);
    assert.deepEqual(results.map((result) => result.ok || result.error.code), [
      true,
      true,
      "ENOENT",
      true,
    ]);
    assert.equal(dp.stats().flows, 0);
  },

  "counting starts anew with modify, whether create is given or not": async (
    { env, dp, ports: [a, b] },
  ) => {
    const key = `recirc_id(0),in_port(${a}),eth(),eth_type(0x0806),arp()`;
    for (const create of [undefined, true, false]) {
      dp.flows.put({ key, actions: `${b}`, modify: true });
      await env.inject(dp, a, arpFrame());
      await env.settle(dp);
      const before = dp.flows.get({ key }).stats.packets;
      assert.ok(before > 0n);
      const stats = dp.flows.put({
        key,
        actions: `${b}`,
        modify: true,
        zeroStats: true,
        wantStats: true,
        ...(create !== undefined && { create }),
      });
      assert.equal(stats?.packets, before, "what it had counted before");
      assert.equal(dp.flows.get({ key }).stats.packets, 0n);
      // Without the wish it goes on counting.
      await env.inject(dp, a, arpFrame());
      await env.settle(dp);
      dp.flows.put({ key, actions: `${b}`, modify: true });
      assert.equal(dp.flows.get({ key }).stats.packets, 1n);
    }
    dp.flows.flush();
    dp.flows.put({ key, actions: `${b}`, modify: true, zeroStats: true });
    assert.equal(dp.stats().flows, 1, "added where there was none");
  },
};
