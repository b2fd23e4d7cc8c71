// SPDX-License-Identifier: Apache-2.0
/** What no action sets, ARP and ICMP: it is set behind what came before it, and for nobody else. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Switch } from "../../openflow/switch/switch.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import type { HeaderEdit } from "../../openflow/translate/edit.ts";
import type { Frozen } from "../../openflow/translate/frozen.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import { flowWords, Word } from "../../openflow/wire/flow.ts";
import { BucketPlace } from "../../openflow/wire/message.ts";
import { ANY_GROUP } from "../../openflow/wire/object.ts";
import { Port } from "../../openflow/wire/port_number.ts";
import type { Datapath } from "../../providers/datapath.ts";
import type { Action } from "../../providers/types_action.ts";

const dp = {
  name: "d",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
  meters: {
    features: () => ({ maxMeters: 8, maxBands: 1 }),
    set: () => {},
    delete: () => {},
  },
} as unknown as Datapath;

/** Actions of a pass, and what is written into its packet. */
type Pass = readonly [actions: string, edit?: HeaderEdit];

function textOf(action: Action): string {
  switch (action.type) {
    case "output":
      return String(action.port);
    case "clone":
      return `clone(${action.actions.map(textOf).join()})`;
    case "checkPktLen":
      return `larger(${action.greater.map(textOf).join()};${
        action.lessEqual.map(textOf).join()
      })`;
    default:
      return action.type;
  }
}

/** The passes of a packet by port 1, an echo request or another one, in order. */
function passes(flows: readonly string[], more: Partial<{
  readonly packet: (flow: Uint32Array) => void;
  readonly prepare: (of: Switch) => void;
}> = {}): Pass[] {
  const of = new Switch(dp, { name: "d", datapathId: 1n, tight: false });
  more.prepare?.(of);
  for (const flow of flows) of.flows.apply(parseFlow(flow), { isOld: false });
  const later: Frozen[] = [];
  of.recirculates = (frozen) => {
    later.push(frozen);
    return { type: "recirc", id: later.length };
  };
  const pass = (go: (way: Translation) => void): Pass => {
    const flow = flowWords();
    flow[Word.inPort] = 1;
    flow[Word.dlType] = 0x800;
    flow[Word.nw] = 0x01004000;
    flow[Word.tp] = 0x80000;
    more.packet?.(flow);
    const way = new Translation(of, { flow, tags: [] }, () => {});
    go(way);
    const actions = way.actions.map(textOf).join();
    return way.edit === undefined ? [actions] : [actions, way.edit];
  };
  const made = [pass((way) => way.run())];
  for (let next = later.shift(); next !== undefined; next = later.shift()) {
    const frozen = next;
    made.push(pass((way) => way.resume(frozen)));
  }
  return made;
}

const set = "set_field:0->icmp_type";

Deno.test("openflow edits: of an opcode of ARP only the eight bits matter that packets are told by", () => {
  const packet = (flow: Uint32Array): void => {
    [flow[Word.dlType], flow[Word.nw]] = [0x806, 1 << 24];
  };
  for (const [value, edit] of [[0x101, undefined], [0x102, { op: 2 }]] as const) {
    const flows = [`arp,actions=load:${value}->NXM_OF_ARP_OP[],output:2`];
    const wanted: Pass = edit === undefined ? ["2"] : ["2", edit];
    deepStrictEqual(passes(flows, { packet }), [wanted]);
  }
});

Deno.test("openflow edits: first of all in a pass, where nothing had the packet", () => {
  deepStrictEqual(passes([`icmp,actions=${set},output:2,output:3`]), [
    ["2,3", { type: 0 }],
  ]);
  deepStrictEqual(passes([`icmp,actions=set_field:1->pkt_mark,${set},output:2`]), [
    ["set,2", { type: 0 }],
  ]);
  deepStrictEqual(passes([`icmp,actions=output:2,set_field:8->icmp_type,output:3`]), [
    ["2,3"],
  ]);
});

Deno.test("openflow edits: behind what the tracker is told, and tables that follow it", () => {
  deepStrictEqual(passes([`icmp,actions=ct(commit),${set},output:2`]), [
    ["ct,recirc"],
    ["2", { type: 0 }],
  ]);
  const flows = [
    `icmp,actions=ct(table=1),${set},output:2`,
    "table=1,icmp,icmp_type=8,actions=output:3",
  ];
  deepStrictEqual(passes(flows), [["ct,recirc,recirc"], ["3"], ["2", { type: 0 }]]);
});

Deno.test("openflow edits: behind outputs and packet-ins, which happen", () => {
  deepStrictEqual(
    passes([`icmp,actions=controller(userdata=00.01),${set},output:2`]),
    [["userspace,recirc"], ["2", { type: 0 }]],
  );
  const arp = (flow: Uint32Array): void => {
    flow[Word.dlType] = 0x806;
    flow[Word.nw] = 1 << 24;
    flow[Word.nwSrc] = 0x0a000001;
  };
  const list = "output:2,set_field:2->arp_op,move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]";
  deepStrictEqual(passes([`arp,actions=${list},IN_PORT`], { packet: arp }), [
    ["2,recirc"],
    ["1", { op: 2, tip: "10.0.0.1" }],
  ]);
});

Deno.test("openflow edits: for a branch, a clone and a bucket only", () => {
  const branches = [
    "icmp,actions=check_pkt_larger(1000)->NXM_NX_REG0[0],resubmit(,1)",
    `table=1,icmp,reg0=1,actions=${set},output:2`,
    "table=1,icmp,reg0=0,actions=output:3",
  ];
  deepStrictEqual(passes(branches), [["larger(recirc;3)"], ["2", { type: 0 }]]);
  deepStrictEqual(
    passes([`icmp,actions=clone(${set},push_mpls:0x8847,output:2),output:3`]),
    [["recirc,3"], ["pushMpls,2", { type: 0 }]],
  );
  const icmp = parseFlow(`icmp,actions=${set}`).instructions.apply ?? [];
  const bucket = [...icmp, { type: "output", port: 2, maxLength: 0 } as const];
  const prepare = (of: Switch): void => {
    of.groups.apply({
      kind: "groupMod",
      command: "add",
      type: "all",
      group: 1,
      place: BucketPlace.all,
      selection: undefined,
      buckets: [bucket, [{ type: "output", port: 3, maxLength: 0 } as const]]
        .map((actions, id) => ({
          ...{ id, weight: 0, watchPort: Port.none, watchGroup: ANY_GROUP, actions },
        })),
    });
  };
  // What the action set has is done by the packet, and not once more behind the bucket.
  const flows = [
    "icmp,actions=write_actions(output:3),goto_table:1",
    "table=1,icmp,actions=group:1",
  ];
  deepStrictEqual(passes(flows, { prepare }), [["recirc,3,3"], ["2", { type: 0 }]]);
});

Deno.test("openflow edits: a value of the stack is there in the next pass, too", () => {
  const list = [
    "push:NXM_OF_ICMP_CODE[]",
    "output:2",
    "pop:NXM_OF_ICMP_TYPE[]",
    "output:3",
  ];
  deepStrictEqual(passes([`icmp,actions=${list.join()}`]), [
    ["2,recirc"],
    ["3", { type: 0 }],
  ]);
});

Deno.test("openflow edits: a meter is gone through once, in whichever pass the rest is done", () => {
  const prepare = (of: Switch): void =>
    of.meters.apply({
      kind: "meterMod",
      command: "add",
      flags: 1,
      meter: 1,
      bands: [{ type: 1, rate: 1, burst: 0 }],
    });
  const flow = `icmp,actions=meter:1,output:2,${set},output:3`;
  const made = passes([flow], { prepare });
  strictEqual(made.map(([actions]) => actions).join(" "), "meter,2,recirc 3");
});
