// SPDX-License-Identifier: Apache-2.0
/** Connections here and in Open vSwitch: what leaves by which port, one packet after the other. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { build, ethernet, ipv4, payload, tcp, udp } from "../../frames/mod.ts";
import { openSwitch } from "../../openflow/open.ts";
import { openLab } from "../../testing/mod.ts";
import { type Dummy, startDummy } from "../odp/ovs_dummy.ts";
import { figure } from "../support/figure.ts";
import { skippable } from "../support/skip.ts";
import { handled } from "./handled.ts";

const PORTS = ["p1", "p2", "p3", "p4"];

interface Case {
  readonly name: string;
  readonly flows: readonly string[];
  /** Frames, and the ports that they come by. */
  readonly packets: readonly (readonly [port: string, frame: Uint8Array])[];
}

type Ends = readonly [address: string, port: number];

function frame(
  [src, from]: Ends,
  [dst, to]: Ends,
  kind: "udp" | "syn" | "syn-ack" | "ack" = "udp",
  length = 1,
): Uint8Array {
  const flags = { syn: ["syn"], "syn-ack": ["syn", "ack"], ack: ["ack"] } as const;
  const isLeft = src.startsWith("10.");
  return build([
    ethernet({
      src: isLeft ? "02:00:00:00:00:01" : "02:00:00:00:00:02",
      dst: isLeft ? "02:00:00:00:00:02" : "02:00:00:00:00:01",
    }),
    ipv4({ src, dst }),
    kind === "udp"
      ? udp({ src: from, dst: to })
      : tcp({ src: from, dst: to, flags: flags[kind] as never }),
    payload("x".repeat(length)),
  ]);
}

const inside: Ends = ["10.0.0.1", 1000];
const outside: Ends = ["192.0.2.9", 80];
const pair = (kind: "udp" | "ack" = "udp") =>
  [["p1", frame(inside, outside, kind)], ["p2", frame(outside, inside, kind)]] as const;

const cases: readonly Case[] = [
  {
    name: "what was committed is established, and knows its mark",
    flows: [
      "table=0,ip,ct_state=-trk,actions=ct(table=1,zone=7)",
      "table=1,in_port=1,ip,ct_state=+new+trk,actions=" +
      "ct(commit,zone=7,exec(set_field:0x15->ct_mark,load:0x3->NXM_NX_CT_LABEL[4..7])),2",
      "table=1,in_port=1,ip,ct_state=+est+trk,ct_mark=0x15,actions=2,3",
      "table=1,in_port=2,ip,ct_state=+est+trk+rpl,ct_label=0x30,actions=1",
      "table=1,in_port=2,ip,ct_state=+new+trk,actions=4",
    ],
    packets: [
      ["p2", frame(outside, inside)],
      ...pair(),
      ["p1", frame(inside, outside)],
      ["p1", frame(inside, ["192.0.2.9", 81])],
    ],
  },
  {
    name:
      "registers, metadata and the stack are known behind a lookup, of a zone in a register",
    flows: [
      "table=0,priority=5,ip,actions=set_field:0x9->reg2,load:5->NXM_NX_REG13[0..15]," +
      "write_metadata:0x77,goto_table:1",
      "table=1,ip,actions=push:NXM_NX_REG2[],ct(table=2,zone=NXM_NX_REG13[0..15])",
      "table=2,ip,reg2=0x9,metadata=0x77,ct_zone=5,actions=" +
      "pop:NXM_NX_REG4[],output:NXM_NX_REG5[],resubmit(,3)",
      "table=3,reg4=0x9,ct_state=+new,ip,actions=2",
    ],
    packets: pair(),
  },
  {
    name: "sources are translated, and answers back",
    flows: [
      "table=0,in_port=1,ip,actions=ct(commit,zone=3,nat(src=192.0.2.200)),2",
      "table=0,in_port=2,ip,actions=ct(table=1,zone=3,nat)",
      "table=1,ip,ct_state=+est+trk,nw_dst=10.0.0.1,actions=1",
      "table=1,ip,ct_state=+inv+trk,actions=3",
      "table=1,ip,ct_state=+new+trk,actions=4",
    ],
    packets: [
      ["p1", frame(inside, outside)],
      ["p2", frame(outside, ["192.0.2.200", 1000])],
      ["p2", frame(outside, ["192.0.2.201", 1000])],
    ],
  },
  {
    name: "destinations are translated, with ports",
    flows: [
      "table=0,in_port=1,ip,ct_state=-trk,actions=ct(table=1,zone=3,nat)",
      "table=0,in_port=2,ip,ct_state=-trk,actions=ct(table=2,zone=3,nat)",
      "table=1,ip,ct_state=+new+trk,actions=" +
      "ct(commit,zone=3,nat(dst=192.0.2.50:8080),table=2)",
      "table=1,ip,ct_state=+est+trk,actions=resubmit(,2)",
      "table=2,ip,nw_dst=192.0.2.50,actions=2",
      "table=2,ip,nw_dst=10.0.0.1,actions=1",
    ],
    packets: [
      ["p1", frame(inside, outside, "syn")],
      ["p2", frame(["192.0.2.50", 8080], inside, "syn-ack")],
      ["p1", frame(inside, outside, "ack")],
    ],
  },
  {
    name:
      "what a connection was is forgotten by ct_clear, and behind a ct without a table",
    flows: [
      "table=0,ip,ct_state=-trk,actions=ct(table=1)",
      "table=1,ip,ct_state=+trk,actions=2,ct_clear,resubmit(,2)",
      "table=2,ip,ct_state=-trk,actions=3,ct(commit),resubmit(,3)",
      "table=3,ip,ct_state=-trk,actions=4",
      "table=3,ip,ct_state=+trk,actions=1",
    ],
    packets: pair(),
  },
  {
    name: "lists go on behind a ct with a table",
    flows: [
      "table=0,in_port=1,ip,actions=load:1->NXM_NX_REG0[],ct(table=1),load:2->NXM_NX_REG0[]," +
      "resubmit(,2)",
      "table=1,reg0=1,actions=2",
      "table=2,reg0=2,actions=3",
    ],
    packets: [["p1", frame(inside, outside)]],
  },
  {
    name: "packets are told by their size",
    flows: [
      "table=0,in_port=1,actions=check_pkt_larger(100)->NXM_NX_REG0[3],resubmit(,1)",
      "table=0,in_port=2,actions=check_pkt_larger(100)->NXM_NX_REG0[3],goto_table:1",
      "table=1,reg0=0x8/0x8,actions=mod_dl_src:02:00:00:00:00:77,3",
      "table=1,priority=1,actions=4",
    ],
    packets: [
      ["p1", frame(inside, outside, "udp", 1)],
      ["p1", frame(inside, outside, "udp", 300)],
      ["p2", frame(outside, inside, "udp", 1)],
      ["p2", frame(outside, inside, "udp", 300)],
    ],
  },
  {
    name:
      "flows of a conjunction fit together, and those of a lesser priority for themselves",
    flows: [
      "table=0,priority=10,ip,nw_src=10.0.0.1,actions=conjunction(7,1/2)",
      "table=0,priority=10,ip,nw_src=10.0.0.3,actions=conjunction(7,1/2),conjunction(8,1/2)",
      "table=0,priority=10,udp,tp_dst=80,actions=conjunction(7,2/2)",
      "table=0,priority=10,udp,tp_dst=81,actions=conjunction(8,2/2)",
      "table=0,priority=10,conj_id=7,ip,actions=2",
      "table=0,priority=20,conj_id=8,ip,actions=3",
      "table=0,priority=5,udp,tp_dst=80,actions=4",
    ],
    packets: [
      ["p1", frame(inside, outside)],
      ["p1", frame(["10.0.0.3", 1], ["192.0.2.9", 81])],
      ["p1", frame(["10.0.0.3", 1], outside)],
      ["p1", frame(["10.0.0.4", 1], outside)],
      ["p1", frame(inside, ["192.0.2.9", 81])],
    ],
  },
  {
    name: "packets teach flows",
    flows: [
      "table=0,priority=5,ip,in_port=1,actions=learn(table=1,priority=9,hard_timeout=60," +
      "NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],eth_type=0x800,NXM_OF_IP_DST[]=NXM_OF_IP_SRC[]," +
      "load:0x5->NXM_NX_REG3[],output:NXM_OF_IN_PORT[]),2",
      "table=0,priority=5,ip,in_port=2,actions=load:0->NXM_NX_REG3[],resubmit(,1)," +
      "resubmit(,2)",
      "table=1,priority=1,actions=3",
      "table=2,reg3=0x5,actions=4",
    ],
    packets: [
      ["p2", frame(outside, inside)],
      ["p1", frame(inside, outside)],
      ["p2", frame(outside, inside)],
      ["p2", frame(outside, ["10.0.0.9", 5])],
    ],
  },
  {
    name: "as many flows are learned as may be, and whether one was is known",
    flows: [
      "table=0,udp,in_port=1,actions=learn(table=1,limit=2,cookie=0x9," +
      "result_dst=NXM_NX_REG0[4],eth_type=0x800,nw_proto=17,NXM_OF_UDP_DST[],load:1->NXM_NX_REG1[])," +
      "resubmit(,2)",
      "table=2,reg0=0x10,actions=2",
      "table=2,reg0=0,actions=3",
    ],
    packets: [1, 2, 3, 1, 3].map((port) =>
      ["p1", frame(inside, ["192.0.2.9", port])] as const
    ),
  },
  {
    name: "the original ends of a connection are known",
    flows: [
      "table=0,in_port=1,ip,actions=ct(commit,nat(src=192.0.2.200)),2",
      "table=0,in_port=2,ip,actions=ct(table=1,nat)",
      "table=1,ip,ct_state=+trk+rpl,ct_nw_src=10.0.0.1,ct_tp_src=1000,ct_nw_proto=17," +
      "actions=1",
      "table=1,priority=1,ip,actions=3",
    ],
    packets: [
      ["p1", frame(inside, outside)],
      ["p2", frame(outside, ["192.0.2.200", 1000])],
    ],
  },
];

/** Gives Open vSwitch flows, and nothing of earlier ones. */
async function give(ovs: Dummy, flows: readonly string[]): Promise<void> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, flows.join("\n") + "\n");
    await ovs.ofctl("-O", "OpenFlow13", "replace-flows", "br0", path);
  } finally {
    await Deno.remove(path);
  }
  await ovs.call("dpctl/flush-conntrack");
  await ovs.call("dpctl/del-flows");
}

Deno.test("openflow connections: learned flows go with those that learned them", async () => {
  await using lab = await openLab({ ports: PORTS });
  await using of = await openSwitch(lab.dp);
  for (const in_port of [1, 3]) {
    of.flowMod(
      `in_port=${in_port},ip,actions=learn(table=1,delete_learned,cookie=0x5,` +
        "eth_type=0x800,NXM_OF_IP_SRC[]),2",
    );
  }
  of.flowMod("table=1,cookie=0x6,arp,actions=2");
  await lab.inject("p1", frame(inside, outside));
  await handled(lab, of);
  const learned = (): string[] => of.flows().filter((flow) => flow.includes("table=1, "));
  ok(learned().some((flow) => flow.includes("nw_src=10.0.0.1")), learned().join("\n"));
  of.flowMod("in_port=1,ip", { command: "deleteStrict" });
  deepStrictEqual(learned().length, 2);
  of.flowMod("in_port=3,ip", { command: "deleteStrict" });
  deepStrictEqual(learned(), ["cookie=0x6, table=1, arp actions=output:2"]);
});

Deno.test("openflow connections: a rule of a conjunction that comes or goes runs flows again", async () => {
  await using lab = await openLab({ ports: PORTS });
  await using of = await openSwitch(lab.dp);
  const sent = async (): Promise<string> => {
    await of.run.settled();
    await lab.inject("p1", frame(inside, outside));
    await handled(lab, of);
    const ports: string[] = [];
    for (const port of PORTS) if ((await lab.collect(port)).length > 0) ports.push(port);
    return ports.join();
  };
  of.flowMod("priority=10,ip,nw_src=10.0.0.1,actions=conjunction(7,1/2)");
  of.flowMod("priority=5,ip,actions=4");
  of.flowMod("priority=90,conj_id=7,ip,actions=2");
  deepStrictEqual(await sent(), "p4");
  of.flowMod("priority=10,udp,tp_dst=80,actions=conjunction(7,2/2)");
  deepStrictEqual(await sent(), "p2");
  of.flowMod("priority=50,ip,actions=3");
  deepStrictEqual(await sent(), "p3");
  of.flowMod("priority=50,ip", { command: "deleteStrict" });
  deepStrictEqual(await sent(), "p2");
  of.flowMod("priority=10,ip,nw_src=10.0.0.1", { command: "deleteStrict" });
  deepStrictEqual(await sent(), "p4");
});

Deno.test(
  "openflow connections: packets leave as Open vSwitch sends them",
  skippable(async (t) => {
    await using ovs = await startDummy();
    await using lab = await openLab({ ports: PORTS });
    const faults: string[] = [];
    await using of = await openSwitch(lab.dp, {
      onError: (error) => void faults.push(`${error.message}`),
    });
    let count = 0;
    for (const { name, flows, packets } of cases) {
      await t.step(name, async () => {
        of.flowMod("", { command: "delete" });
        lab.dp.conntrack?.flush();
        for (const flow of flows) of.flowMod(flow);
        await give(ovs, flows);
        let left = 0;
        for (const [from, bytes] of packets) {
          await ovs.call("netdev-dummy/receive", from, bytes.toHex());
          await ovs.call("version");
          await lab.inject(from, bytes);
          await handled(lab, of);
          const [theirs, ours]: [string[], string[]] = [[], []];
          for (const [at, port] of PORTS.entries()) {
            theirs.push(
              ...(await ovs.sent(at + 1)).map((one) => `${port} ${one.toHex()}`),
            );
            ours.push(
              ...(await lab.collect(port)).map((one) => `${port} ${one.toHex()}`),
            );
          }
          const what = `${name}: ${bytes.toHex()} by ${from}`;
          deepStrictEqual(ours, theirs, `${what}\nours ${ours}\ntheirs ${theirs}`);
          left += ours.length;
          count++;
        }
        ok(left > 0, `${name}: nothing left`);
        deepStrictEqual(faults, []);
      });
    }
    figure(`${count} packets of ${cases.length} cases`);
  }),
);
