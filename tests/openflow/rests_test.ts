// SPDX-License-Identifier: Apache-2.0
/** What flows of the datapath rest on: what changes has those run again that it may concern. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Switch } from "../../openflow/switch/switch.ts";
import { flowOfKey, layFlow } from "../../openflow/table/packet_flow.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import type { Frozen } from "../../openflow/translate/frozen.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import type { OfAction } from "../../openflow/wire/action.ts";
import { Word } from "../../openflow/wire/flow.ts";
import {
  BucketPlace,
  type GroupCommand,
  type GroupMod,
} from "../../openflow/wire/message.ts";
import { ANY_GROUP } from "../../openflow/wire/object.ts";
import { Port } from "../../openflow/wire/port_number.ts";
import { Layouts } from "../../policy/packet/layout.ts";
import { Tracker } from "../../policy/packet/tracker.ts";
import {
  holdDependency,
  listen,
  releaseDependency,
} from "../../policy/state/dependency.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { encodeKey } from "../../providers/odp/mod.ts";

const dp = {
  name: "d",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
  meters: {
    features: () => ({ maxMeters: 8, maxBands: 1 }),
    set: () => {},
    delete: () => {},
  },
} as unknown as Datapath;

function make(...flows: string[]): Switch {
  const of = new Switch(dp, { name: "d", datapathId: 1n, tight: false });
  for (const flow of flows) of.flows.apply(parseFlow(flow), { isOld: false });
  return of;
}

const ethernet = { src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" };

/** Puts packets through a switch, one after the other; whether a change concerns the last one. */
function concerns(
  of: Switch,
  change: () => void,
  marks: readonly number[] = [0],
): boolean {
  const held: number[] = [];
  let last: readonly number[] = [];
  for (const mark of marks) {
    const tracker = new Tracker();
    const bytes = encodeKey({ inPort: 1, skbMark: mark, ethernet, etherType: 0x88cc });
    tracker.take(bytes);
    tracker.begin(Date.now());
    try {
      new Translation(of, flowOfKey(tracker.key, tracker.layout), () => {}).run();
    } finally {
      tracker.end();
    }
    last = [...tracker.dependencyIds.subarray(0, tracker.dependencyCount)];
    for (const id of last) holdDependency(id);
    held.push(...last);
  }
  let found = false;
  const listening = listen({ changed: (id) => found ||= last.includes(id) });
  change();
  listening[Symbol.dispose]();
  for (const id of held) releaseDependency(id);
  return found;
}

function group(
  command: GroupCommand,
  id: number,
  actions: readonly OfAction[],
  watchGroup: number = ANY_GROUP,
): GroupMod {
  const buckets = [{ id: 0, weight: 0, watchPort: Port.none, watchGroup, actions }];
  return {
    kind: "groupMod",
    command,
    type: "all",
    group: id,
    place: BucketPlace.all,
    selection: undefined,
    buckets: command === "delete" ? [] : buckets,
  };
}

const out: OfAction = { type: "output", port: 2, maxLength: 0 };

Deno.test("openflow rests: on groups that buckets watch", () => {
  const of = make();
  of.groups.apply(group("add", 1, [out], 2));
  of.flows.apply(parseFlow("actions=group:1"), { isOld: false });
  strictEqual(concerns(of, () => of.groups.apply(group("add", 2, [out]))), true);
  strictEqual(concerns(of, () => of.groups.apply(group("add", 3, [out]))), false);
  strictEqual(concerns(of, () => of.groups.apply(group("delete", 3, []))), false);
  strictEqual(concerns(of, () => of.groups.apply(group("delete", 2, []))), true);
});

Deno.test("openflow rests: on meters that buckets name", () => {
  const of = make();
  const meter = (command: "add" | "delete", meter: number): void =>
    of.meters.apply({
      kind: "meterMod",
      command,
      flags: 1,
      meter,
      bands: [{ type: 1, rate: 1, burst: 0 }],
    });
  of.groups.apply(group("add", 1, [{ type: "meter", meter: 1 }, out]));
  of.flows.apply(parseFlow("actions=group:1"), { isOld: false });
  strictEqual(concerns(of, () => meter("add", 1)), true);
  strictEqual(concerns(of, () => meter("add", 2)), false);
  strictEqual(concerns(of, () => meter("delete", 2)), false);
  strictEqual(concerns(of, () => meter("delete", 1)), true);
});

Deno.test("openflow rests: on a field as it came, though another flow set it to zero", () => {
  // The first packet's mark was set to zero; the second one has zero, or anything else, itself.
  const of = make(
    "priority=2,pkt_mark=1,actions=set_field:0->pkt_mark,resubmit(,1)",
    "priority=1,actions=resubmit(,1)",
    "table=1,priority=1,actions=2",
  );
  const add = (): void =>
    of.flows.apply(parseFlow("table=1,priority=9,pkt_mark=5,actions=3"), {
      isOld: false,
    });
  strictEqual(concerns(of, add, [1, 6]), true);
});

Deno.test("openflow rests: on meters that packets for controllers go through", () => {
  const of = make("in_port=1,actions=controller(userdata=01,meter_id=3),2");
  const add = (): void =>
    of.meters.apply({
      kind: "meterMod",
      command: "add",
      meter: 3,
      flags: 1,
      bands: [{ type: 1, rate: 10, burst: 0 }],
    });
  const does = (): string[] => {
    const key = encodeKey({ inPort: 1, ethernet, etherType: 0x88cc });
    const way = new Translation(of, flowOfKey(key, new Layouts().of(key)), () => {});
    way.run();
    return way.actions.map((action) =>
      action.type === "clone"
        ? action.actions.map(({ type }) => type).join()
        : action.type
    );
  };
  deepStrictEqual(does(), ["userspace", "output"]);
  ok(concerns(of, add));
  deepStrictEqual(does(), ["meter,userspace", "output"]);
});

/** Rules of which so many are told of in one go. */
const others = Array.from({ length: 80 }, (_, i) => `in_port=${i + 100}`);

/** Whether new rules concern the flow of packets that go on in table 1 as they were frozen. */
function concernsFrozen(
  of: Switch,
  frozen: Frozen,
  hash: number,
  rules: readonly string[],
): boolean {
  const keyBytes = encodeKey({
    inPort: 0xffff,
    dpHash: hash,
    ethernet,
    etherType: 0x88cc,
  });
  const tracker = new Tracker();
  tracker.take(keyBytes);
  tracker.begin(Date.now());
  try {
    const way = new Translation(of, flowOfKey(tracker.key, tracker.layout), () => {});
    if (frozen.hashed !== "") way.now.flow[Word.dpHash] = hash;
    way.resume(frozen);
    layFlow(tracker, way.seen, way.seenInner);
  } finally {
    tracker.end();
  }
  const ids = tracker.dependencies;
  for (const id of ids) holdDependency(id);
  const bits = { keyBytes, keyFrom: 0, layout: tracker.layout, maskBytes: tracker.mask };
  let found = false;
  const listening = listen({
    changed: (id, touches) => found ||= ids.includes(id) && (touches?.(bits) ?? true),
  });
  const mods = rules.map((rule) => parseFlow(`table=1,priority=9,${rule},actions=drop`));
  of.flows.now(function* (change) {
    for (const mod of mods) yield* of.flows.stage(mod, { isOld: false }, change);
  });
  listening[Symbol.dispose]();
  for (const id of ids) releaseDependency(id);
  return found;
}

Deno.test("openflow rests: on the port that a packet was frozen with, which its key may lack", () => {
  const frozen = (inPort: number): [Switch, Frozen] => {
    const of = make("table=1,priority=1,actions=2");
    let kept: Frozen | undefined;
    of.recirculates = (one) => (kept = one, { type: "recirc", id: 7 });
    const key = encodeKey({ inPort: 0xffff, ethernet, etherType: 0x88cc });
    const packet = flowOfKey(key, new Tracker().layoutOf(key));
    packet.flow[Word.inPort] = inPort;
    const out = parseFlow("ip,actions=ct(table=1)").instructions.apply ?? [];
    new Translation(of, packet, () => {}).runActions(out);
    return [of, kept as Frozen];
  };
  for (const port of [Port.controller, 2]) {
    for (const more of [[], others]) {
      const [of, kept] = frozen(port);
      const it = `in_port=${port === 2 ? 2 : "CONTROLLER"}`;
      strictEqual(
        concernsFrozen(of, kept, 0, [it, ...more]),
        true,
        `${it} ${more.length}`,
      );
      const [other, kept2] = frozen(port);
      strictEqual(concernsFrozen(other, kept2, 0, ["in_port=3", ...more]), false);
    }
  }
});
