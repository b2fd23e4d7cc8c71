// SPDX-License-Identifier: Apache-2.0
/**
 * What a flow of the datapath does holds for every packet that its mask takes in: packets that
 * differ in other bits only are given the very same actions. `OPENFLOW_MASKS=100000` makes it long.
 */
import { deepStrictEqual, ok } from "node:assert/strict";
import { Switch } from "../../openflow/switch/switch.ts";
import type { PacketFlow } from "../../openflow/table/packet_flow.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import { type FlowWords, flowWords, Word } from "../../openflow/wire/flow.ts";
import type { Datapath } from "../../providers/datapath.ts";
import type { Action } from "../../providers/types_action.ts";
import { figure } from "../support/figure.ts";
import { type Random, random } from "../support/random.ts";

const pipelines = Number(Deno.env.get("OPENFLOW_MASKS") ?? 200);
const VARIANTS = 24;

/** As much of a datapath as a translation asks for. */
const dp = {
  name: "d",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
} as unknown as Datapath;

function make(flows: readonly string[], tight: boolean, isOld = false): Switch {
  const of = new Switch(dp, { name: "d", datapathId: 1n, tight });
  for (const flow of flows) of.flows.apply(parseFlow(flow), { isOld });
  return of;
}

interface Outcome {
  readonly does: Pick<Translation, "actions" | "edit" | "lessons">;
  readonly seen: FlowWords;
  readonly inner: number;
}

function outcome(of: Switch, { flow, tags }: PacketFlow): Outcome {
  const way = new Translation(of, { flow: flow.slice(), tags }, () => {});
  way.run();
  const { actions, edit, lessons, seen, seenInner } = way;
  return { does: { actions, edit, lessons }, seen, inner: seenInner };
}

/** Types of packets: EtherType, protocol. */
const kinds = [
  [0x0800, 6],
  [0x0800, 17],
  [0x0800, 47],
  [0x0800, 0],
  [0x86dd, 6],
  [0x86dd, 0],
  [0x0806, 1],
  [0x8847, 0],
  [0x88cc, 0],
] as const;

/** Bits that packets of a kind have, by word. */
function bitsOf([type, proto]: readonly [number, number]): [number, number][] {
  const list: [number, number][] = [[Word.pktMark, 0xffffffff]];
  list.push([Word.tunId + 1, 0xffffffff], [Word.dlDst, 0xffff], [Word.dlSrc, 0xffff]);
  list.push([Word.dlDst + 1, 0xffffffff], [Word.dlSrc + 1, 0xffffffff]);
  if (type === 0x8847) list.push([Word.mpls, 0xffffffff]);
  if (type === 0x0800 || type === 0x0806) {
    list.push([Word.nwSrc, 0xffffffff], [Word.nwDst, 0xffffffff]);
  }
  if (type === 0x0806) list.push([Word.arpSha + 1, 0xffffffff]);
  if (type === 0x86dd) {
    list.push([Word.ipv6Src + 3, 0xffffffff], [Word.ipv6Dst + 3, 0xffffffff]);
    list.push([Word.ipv6Label, 0xfffff]);
  }
  if (type === 0x0800 || type === 0x86dd) {
    list.push([Word.nw, 0x00ffff00]);
    if (proto === 6 || proto === 17) list.push([Word.tp, 0xffffffff]);
  }
  return list;
}

function word(next: Random): number {
  // Few values, and sometimes any: flows are to meet them.
  return next(2) === 0 ? next(4) : (next(0x10000) << 16 | next(0x10000)) >>> 0;
}

const PRESENT = 0x1000;

function tag(next: Random, tpid = 0x8100): { tpid: number; tci: number } {
  return { tpid, tci: PRESENT | next(4) | next(3) << 13 };
}

function packet(next: Random, kind: readonly [number, number]): PacketFlow {
  const flow = flowWords();
  flow[Word.inPort] = 1;
  flow[Word.dlType] = kind[0];
  for (const [at, bits] of bitsOf(kind)) flow[at] = word(next) & bits;
  flow[Word.nw] = kind[1] << 24 | (flow[Word.nw] as number);
  const tags = [[], [tag(next)], [tag(next, 0x88a8), tag(next)]][next(3)] ?? [];
  flow[Word.vlan] = tags[0]?.tci ?? 0;
  return { flow, tags };
}

/** Whether a part of an IP header is set: the policy has the flow match the protocol then. */
function setsIp(actions: readonly Action[]): boolean {
  return actions.some((action) =>
    action.type === "clone"
      ? setsIp(action.actions)
      : action.type === "set" && ("ipv4" in action.key || "ipv6" in action.key)
  );
}

/** A packet that differs where nothing was looked at. */
function variant(
  next: Random,
  kind: readonly [number, number],
  { flow, tags }: PacketFlow,
  { does, seen, inner }: Outcome,
): PacketFlow {
  const other = flow.slice();
  for (const [at, bits] of bitsOf(kind)) {
    const free = bits & ~(seen[at] as number);
    other[at] = (other[at] as number) ^ (next(2) === 0 ? free : word(next) & free);
  }
  // Who looks at layer 4 has looked at the protocol.
  const isFree = !(seen[Word.nw] as number >>> 24) && seen[Word.tp] === 0;
  if (isFree && (kind[0] === 0x0800 || kind[0] === 0x86dd) && !setsIp(does.actions)) {
    const proto = [6, 17, 47, 0][next(4)] as number;
    other[Word.nw] = (other[Word.nw] as number) & 0xffffff | proto << 24;
    other[Word.tp] = proto === 6 || proto === 17 ? word(next) : 0;
  }
  const masks = [seen[Word.vlan] as number, inner];
  const changed = tags.map(({ tpid, tci }, i) => ({
    tpid,
    tci: tci ^ word(next) & 0xefff & ~(masks[i] as number),
  }));
  other[Word.vlan] = changed[0]?.tci ?? 0;
  return { flow: other, tags: changed };
}

const always = [
  "output:2",
  "output:3",
  "IN_PORT",
  "set_field:3->pkt_mark",
  "load:2->NXM_NX_PKT_MARK[0..3]",
  "load:1->NXM_NX_REG1[0..7]",
  "move:NXM_OF_ETH_DST[0..15]->NXM_NX_REG1[0..15]",
  "load:1->NXM_OF_ETH_DST[0..7]",
  "set_field:02:00:00:00:00:01->eth_src",
  "set_field:2->tun_id",
  "clone(set_field:2->tun_id,set_field:02:00:00:00:00:02->eth_dst,output:2)",
  "clone(push_vlan:0x8100,load:5->OXM_OF_VLAN_VID[0..3],output:2)",
  "push_vlan:0x8100",
  "pop_vlan",
  "push_mpls:0x8847",
  "output:NXM_NX_REG1[0..1]",
  "push:NXM_OF_ETH_SRC[0..7]",
  "pop:NXM_NX_REG1[8..15]",
  "resubmit(,1)",
  "NORMAL",
];
const ofOld = ["mod_tp_dst:80", "mod_tp_src:2", "mod_nw_tos:40", "mod_nw_dst:1.1.1.1"];
ofOld.push("mod_vlan_pcp:2", "mod_vlan_vid:3", "dec_ttl");
const byMatch: Readonly<Record<string, readonly string[]>> = {
  ip: [
    "load:1->NXM_OF_IP_DST[0..7]",
    "set_field:10->ip_dscp",
    "load:1->NXM_NX_IP_ECN[]",
    "dec_ttl",
    "move:NXM_OF_IP_SRC[0..7]->NXM_OF_IP_DST[8..15]",
  ],
  udp: ["load:1->NXM_OF_UDP_DST[0..7]", "move:NXM_OF_UDP_SRC[]->NXM_NX_REG1[0..15]"],
  tcp: ["load:1->NXM_OF_TCP_SRC[4..7]"],
  ipv6: ["load:1->NXM_NX_IPV6_DST[0..7]", "load:1->NXM_NX_IPV6_LABEL[0..3]", "dec_ttl"],
  arp: ["load:1->NXM_NX_ARP_SHA[0..7]", "load:2->NXM_OF_ARP_OP[]"],
  mpls: ["load:1->OXM_OF_MPLS_TC[]", "dec_mpls_ttl", "load:1->OXM_OF_MPLS_LABEL[0..3]"],
  "vlan_tci=0x1000/0x1000": [
    "load:1->OXM_OF_VLAN_PCP[]",
    "load:1->OXM_OF_VLAN_VID[0..3]",
    "move:OXM_OF_VLAN_VID[0..3]->NXM_NX_REG1[0..3]",
  ],
  "": [],
};

function some<T>(next: Random, list: readonly T[]): T {
  return list[next(list.length)] as T;
}

function flows(next: Random, isOld: boolean): string[] {
  const abouts = Object.keys(byMatch);
  const terms = ["", "dl_dst=00:00:00:00:00:01", "tun_id=2", "dl_vlan=1", "reg1=1"];
  terms.push(
    "pkt_mark=1/0x3",
    "tun_id=1/0x1",
    "dl_src=00:00:00:00:00:00/00:00:00:00:00:fe",
  );
  return Array.from({ length: 8 }, (_, i) => {
    const about = some(next, abouts);
    const own = byMatch[about] ?? [];
    const list = Array.from(
      { length: 1 + next(5) },
      () =>
        some(
          next,
          next(2) === 0 && own.length > 0 ? own : isOld && next(2) === 0 ? ofOld : always,
        ),
    );
    // Two looks at the second table at most, and none from there.
    const here = i < 4 ? list : list.filter((one) => !one.startsWith("resubmit"));
    const what = [`table=${i < 4 ? 0 : 1}`, `priority=${i}`, about, some(next, terms)];
    return `${what.filter(Boolean).join(",")},actions=${[...here, "output:3"].join(",")}`;
  });
}

Deno.test("openflow masks: packets that a flow takes in are given the same actions", () => {
  const next = random(5);
  let [cases, refused] = [0, 0];
  for (let i = 0; i < pipelines; i++) {
    const isOld = i % 2 === 0;
    const list = flows(next, isOld);
    let of: Switch;
    try {
      of = make(list, i % 4 < 2, isOld);
    } catch {
      refused++; // Actions that do not go with their match, or not behind another one.
      continue;
    }
    for (const kind of kinds) {
      const one = packet(next, kind);
      const first = outcome(of, one);
      for (let k = 0; k < VARIANTS; k++) {
        const other = variant(next, kind, one, first);
        const second = outcome(of, other);
        deepStrictEqual(
          second.does,
          first.does,
          `${list.join("\n")}\n${one.flow} ${JSON.stringify(one.tags)}\n${other.flow} ${
            JSON.stringify(other.tags)
          }\n${JSON.stringify(first.does)}\n${JSON.stringify(second.does)}`,
        );
        cases++;
      }
    }
  }
  ok(cases > 0 && refused < pipelines / 2, `${refused} of ${pipelines} were refused`);
  figure(`${cases} packets beside those that made their flows, ${refused} refusals`);
});

Deno.test("openflow masks: a tag that was below another one is known as far as it was looked at", () => {
  const of = make(
    [
      "vlan_tci=0x1000/0x1000,actions=pop_vlan,resubmit(,1)",
      "table=1,dl_vlan=9,actions=2",
    ],
    false,
  );
  const table = of.table(1);
  const asked: { known: number; mask: number }[] = [];
  const look = table.look.bind(table);
  table.look = (flow, packet) => {
    const { known, mask } = packet.became();
    asked.push({ known: known[Word.vlan] as number, mask: mask[Word.vlan] as number });
    return look(flow, packet);
  };
  const flow = flowWords();
  flow[Word.inPort] = 1;
  flow[Word.dlType] = 0x88cc;
  const tags = [{ tpid: 0x88a8, tci: PRESENT | 5 }, { tpid: 0x8100, tci: PRESENT | 6 }];
  flow[Word.vlan] = PRESENT | 5;
  outcome(of, { flow, tags });
  // Another packet of the flow may have another one there.
  deepStrictEqual(asked, [{ known: PRESENT, mask: 0xffff }]);
});
