// SPDX-License-Identifier: Apache-2.0
/**
 * TCP connections that one side has lost (RFC 9293, 3.5.1).
 *
 * @module
 */
import assert from "node:assert/strict";
import { until } from "../../support/wait.ts";
import { firewall } from "./basic.ts";
import { snat } from "./nat.ts";
import { address, keyOf, type Scenario } from "./world.ts";

export const halfOpen: readonly Scenario[] = [
  {
    name: "SNAT to a port whose server missed the end",
    own: true,
    async run(world) {
      snat(world, `${address(4, 109)}:34567`);
      const { a } = world;
      await a.do("hold", { to: address(4, 2), port: 80 });
      // The connection is forgotten here and lives on there: the next one looks like a part of it.
      world.conntrack.flush();
      assert.equal((await world.tcp()).port, 34567);
    },
  },
  {
    name: "a client that crashed connects again",
    own: true,
    async run(world) {
      firewall(world);
      const held = await world.a.do("hold", {
        to: address(4, 2),
        port: 80,
        source: 4001,
      });
      // Nobody hears of the crash: the server and the datapath take the connection for alive.
      const out = "1 ip r=1 -inv+trk";
      world.dp.flows.delete({ key: keyOf(out) });
      await world.a.do("crash", { which: held.size });
      await until("the reset to be lost", () => world.hits("1 ip") > 0);
      world.flows(`${out} -> 2`);
      assert.equal((await world.tcp({ source: 4001 })).local, 4001);
    },
  },
];
