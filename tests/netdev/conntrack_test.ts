// SPDX-License-Identifier: Apache-2.0
/**
 * Connection tracking of the userspace datapath: what flows see of it, and what it does to packets.
 */
import assert from "node:assert/strict";
import type { PortNo } from "../../providers/ids.ts";
import { formatKey } from "../../providers/odp/mod.ts";
import {
  bytes,
  ip4,
  tcpFrame,
  transportChecksumIsRight,
  udpFrame,
} from "../support/frames.ts";
import { openableDatapaths } from "../../control/datapath_source.ts";
import { type Flags, noFlags } from "../../control/verbs/verb.ts";
import { runVerb } from "../../control/verbs/verbs.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

const ip = "eth(),eth_type(0x0800),ipv4(frag=no)";
const a = { src: "10.1.1.1", dst: "10.1.1.2", srcPort: 1000, dstPort: 53 };
const b = { src: "10.1.1.2", dst: "10.1.1.1", srcPort: 53, dstPort: 1000 };

/** Two hosts at ports 1 and 2, a port 3 for what is new; `from1` and `from2` track. */
async function open(from1: string, from2: string): Promise<NetdevBench> {
  const bench = await NetdevBench.open();
  await bench.ports("p1", "p2", "p3");
  const flow = (match: string, actions: string) =>
    bench.dp.flows.put({ key: match, actions });
  flow(`recirc_id(0),in_port(1),${ip}`, `${from1},recirc(1)`);
  flow(`recirc_id(0),in_port(2),${ip}`, `${from2},recirc(1)`);
  return bench;
}

/** What ports 1 to 3 sent. */
async function sent(bench: NetdevBench): Promise<number[]> {
  await bench.settle();
  const counts: number[] = [];
  for (const port of [1, 2, 3]) counts.push((await bench.collect(port as PortNo)).length);
  return counts;
}

Deno.test(
  "netdev conntrack: flows choose by ct_state, ct_zone, ct_mark, ct_label and the original tuple",
  skippable(async () => {
    await using bench = await open(
      "ct(commit,zone=5,mark=0x12/0xff,label=0x7/0xf)",
      "ct(zone=5)",
    );
    const { dp } = bench;
    const after = (more: string, port: number, actions: string) =>
      dp.flows.put({
        key: `${more},recirc_id(1),in_port(${port}),${ip}`,
        actions,
      });
    after("ct_state(+new-est+trk)", 1, "3");
    after("ct_state(-new+est+trk),ct_zone(0x5),ct_mark(0x12/0xff)", 1, "2");
    after(
      "ct_state(+est+rpl+trk),ct_label(0x7),ct_tuple4(src=10.1.1.1,dst=10.1.1.2,proto=17,tp_src=1000,tp_dst=53)",
      2,
      "1",
    );
    bench.inject(1 as PortNo, udpFrame(a));
    bench.inject(1 as PortNo, udpFrame(a));
    assert.deepEqual(await sent(bench), [0, 0, 2], "new until it is answered");
    bench.inject(2 as PortNo, udpFrame(b));
    assert.deepEqual(await sent(bench), [1, 0, 0], "an answer");
    bench.inject(1 as PortNo, udpFrame(a));
    assert.deepEqual(await sent(bench), [0, 1, 0], "established");
  }),
);

Deno.test(
  "netdev conntrack: an upcall tells what was tracked, and its packet can be sent on",
  skippable(async () => {
    await using bench = await open("ct(commit,zone=7,mark=0x9)", "ct(zone=7)");
    const { dp } = bench;
    const keys: string[] = [];
    const stop = new AbortController();
    const loop = (async () => {
      for await (const upcall of dp.upcalls({ signal: stop.signal })) {
        keys.push(formatKey({ key: upcall.key }));
        dp.execute({ packet: upcall.packet, key: upcall.key, actions: "3" });
        if (keys.length === 3) stop.abort();
      }
    })();
    bench.inject(1 as PortNo, udpFrame(a));
    await bench.settle();
    bench.inject(2 as PortNo, udpFrame(b));
    await bench.settle();
    const bad = udpFrame(a);
    bad[44] = (bad[44] ?? 0) ^ 1; // Its checksum is wrong now.
    bench.inject(1 as PortNo, bad);
    await loop.catch(() => {});
    const [first, second, third] = keys;
    const tuple = "ct_tuple4(src=10.1.1.1,dst=10.1.1.2,proto=17,tp_src=1000,tp_dst=53)";
    assert.match(first ?? "", /ct_state\(0x21\)|ct_state\(\+?new\|trk\)/);
    assert.ok(
      first?.includes(tuple) && first.includes("ct_zone(0x7),ct_mark(0x9)"),
      first,
    );
    assert.match(second ?? "", /ct_state\(0x2a\)|ct_state\(est\|rpl\|trk\)/);
    assert.ok(second?.includes(tuple), second);
    assert.match(third ?? "", /ct_state\(0x30\)|ct_state\(inv\|trk\)/);
    assert.ok(!third?.includes("ct_tuple4(src=10"), third);
  }),
);

Deno.test(
  "netdev conntrack: source and destination are translated, and back",
  skippable(async () => {
    await using bench = await open(
      "ct(commit,nat(src=9.9.9.9:7000-7001))",
      "ct(nat)",
    );
    const { dp } = bench;
    dp.flows.put({ key: `recirc_id(1),in_port(1),${ip}`, actions: "2" });
    dp.flows.put({ key: `recirc_id(1),in_port(2),${ip}`, actions: "1" });
    bench.inject(1 as PortNo, tcpFrame({ ...a, flags: 2 }));
    const [out] = await bench.collect(2 as PortNo);
    assert.ok(out);
    assert.deepEqual(out.subarray(26, 30), bytes(ip4("9.9.9.9")));
    const port = (out[34] ?? 0) << 8 | (out[35] ?? 0);
    assert.ok(port === 7000 || port === 7001, String(port));
    assert.ok(transportChecksumIsRight(out.subarray(14)));
    bench.inject(
      2 as PortNo,
      tcpFrame({
        src: "10.1.1.2",
        dst: "9.9.9.9",
        srcPort: 53,
        dstPort: port,
        flags: 0x12,
      }),
    );
    const [back] = await bench.collect(1 as PortNo);
    assert.ok(back);
    assert.deepEqual(back.subarray(30, 34), bytes(ip4("10.1.1.1")));
    assert.equal((back[36] ?? 0) << 8 | (back[37] ?? 0), 1000);
    assert.ok(transportChecksumIsRight(back.subarray(14)));
  }),
);

Deno.test(
  "netdev conntrack: what cannot be done is refused when the flow is put",
  skippable(async () => {
    await using bench = await open("ct(commit)", "ct");
    const { dp } = bench;
    const key = `recirc_id(0),in_port(3),${ip}`;
    const refused: readonly [string, RegExp][] = [
      ["ct(commit,helper=sip)", /helper/],
      ["ct(commit,nat(src=fd00::1))", /family/],
    ];
    for (const [actions, reason] of refused) {
      assert.throws(
        () => dp.flows.put({ key, actions: `${actions},2` }),
        (error: Error & { code?: string }) =>
          error.code === "EINVAL" && reason.test(error.message),
        actions,
      );
    }
    for (
      const actions of [
        "ct",
        "ct(commit)",
        "ct(force_commit,zone=1),2",
        "2,ct(commit)",
        "ct_clear,2",
        "ct(commit,nat),2",
        "ct(timeout=7,commit),2",
        "ct(commit,helper=ftp),2",
        "ct(commit,helper=tftp),2",
      ]
    ) {
      dp.flows.put({ key, actions });
      assert.equal(dp.flows.get({ key }) === undefined, false, actions);
      bench.inject(3 as PortNo, udpFrame(a));
      await bench.collect(2 as PortNo);
      dp.flows.delete({ key });
    }
  }),
);

/**
 * What a verb of dpctl prints of the datapaths of this process; rejects with what it complains of.
 */
async function verb(line: string, flags: Partial<Flags> = {}): Promise<string> {
  let out = "";
  let complaints = "";
  const ok = await runVerb(line.split(" "), {
    program: "dpctl",
    isControl: false,
    flags: { ...noFlags, ...flags },
    datapaths: openableDatapaths(["netdev"]),
    output: { print: (text) => out += text, complain: (text) => complaints += text },
    readText: () => Promise.resolve(""),
  });
  if (!ok) throw new Error(complaints);
  return out;
}

Deno.test(
  "netdev conntrack: dpctl's verbs print what Open vSwitch's print",
  skippable(async () => {
    await using bench = await open("ct(commit,zone=5,mark=0x12)", "ct(zone=5)");
    const { dp } = bench;
    const name = `netdev@${dp.name}`;
    dp.flows.put({ key: `recirc_id(1),in_port(1),${ip}`, actions: "2" });
    bench.inject(1 as PortNo, udpFrame(a));
    bench.inject(1 as PortNo, tcpFrame({ ...a, dstPort: 80, flags: 2 }));
    assert.equal((await bench.collect(2 as PortNo)).length, 2);
    const tuples = (port: number) =>
      `orig=(src=10.1.1.1,dst=10.1.1.2,sport=1000,dport=${port}),` +
      `reply=(src=10.1.1.2,dst=10.1.1.1,sport=${port},dport=1000)`;
    const dump = (await verb(`dump-conntrack ${name}`, { verbosity: 1 })).trim().split(
      "\n",
    );
    assert.deepEqual(dump.toSorted(), [
      `tcp,${tuples(80)},id=0,zone=5,status=0,mark=18,protoinfo=(state_orig=SYN_SENT,` +
      `state_reply=CLOSED,flags_orig=0,flags_reply=0)`,
      `udp,${tuples(53)},id=0,zone=5,status=0,mark=18`,
    ]);
    assert.equal(await verb(`dump-conntrack ${name} zone=6`), "");
    assert.match(
      await verb(`ct-stats-show ${name}`),
      /^Connections Stats:\n {4}Total: 2\n {2}TCP: 1\n {2}UDP: 1\n/,
    );
    assert.equal(await verb(`ct-get-nconns ${name}`), "2\n");
    assert.equal(await verb(`ct-get-maxconns ${name}`), "3000000\n");
    assert.match(await verb(`ct-set-maxconns ${name} 10`), /setting maxconns successful/);
    assert.equal(await verb(`ct-get-maxconns ${name}`), "10\n");
    assert.match(
      await verb(`ct-get-tcp-seq-chk ${name}`),
      /TCP sequence checking: enabled/,
    );
    assert.match(
      await verb(`ct-bkts ${name}`),
      /Total Buckets: 1\nCurrent Connections: 2/,
    );
    assert.match(await verb(`ct-get-limits ${name}`), /^default limit=0\n$/);
    await verb(`ct-set-limits ${name} default=2 zone=5,limit=1`);
    assert.equal(
      await verb(`ct-get-limits ${name} zone=5,7`),
      "default limit=2\nzone=5,limit=1,count=0\nzone=7,limit=2,count=0\n",
    );
    await verb(`ct-del-limits ${name} zone=5`);
    await verb(
      `flush-conntrack ${name} zone=5 ct_nw_src=10.1.1.1,ct_nw_dst=10.1.1.2,ct_nw_proto=17,` +
        "ct_tp_src=1000,ct_tp_dst=53",
    );
    assert.equal(await verb(`ct-get-nconns ${name}`), "1\n");
    // What the other one has not.
    for (
      const other of [
        "zone=6",
        "mark=0x13",
        "mark=0x2/0x3 labels=0x1",
        "zone=5 mark=0x10/0xf0 ct_nw_proto=17",
        "labels=1/1 ct_nw_dst=10.1.1.1",
        "ct_nw_src=10.1.1.2",
      ]
    ) await verb(`flush-conntrack ${name} ${other}`);
    assert.equal(await verb(`ct-get-nconns ${name}`), "1\n");
    for (
      const [words, complaint] of [
        ["mark=x", /failed to parse mark/],
        ["mark=0x100000000", /failed to parse mark/],
        ["labels=1/2/3", /failed to parse labels/],
      ] as const
    ) await assert.rejects(verb(`flush-conntrack ${name} ${words}`), complaint);
    await verb(
      `flush-conntrack ${name} zone=5 mark=0x10/0xf0 labels=0/0xf ct_tp_dst=80,ct_nw_proto=6`,
    );
    assert.equal(await verb(`ct-get-nconns ${name}`), "0\n");
  }),
);
