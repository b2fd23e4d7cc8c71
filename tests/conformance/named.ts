// SPDX-License-Identifier: Apache-2.0
/**
 * What is named is what counts: sets of parts of a field, masks left out, and masks that cannot be
 * honoured.
 */
import assert from "node:assert/strict";
import {
  encodeKey,
  encodeMask,
  extractKey,
  output,
  set,
} from "../../providers/odp/mod.ts";
import type { FlowKeyInit, FlowMask, SetAction } from "../../providers/types.ts";
import { arpFrame, icmpFrame, tagged, tcpFrame, udpFrame } from "../support/frames.ts";
import { fails, sameFrames } from "./assert.ts";
import type { Suite } from "./environment.ts";

const base = { src: "10.0.0.1", dst: "10.0.0.2", srcPort: 1000, dstPort: 2000 };
const base6 = { ...base, version: 6 as const, src: "fd00::1", dst: "fd00::2" };

/** An IPv6 frame with another hop limit. */
function hopLimit(frame: Uint8Array, limit: number): Uint8Array {
  frame[14 + 7] = limit;
  return frame;
}

/** Sets of one part of a field, and the frame before and after. */
const sets: readonly (readonly [SetAction, Uint8Array, Uint8Array])[] = [
  [set({ tcp: { dst: 81 } }), tcpFrame(base), tcpFrame({ ...base, dstPort: 81 })],
  [set({ tcp: { src: 82 } }), tcpFrame(base), tcpFrame({ ...base, srcPort: 82 })],
  [set({ udp: { dst: 81 } }), udpFrame(base), udpFrame({ ...base, dstPort: 81 })],
  [
    set({ ipv4: { dst: "10.9.9.9" } }),
    udpFrame({ ...base, ttl: 33 }),
    udpFrame({ ...base, ttl: 33, dst: "10.9.9.9" }),
  ],
  [set({ ipv4: { ttl: 7 } }), udpFrame(base), udpFrame({ ...base, ttl: 7 })],
  [
    set({ ipv6: { src: "fd00::77" } }),
    hopLimit(udpFrame(base6), 9),
    hopLimit(udpFrame({ ...base6, src: "fd00::77" }), 9),
  ],
  [set({ ipv6: { hlimit: 3 } }), tcpFrame(base6), hopLimit(tcpFrame(base6), 3)],
  [
    set({ arp: { tip: "10.0.0.9" } }),
    arpFrame({ sip: base.src, tip: base.dst }),
    arpFrame({ sip: base.src, tip: "10.0.0.9" }),
  ],
];

/** Frames whose Ethernet destination is another. */
function readdressed(frame: Uint8Array): Uint8Array {
  const other = frame.slice();
  other.set([2, 0, 0, 0, 0, 0x99]);
  return other;
}

/** The key of a flow for a frame: what the kernel wants to see before it takes a set. */
function keyOf(frame: Uint8Array, inPort: number): FlowKeyInit {
  const { etherType = 0, ipv4, ipv6 } = extractKey(frame, { inPort });
  const key = { inPort, etherType };
  if (ipv4 !== undefined) return { ...key, ipv4: { proto: ipv4.proto } };
  return ipv6 === undefined ? key : { ...key, ipv6: { proto: ipv6.proto } };
}

/** Keys that name parts of fields, a frame that has them, and one that differs in one of them. */
const keys: readonly (readonly [FlowKeyInit, Uint8Array, Uint8Array])[] = [
  [
    { etherType: 0x0800, ipv4: { dst: "10.0.0.2" } },
    udpFrame({ ...base, ttl: 5, tos: 4 }),
    udpFrame({ ...base, dst: "10.0.0.3" }),
  ],
  [
    { etherType: 0x0800, ipv4: { proto: 6 }, tcp: { dst: 2000 } },
    tcpFrame(base),
    tcpFrame({ ...base, dstPort: 2001 }),
  ],
  [
    { ethernet: { dst: "02:00:00:00:00:99" }, etherType: 0x0806 },
    readdressed(arpFrame()),
    arpFrame(),
  ],
  [
    { vlans: [{ vid: 5 }], etherType: 0x0800 },
    tagged(udpFrame(base), 0x6005),
    tagged(udpFrame(base), 0x6006),
  ],
  [
    { etherType: 0x0800, ipv4: { proto: 1 }, icmp: { type: 8 } },
    icmpFrame(base),
    udpFrame(base),
  ],
];

export const namedSuite: Suite = {
  "a set of a part leaves the rest of the field as it was": async (
    { env, dp, ports: [a, b] },
  ) => {
    if (env.differences.has("outputOnly")) return;
    for (const [action, before, after] of sets) {
      if (action.key.arp !== undefined && env.differences.has("noArpSet")) continue;
      dp.execute({ packet: before, key: { inPort: a }, actions: [action, output(b)] });
      sameFrames(await env.collect(dp, b), [after]);
      dp.flows.put({ key: keyOf(before, a), actions: [action, output(b)] });
      await env.inject(dp, a, before);
      sameFrames(await env.collect(dp, b), [after]);
      dp.flows.flush();
    }
  },

  "a mask that is left out is what the key names": async (
    { env, dp, ports: [a, b] },
  ) => {
    for (const [init, hit, miss] of keys) {
      const key = { ...init, inPort: a } as FlowKeyInit;
      dp.flows.put({ key, actions: [output(b)] });
      await env.inject(dp, a, hit);
      await env.inject(dp, a, miss);
      sameFrames(await env.collect(dp, b), [hit]);
      assert.equal(dp.flows.get({ key }).stats.packets, 1n);
      dp.flows.delete({ key });
    }
  },

  "true in a mask is what the key names of the field": async (
    { env, dp, ports: [a, b] },
  ) => {
    for (const [init, hit, miss] of keys) {
      const key = { ...init, inPort: a } as FlowKeyInit;
      const names = Object.keys(key).map((name) => [name, true]);
      const mask = Object.fromEntries(names) as FlowMask;
      dp.flows.put({ key, mask, actions: [output(b)] });
      await env.inject(dp, a, hit);
      await env.inject(dp, a, miss);
      sameFrames(await env.collect(dp, b), [hit]);
      dp.flows.delete({ key });
    }
  },

  "a key of a port alone matches the port's packets, or is refused with the reason":
    async (
      { env, dp, ports: [a, b] },
    ) => {
      const flow = { key: { inPort: a }, actions: [output(b)] };
      if (env.differences.has("wholeEtherType")) {
        const error = await fails(() => dp.flows.put(flow), "EINVAL");
        assert.match(error.detail ?? "", /eth_type is always matched/);
        return;
      }
      dp.flows.put(flow);
      await env.inject(dp, a, udpFrame());
      sameFrames(await env.collect(dp, b), [udpFrame()]);
    },

  "a mask that cannot be honoured is refused, in every form": async (
    { env, dp, ports: [a] },
  ) => {
    if (env.differences.has("prerequisites")) return;
    const start = `in_port(${a}),eth()`;
    const tag = "encap(eth_type(0x0806),arp())";
    const texts = [
      `in_port(${a}/0xff),eth(),eth_type(0x0806),arp()`,
      `${start},eth_type(0x0806/0xff00),arp()`,
      `${start},eth_type(0x0800/0xff),ipv4(frag=no)`,
      `${start},eth_type(0x0800),ipv4(proto=6/0xf),tcp(dst=80)`,
      `${start},eth_type(0x8100/0xff00),vlan(vid=5),${tag}`,
      `${start},eth_type(0x8100),vlan(vid=5,cfi=1/0),${tag}`,
      `${start},packet_type(ns=0,id=0/0xff00),eth_type(0x0806),arp()`,
    ];
    for (const key of texts) {
      const error = await fails(() => dp.flows.put({ key, actions: "2" }), "EINVAL");
      assert.equal(dp.stats().flows, 0, error.message);
    }
    const key = { inPort: a, ethernet: {}, etherType: 0x0806, arp: {} };
    for (const mask of [{ inPort: true, etherType: 0xff00 }, { inPort: 1 }] as const) {
      await fails(() => dp.flows.put({ key, mask, actions: "2" }), "EINVAL");
      const raw = { key: encodeKey(key), mask: encodeMask(mask) };
      const error = await fails(() => dp.flows.put({ ...raw, actions: "2" }), "EINVAL");
      assert.match(error.detail ?? "", /in_port|eth_type/);
    }
    if (!env.differences.has("wildInPort")) {
      // The kernel matches parts of these.
      const fragment = `${start},eth_type(0x0800),ipv4(src=1.2.3.4,frag=first/1)`;
      await fails(() => dp.flows.put({ key: fragment, actions: "2" }), "EINVAL");
      const mask = { inPort: true, recircId: 0xff, etherType: true } as const;
      await fails(() => dp.flows.put({ key, mask, actions: "2" }), "EINVAL");
    }
  },
};
