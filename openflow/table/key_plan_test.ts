// SPDX-License-Identifier: Apache-2.0
/** Values of keys as words of flows. */
import { equal } from "node:assert/strict";
import { seeded } from "../../policy/check/random.ts";
import { load, placeOf, words } from "../../policy/packet/leaf.ts";
import { flowWords } from "../wire/flow.ts";
import { KeyPlan } from "./key_plan.ts";

const leaves = [
  "skbMark",
  "ctState",
  "ctZone",
  "ctLabels",
  "ctTuple6.src",
  "ctTuple4.srcPort",
  "tunnel.id",
  "ethernet.dst",
  "vlan.vid",
  "vlan.cfi",
  "vlan.pcp",
  "mpls.label",
  "mpls.tc",
  "mpls.bos",
  "ipv4.src",
  "ipv4.tos",
  "ipv6.dst",
  "ipv6.label",
  "arp.op",
  "tcpFlags",
  "tcp.src",
];

/** The same value, as the policy's own reader has it: bits from the left. */
function slowly(leaf: string, key: Uint8Array, at: number): number[] {
  const place = placeOf(leaf);
  const value = words();
  load(place, key, at, value);
  if (place.width <= 32) return [(value[0] as number) >>> (32 - place.width)];
  if (place.width === 48) {
    const [high, low] = [value[0] as number, value[1] as number];
    return [high >>> 16, (high << 16 | low >>> 16) >>> 0];
  }
  return [...value].slice(0, place.width / 32);
}

Deno.test("a plan reads what the packet of a policy has, at any offset", () => {
  const random = seeded(17);
  for (let round = 0; round < 200; round++) {
    const key = Uint8Array.from({ length: 64 }, () => random(256));
    for (const leaf of leaves) {
      const [from, at] = [random(16), random(16)];
      const plan = new KeyPlan(
        [{ place: placeOf(leaf), word: 40, shift: 0, ones: -1 }],
        () => at,
      );
      const flow = flowWords();
      plan.read(key, from, flow);
      const wanted = slowly(leaf, key, from + at);
      equal([...flow.subarray(40, 40 + wanted.length)].join(), wanted.join(), leaf);
    }
  }
});

Deno.test("values of a plan lie beside each other in a word, cut to the bits that they have", () => {
  const goals = [
    { place: placeOf("tcp.src"), word: 9, shift: 16, ones: 0xffff },
    { place: placeOf("tcp.dst"), word: 9, shift: 0, ones: 0xff },
  ];
  const plan = new KeyPlan(goals, ({ name }) => name === "tcp.src" ? 0 : 2);
  const flow = flowWords();
  plan.read(Uint8Array.of(0x12, 0x34, 0x56, 0x78), 0, flow);
  equal(flow[9], 0x1234_0078);
});
