// SPDX-License-Identifier: Apache-2.0
/** NORMAL with VLANs, and ports that lead into another switch. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { PlannedPort } from "../../openflow/switch/ports.ts";
import { Switch } from "../../openflow/switch/switch.ts";
import { RuleCounter } from "../../openflow/table/rule.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import type { Bundle, SwitchPort } from "../../openflow/translate/pipeline.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import { flowWords, Word } from "../../openflow/wire/flow.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { formatActions } from "../../providers/odp/text/text.ts";

const dp = { name: "d", ports: { dump: () => [] } } as unknown as Datapath;

/** A switch whose ports are 10 above those of the datapath. */
function make(plan: () => PlannedPort[], flows: readonly string[] = ["actions=normal"]) {
  const of = new Switch(dp, { name: "d", datapathId: 1n, tight: false, ports: plan });
  for (const flow of flows) of.flows.apply(parseFlow(flow), { isOld: false });
  return of;
}

function port(number: number, bundle?: Partial<Bundle>): PlannedPort {
  const whole: Bundle = {
    name: `p${number}`,
    mode: "trunk",
    tag: 0,
    isProtected: false,
    priorityTags: "no",
    ports: [number],
    ...bundle,
  };
  return { port: number, dp: number + 10, name: `p${number}`, bundle: whole };
}

interface Sent {
  readonly from?: number;
  readonly vid?: number;
  readonly pcp?: number;
  readonly src?: number;
  readonly dst?: number;
}

/** What becomes of a packet, as text; its addresses are 02:00:00:00:00:NN. */
function send(
  of: Switch,
  { from = 1, vid, pcp = 0, src = 1, dst = 2 }: Sent,
): Translation {
  const flow = flowWords();
  flow[Word.inPort] = from;
  const address = (word: number, low: number): void => {
    flow[word] = dst > 0xff && word === Word.dlDst ? 0xffff : 0x0200;
    flow[word + 1] = dst > 0xff && word === Word.dlDst ? 0xffffffff : low;
  };
  address(Word.dlSrc, src);
  address(Word.dlDst, dst);
  flow[Word.dlType] = 0x05ff;
  const tci = vid === undefined ? 0 : 0x1000 | vid | pcp << 13;
  flow[Word.vlan] = tci;
  const tags = tci === 0 ? [] : [{ tpid: 0x8100, tci }];
  const way = new Translation(of, { flow, tags }, () => {});
  way.run();
  for (const { table, key, value } of way.lessons) table.set(key, value);
  return way;
}
const does = (of: Switch, sent: Sent): string => formatActions(send(of, sent).actions);

Deno.test("normal: access, trunk and native ports have the tags that they are to have", () => {
  const of = make(() => [
    port(1, { mode: "access", tag: 5 }),
    port(2, { mode: "trunk", trunks: new Set([5, 6]) }),
    port(3, { mode: "native-untagged", tag: 5, trunks: new Set([6]) }),
    port(4, { mode: "native-tagged", tag: 6 }),
    port(5, { mode: "access", tag: 6 }),
    port(6, { mode: "trunk" }),
  ]);
  strictEqual(
    does(of, { dst: 0x100 }),
    "push_vlan(vid=5,pcp=0),12,pop_vlan,13,push_vlan(vid=5,pcp=0),14,16",
  );
  strictEqual(
    does(of, { from: 2, vid: 6, dst: 0x100, src: 9 }),
    "13,14,pop_vlan,15,push_vlan(vid=6,pcp=0),16",
  );
  match(send(of, { from: 1, vid: 7 }).reason ?? "", /not in VLAN 7/);
  match(send(of, { from: 2, vid: 7 }).reason ?? "", /not in VLAN 7/);
  // What was learned in a VLAN is there in that VLAN only.
  strictEqual(does(of, { from: 2, vid: 5, src: 2, dst: 1 }), "pop_vlan,11");
  strictEqual(does(of, { from: 6, vid: 6, src: 3, dst: 9 }), "12");
  strictEqual(does(of, { from: 6, src: 4, dst: 0x100 }), "drop");
  match(send(of, { from: 2, vid: 5, src: 5, dst: 2 }).reason ?? "", /it came by/);
});

Deno.test("normal: priorities, protected ports, frames for neighbours, VLANs that flood", () => {
  const of = make(() => [
    port(1, { mode: "access", tag: 5, isProtected: true }),
    port(2, { mode: "access", tag: 5, isProtected: true, priorityTags: "if-nonzero" }),
    port(3),
    port(4, { mode: "access", tag: 5, priorityTags: "always" }),
  ]);
  strictEqual(
    does(of, { from: 3, vid: 5, dst: 0x100 }),
    "pop_vlan,11,12,push_vlan(vid=0,pcp=0),14",
  );
  const urgent = send(of, { from: 3, vid: 5, pcp: 3, dst: 0x100 });
  match(formatActions(urgent.actions), /vid=0,pcp=3\),12/);
  strictEqual((urgent.seen[Word.vlan] as number) & 0xe000, 0xe000);
  strictEqual(
    does(of, { from: 1, dst: 0x100, src: 7 }),
    "push_vlan(vid=5,pcp=0),13,pop_vlan,push_vlan(vid=0,pcp=0),14",
  );
  of.normal.value = { forwardBpdu: false, floodVlans: new Set([5]) };
  strictEqual(send(of, { from: 1, dst: 0x100, src: 8 }).lessons.length, 0);
});

Deno.test("patch ports: the other switch's tables go on, without registers, and come back", () => {
  const others: Switch[] = [];
  const outer: Switch = make(() => [
    port(1),
    {
      port: 2,
      name: "to-inner",
      ...others.slice(0, 1).map((pipeline) => ({ patch: { pipeline, port: 7 } }))[0],
    },
    port(3),
  ], [
    "in_port=1,actions=load:5->NXM_NX_REG0[],mod_dl_src:02:00:00:00:00:77,2,3",
  ]);
  others.push(make(() => [
    port(20),
    { port: 7, name: "to-outer", patch: { pipeline: outer, port: 2 } },
  ], [
    "in_port=7,reg0=0,actions=mod_dl_dst:02:00:00:00:00:55,20,in_port",
    "in_port=7,reg0=5,actions=drop",
  ]));
  outer.readPorts();
  const way = send(outer, {});
  strictEqual(
    formatActions(way.actions),
    "set(eth(src=02:00:00:00:00:77,dst=02:00:00:00:00:55)),30," +
      "set(eth(dst=02:00:00:00:00:02)),13",
  );
  deepStrictEqual(way.pipeline, outer);
});

Deno.test("patch ports: nothing is cut there, and so nothing that comes behind", () => {
  const inner = make(() => [port(7)], ["ip,actions=ct(commit)"]);
  const patch = { pipeline: inner, port: 7 };
  const of = make(() => [port(1), { port: 2, name: "to-inner", patch }, port(3)], [
    "in_port=1,ip,actions=output(port=2,max_len=64),output(port=3,max_len=64),output:3",
  ]);
  const flow = flowWords();
  flow[Word.inPort] = 1;
  flow[Word.dlType] = 0x800;
  const way = new Translation(of, { flow, tags: [] }, () => {});
  way.run();
  strictEqual(formatActions(way.actions), "trunc(64),13,13");
});

Deno.test("mirrors: a copy is whole, also behind what was to be cut and went nowhere", () => {
  const { bundle } = port(2);
  const of = make(() => [
    port(1),
    { port: 2, name: "to-nowhere", bundle },
    port(3),
    port(4),
    { ...port(5), tunnel: { remote: undefined, dontFragment: false } },
  ], [
    "in_port=1,actions=output(port=2,max_len=64),4",
    "in_port=4,actions=output(port=5,max_len=64),5",
    "in_port=5,actions=output(port=1,max_len=64)",
  ]);
  of.mirrors.value = [{
    name: "m",
    sources: new Set(),
    targets: "all",
    output: { bundle: "p3" },
    cut: 0,
    counter: new RuleCounter("m", 0),
  }];
  const sent = [1, 4, 5].map((from) => formatActions(send(of, { from }).actions));
  // Nothing says where the tunnel leads to: what goes nowhere is not mirrored.
  deepStrictEqual(sent, ["14,13", "drop", "trunc(64),11,13"]);
});

Deno.test("patch ports: two that send to each other end", () => {
  const others: Switch[] = [];
  const one: Switch = make(() => [
    port(1),
    {
      port: 2,
      name: "a",
      ...others.slice(0, 1).map((pipeline) => ({ patch: { pipeline, port: 2 } }))[0],
    },
  ], ["actions=2,in_port"]);
  others.push(make(() => [
    { port: 2, name: "b", patch: { pipeline: one, port: 2 } },
  ], ["actions=in_port"]));
  one.readPorts();
  const way = send(one, {});
  match(way.reason ?? "", /too many/);
  strictEqual(way.actions.length, 0);
});

/** Two switches that are joined, and how often one of their ports was asked for. */
interface Joined {
  readonly of: Switch;
  readonly asked: () => number;
}

/** Two switches that some patches join, with so many other ports each. */
function joined(
  patches: number,
  ports: number,
  bundle: Partial<Bundle>,
  first: Partial<Bundle> = {},
): Joined {
  const both: Switch[] = [];
  const side = (own: number): Switch =>
    make(() => [
      ...Array.from({ length: ports }, (_, i) => port(i + 1, bundle)),
      ...Array.from({ length: patches }, (_, i): PlannedPort => {
        const other = both[1 - own];
        const end = { ...port(5000 + i, own + i === 1 ? first : {}), dp: undefined };
        return { ...end, ...(other && { patch: { pipeline: other, port: 5000 + i } }) };
      }),
    ]);
  both.push(side(0));
  both.push(side(1));
  both[0]?.readPorts();
  let count = 0;
  for (const { ports } of both) {
    ports.value = new class extends Map<number, SwitchPort> {
      override get(key: number): SwitchPort | undefined {
        count++;
        return super.get(key);
      }
    }(ports.value);
  }
  return { of: both[0] as Switch, asked: () => count };
}

Deno.test("patch ports: a packet that goes round is dropped, and soon", () => {
  const access: Partial<Bundle> = { mode: "access", tag: 5 };
  // With another tag each time round it is never the packet that it was.
  const tunnel: Partial<Bundle> = { mode: "dot1q-tunnel", tag: 5 };
  const usual = joined(1, 48, access);
  strictEqual(send(usual.of, { dst: 0x100 }).actions.length, 47 + 48);
  for (const [bundle = {}, first] of [[{}, {}], [access, {}], [{}, tunnel]]) {
    for (const patches of [2, 3]) {
      const { of, asked } = joined(patches, 48, bundle, first);
      const { reason, actions } = send(of, { dst: 0x100 });
      match(reason ?? "", /too many/);
      strictEqual(actions.length, 0);
      const what = `${patches} patches of ${JSON.stringify([bundle, first])}`;
      ok(asked() < 10 * usual.asked(), `${what}: ${asked()} after ${usual.asked()}`);
    }
  }
  // One patch goes nowhere round: all ports of both have the packet.
  strictEqual(send(joined(1, 48, {}).of, { dst: 0x100 }).actions.length, 47 + 48);
});

Deno.test("ports: what is as it was is not written again, and leads where it led", () => {
  const { of } = joined(2, 3, {});
  const before = of.ports.value;
  of.readPorts();
  strictEqual(of.ports.value, before);
});

Deno.test("normal: a tunnel of 802.1Q takes and gives the VLANs of its customers only", () => {
  const tunnel: Partial<Bundle> = { mode: "dot1q-tunnel", tag: 5 };
  const of = make(() => [
    port(1, { ...tunnel, customers: new Set([10, 12]) }),
    port(2, tunnel),
    port(3, { mode: "access", tag: 5 }),
    port(4, { ...tunnel, customers: new Set([0]) }),
  ]);
  for (
    const [from, vid, to] of [
      [1, undefined, "drop"],
      [1, 11, "drop"],
      [1, 10, "12,13"],
      [2, 12, "11,13"],
      [2, 11, "13"],
      [3, undefined, "12,14"],
    ] as const
  ) {
    const said = vid === undefined ? { from } : { from, vid };
    strictEqual(does(of, { ...said, dst: 0xfff }), to, `${from} ${vid}`);
  }
});

Deno.test("normal: what was learned goes with the VLAN, the bundle and the owner of a port", () => {
  const first = () => [
    port(1, { mode: "access", tag: 10 }),
    port(2, { mode: "access", tag: 10 }),
    port(3, { mode: "access", tag: 10 }),
  ];
  let plan = first;
  const of = make(() => plan());
  const learn = (): void => {
    plan = first;
    of.readPorts();
    send(of, { from: 2, src: 2, dst: 9 });
    strictEqual(does(of, { dst: 2 }), "12");
  };
  const [one, , three] = first() as [PlannedPort, PlannedPort, PlannedPort];
  const others: Readonly<Record<string, PlannedPort>> = {
    "another VLAN": port(2, { mode: "access", tag: 20 }),
    "another port of its number": { ...port(2, { mode: "access", tag: 10 }), name: "q" },
    "another bundle": port(2, { name: "bond", mode: "access", tag: 10 }),
    "fewer VLANs": port(2, { mode: "trunk", trunks: new Set([11]) }),
  };
  for (const [what, other] of Object.entries(others)) {
    learn();
    plan = () => [one, other, three];
    of.readPorts();
    const keys = [...of.stations.entries()].filter(([, at]) => at === 2);
    deepStrictEqual(keys, [], what);
    ok(does(of, { dst: 2 }).includes("13"), what);
  }
  // A port that went, and another that has its number then.
  learn();
  const gone: string[] = [];
  of.onStationGone = (key) => void gone.push(key);
  plan = () => [one, three];
  of.readPorts();
  // Behind other switches it may be elsewhere, too.
  deepStrictEqual(gone.map((key) => key.split(" ")[0]), ["10"]);
  plan = first;
  of.readPorts();
  strictEqual(does(of, { dst: 2 }), "12,13");
  // A port's link is not its owner.
  learn();
  plan = () => [one, { ...port(2, { mode: "access", tag: 10 }), link: { up: false } }];
  of.readPorts();
  strictEqual(does(of, { dst: 2 }), "12");
  // What a packet taught may be heard when its port is in other VLANs already.
  plan = () => [one, port(2, { mode: "access", tag: 20 }), three];
  of.readPorts();
  of.stations.set("10 20000000002", 2);
  strictEqual(does(of, { dst: 2 }), "13");
});
