// SPDX-License-Identifier: Apache-2.0
/** Flows: put by us and by ovs-dpctl, listed by both. */
import {
  deepStrictEqual as deepEqual,
  ok,
  strictEqual as equal,
} from "node:assert/strict";
import { dpctl } from "../../cli/dpctl.ts";
import { type Flow, formatActions, formatKey, type Op, output } from "../../mod.ts";
import { assertTablesComeBack } from "../odp/dumped_flows.ts";
import { run } from "../support/command.ts";
import { makeDatapath, systemTest } from "./system.ts";

/** Flows whose keys and masks are of many kinds. */
const flows: readonly (readonly [key: string, actions: string])[] = [
  ["in_port(1),eth(),eth_type(0x0806),arp()", "2"],
  [
    "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(dst=80),tcp_flags(0/0)",
    "2,3",
  ],
  [
    "in_port(1),eth(),eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,proto=17,tos=0/0x3,frag=no),udp(src=53,dst=0x400/0xfc00)",
    "set(ipv4(ttl=3)),2",
  ],
  ["in_port(2),eth(),eth_type(0x0800),ipv4(proto=1),icmp(type=8,code=0)", "drop"],
  [
    "in_port(2),eth(),eth_type(0x86dd),ipv6(src=fd00::/ffff::,proto=58),icmpv6(type=135,code=0),nd(target=fd00::1)",
    "1",
  ],
  [
    "in_port(3),eth(),eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x0800),ipv4(proto=132),sctp(src=1,dst=2))",
    "pop_vlan,1",
  ],
  [
    "in_port(3),eth(),eth_type(0x8847),mpls(label=96/0xffff0,tc=3/7,ttl=64/0xff,bos=1/1)",
    "2",
  ],
  [
    "recirc_id(5),in_port(3),ct_state(+est+trk),ct_mark(0x1/0xf),eth(),eth_type(0x0800),ipv4()",
    "push_vlan(vid=7,pcp=1),1",
  ],
  [
    "recirc_id(0),in_port(4),eth(),eth_type(0x0800),ipv4()",
    "ct(commit,mark=0x1/0x1),recirc(9)",
  ],
  [
    "recirc_id(9),in_port(4),eth(),eth_type(0x0800),ipv4()",
    "sample(sample=50.0%,actions(2))",
  ],
  [
    "tunnel(tun_id=0x7,src=1.1.1.1,dst=2.2.2.2,ttl=64,flags(-df+csum+key)),in_port(6),eth(),eth_type(0x0800),ipv4()",
    "set(eth(src=02:00:00:00:00:09)),clone(2),userspace(pid=5,userdata(01020304))",
  ],
  [
    "in_port(7),skb_priority(0x10001),skb_mark(0x5),eth(),eth_type(0x88cc)",
    "trunc(100),2",
  ],
];

/** A line of `ovs-dpctl dump-flows`, `-m` if `verbose`. */
function line(flow: Flow, verbose: boolean, ports: ReadonlyMap<number, string>): string {
  const { key, mask, actions, ufid, stats } = flow.raw;
  if (!key || !mask || !actions) throw new Error("a flow that lacks something");
  const options = verbose ? { verbose, ports } : {};
  const parts = [
    ...(verbose && ufid !== undefined ? [`ufid:${ufid}`] : []),
    formatKey({ key, mask }, options),
    `packets:${stats.packets}`,
    `bytes:${stats.bytes}`,
    "used:never",
    ...(verbose ? ["dp:ovs"] : []),
    `actions:${formatActions(actions, options)}`,
  ];
  return parts.join(", ");
}

// Open vSwitch 3.1 does not know the IPv6 extension headers that Linux 5.18 and newer tell of.
const known = (text: string) => text.replaceAll(/,key32\([^)]*\)/g, "");
const lines = (text: string) => text.split("\n").filter((each) => each !== "").toSorted();

systemTest("dump-flows prints our flows as we print them", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const results = dp.operate(
    flows.map(([key, actions]): Op => ({ op: "put", key, actions })),
  );
  for (const [i, result] of results.entries()) {
    if (!result.ok) throw new Error(`${flows[i]}`, { cause: result.error });
  }
  const theirs = lines(
    known(await run("ovs-dpctl", "--no-names", "dump-flows", dp.name)),
  );
  const ours = [...dp.flows.dump()].map((flow) => line(flow, false, new Map()))
    .toSorted();
  equal(ours.length, flows.length);
  deepEqual(ours, theirs);
});

systemTest("flows that ovs-dpctl adds are ours line for line, -m too", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const path = await Deno.makeTempFile({ dir: "/run" });
  // ovs-dpctl makes "drop" an action of its own, which Linux 6.1 does not know.
  const added = flows.filter(([, actions]) => actions !== "drop");
  const text = added.map(([key, actions], i) =>
    `ufid:0000000${i % 8}-0000-0000-0000-${
      i.toString(16).padStart(12, "0")
    },${key} ${actions}\n`
  );
  await Deno.writeTextFile(path, text.join(""));
  await run("ovs-dpctl", "add-flows", dp.name, path);
  const theirs = lines(
    known(await run("ovs-dpctl", "--no-names", "-m", "dump-flows", dp.name)),
  );
  const ours = [...dp.flows.dump()].map((flow) => known(line(flow, true, new Map())))
    .toSorted();
  deepEqual(ours, theirs);
  equal(ours.length, added.length);
  // And what ours says of each finds it again.
  for (const { ufid } of dp.flows.dump({ terse: true })) {
    ok(ufid !== undefined);
    equal(dp.flows.get({ ufid }).ufid, ufid);
    await Promise.resolve(dp.flows.delete({ ufid }));
  }
  equal(dp.stats().flows, 0);
});

systemTest(
  "every flow comes back from the text that dump-flows prints of it",
  async () => {
    await using made = await makeDatapath();
    const { dp } = made;
    await assertTablesComeBack(dp, async (lines) => {
      const text = lines.join("\n");
      let said = "";
      const code = await dpctl(["add-flows", dp.fullName, "-"], {
        print: (more) => void (said += more),
        complain: (more) => void (said += more),
        readText: () => Promise.resolve(text),
      });
      deepEqual([code, said.slice(0, 2000)], [0, ""]);
    }, { random: 300, least: 100 });
  },
);

function manyFlows(count: number): Op[] {
  return Array.from({ length: count }, (_, i): Op => ({
    op: "put",
    key: `recirc_id(${i + 1}),in_port(1),eth(),eth_type(0x0806),arp()`,
    actions: [output(2)],
  }));
}

systemTest(
  "a table of a thousand flows is listed, by readers in turn, and flushed",
  async () => {
    await using made = await makeDatapath();
    const { dp } = made;
    ok(dp.operate(manyFlows(1000)).every((result) => result.ok));
    const seen = new Set<number>();
    const dumps = [
      dp.flows.dump()[Symbol.iterator](),
      dp.flows.dump({ terse: true })[Symbol.iterator](),
    ];
    let count = 0;
    for (let open = dumps; open.length > 0;) {
      open = open.filter((dump) => {
        const next = dump.next();
        if (next.done) return false;
        count++;
        const id = next.value.key?.recircId;
        if (id !== undefined) seen.add(id);
        return true;
      });
    }
    equal(count, 2000);
    equal(seen.size, 1000);
    equal(
      (await run("ovs-dpctl", "dump-flows", dp.name)).trim().split("\n").length,
      1000,
    );
    dp.flows.flush();
    equal([...dp.flows.dump()].length, 0);
  },
);

systemTest("actions that did not fit into a dump are fetched", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  // 4000 outputs are 32000 bytes, as much as the kernel puts into one message of a dump.
  const long = Array.from({ length: 4000 }, (_, i) => output(i % 100));
  const ops = manyFlows(20).map((op, i) =>
    i % 3 === 0 ? { ...op, actions: long } as Op : op
  );
  ok(dp.operate(ops).every((result) => result.ok));
  const lengths = [...dp.flows.dump()].map((flow) => flow.actions?.length).toSorted();
  deepEqual(lengths, [...new Array(13).fill(1), ...new Array(7).fill(4000)]);
});

systemTest("a failure in a batch is that operation's alone", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const ops = manyFlows(600);
  const again = ops.toSpliced(300, 0, ops[5] as Op, {
    op: "put",
    key: Uint8Array.of(8, 0, 99, 0, 0, 0, 0, 0),
    actions: "2",
  });
  const results = dp.operate(again);
  const failures = results.flatMap((result, i) =>
    result.ok ? [] : [[i, result.error.code]]
  );
  deepEqual(failures, [[300, "EEXIST"], [301, "EINVAL"]]);
  equal(dp.stats().flows, 600);
});

systemTest("puts answer counters, and start them anew", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const key = "in_port(0),eth(),eth_type(0x88cc)";
  dp.flows.put({ key, actions: "0" });
  const [put, cleared, gone] = dp.operate([
    { op: "put", key, actions: "", create: false, modify: true, wantStats: true },
    {
      op: "put",
      key,
      actions: "",
      create: false,
      modify: true,
      zeroStats: true,
      wantStats: true,
    },
    { op: "delete", key, wantStats: true },
  ]);
  const none = { packets: 0n, bytes: 0n, tcpFlags: 0 };
  for (const result of [put, cleared, gone]) {
    equal(result?.ok, true);
    if (result?.ok) deepEqual(result.stats, none);
  }
});
