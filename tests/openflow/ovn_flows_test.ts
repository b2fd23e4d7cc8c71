// SPDX-License-Identifier: Apache-2.0
/** All that a flow of OVN's may have is taken, and listed as Open vSwitch lists it. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { openSwitch } from "../../openflow/open.ts";
import { openLab } from "../../testing/mod.ts";
import { startDummy } from "../odp/ovs_dummy.ts";
import { figure } from "../support/figure.ts";
import { skippable } from "../support/skip.ts";
import { ofctl, ofctlPath } from "./recorder.ts";

const matches = [
  "in_port=1",
  "metadata=0x5",
  "reg0=0x1/0x3,reg10=0x2/0x2,reg15=0x3",
  "xreg4=0x5",
  "xxreg1=0x1/0xff",
  "dl_src=02:00:00:00:00:00/ff:ff:ff:00:00:00,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
  "vlan_tci=0x1000/0x1000",
  "dl_vlan=5,dl_vlan_pcp=3",
  "ip,nw_proto=47,nw_ttl=1,nw_tos=32,nw_ecn=1",
  "ip,nw_src=10.0.0.0/8,nw_dst=10.1.2.3",
  "ip,nw_frag=later",
  "ipv6,ipv6_src=fe80::/10,ipv6_dst=ff02::1,ipv6_label=0x5",
  "arp,arp_op=1,arp_spa=10.0.0.1,arp_tpa=10.0.0.2,arp_sha=02:00:00:00:00:01",
  "arp,arp_tha=00:00:00:00:00:00",
  "rarp",
  "icmp,icmp_type=8,icmp_code=0",
  "icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::1,nd_sll=02:00:00:00:00:01",
  "icmp6,icmp_type=136,icmp_code=0,nd_tll=02:00:00:00:00:01",
  "tcp,tp_src=0x50/0xfff0,tp_dst=80",
  "udp,tp_dst=53",
  "sctp,tp_dst=5",
  "tcp,tcp_flags=+syn-ack",
  "ct_state=+new-est+trk,ip",
  "ct_state=-trk,ip",
  "ct_mark=0x1/0x1,ct_label=0x2/0x2,ip",
  "pkt_mark=0x5",
  "tun_id=0x5,tun_metadata0=0x7/0xff",
  "conj_id=5,ip",
];
const actions = [
  "drop",
  "output:1,IN_PORT",
  "set_field:0x5->reg14,set_field:0x1/0x1->reg10,set_field:0x9->metadata",
  "load:0x1->NXM_NX_REG10[6],load:0x5->OXM_OF_METADATA[]",
  "move:NXM_NX_REG14[]->NXM_NX_REG15[],move:NXM_NX_XXREG0[]->NXM_NX_XXREG1[]",
  "move:NXM_OF_ETH_SRC[]->NXM_NX_XXREG0[0..47],move:NXM_NX_TUN_METADATA0[16..30]->NXM_NX_REG14[0..14]",
  "push:NXM_NX_REG0[],push:NXM_NX_XXREG0[],pop:NXM_NX_XXREG0[],pop:NXM_NX_REG0[0..15]",
  "resubmit(,8),resubmit(,65)",
  "group:1",
  "meter:1,resubmit(,9)",
  "set_queue:5,output:1",
  "controller(userdata=00.00.00.05.00.00.00.00)",
  "controller(userdata=00.00.00.05.00.00.00.00,pause)",
  "controller(max_len=128,userdata=01.02,pause,meter_id=1)",
  "ct(table=9,zone=NXM_NX_REG13[0..15])",
  "ct(commit,zone=NXM_NX_REG11[0..15],table=9,nat(src=10.0.0.1))",
  "ct(commit,table=9,zone=NXM_NX_REG12[0..15],nat(dst=10.0.0.1:80),exec(load:0x1->NXM_NX_CT_MARK[1]))",
  "ct(table=9,zone=NXM_NX_REG11[0..15],nat)",
  "ct(commit,zone=NXM_NX_REG13[0..15],exec(set_field:0x1/0x1->ct_mark,set_field:0x5/0xff->ct_label))",
  "ct(commit,zone=NXM_NX_REG11[0..15],exec(move:NXM_OF_ETH_SRC[]->NXM_NX_CT_LABEL[32..79]))",
  "ct_clear,ct(commit,force,zone=5)",
  "clone(ct_clear,set_field:0x1->reg11,set_field:ff:ff:ff:ff:ff:ff->eth_dst,resubmit(,8))",
  "learn(table=69,delete_learned,cookie=0x5,OXM_OF_METADATA[],eth_type=0x800,NXM_OF_IP_SRC[]," +
  "ip_dst=10.0.0.1,nw_proto=6,NXM_OF_TCP_SRC[]=NXM_OF_TCP_DST[],load:0x1->NXM_NX_REG10[7])",
  "learn(table=78,idle_timeout=60,hard_timeout=120,delete_learned,priority=100,cookie=0x7," +
  "OXM_OF_METADATA[],load:NXM_NX_REG0[]->NXM_NX_REG1[],load:0xffff->NXM_NX_REG2[0..15])",
  "check_pkt_larger(1500)->NXM_NX_REG9[1],resubmit(,10)",
  "dec_ttl,set_field:64->nw_ttl,output:2",
  "push_vlan:0x8100,set_field:4101->vlan_vid,output:1",
  "set_field:02:00:00:00:00:01->eth_src,set_field:10.0.0.1->ip_src,output:1",
  "bundle(eth_src,0,active_backup,ofport,members:1,2)",
  "sample(probability=65535,collector_set_id=1,obs_domain_id=2,obs_point_id=3)",
  "set_field:0x5->tun_id,set_field:0x9->tun_metadata0," +
  "move:NXM_NX_REG14[0..14]->NXM_NX_TUN_METADATA0[16..30],output:1",
  "note:01.02.03.04.05.06,set_field:0->in_port,output:2",
];
const groups = [
  "group_id=1,type=select,selection_method=dp_hash," +
  "bucket=bucket_id:0,weight:100,actions=ct(nat(dst=10.0.0.2:80),commit,table=20," +
  "zone=NXM_NX_REG13[0..15],exec(set_field:0x2/0x2->ct_mark))," +
  "bucket=bucket_id:1,weight:100,actions=load:0x1->NXM_NX_REG8[0..15],resubmit(,21)",
  "group_id=2,type=select,selection_method=hash,fields(ip_src,ip_dst),bucket=actions=1",
];

/** Flows, each with a priority of its own; what has an action of IP is of IP. */
function flows(): string[] {
  const some = [
    ...matches.map((match, i) => `table=${i},${match},actions=resubmit(,200)`),
    ...actions.map((list, i) => {
      const kind = /tcp|TCP/.test(list) ? "tcp" : "ip";
      return `table=${100 + i},${kind},actions=${list}`;
    }),
    "table=150,ip,nw_src=10.0.0.1,actions=conjunction(5,1/2)",
    "table=150,ip,nw_dst=10.0.0.2,actions=conjunction(5,2/2),conjunction(6,1/3)",
  ];
  return some.map((flow, i) =>
    `priority=${100 + i},cookie=0x${(i + 1).toString(16)},${flow}`
  );
}

function lines(text: string): string[] {
  return text.trim().split("\n").map((line) => line.trim().replace(/duration=\S+ /, ""))
    .filter((line) => !/^(OFPST|NXST)/.test(line)).sort();
}

Deno.test(
  "openflow ovn: what its flows have is taken, and listed as Open vSwitch lists it",
  skippable(async () => {
    ofctlPath();
    await using ovs = await startDummy();
    await using lab = await openLab({ ports: ["p1", "p2"] });
    const folder = await Deno.makeTempDir();
    await using of = await openSwitch(lab.dp, { listen: [`punix:${folder}/mgmt`] });
    await Deno.writeTextFile(`${folder}/flows`, flows().join("\n") + "\n");
    await Deno.writeTextFile(`${folder}/groups`, groups.join("\n") + "\n");
    const own = of.listeners[0] as string;
    const steps: readonly (readonly [verb: string, ...rest: string[]])[] = [
      ["add-tlv-map", "{class=0x102,type=0x80,len=4}->tun_metadata0"],
      ["add-meter", "meter=1 pktps burst stats bands=type=drop rate=10 burst_size=5"],
      ["add-groups", `${folder}/groups`],
      ["add-flows", `${folder}/flows`],
    ];
    for (const [verb, ...rest] of steps) {
      await ovs.ofctl("-O", "OpenFlow15", verb, "br0", ...rest);
      const { code, stdout, stderr } = await ofctl([
        ...["-O", "OpenFlow15", verb, own, ...rest],
      ]);
      strictEqual(`${code} ${stdout}${stderr}`, "0 ", verb);
    }
    for (const version of ["OpenFlow15", "OpenFlow13", "OpenFlow10"]) {
      const args = ["-O", version, "--no-stats", "dump-flows"];
      const theirs = lines(await ovs.ofctl(...args, "br0"));
      const said = await ofctl([...args, own]);
      strictEqual(said.stderr, "");
      const ours = lines(said.stdout);
      // Old versions have two ways to set an option.
      const isOption = (line: string): boolean =>
        version === "OpenFlow10" && /->\S*tun_metadata0/i.test(line);
      deepStrictEqual(
        ours.filter((line) => !isOption(line)),
        theirs.filter((line) => !isOption(line)),
        version,
      );
      ok(ours.length > 50, `${ours.length} flows`);
    }
    const args = ["-O", "OpenFlow15", "dump-groups"];
    deepStrictEqual(
      lines((await ofctl([...args, own])).stdout),
      lines(await ovs.ofctl(...args, "br0")),
    );
    figure(`${flows().length} flows, ${groups.length} groups`);
  }),
);
