// SPDX-License-Identifier: Apache-2.0
/**
 * What dump-flows prints is what add-flow takes, for every kind of flow: a table comes back from
 * its own text.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { flowText } from "../../control/text/flow.ts";
import type { Datapath } from "../../providers/datapath.ts";
import type { Flow } from "../../providers/flow.ts";
import type { Op } from "../../providers/operations.ts";
import { encodeKey, encodeMask, formatActions } from "../../providers/odp/mod.ts";
import { flow, tunnelFlow } from "./arbitrary.ts";
import { actions } from "./arbitrary_actions.ts";

const SEED = 20260101;

/** Kinds of flows that the random ones are not of. */
const rarities: readonly string[] = [
  "in_port(1),eth(),eth_type(0x0806),arp()",
  "in_port(1),packet_type(ns=0,id=0),eth(),eth_type(0x0806),arp()",
  "in_port(1),packet_type(ns=1,id=0x800),eth_type(0x0800),ipv4(dst=1.2.3.4,frag=no)",
  "in_port(1),eth(),eth_type(0/0xffff)",
  "in_port(1),eth(src=02:00:00:00:00:01),eth_type(0/0xffff)",
  "in_port(1),eth(),eth_type(0x8100),vlan(vid=0,pcp=0,cfi=0),encap()",
  "in_port(1),eth(),eth_type(0x8100),vlan(vid=5/0,pcp=3),encap(eth_type(0x0806),arp())",
  "in_port(1),eth(),eth_type(0x88a8),vlan(vid=5),encap(eth_type(0x8100),vlan(vid=6)," +
  "encap(eth_type(0x0800),ipv4(frag=later)))",
  "in_port(1),eth(),eth_type(0x0800),ipv4(frag=later)",
  "in_port(1),eth(),eth_type(0x0800),ipv4(proto=6,frag=first),tcp(),tcp_flags(+syn-ack)",
  "in_port(1),eth(),eth_type(0x0800),ipv4(proto=6),tcp(),tcp_flags(syn|ack)",
  "in_port(1),eth(),eth_type(0x0800),ipv4(proto=47,tos=0x4/0xfc,frag=no)",
  "in_port(1),eth(),eth_type(0x8847),mpls(label=5,tc=1,ttl=9,bos=0,label=6,tc=0,ttl=1,bos=1)",
  "in_port(1),eth(),eth_type(0x894f),nsh(mdtype=1,np=3,spi=0x5/0xff,si=4,c1=0x1,c2=0x2/0xf)",
  "in_port(1),eth(),eth_type(0x894f),nsh(mdtype=2,np=3,spi=0x5)",
  "in_port(1),eth(),eth_type(0x86dd),ipv6(proto=58),icmpv6(type=135,code=0)," +
  "nd(target=fe80::1,sll=02:00:00:00:00:01),nd_ext(nd_reserved=0x1,nd_options_type=1)",
  "in_port(1),eth(),eth_type(0x86dd),ipv6(proto=58),icmpv6(type=135,code=0)," +
  "nd_ext(nd_reserved=0x0,nd_options_type=0)",
  "in_port(1),eth(),eth_type(0x86dd),ipv6(proto=58),icmpv6(type=136,code=0)," +
  "nd(),nd_ext(nd_reserved=0x0/0xf0)",
  "tunnel(),in_port(1),eth(),eth_type(0x1234)",
  "ct_tuple4(src=0.0.0.0,dst=0.0.0.0,proto=0,tp_src=0,tp_dst=0),in_port(1),eth()," +
  "eth_type(0x0800),ipv4(frag=no)",
  "in_port(1),eth(),eth_type(0x86dd),ipv6(label=0x5/0xff,proto=17,frag=no),udp(src=5/0xff)",
  "ct_state(+trk+est-new),ct_tuple4(src=1.2.3.4,proto=6,tp_dst=80),in_port(1),eth()," +
  "eth_type(0x0800),ipv4(frag=no)",
  "ct_state(+trk),ct_tuple6(src=fe80::1,proto=17),in_port(1),eth(),eth_type(0x86dd),ipv6(frag=no)",
  "ct_label(0x5/0xff),ct_mark(0x1/0x3),ct_zone(0x7),in_port(1),eth(),eth_type(0x1234)",
  "tunnel(tun_id=0x5,src=1.1.1.1,dst=1.1.1.2,tos=0x4/0xfc,ttl=64,tp_dst=4789," +
  "vxlan(gbp(id=5,flags=0x8)),flags(df|csum|key)),in_port(1),eth(),eth_type(0x1234)",
  "tunnel(ipv6_src=fe80::1,ipv6_dst=fe80::2,ttl=64,flags()),in_port(1),eth(),eth_type(0x1234)",
];

/** Lists that a datapath takes on any packet. */
const lists: readonly string[] = [
  "drop",
  "1",
  "1,drop",
  "clone(1,drop)",
  "drop(3)",
  "2,drop(3)",
  "push_vlan(vid=5,pcp=0),1,pop_vlan,2",
  "push_vlan(tpid=0x88a8,vid=5,pcp=7),1",
  "push_mpls(label=5,tc=1,ttl=9,bos=1,eth_type=0x8847),1",
  "pop_mpls(eth_type=0x800),1",
  "recirc(0x5)",
  "hash(l4(7)),recirc(0x5)",
  "hash(sym_l4(7)),recirc(0x5)",
  "trunc(100),1",
  "sample(sample=50.0%,actions(1,clone(2,drop)))",
  "check_pkt_len(size=100,gt(1),le(drop))",
  "userspace(pid=1,userdata(0102),actions),userspace(pid=0,tunnel_out_port=2)",
  "set(eth(src=02:00:00:00:00:01/ff:ff:ff:ff:ff:00)),set(skb_mark(0x5/0xf)),1",
  "set(skb_priority(0x5)),set(tunnel(tun_id=0x5,dst=1.1.1.1,ttl=64,flags(df|key))),1",
  "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1,si=255,c1=0x1,c2=0,c3=0,c4=0),1",
  "push_nsh(flags=0,ttl=63,mdtype=2,np=3,spi=0x1,si=255,md2=0x00000000),1",
  "pop_nsh(),1",
  "add_mpls(label=5,tc=1,ttl=9,bos=1,eth_type=0x8847),1",
  "meter(1),1",
  "ct(commit,zone=5,mark=0x1/0xff),recirc(0x5)",
  "ct_clear,1",
  "lb_output(1)",
  "tnl_pop(1)",
  "dec_ttl(le_1(drop)),1",
  "psample(group=1,cookie=0x01),drop",
];

/** The flow of a line and its actions, as a program would cut them out. */
export function cut(line: string): { key: string; actions: string } {
  const [, key, list] =
    /^(.*), packets:.*?actions:(.*?)(, dp-extra-info:.*)?$/.exec(line) ??
      [];
  assert.ok(key !== undefined && list !== undefined, line);
  return { key, actions: list };
}

/** Key and mask whole, for a text can leave out what matters. */
function whole({ type }: Datapath, { key, mask, raw }: Flow): string {
  if (type !== "system") return [raw.key, raw.mask].map((one) => one?.toHex()).join(" ");
  // The kernel pads numbers of 64 bits where its message has them at an odd place.
  return Deno.inspect([key, mask], { depth: 9, breakLength: Infinity, sorted: true });
}

/** Lines without counters and identifiers, sorted. */
function listing(dp: Datapath, verbose: boolean): string[] {
  return [...dp.flows.dump()].map((one) => {
    const { key, actions } = cut(flowText(one, { verbose }));
    return `${key.replace(/^ufid:\S+ /, "")} ${actions} ${whole(dp, one)}`;
  }).sort();
}

function* operations(random: number): Generator<Op> {
  let recircId = 1;
  const apart = (text: string) => `recirc_id(${recircId++}),${text}`;
  for (const text of rarities) yield { op: "put", key: apart(text), actions: "1" };
  for (const list of lists) {
    const key = apart("in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)");
    yield { op: "put", key, actions: list };
  }
  const flows = [
    ...fc.sample(flow, { seed: SEED, numRuns: random }),
    ...fc.sample(tunnelFlow, { seed: SEED, numRuns: random }),
  ];
  const programs = fc.sample(actions, { seed: SEED, numRuns: flows.length });
  for (const [i, { key, mask }] of flows.entries()) {
    const own = { ...key, recircId: recircId++ };
    const bytes = encodeKey(own);
    const text = formatActions(programs[i] ?? []);
    for (const actions of i % 3 === 0 ? [text, "2"] : ["2"]) {
      yield { op: "put", key: bytes, mask: encodeMask(mask, bytes), actions };
    }
  }
}

/** Puts the flows of lines that dump-flows printed. */
export type PutLines = (lines: readonly string[]) => void | Promise<void>;

/**
 * Puts flows of every kind, lists them, empties the table, has the lines put by `put`, and
 * asserts that the table is as before, in both notations.  Fails, with the reasons, where no more
 * than `least` flows are taken.
 */
export async function assertTablesComeBack(
  dp: Datapath,
  put: PutLines,
  { random, least }: { random: number; least: number },
): Promise<void> {
  const refused = new Map<string, string>();
  const wanted = [...operations(random)];
  for (const [i, result] of dp.operate(wanted).entries()) {
    const op = wanted[i];
    if (result.ok || op?.op !== "put" || result.error.code === "EEXIST") continue;
    refused.set(result.error.detail ?? result.error.code, `${op.key}`.slice(0, 200));
  }
  const { flows } = dp.stats();
  assert.ok(flows > least, `${flows} flows: ${JSON.stringify([...refused])}`);
  for (const verbose of [false, true]) {
    const before = listing(dp, verbose);
    const lines = [...dp.flows.dump()].map((one) => flowText(one, { verbose }));
    dp.flows.flush();
    await put(lines);
    assert.deepEqual(listing(dp, verbose), before);
  }
}
