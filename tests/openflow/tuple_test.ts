// SPDX-License-Identifier: Apache-2.0
/** Flows of the datapath that rest on what their packets may lack hold for those that have it. */
import { deepStrictEqual } from "node:assert/strict";
import { Switch } from "../../openflow/switch/switch.ts";
import { flowOfKey, layFlow } from "../../openflow/table/packet_flow.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import type { Frozen } from "../../openflow/translate/frozen.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import type { OfAction } from "../../openflow/wire/action.ts";
import type { Field } from "../../openflow/wire/field.ts";
import { Word } from "../../openflow/wire/flow.ts";
import { Tracker } from "../../policy/packet/tracker.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { decodeMask, encodeKey } from "../../providers/odp/mod.ts";
import type { FlowKeyInit } from "../../providers/types_key.ts";

const dp = {
  name: "d",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
} as unknown as Datapath;

function make(...flows: string[]): Switch {
  const of = new Switch(dp, { name: "d", datapathId: 1n, tight: true });
  for (const flow of flows) of.flows.apply(parseFlow(flow), { isOld: false });
  return of;
}

/** What of a mask is looked at here. */
interface Mask {
  readonly ctState?: unknown;
  readonly ctTuple4?: { readonly proto?: unknown };
  readonly ipv6?: { readonly proto?: unknown };
  readonly icmpv6?: unknown;
}

/** What becomes of a packet in table 1, and the mask of its flow. */
function run(of: Switch, key: FlowKeyInit) {
  const tracker = new Tracker();
  const bytes = encodeKey(key);
  tracker.take(bytes);
  tracker.begin(Date.now());
  try {
    const way = new Translation(of, flowOfKey(tracker.key, tracker.layout), () => {});
    way.run(1);
    layFlow(tracker, way.seen, way.seenInner);
    const mask = decodeMask(tracker.mask.slice(0, tracker.maskSize), bytes) as Mask;
    return { actions: way.actions, mask };
  } finally {
    tracker.end();
  }
}

const ethernet = { src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" };
const base = { inPort: 1, ethernet, ctZone: 0, ctMark: 0, ctLabels: 0n };

const packet4 = {
  ...base,
  etherType: 0x800,
  ipv4: { src: "10.0.0.9", dst: "10.0.0.2", proto: 6, tos: 0, ttl: 64, frag: "no" },
  tcp: { src: 1, dst: 2 },
} as const;

const ip6 = { src: "fe80::9", dst: "fe80::2", label: 0, tclass: 0, hlimit: 255 };

Deno.test("openflow tuple: a packet without one rests on the state of its connection", () => {
  const matching =
    "table=1,priority=9,ip,ct_state=-inv+trk,ct_nw_src=10.0.0.1,actions=output:2";
  const moving =
    "table=1,priority=8,ip,ct_state=+trk-inv,actions=move:NXM_NX_CT_NW_SRC[]->NXM_NX_REG0[],resubmit(,2)";
  const of = make(
    matching,
    moving,
    "table=2,reg0=0x0a000009,actions=output:3",
  );
  // Tracked, but not known: the tracker says nothing more of it.
  const other = run(of, { ...packet4, ctState: 0x20 });
  deepStrictEqual(other.actions, []);
  deepStrictEqual(other.mask.ctState, 0xff, "no packet of a connection has its flow");
  const known = (src: string) =>
    run(of, {
      ...packet4,
      ctState: 0x22,
      ctTuple4: { src, dst: "10.0.0.2", srcPort: 1, dstPort: 2, proto: 6 },
    });
  deepStrictEqual(known("10.0.0.1").actions, [{ type: "output", port: 2 }]);
  deepStrictEqual(known("10.0.0.9").actions, [{ type: "output", port: 3 }]);
  deepStrictEqual(known("10.0.0.1").mask.ctTuple4?.proto, 0xff);
});

Deno.test("openflow tuple: neighbour discovery has none, whatever its connection", () => {
  const of = make(
    "table=1,priority=9,ipv6,ct_state=+trk+new,ct_ipv6_src=fe80::1,actions=output:2",
    "table=1,priority=1,actions=output:3",
  );
  const asks = run(of, {
    ...base,
    etherType: 0x86dd,
    ctState: 0x21,
    ipv6: { ...ip6, proto: 58, frag: "no" },
    icmpv6: { type: 135, code: 0 },
    nd: { target: "fe80::2", sll: ethernet.src, tll: "00:00:00:00:00:00" },
  });
  deepStrictEqual(asks.actions, [{ type: "output", port: 3 }]);
  deepStrictEqual(asks.mask.ipv6?.proto, 0xff, "a packet with a tuple is of another one");
  deepStrictEqual(asks.mask.icmpv6, { type: 0xff, code: 0xff });
});

Deno.test("openflow tuple: connections leave the options of tunnels alone", () => {
  const of = make();
  const maps = [{ optionClass: 0x102, type: 0x80, length: 4, index: 0 }];
  of.tlv.apply({ kind: "tlvTableMod", command: "add", maps }, () => false);
  const field = of.tlv.optionField(0) as Field;
  let frozen: Frozen | undefined;
  of.recirculates = (one) => (frozen = one, { type: "recirc", id: 7 });
  const key = encodeKey(packet4);
  const way = new Translation(of, flowOfKey(key, new Tracker().layoutOf(key)), () => {});
  const [track] = parseFlow("ip,actions=ct(table=1)").instructions.apply ?? [];
  const set: OfAction = {
    ...{ type: "setField", form: "set" },
    ...{ field, value: 0x77n, mask: 0xffffffffn },
  };
  way.runActions([set, track as OfAction]);
  const words = frozen?.words.filter(([word]) => word >= Word.tunOptions);
  deepStrictEqual(words, [
    [Word.tunOptions, 0x77, 0xffffffff],
    [Word.tunPresent, 1, 1],
  ]);
  deepStrictEqual(way.now.flow[Word.tunOptions], 0x77);
});
