// SPDX-License-Identifier: Apache-2.0
/** Commands about tunnels against ovs-vswitchd's: the same session, the same answers. */
import assert from "node:assert/strict";
import { serve } from "../../control/serve.ts";
import { control } from "../../control/socket.ts";
import { parsePrefix } from "../../control/tunnel_commands.ts";
import { startDummy } from "../odp/ovs_dummy.ts";
import { openNetdev } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

/** A session: commands of ovs-appctl in order. */
const session: readonly string[] = [
  "ovs/route/add 1.1.2.0/24 br0",
  "netdev-dummy/ip4addr br0 1.1.2.88/24",
  "netdev-dummy/ip4addr br0 1.1.2",
  "netdev-dummy/ip6addr br0 2001:cafe::88/24",
  "netdev-dummy/ip4addr nothere 1.1.2.88/24",
  "ovs/route/add 1.1.2.0/24 br0",
  "ovs/route/add 1.1.2.92/24 br0",
  "ovs/route/add 2.2.2.0/24 br0 1.1.2.92",
  "ovs/route/add 2.2.3.0/24 br0 1.1.2.92 pkt_mark=5",
  "ovs/route/add 2.2.4.0/255.255.252.0 br0 1.1.2.93",
  "ovs/route/add 2.2.9.9 br0 1.1.2.94",
  "ovs/route/add 2001:cafe::/64 br0",
  "ovs/route/add 2001:db8::/32 br0 2001:cafe::92",
  "ovs/route/add 2001:db8::/32 br0 pkt_mark=7",
  "ovs/route/add 3.3.3.0/24 br0",
  "ovs/route/add 3.3.3.0/24 nothere 1.1.2.92",
  "ovs/route/add 3.3.3.0/24 br0 nonsense",
  "ovs/route/add 3.3.3.0/24 br0 1.1.2.92 nonsense",
  "ovs/route/add 2001:db9::/32 br0 nonsense",
  "ovs/route/add nonsense br0",
  "ovs/route/add 3.3.3.0/33 br0",
  "ovs/route/add",
  "ovs/route/show",
  "ovs/route/lookup 1.1.2.92",
  "ovs/route/lookup 2.2.2.1",
  "ovs/route/lookup 2.2.3.1 pkt_mark=5",
  "ovs/route/lookup 2.2.9.9",
  "ovs/route/lookup 2.2.7.255",
  "ovs/route/lookup 2001:cafe::5",
  "ovs/route/lookup 2001:db8::5",
  "ovs/route/lookup 1.1.2.0/24",
  "ovs/route/lookup nonsense",
  "ovs/route/lookup 1.1.2.92 nonsense",
  "ovs/route/del 2.2.2.0/24",
  "ovs/route/del 2.2.2.0/24",
  "ovs/route/del 2.2.3.0/24",
  "ovs/route/del 2.2.3.0/24 pkt_mark=5",
  "ovs/route/del 2.2.3.0/24 nonsense",
  "ovs/route/del nonsense",
  "ovs/route/show",
  "tnl/neigh/show",
  "tnl/neigh/set br0 1.1.2.92 f8:bc:12:44:34:b6",
  "tnl/arp/set br0 1.1.2.93 f8:bc:12:44:34:b7",
  "tnl/arp/set br0 2001:cafe::92 f8:bc:12:44:34:b8",
  "tnl/arp/set other 1.1.2.94 f8:bc:12:44:34:b9",
  "tnl/arp/set br0 1.1.2.92 f8:bc:12:44:34:c6",
  "tnl/neigh/set br0 1.1.2.92 nonsense",
  "tnl/neigh/set br0 nonsense f8:bc:12:44:34:b6",
  "tnl/neigh/set br0",
  "tnl/neigh/show",
  "tnl/arp/show",
  "tnl/neigh/aging",
  "tnl/neigh/aging 20",
  "tnl/arp/aging",
  "tnl/arp/aging 0",
  "tnl/arp/aging 3601",
  "tnl/arp/aging nonsense",
  "tnl/neigh/flush",
  "tnl/arp/show",
  "tnl/ports/show",
  "tnl/egress_port_range",
  "tnl/egress_port_range 40000 35000",
  "tnl/egress_port_range",
  "tnl/egress_port_range 0 35000",
  "tnl/egress_port_range 1 70000",
];

/** An answer without what Linux's own routes and neighbours make of it; lists are in any order. */
function plain(text: string): string {
  return text.trimEnd().split("\n").filter((line) => !line.startsWith("Cached:"))
    .sort().join("\n").replaceAll("ovs-vswitchd: ", "").replaceAll("upcall: ", "");
}

Deno.test(
  "tunnels: a session of ovs-appctl gets ovs-vswitchd's answers",
  skippable(async () => {
    await using theirs = await startDummy();
    await using dp = await openNetdev("br0");
    const folder = await Deno.makeTempDir();
    try {
      await using served = await serve(dp, { path: `${folder}/dp.ctl` });
      const different: string[] = [];
      for (const line of session) {
        const [method = "", ...params] = line.split(" ");
        const failure = (error: Error) => `error: ${error.message}`;
        const theirAnswer = await theirs.call(method, ...params).catch(failure);
        const want = plain(theirAnswer.replace(`error: ${method}: `, "error: "));
        const have = plain(await control(served.path, method, params).catch(failure));
        if (want !== have) {
          different.push(`${line}\n  theirs: ${want}\n  ours:   ${have}`);
        }
      }
      assert.equal(different.join("\n"), "");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

Deno.test("tunnels: prefixes as text", () => {
  const cases: readonly (readonly [text: string, address?: string, length?: number])[] = [
    ["10.0.0.1", "10.0.0.1", 32],
    ["10.0.0.1/8", "10.0.0.1", 8],
    ["10.0.0.1/255.255.0.0", "10.0.0.1", 16],
    ["10.0.0.1/0.0.0.0", "10.0.0.1", 0],
    ["10.0.0.1/255.0.255.0"],
    ["10.0.0.1/33"],
    ["10.0.0.1/"],
    ["10.0.0"],
    ["fd00::1", "fd00::1", 128],
    ["fd00::1/64", "fd00::1", 64],
    ["fd00::1/129"],
    ["fd00::1/255.0.0.0"],
    [""],
  ];
  for (const [text, address, length] of cases) {
    assert.deepEqual(parsePrefix(text), address && { address, length }, text);
  }
});
