// SPDX-License-Identifier: Apache-2.0
/** Packets that stop on their way: they go on as they would have, in their switch, and they end. */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { Switch } from "../../openflow/switch/switch.ts";
import { Switches } from "../../openflow/switches.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import {
  readContinuation,
  writeContinuation,
} from "../../openflow/translate/continuation.ts";
import { readContext } from "../../openflow/translate/context.ts";
import { freezeRest, type Frozen } from "../../openflow/translate/frozen.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import { NO_TABLE, type OfAction } from "../../openflow/wire/action.ts";
import { anyMatch, flowWords, Word } from "../../openflow/wire/flow.ts";
import { fieldOfName } from "../../openflow/wire/field.ts";
import { BucketPlace } from "../../openflow/wire/message.ts";
import { ANY_GROUP, type Selection } from "../../openflow/wire/object.ts";
import { Port } from "../../openflow/wire/port_number.ts";
import { handedBy } from "../../policy/decision.ts";
import type { Datapath } from "../../providers/datapath.ts";
import type { Action } from "../../providers/types_action.ts";

const dp = {
  name: "d",
  type: "netdev",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
} as unknown as Datapath;

function make(flows: readonly string[], tight = false): Switch {
  const of = new Switch(dp, { name: "d", datapathId: 1n, tight });
  for (const flow of flows) of.flows.apply(parseFlow(flow), { isOld: true });
  return of;
}

/** A UDP packet by port 1, with a tag if one is said, to an address. */
function way(of: Switch, tci = 0, to = 0): Translation {
  const flow = flowWords();
  flow[Word.inPort] = 1;
  flow[Word.dlType] = 0x800;
  flow[Word.nw] = 17 << 24 | 64 << 8;
  flow[Word.tp] = 0x00010002;
  flow[Word.vlan] = tci;
  flow[Word.nwDst] = to;
  const tags = tci === 0 ? [] : [{ tpid: 0x8100, tci }];
  return new Translation(of, { flow, tags }, () => {});
}

/** What a controller is given with a packet that stays with it. */
function continuationOf(actions: readonly Action[]): Uint8Array {
  const handed = actions.flatMap((one) =>
    one.type === "userspace" ? handedBy(one.userdata) ?? [] : []
  );
  const [first] = handed;
  ok(first?.kind === "toProgram");
  return readContext(first.userdata).continuation as Uint8Array;
}

function group(
  of: Switch,
  selection: Selection | undefined,
  ports: readonly number[],
): void {
  of.groups.apply({
    ...{ kind: "groupMod", command: "add", type: "select", group: 1 },
    ...{ place: BucketPlace.all, selection },
    buckets: ports.map((port, id) => ({
      ...{ id, weight: 1, watchPort: Port.none, watchGroup: ANY_GROUP },
      actions: [{ type: "output", port, maxLength: 0 }],
    })),
  });
}

Deno.test("openflow frozen: actions of old versions do what they did before", () => {
  for (
    const what of [
      ...["mod_tp_dst:80,output:2", "mod_tp_src:80,output:2", "mod_vlan_vid:5,output:2"],
      ...["mod_vlan_pcp:3,output:2", "mod_nw_tos:0x40,output:2", "strip_vlan,output:2"],
      ...["clone(mod_tp_dst:80,output:2),output:3", "set_tunnel:5,output:2"],
      ...["enqueue:2:1,output:3", "load:7->NXM_NX_REG1[],output:NXM_NX_REG1[0..15]"],
      ...["mod_nw_dst:10.0.0.3,output:2", "note:01.02,output:2"],
    ]
  ) {
    for (const match of ["ip", "udp", "ip,vlan_tci=0x1000/0x1000"]) {
      const tci = match.includes("vlan") ? 0x1007 : 0;
      const direct = way(make([`${match},actions=${what}`]), tci);
      direct.run();
      const paused = make([`${match},actions=controller(pause),${what}`]);
      const first = way(paused, tci);
      first.run();
      const given = way(paused, tci);
      given.resume(readContinuation(continuationOf(first.actions), paused.tlv));
      deepStrictEqual(given.actions, direct.actions, `${match} ${what}, resumed`);
      // The same behind a group for which the datapath computes a hash.
      const hashing = make([]);
      group(hashing, undefined, [3]);
      hashing.flows.apply(parseFlow(`${match},actions=group:1,${what}`), { isOld: true });
      let frozen: Frozen | undefined;
      hashing.recirculates = (one) => (frozen = one, { type: "recirc", id: 7 });
      way(hashing, tci).run();
      const hashed = way(hashing, tci);
      hashed.resume(frozen as Frozen);
      deepStrictEqual(
        hashed.actions.slice(1),
        direct.actions,
        `${match} ${what}, with a hash`,
      );
    }
  }
});

/**
 * Puts a packet through a switch until it is not looked up again; how often, and the last reason.
 */
function loop(of: Switch): [count: number, reason: string | undefined] {
  let frozen: Frozen | undefined;
  of.recirculates = (one) => (frozen = one, { type: "recirc", id: 7 });
  let last = way(of);
  last.run();
  for (let count = 0;; count++) {
    ok(count < 1000, "it ends");
    if (last.actions.length === 0) return [count, last.reason];
    last = way(of);
    last.resume(frozen as Frozen);
  }
}

Deno.test("openflow frozen: a packet is looked up again so many times, and no more", () => {
  const reason = "too many recirculations";
  deepStrictEqual(loop(make(["ip,actions=push:NXM_NX_REG0[],ct(table=0)"])), [
    16,
    reason,
  ]);
  deepStrictEqual(loop(make(["ip,actions=ct(table=0)"])), [16, reason]);
  const hashing = make([]);
  group(hashing, undefined, [3]);
  hashing.flows.apply(parseFlow("ip,actions=group:1,ct(table=0)"), { isOld: false });
  strictEqual(loop(hashing)[1], reason);
});

Deno.test("openflow frozen: the stack has an end", () => {
  const pushes = (count: number) => Array(count).fill("push:NXM_NX_XXREG0[]").join(",");
  const set = "actions=load:1->NXM_NX_XXREG0[120]";
  const pushing = way(make([`${set},${pushes(4000)},2`]));
  pushing.run();
  deepStrictEqual([pushing.reason, pushing.actions], ["over 64 kB of stack", []]);
  const few = way(make([`${set},${pushes(3800)},2`]));
  few.run();
  deepStrictEqual(few.actions, [{ type: "output", port: 2 }]);
});

Deno.test("openflow frozen: what does not fit into a message is dropped, and says so", () => {
  const outs = (count: number) => Array(count).fill("2,3").join(",");
  const pushes = Array(3000).fill("push:NXM_NX_XXREG0[]").join(",");
  const set = "load:1->NXM_NX_XXREG0[120]";
  for (
    const [flow, reason] of [
      [`actions=${set},${pushes},controller(pause)`, "too much for controllers"],
      [
        `actions=${Array(1000).fill("controller(userdata=01)").join(",")}`,
        "too much for controllers",
      ],
      [`actions=${outs(4095)}`, "over 64 kB of actions"],
    ] as const
  ) {
    const over = way(make([flow]));
    over.run();
    deepStrictEqual([over.reason, over.actions, over.isRefused], [reason, [], true]);
  }
});

/** Two switches, and what is executed for their controllers. */
function two(): { readonly a: Switch; readonly b: Switch; readonly done: Action[] } {
  const all = new Switches(dp);
  const [a, b] = [1, 2].map((dpNo) => {
    const ports = () => [{ port: 1, name: `p${dpNo}`, dp: dpNo }];
    const options = { name: `s${dpNo}`, datapathId: BigInt(dpNo), tight: false, ports };
    const of = new Switch(dp, options);
    all.add(of);
    return of;
  }) as [Switch, Switch];
  const done: Action[] = [];
  const execute = (_packet: unknown, _key: unknown, actions: readonly Action[]) =>
    done.push(...actions);
  Object.defineProperty(all, "run", { value: { execute } });
  return { a, b, done };
}

function frozenIn(of: Switch, inPort = Port.controller as number): Frozen {
  const apply: OfAction[] = [{ type: "output", port: 1, maxLength: 0 }];
  return {
    ...{ of: of.id, table: NO_TABLE, inPort, words: [], stack: [], set: "" },
    rests: [freezeRest({ table: 0, cookie: undefined, what: { apply } })],
    ...{ hashed: "", bond: "", mirrored: 0, tracked: false, depth: 0 },
  };
}

Deno.test("openflow frozen: a controller has packets go on in its own switch only", () => {
  const { a, b, done } = two();
  const resume = (of: Switch, continuation: Uint8Array): void =>
    of.runtime.resume({
      ...{ kind: "resume", packet: new Uint8Array(64), metadata: anyMatch() },
      continuation,
    });
  const of = writeContinuation(frozenIn(b), b.tlv);
  throws(() => resume(a, of), { code: "NXR_STALE" });
  for (let at = 0; at < of.length; at++) {
    const forged = of.slice();
    forged[at] = (forged[at] as number) ^ 1;
    try {
      resume(b, forged);
    } catch (error) {
      ok((error as { code?: string }).code !== undefined, "it is refused, or the same");
      continue;
    }
    done.length = 0;
  }
  deepStrictEqual(done, []);
  throws(() => resume(b, writeContinuation(frozenIn(b, 9), b.tlv)), {
    code: "NXR_STALE",
  });
  resume(b, of);
  deepStrictEqual(done, [{ type: "output", port: 2 }]);
});

Deno.test("openflow frozen: a packet-out that is too much is refused", () => {
  const { a, done } = two();
  const field = fieldOfName("xxreg0");
  const set: OfAction = {
    ...{ type: "setField", form: "set", field, value: 1n << 120n, mask: 1n << 120n },
  };
  const push: OfAction = { type: "push", of: { field, offset: 0, bits: 128 } };
  const pause: OfAction = {
    ...{ type: "controller", maxLength: 0, controllerId: 0, reason: 0, pause: true },
  };
  const actions = [set, ...Array(3000).fill(push), pause];
  const out = { bufferId: 0xffffffff, inPort: Port.controller, metadata: anyMatch() };
  const send = () =>
    a.runtime.packetOut({
      kind: "packetOut",
      packet: new Uint8Array(64),
      actions,
      ...out,
    });
  throws(send, { code: "OFPFMFC_UNKNOWN" });
  deepStrictEqual(done, []);
});

Deno.test("openflow frozen: a group hashes the fields that it names, and rests on there being none", () => {
  const fields = (name: string) => {
    const field = fieldOfName(name);
    return [{ field, mask: (1n << BigInt(field.bits)) - 1n }];
  };
  const by = (name: string): Switch => {
    const of = make([], true);
    group(of, { method: "hash", parameter: 0n, fields: fields(name) }, [2, 3]);
    of.flows.apply(parseFlow("actions=group:1"), { isOld: false });
    return of;
  };
  const ports = new Set<unknown>();
  const of = by("ip_dst");
  for (let i = 0; i < 16; i++) {
    const one = way(of, 0, i);
    one.run();
    for (const action of one.actions) ports.add((action as { port?: unknown }).port);
    strictEqual(one.seen[Word.nwDst], 0xffffffff);
  }
  deepStrictEqual([...ports].sort(), [2, 3]);
  const udp = way(by("tcp_dst"));
  udp.run();
  strictEqual((udp.seen[Word.nw] as number) >>> 24, 0xff, "that it has no TCP port");
});

Deno.test("openflow frozen: a group that selects below a label does so by what is there", () => {
  const of = make([]);
  const field = fieldOfName("nw_src");
  const fields = [{ field, mask: 0xffffffffn }];
  group(of, { method: "hash", parameter: 0n, fields }, [2, 3]);
  of.flows.apply(parseFlow("mpls,actions=pop_mpls:0x0800,group:1"), { isOld: true });
  let frozen: Frozen | undefined;
  of.recirculates = (one) => (frozen = one, { type: "recirc", id: 7 });
  const flow = flowWords();
  flow[Word.inPort] = 1;
  flow[Word.dlType] = 0x8847;
  flow[Word.mpls] = 0x1140;
  const first = new Translation(of, { flow, tags: [] }, () => {});
  first.run();
  deepStrictEqual(first.actions.map(({ type }) => type), ["popMpls", "recirc"]);
  const ports = new Set<string>();
  for (let low = 0; low < 32; low++) {
    const packet = flowWords();
    packet[Word.inPort] = 1;
    packet[Word.dlType] = 0x800;
    packet[Word.nwSrc] = 0x0a000000 + low;
    const next = new Translation(of, { flow: packet, tags: [] }, () => {});
    next.resume(frozen as Frozen);
    ports.add(next.actions.map((one) => one.type === "output" ? one.port : 0).join());
  }
  deepStrictEqual([...ports].sort(), ["2", "3"]);
});
