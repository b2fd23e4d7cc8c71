// SPDX-License-Identifier: Apache-2.0
/**
 * Every command of ovs-ofctl(8) that a switch answers: here and at ovs-vswitchd, the same text.
 *
 * What differs by nature is written alike before: addresses of ports, times, numbers of messages.
 * Queues and some counters are left out, which the other one's dummy ports have, and who made a
 * switch.
 */
import { deepStrictEqual } from "node:assert/strict";
import { openSwitch } from "../../openflow/open.ts";
import { openLab } from "../../testing/mod.ts";
import { startDummy } from "../odp/ovs_dummy.ts";
import { figure } from "../support/figure.ts";
import { skippable } from "../support/skip.ts";
import { ofctl } from "./recorder.ts";

/** A step: a command with its arguments, `SW` for the switch, and what it reads. */
type Step = readonly [args: string, input?: string];

/** Steps by version of OpenFlow: each goes on where the one before it left the switch. */
const scripts: Readonly<Record<string, readonly Step[]>> = {
  "OpenFlow10": [
    ["show SW"],
    ["dump-tables SW"],
    ["get-frags SW"],
    ["set-frags SW drop"],
    ["get-frags SW"],
    ["set-frags SW normal"],
    ["add-flow SW priority=5,ip,nw_dst=10.0.0.1,actions=output:2"],
    ["add-flow SW cookie=0x12,idle_timeout=60,dl_vlan=5,actions=strip_vlan,NORMAL"],
    ["add-flow SW table=3,tcp,tp_dst=80,actions=mod_nw_tos:32,resubmit(,4)"],
    ["add-flow SW tcp,actions=output:nowhere"],
    ["add-flows SW -", "priority=7,arp,actions=FLOOD\npriority=8,udp,actions=LOCAL\n"],
    ["dump-flows SW"],
    ["dump-flows SW cookie=0x12/-1"],
    ["dump-flows SW out_port=2"],
    ["dump-flows --no-stats SW table=3"],
    ["dump-flows --rsort=priority SW"],
    ["dump-aggregate SW"],
    ["dump-aggregate SW table=3"],
    ["mod-flows SW priority=7,arp,actions=drop"],
    ["mod-flows --strict SW priority=7,arp,actions=output:3"],
    ["diff-flows SW -", "priority=7,arp,actions=output:3\n"],
    ["replace-flows SW -", "priority=1,actions=NORMAL\npriority=2,ip,actions=output:1\n"],
    ["dump-flows --no-stats SW"],
    ["del-flows --strict SW priority=2,ip"],
    ["del-flows SW ip,out_port=1"],
    ["dump-flows --no-stats SW"],
    ["del-flows SW"],
    ["dump-flows SW"],
    ["dump-ports SW"],
    ["dump-ports SW 2"],
    ["dump-ports SW 77"],
    ["dump-ports-desc SW"],
    ["dump-ports-desc SW 2"],
    ["mod-port SW 2 down"],
    ["mod-port SW 2 no-flood"],
    ["mod-port SW p3 noforward"],
    ["dump-ports-desc SW"],
    ["mod-port SW 2 up"],
    ["mod-port SW 2 flood"],
    ["queue-stats SW 77"],
    ["queue-stats SW 2 7"],
    ["queue-get-config SW 77"],
    ["packet-out SW in_port=1,packet=ffffffffffff0200000000010800,actions=output:2"],
    ["packet-out SW in_port=1,packet=ff,actions=output:2"],
    ["ping SW 64"],
    ["probe SW"],
    ["add-group SW group_id=1,type=all,bucket=output:1"],
    ["add-meter SW meter=1,kbps,band=type=drop,rate=100"],
    ["bundle SW -", "flow add priority=3,actions=drop\n"],
    ["del-flows SW"],
    ["ct-flush-zone SW 5"],
    ["dump-ipfix-bridge SW"],
    ["dump-ipfix-flow SW"],
  ],
  "OpenFlow13": [
    ["show SW"],
    ["dump-tables SW"],
    ["dump-group-features SW"],
    ["meter-features SW"],
    ["add-flow SW table=1,priority=5,ipv6,ipv6_dst=2001:db8::/32,actions=goto_table:2"],
    ["add-flow SW metadata=5/7,actions=write_metadata:0x3/0xff,goto_table:1"],
    ["add-flow SW send_flow_rem,check_overlap,ip,actions=write_actions(output:2)"],
    ["add-flow SW check_overlap,tcp,actions=output:2"],
    ["add-flow SW table=300,actions=output:2"],
    ["add-flow SW table=254,actions=output:2"],
    ["add-flow SW actions=goto_table:0"],
    ["add-flow SW actions=group:99"],
    ["add-flow SW actions=meter:99,output:1"],
    ["add-flow SW actions=set_field:5->nw_ttl"],
    ["add-group SW group_id=1,type=all,bucket=output:1,bucket=output:2"],
    ["add-group SW group_id=2,type=select,bucket=weight:5,output:1,bucket=weight:7,output:2"],
    ["add-group SW group_id=3,type=indirect,bucket=group:1"],
    ["add-group SW group_id=4,type=fast_failover,bucket=watch_port:1,output:1"],
    ["add-group SW group_id=1,type=all,bucket=output:1"],
    ["add-group SW group_id=9,type=all,bucket=group:77"],
    ["add-groups SW -", "group_id=5,type=all,bucket=output:3\ngroup_id=6,type=all\n"],
    ["mod-group SW group_id=5,type=indirect,bucket=output:4"],
    ["mod-group SW group_id=55,type=all,bucket=output:4"],
    ["mod-group --may-create SW group_id=7,type=all,bucket=output:4"],
    ["dump-groups SW"],
    ["dump-group-stats SW"],
    ["dump-group-stats SW group_id=2"],
    ["add-flow SW priority=9,udp,actions=group:1"],
    ["del-groups SW group_id=1"],
    ["dump-flows --no-stats SW"],
    ["del-groups SW"],
    ["dump-groups SW"],
    ["add-meter SW meter=1,kbps,burst,stats,band=type=drop,rate=100,burst_size=200"],
    ["add-meter SW meter=2,pktps,band=type=drop,rate=50"],
    ["add-meter SW meter=1,kbps,band=type=drop,rate=100"],
    ["add-meter SW meter=3,kbps,band=type=dscp_remark,rate=100,prec_level=1"],
    ["mod-meter SW meter=2,pktps,band=type=drop,rate=60"],
    ["mod-meter SW meter=9,pktps,band=type=drop,rate=60"],
    ["dump-meters SW"],
    ["dump-meter SW meter=2"],
    ["meter-stats SW"],
    ["meter-stats SW meter=1"],
    ["add-flow SW icmp,actions=meter:1,output:2"],
    ["del-meter SW meter=1"],
    ["del-meters SW"],
    ["dump-meters SW"],
    ["dump-flows --no-stats SW"],
    ["mod-table SW 2 controller"],
    ["mod-table SW all drop"],
    ["queue-get-config SW 77"],
    ["queue-stats SW 2 7"],
    ["bundle SW -", "flow add priority=3,actions=drop\ngroup add group_id=4,type=all\n"],
    ["bundle SW -", "flow add priority=4,actions=drop\nflow add actions=group:77\n"],
    ["dump-flows --no-stats SW"],
    ["--bundle add-flows SW -", "priority=6,actions=drop\ndelete priority=3\n"],
    ["--bundle replace-flows SW -", "priority=1,actions=NORMAL\n"],
    ["dump-flows --no-stats SW"],
    ["dump-ports SW"],
    ["dump-ports-desc SW"],
  ],
  "OpenFlow14": [
    ["show SW"],
    ["dump-tables SW"],
    ["dump-table-desc SW"],
    ["add-flow SW importance=7,hard_timeout=100,actions=output:2"],
    ["dump-flows --no-stats SW"],
    ["mod-table SW 1 evict"],
    ["mod-table SW 1 vacancy:20,80"],
    ["dump-table-desc SW"],
    ["mod-table SW 1 novacancy"],
    ["mod-table SW 1 noevict"],
    ["dump-table-desc SW"],
    ["--bundle mod-flows SW actions=output:3"],
    ["dump-flows --no-stats SW"],
    ["del-flows SW"],
  ],
  "OpenFlow15": [
    ["show SW"],
    ["dump-tables SW"],
    ["dump-table-desc SW"],
    ["dump-flows SW"],
    ["add-flow SW tcp,actions=set_field:10.0.0.0/255.0.0.0->ip_dst,output:2"],
    ["add-flow SW actions=move:NXM_NX_REG0[0..7]->NXM_NX_REG1[8..15],output:2"],
    ["dump-flows --no-stats SW"],
    ["dump-aggregate SW"],
    ["add-group SW group_id=1,type=select,selection_method=dp_hash,bucket=bucket_id:5,weight:3,output:1"],
    ["insert-buckets SW group_id=1,command_bucket_id=last,bucket=bucket_id:6,output:2"],
    ["insert-buckets SW group_id=1,command_bucket_id=6,bucket=bucket_id:9,output:3"],
    ["insert-buckets SW group_id=1,command_bucket_id=99,bucket=bucket_id:10,output:3"],
    ["insert-buckets SW group_id=1,command_bucket_id=last,bucket=bucket_id:6,output:2"],
    ["dump-groups SW"],
    ["dump-groups SW 1"],
    ["remove-buckets SW group_id=1,command_bucket_id=6"],
    ["remove-buckets SW group_id=1,command_bucket_id=60"],
    ["dump-groups SW"],
    ["dump-group-stats SW"],
    ["dump-ports-desc SW 2"],
    ["dump-ports SW 2"],
    ["queue-stats SW 2 7"],
    ["del-groups SW"],
    ["del-flows SW"],
  ],
};

/** What differs by nature, alike. */
function plain(text: string, target: string): string {
  return text.replaceAll(target, "SW").replaceAll(target.replace("unix:", ""), "SW")
    .replace(/\b([\da-f]{2}:){5}[\da-f]{2}\b/g, "MAC")
    .replace(/dpid:[\da-f]{16}/g, "dpid:ID")
    .replace(/(duration|duration_sec)[=:][\d.]+s?/g, "$1=T")
    .replace(/(idle|hard)_age=\d+, /g, "")
    .replace(/xid=0x[\da-f]+/g, "xid=X")
    .replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z\|\d+\|/gm, "")
    .replace(/time=[\d.]+ ms/g, "time=T")
    .replace(/(lookup|matched)(_count)?=\d+/g, "$1=N")
    // A deliberate difference: docs/openflow.md says how many groups there may be.
    .replace(/max_groups=0x(10000|ffffff00)\b/g, "max_groups=N")
    .replace(/(drop|errs)=(\d+|\?)/g, "$1=N")
    .replace(/ *CUSTOM Statistics[^]*?(?=\n {2}port|$)/g, "")
    .replace(/tx pkts=\d+, bytes=\d+/g, "tx");
}

/** Flows, ports and groups come in any order. */
function sorted(command: string, text: string): string {
  if (!/dump-(flows|ports|group)|diff-flows/.test(command)) return text;
  const [first, ...lines] = text.trimEnd().replace(/\n {4,}/g, " + ").split("\n");
  return [first, ...lines.sort()].join("\n");
}

/** What ovs-ofctl said. */
interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Lines that only one of two has, a few of them. */
function difference(ours: Said | undefined, theirs: Said | undefined): string[] {
  const [a, b] = [ours, theirs].map((said) =>
    `${said?.out}\nexit ${said?.code}\n${said?.err}`.split("\n")
  ) as [string[], string[]];
  return [
    ...a.filter((line) => !b.includes(line)).slice(0, 6).map((line) =>
      `  ours:   ${line}`
    ),
    ...b.filter((line) => !a.includes(line)).slice(0, 6).map((line) =>
      `  theirs: ${line}`
    ),
  ];
}

Deno.test(
  "openflow ofctl: commands print here what they print of ovs-vswitchd",
  skippable(async () => {
    await using peer = await startDummy();
    await using lab = await openLab({
      ports: Array.from({ length: 8 }, (_, i) => `p${i + 1}`),
    });
    const path = Deno.makeTempFileSync({ prefix: "of" });
    Deno.removeSync(path);
    await using of = await openSwitch(lab.dp, { listen: [`punix:${path}`], name: "br0" });
    const targets = [of.listeners[0] as string, `unix:${peer.socket}`];
    const different: string[] = [];
    let count = 0;
    for (const [version, steps] of Object.entries(scripts)) {
      for (const [line, input] of steps) {
        const said = await Promise.all(targets.map(async (target) => {
          const args = line.split(" ").map((word) => word === "SW" ? target : word);
          const { code, stdout, stderr } = await ofctl(["-O", version, ...args], input);
          const out = sorted(line, plain(stdout, target));
          return { code, out, err: plain(stderr, target) };
        }));
        count++;
        const [ours, theirs] = said;
        if (JSON.stringify(ours) === JSON.stringify(theirs)) continue;
        different.push(`${version} ${line}`, ...difference(ours, theirs));
      }
    }
    figure(`${count} commands`);
    deepStrictEqual(different, []);
  }),
);
