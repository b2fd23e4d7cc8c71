// SPDX-License-Identifier: Apache-2.0
/** Of which port, table and flow things are, where lists go on: as in Open vSwitch. */
import { deepStrictEqual } from "node:assert/strict";
import { handedBy } from "../../policy/decision.ts";
import { Peer } from "../../openflow/switch/peer.ts";
import { Switch } from "../../openflow/switch/switch.ts";
import { flowOfKey, layFlow } from "../../openflow/table/packet_flow.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import { readContext } from "../../openflow/translate/context.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import type { Version } from "../../openflow/wire/error.ts";
import { PacketInReason } from "../../openflow/wire/message.ts";
import { Tracker } from "../../policy/packet/tracker.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { encodeKey } from "../../providers/odp/mod.ts";

const dp = {
  name: "d",
  ports: {
    dump: () => Array.from({ length: 22 }, (_, no) => ({ no, name: `p${no}` })),
  },
} as unknown as Datapath;

const key = encodeKey({
  inPort: 1,
  ethernet: { src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" },
  etherType: 0x800,
  ipv4: { src: "10.0.0.1", dst: "10.0.0.2", proto: 1, tos: 0, ttl: 64, frag: "no" },
  icmp: { type: 8, code: 0 },
});

/** Where packets of port 1 go, and what controllers are told: four times, by known ways too. */
function run(...flows: string[]) {
  const of = new Switch(dp, { name: "d", datapathId: 1n, tight: false });
  for (const flow of flows) of.flows.apply(parseFlow(flow), { isOld: false });
  const once = () => {
    const tracker = new Tracker();
    tracker.take(key);
    tracker.begin(Date.now());
    try {
      const way = new Translation(of, flowOfKey(tracker.key, tracker.layout), () => {});
      way.run();
      layFlow(tracker, way.seen, way.seenInner);
      const ports = way.actions.flatMap((one) => one.type === "output" ? [one.port] : []);
      const told = way.actions.flatMap((one) => {
        const bytes = one.type === "userspace" ? one.userdata : undefined;
        const handed = bytes === undefined ? undefined : handedBy(bytes);
        if (handed === undefined || !("userdata" in handed)) return [];
        const { table, cookie, reason } = readContext(handed.userdata);
        return [{ table, cookie, reason }];
      });
      return { ports, told };
    } finally {
      tracker.end();
    }
  };
  const first = once();
  for (let i = 0; i < 3; i++) deepStrictEqual(once(), first);
  return first;
}

Deno.test("openflow: a port to resubmit by is for the lookup only", () => {
  const { ports } = run(
    "table=0,in_port=1,icmp,actions=output:10,resubmit(2),output:19,resubmit(3),output:21",
    "table=0,in_port=2,icmp,actions=output:11,resubmit(,1),output:16,resubmit(2,1),output:18",
    "table=0,in_port=3,icmp,actions=output:20",
    "table=1,in_port=1,icmp,actions=output:12,resubmit(4,1),output:13,resubmit(3,1),output:15",
    "table=1,in_port=2,icmp,actions=output:17,resubmit(,2)",
    "table=1,in_port=3,icmp,actions=output:14,resubmit(,2)",
  );
  deepStrictEqual(ports, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]);
});

Deno.test("openflow: the flow that was met first is so where tables are known together, too", () => {
  const { told } = run(
    "cookie=7,in_port=1,actions=goto_table:1",
    "cookie=8,table=1,actions=goto_table:2",
    "cookie=9,table=2,actions=write_actions(controller)",
  );
  deepStrictEqual(told, [{ table: 0, cookie: 7n, reason: PacketInReason.actionSet }]);
});

Deno.test("openflow: packet-ins of an action set are of the flow that was met first", () => {
  const { told } = run(
    "cookie=7,in_port=1,actions=write_actions(controller),goto_table:1",
    "cookie=8,table=1,actions=controller,goto_table:2",
    "cookie=9,table=2,actions=resubmit(5,3)",
    "cookie=10,table=3,in_port=5,actions=controller",
  );
  deepStrictEqual(told, [
    { table: 1, cookie: 8n, reason: PacketInReason.action },
    { table: 3, cookie: 10n, reason: PacketInReason.action },
    { table: 0, cookie: 7n, reason: PacketInReason.actionSet },
  ]);
});

Deno.test("openflow: before 1.4 packet-ins of sets, groups and packet-outs are those of actions", () => {
  const of = new Switch(dp, { name: "d", datapathId: 1n, tight: false });
  const told = (version: Version, reason: number): number => {
    let count = 0;
    const peer = new Peer(version, false, () => void count++);
    peer.asynchronous = {
      ...peer.asynchronous,
      packetIn: [0, 1 << PacketInReason.action],
    };
    of.join(peer);
    of.packetIn(new Uint8Array(60), {
      ...{ of: of.id, table: 0, cookie: 0n, reason, maxLength: 60, controllerId: 0 },
      ...{ userdata: undefined, meter: undefined, words: [] },
    });
    of.leave(peer);
    return count;
  };
  const { actionSet, group, packetOut, noMatch, action } = PacketInReason;
  for (const reason of [actionSet, group, packetOut]) {
    deepStrictEqual([told(1, reason), told(4, reason), told(5, reason)], [1, 1, 0]);
  }
  deepStrictEqual([told(1, action), told(1, noMatch), told(6, action)], [1, 0, 1]);
});
