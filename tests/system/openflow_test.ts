// SPDX-License-Identifier: Apache-2.0
/** A switch of OpenFlow on the kernel's datapath, between namespaces. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { openSwitch } from "../../openflow/open.ts";
import { answers, makeHosts, ping } from "../support/netns.ts";
import { makeDatapath, systemTest, until } from "./system.ts";

systemTest(
  "openflow: a switch joins hosts, and a flow that comes parts them",
  async () => {
    await using made = await makeDatapath();
    await using net = await makeHosts("of", 2);
    const [a, b] = net.hosts;
    if (!a || !b) throw new Error("no hosts");
    for (const { device } of net.hosts) await made.dp.ports.add({ name: device });
    const errors: string[] = [];
    await using of = await openSwitch(made.dp, {
      onError: (error) => void errors.push(error.message),
    });
    of.flowMod("priority=1,actions=resubmit(,1)");
    of.flowMod("table=1,actions=NORMAL");
    await until(() => answers(a, b.ipv4));
    await ping(b, a.ipv4);
    await ping(a, b.ipv6);
    const stats = await of.run.statistics();
    strictEqual(stats.failures.put_failed, undefined, JSON.stringify(stats.failures));
    ok(stats.flows >= 2, `${stats.flows} flows`);
    strictEqual(
      made.dp.stats().flows,
      stats.flows,
      "the kernel has them as they were made",
    );
    of.flowMod("priority=9,ip,actions=drop");
    await of.run.settled();
    strictEqual(await answers(a, b.ipv4), false);
    ok(await answers(a, b.ipv6), "another EtherType is another flow");
    of.flowMod("priority=9,ip", { command: "deleteStrict" });
    await of.run.settled();
    await until(() => answers(a, b.ipv4));
    deepStrictEqual(errors, []);
  },
);
