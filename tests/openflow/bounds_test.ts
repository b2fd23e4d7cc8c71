// SPDX-License-Identifier: Apache-2.0
/** Flows and groups that a controller makes to keep a switch busy: they end, and soon. */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { replies } from "../../openflow/switch/replies.ts";
import { Switch } from "../../openflow/switch/switch.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import type { OfAction } from "../../openflow/wire/action.ts";
import { flowWords, Word } from "../../openflow/wire/flow.ts";
import { BucketPlace, type GroupMod } from "../../openflow/wire/message.ts";
import { ALL_GROUPS, ANY_GROUP, type GroupType } from "../../openflow/wire/object.ts";
import { Port } from "../../openflow/wire/port_number.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { formatActions } from "../../providers/odp/text/text.ts";

const dp = {
  name: "d",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
} as unknown as Datapath;

function make(...flows: string[]): Switch {
  const of = new Switch(dp, { name: "d", datapathId: 1n, tight: false });
  for (const flow of flows) of.flows.apply(parseFlow(flow), { isOld: false });
  return of;
}

/** What becomes of an IPv4 packet by port 1, or of one of another type. */
function run(of: Switch, type = 0x800): Translation {
  const flow = flowWords();
  flow[Word.inPort] = 1;
  flow[Word.dlType] = type;
  flow[Word.nw] = 17 << 24 | 64 << 8;
  flow[Word.nwDst] = 0x0a000001;
  const way = new Translation(of, { flow, tags: [] }, () => {});
  way.run();
  return way;
}

/** A group of some buckets, all with the same actions. */
function group(
  id: number,
  type: GroupType,
  count: number,
  actions: readonly OfAction[],
  watchGroup: number = ANY_GROUP,
): GroupMod {
  return {
    kind: "groupMod",
    command: "add",
    type,
    group: id,
    place: BucketPlace.all,
    selection: undefined,
    buckets: Array.from({ length: count }, (_, bucket) => ({
      id: bucket,
      weight: 0,
      watchPort: Port.none,
      watchGroup,
      actions,
    })),
  };
}

const out = (port: number): OfAction => ({ type: "output", port, maxLength: 0 });

Deno.test("openflow bounds: lists within lists end before the stack does", () => {
  const nested = (depth: number, what: string): string =>
    depth === 0 ? what : `clone(${nested(depth - 1, what)})`;
  for (const to of [(t: number) => `resubmit(,${t})`, (t: number) => `goto_table:${t}`]) {
    for (const depth of to(1).startsWith("goto") ? [0] : [0, 14]) {
      const of = make(
        ...Array.from(
          { length: 250 },
          (_, t) => `table=${t},actions=${nested(depth, to(t + 1))}`,
        ),
        "table=250,actions=resubmit(,0)",
      );
      const way = run(of);
      ok(/^too many/.test(way.reason ?? ""), way.reason);
    }
  }
  strictEqual(run(make("actions=TABLE")).reason, "too many resubmits");
});

Deno.test("openflow bounds: a way forward through all tables is no circle", () => {
  const of = make(
    ...Array.from({ length: 200 }, (_, t) => `table=${t},actions=resubmit(,${t + 1})`),
    "table=200,actions=2",
  );
  deepStrictEqual(run(of).actions, [{ type: "output", port: 2 }]);
});

Deno.test("openflow bounds: groups of groups take no time that grows with their ways", () => {
  // Four ways on at each of 15 groups: a thousand million ways, of which some are gone.
  const of = make();
  for (let id = 0; id < 15; id++) {
    const next: OfAction = id === 0 ? out(2) : { type: "group", group: id - 1 };
    of.groups.apply(group(id, "all", 4, [next]));
  }
  of.flows.apply(parseFlow("actions=group:14"), { isOld: false });
  const way = run(of);
  strictEqual(way.reason, "too many actions");
  deepStrictEqual(way.actions, [], "nothing becomes of it");
});

Deno.test("openflow bounds: groups that lead to themselves end as resubmits do", () => {
  // As in Open vSwitch they may.
  for (const count of [1, 4]) {
    const of = make();
    for (let id = 0; id < 3; id++) {
      of.groups.apply(group(id, "all", count, [{ type: "group", group: (id + 1) % 3 }]));
    }
    of.flows.apply(parseFlow("actions=output:2,group:1"), { isOld: false });
    const way = run(of);
    strictEqual(way.reason, "too many resubmits");
    deepStrictEqual(way.actions, [], "nothing becomes of it");
  }
});

Deno.test("openflow bounds: groups that watch groups are looked at once each", () => {
  const of = make();
  for (let id = 0; id < 15; id++) {
    of.groups.apply(group(id, "fast_failover", 100, [out(2)], id === 0 ? 99 : id - 1));
  }
  of.flows.apply(parseFlow("actions=group:14"), { isOld: false });
  deepStrictEqual(run(of).actions, []);
  // A group that comes is one that can do its work.
  of.groups.apply(group(99, "all", 1, [out(3)]));
  deepStrictEqual(run(of).actions, [{ type: "output", port: 2 }]);
});

Deno.test("openflow bounds: a bucket's actions are a set, as in Open vSwitch", () => {
  const of = make();
  of.groups.apply(group(1, "all", 1, [
    out(2),
    ...parseFlow(
      "ip,actions=set_field:1.1.1.1->nw_dst,output:3",
    ).instructions.apply ?? [],
  ]));
  of.flows.apply(parseFlow("ip,actions=group:1"), { isOld: false });
  deepStrictEqual(run(of).actions, [
    { type: "set", key: { ipv4: { dst: "1.1.1.1" } } },
    { type: "output", port: 3 },
  ]);
});

Deno.test("openflow bounds: a set does all changes of fields, and nothing that sets do not have", () => {
  const bucket = (list: string): unknown => {
    const of = make();
    of.groups.apply(group(1, "all", 0, []));
    of.flows.apply(parseFlow("ip,actions=group:1"), { isOld: false });
    const { apply = [] } = parseFlow(`ip,actions=${list}`).instructions;
    of.groups.apply({ ...group(1, "all", 1, apply), command: "modify" });
    return run(of).actions;
  };
  const out3 = { type: "output", port: 3 };
  deepStrictEqual(bucket("clone(output:2),output:3"), [out3]);
  deepStrictEqual(bucket("controller(id=5),output:3"), [out3]);
  deepStrictEqual(bucket("clone(output:2)"), []);
  const parts = "load:1->NXM_OF_IP_DST[0..7],load:2->NXM_OF_IP_DST[8..15]";
  deepStrictEqual(bucket(`${parts},output:3`), [{
    type: "set",
    key: { ipv4: { dst: "0.0.2.1" } },
    mask: { ipv4: { dst: "0.0.255.255" } },
  }, out3]);
  const through = "set_field:1.1.1.1->nw_dst,move:NXM_OF_IP_DST[]->NXM_OF_IP_SRC[]";
  deepStrictEqual(bucket(`${through},set_field:2.2.2.2->nw_dst,output:3`), [
    { type: "set", key: { ipv4: { src: "1.1.1.1", dst: "2.2.2.2" } } },
    out3,
  ]);
});

Deno.test("openflow bounds: an output that is cut and goes nowhere cuts no other", () => {
  const of = make("actions=output(port=77,max_len=100),output:2");
  deepStrictEqual(run(of).actions, [{ type: "output", port: 2 }]);
});

Deno.test("openflow bounds: a flow that replaces another does not overlap it", () => {
  const of = make("priority=5,ip,actions=2", "priority=5,ip,check_overlap,actions=3");
  deepStrictEqual(run(of).actions, [{ type: "output", port: 3 }]);
  throws(
    () =>
      of.flows.apply(parseFlow("priority=5,udp,check_overlap,actions=3"), {
        isOld: false,
      }),
    { code: "OFPFMFC_OVERLAP" },
  );
});

Deno.test("openflow bounds: a packet in a circle is not sent again and again", () => {
  const way = run(make("actions=output:2,resubmit(,0)"));
  deepStrictEqual(way.actions, []);
  strictEqual(way.reason, "too many resubmits");
});

Deno.test("openflow bounds: action sets are done in clones, and not behind an exit", () => {
  const out2 = { type: "output", port: 2 };
  const out3 = { type: "output", port: 3 };
  const clone = make(
    "actions=clone(resubmit(,1)),output:3",
    "table=1,actions=write_actions(output:2)",
  );
  deepStrictEqual(run(clone).actions, [out2, out3]);
  const exit = make(
    "actions=write_actions(output:2),goto_table:1",
    "table=1,actions=output:3,exit,output:3",
  );
  deepStrictEqual(run(exit).actions, [out3]);
});

Deno.test("openflow bounds: a port in a register is one of OpenFlow 1.0", () => {
  const flooded = run(make("actions=set_field:0xfffb->reg0,output:NXM_NX_REG0[]"));
  deepStrictEqual(flooded.actions.length, 2);
  const none = run(make("actions=set_field:0xfffffffb->reg0,output:NXM_NX_REG0[]"));
  deepStrictEqual(none.actions, []);
});

Deno.test("openflow bounds: what a clone leads to does not stay on the packet", () => {
  const way = run(make(
    "ip,actions=clone(resubmit(,1)),output:3",
    "table=1,ip,actions=push_mpls:0x8847,output:2",
  ));
  deepStrictEqual(way.actions.map(({ type }) => type), ["clone", "output"]);
});

Deno.test("openflow bounds: flows of many groups are looked at once", () => {
  const of = make();
  for (let id = 0; id < 3000; id++) of.groups.apply(group(id, "all", 1, [out(2)]));
  for (let i = 0; i < 3000; i++) {
    of.flows.apply(parseFlow(`priority=${i},actions=group:${i % 7}`), { isOld: false });
  }
  const since = performance.now();
  let references = 0;
  for (const reply of replies(of, { type: "group", group: ALL_GROUPS })) {
    if (reply?.type !== "group") continue;
    references += reply.groups.reduce((sum, one) => sum + one.references, 0);
  }
  strictEqual(references, 3000);
  of.groups.apply({ ...group(ALL_GROUPS, "all", 0, []), command: "delete" });
  deepStrictEqual([...of.flows.rules()], []);
  // Each group on its own: nine million looks, twice.
  ok(performance.now() - since < 2000, `${performance.now() - since} ms`);
});

Deno.test("openflow bounds: later tables match where the action set sends a packet", () => {
  const of = make(
    "actions=write_actions(output:2),goto_table:1",
    "table=1,actset_output=2,actions=output:3,clear_actions,goto_table:2",
    "table=1,priority=1,actions=drop",
    "table=2,actset_output=UNSET,actions=output:2,goto_table:3",
    "table=2,priority=1,actions=drop",
    "table=4,actset_output=2,actions=drop",
    "table=4,priority=1,actions=drop",
  );
  of.groups.apply(group(1, "all", 1, [out(2)]));
  of.flows.apply(
    parseFlow("table=3,actions=write_actions(group:1,output:2),goto_table:4"),
    { isOld: false },
  );
  deepStrictEqual(
    run(of).actions.map((action) => action.type === "output" ? action.port : action.type),
    [3, 2, 2],
  );
});

Deno.test("openflow bounds: queues are priorities of the packets that are sent", () => {
  const told = (text: string, type?: string): string => {
    const of = make(text);
    Object.assign(of.dp, { type });
    return formatActions(run(of).actions);
  };
  strictEqual(
    told("actions=set_queue:5,output:2,pop_queue,output:3"),
    "set(skb_priority(0x5)),2,set(skb_priority(0)),3",
  );
  strictEqual(told("actions=set_queue:5,pop_queue,output:3"), "3");
  strictEqual(
    told("actions=enqueue(2,7),output:3"),
    "set(skb_priority(0x7)),2,set(skb_priority(0)),3",
  );
  strictEqual(
    told("actions=clone(set_queue:1,output:2),output:3"),
    "set(skb_priority(0x1)),2,set(skb_priority(0)),3",
  );
  strictEqual(
    told("actions=set_queue:5,output:2", "system"),
    "set(skb_priority(0x10006)),2",
  );
  strictEqual(told("actions=set_queue:0xf000,output:2", "system"), "2");
});
