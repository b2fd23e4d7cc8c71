// SPDX-License-Identifier: Apache-2.0
/**
 * The userspace datapath beside Open vSwitch's: the same flow and the same frame into both, the
 * same frames out of both, byte for byte.
 */
import assert from "node:assert/strict";
import { encodeKey, extractKey, formatKey, keyView } from "../../providers/odp/mod.ts";
import { toKeyAndMaskBytes } from "../../providers/odp/input.ts";
import type { FlowKey, FlowMask } from "../../providers/types.ts";
import { wholeFrames } from "../odp/frames.ts";
import { type Dummy, startDummy } from "../odp/ovs_dummy.ts";
import { tagged, tcpFrame, udpFrame } from "../support/frames.ts";
import { collectAll, NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

/** An action, and what a packet must have for it; a set of what is not there is not defined. */
interface Step {
  readonly text: string;
  readonly needs?: (key: FlowKey) => boolean;
}

const steps: readonly Step[] = [
  { text: "2" },
  { text: "3" },
  { text: "set(eth(src=02:00:00:00:00:03,dst=02:00:00:00:00:04))" },
  { text: "set(eth(dst=02:00:00:00:00:00/ff:00:ff:00:ff:00))" },
  { text: "push_vlan(vid=100,pcp=3)" },
  { text: "push_vlan(tpid=0x88a8,vid=6,pcp=0)" },
  { text: "pop_vlan" },
  { text: "trunc(40)" },
  { text: "trunc(1500)" },
  { text: "check_pkt_len(size=70,gt(2),le(3))" },
  { text: "clone(set(eth(dst=02:00:00:00:00:0c)),2)" },
  { text: "clone(push_vlan(vid=9,pcp=0),2)" },
  { text: "sample(sample=100%,actions(push_vlan(vid=9,pcp=0),2))" },
  { text: "sample(sample=0%,actions(2))" },
  {
    text: "set(ipv4(src=1.2.3.4,dst=9.8.7.6,tos=0x11,ttl=3))",
    needs: (key) => key.ipv4 !== undefined,
  },
  {
    text: "set(ipv4(src=1.2.0.0/255.255.0.0,tos=0x4/0x4))",
    needs: (key) => key.ipv4 !== undefined,
  },
  { text: "clone(set(ipv4(ttl=5)),2)", needs: (key) => key.ipv4 !== undefined },
  {
    text: "set(ipv6(src=::1,dst=fe80::5,label=0x54321,tclass=0x7c,hlimit=2))",
    needs: (key) => key.ipv6 !== undefined,
  },
  {
    text: "set(ipv6(src=fe00::/ff00::,tclass=0x3/0x3))",
    needs: (key) => key.ipv6 !== undefined,
  },
  { text: "set(ipv6(hlimit=2))", needs: (key) => key.ipv6 !== undefined },
  { text: "set(tcp(src=999,dst=65535))", needs: (key) => key.tcp !== undefined },
  { text: "set(udp(src=7,dst=9))", needs: (key) => key.udp !== undefined },
  { text: "set(udp(src=0/0xff))", needs: (key) => key.udp !== undefined },
  { text: "set(sctp(src=12,dst=13))", needs: (key) => key.sctp !== undefined },
  { text: "set(icmp(type=3,code=1))", needs: (key) => key.icmp !== undefined },
  { text: "set(icmpv6(type=129,code=1))", needs: (key) => key.icmpv6 !== undefined },
  {
    text:
      "set(arp(sip=1.1.1.1,tip=2.2.2.2,op=2,sha=02:00:00:00:00:09,tha=02:00:00:00:00:0a))",
    needs: (key) => key.arp !== undefined,
  },
  {
    text: "set(nd(target=fe80::77,sll=02:00:00:00:00:09,tll=02:00:00:00:00:0a))",
    needs: (key) => key.nd !== undefined,
  },
  {
    text: "set(mpls(label=77,tc=2,ttl=9,bos=0))",
    needs: (key) => key.mpls !== undefined,
  },
];

/** A difference that is known, and its reason. */
interface Difference {
  readonly reason: string;
  readonly applies: (one: Case) => boolean;
}

/** One frame, its key, and what is done to it. */
interface Case {
  readonly frame: Uint8Array;
  readonly key: FlowKey;
  readonly list: readonly string[];
}

/** Whether an action that `wanted` finds comes while the packet is to be cut by the next output. */
function whileCut(list: readonly string[], wanted: RegExp): boolean {
  let cut = false;
  for (const action of list) {
    if (action.startsWith("trunc(")) cut = action === "trunc(40)";
    else if (/^\d+$/.test(action)) cut = false;
    else if (cut && wanted.test(action)) return true;
  }
  return false;
}

/** Extension headers that Open vSwitch does not look behind for the checksum of UDP. */
const behindHeader = (key: FlowKey, frame: Uint8Array) =>
  key.ipv6 !== undefined && (frame[20] === 43 || frame[20] === 44);

const differences: readonly Difference[] = [
  {
    reason:
      "a cut that is pending at clone, sample or check_pkt_len is one for the copy and for " +
      "the packet, as in the kernel; Open vSwitch takes it from one of them",
    applies: ({ list }) => whileCut(list, /^(clone|sample|check_pkt_len)/),
  },
  {
    reason:
      "set(nd()) is for neighbour discovery, Open vSwitch writes it into what another " +
      "set() has made something else of",
    applies: ({ list }) => {
      const at = list.findIndex((action) => action.startsWith("set(icmpv6"));
      return at >= 0 && list.slice(at).some((action) => action.startsWith("set(nd"));
    },
  },
  {
    reason:
      "every option of neighbour discovery is set that has the address, Open vSwitch " +
      "sets the first",
    applies: ({ key, frame, list }) =>
      key.nd !== undefined && frame.length > 14 + 40 + 24 + 8 &&
      list.some((action) => action.startsWith("set(nd")),
  },
  {
    reason:
      "Open vSwitch leaves the checksum of UDP as it was when addresses are set behind " +
      "a routing header, or behind a fragment header that fragments nothing",
    applies: ({ key, frame, list }) =>
      behindHeader(key, frame) && list.some((action) => /set\(ipv6\(src/.test(action)),
  },
  {
    reason:
      "Open vSwitch corrects a checksum in later fragments, which have none: it changes " +
      "payload",
    applies: ({ key, list }) =>
      key.ipv4?.frag === "later" &&
      list.some((action) => /set\(ipv4\(src/.test(action)),
  },
];

/**
 * Frames whose transport layer has a checksum that addresses are part of, where it is hard to find.
 */
const hidden: readonly Uint8Array[] = [
  // The last fragment of an IPv4 packet, whose payload looks like TCP.
  "06aabbccddee021122334455080045b90035123400033d06511e0a010203c0a84d09" +
  "876501bb112233445566778850180200000000004142434445464748494a4b4c4d",
  // IPv6 with a fragment header that fragments nothing, and with a routing header.
  "06aabbccddee02112233445586dd6a9abcde001d2c3b20010db8000000000000000000000123" +
  "fd00a1b2c3d400000000feed00000456110000000000009914e90035001563524142434445464748494a4b4c4d",
  "06aabbccddee02112233445586dd6a9abcde002d2b3b20010db8000000000000000000000123" +
  "fd00a1b2c3d400000000feed000004561102000100000000fd00a1b2c3d400000000feed00000456" +
  "14e90035001563524142434445464748494a4b4c4d",
].map((hex) => Uint8Array.fromHex(hex));

const frames: readonly Uint8Array[] = [
  ...wholeFrames,
  ...hidden,
  udpFrame({ version: 6 }),
  tcpFrame({ version: 6 }),
  tagged(udpFrame({ version: 6 }), 0x2064),
  tagged(tcpFrame({ version: 6, payload: new Uint8Array(501).fill(7) }), 8, 0x88a8),
];

const SEED = 20260101;
const RANDOM_LISTS = 12;

/** For each frame each step alone, and lists of several that it is fit for. */
function* cases(): Generator<Case> {
  let state = SEED;
  const next = (below: number) => {
    state = Math.imul(state, 1103515245) + 12345 | 0;
    return (state >>> 8) % below;
  };
  for (const frame of frames) {
    const key = extractKey(frame, { inPort: 1 });
    // Open vSwitch prints nsh(), and keys of 802.2, but does not read them.
    if (key.nsh !== undefined || key.etherType === undefined) continue;
    const fit = steps.filter(({ needs }) => needs?.(key) ?? true);
    for (const { text } of fit) yield { frame, key, list: [text, "2"] };
    for (let i = 0; i < RANDOM_LISTS; i++) {
      const list = Array.from(
        { length: 2 + next(4) },
        () => fit[next(fit.length)]?.text ?? "3",
      );
      yield { frame, key, list: [...list, "2"] };
    }
  }
}

/** Matches what sets need, and little else. */
function maskOf(key: FlowKey): FlowMask {
  return {
    inPort: true,
    etherType: true,
    ...(key.ipv4 && { ipv4: { proto: true, frag: true } }),
    ...(key.ipv6 && { ipv6: { proto: true, frag: true } }),
    ...(key.nd && { icmpv6: true }),
  };
}

/** What came out of ports 2 and 3, in hexadecimal. */
type Sent = readonly [two: string[], three: string[]];

const hex = (list: readonly Uint8Array[]) => list.map((frame) => frame.toHex());

async function theirs(
  dummy: Dummy,
  key: string,
  actions: string,
  frame: Uint8Array,
): Promise<Sent> {
  await dummy.call("dpctl/del-flows", "dummy@ovs-dummy");
  await dummy.call("dpctl/add-flow", "dummy@ovs-dummy", key, actions);
  await dummy.call("netdev-dummy/receive", "p1", frame.toHex());
  for (let i = 0; i < 500; i++) {
    const dump = await dummy.call("dpctl/dump-flows", "dummy@ovs-dummy");
    if (/packets:1,/.test(dump)) {
      return [hex(await dummy.sent(2)), hex(await dummy.sent(3))];
    }
  }
  throw new Error(`the frame did not meet its flow: ${key} ${frame.toHex()}`);
}

async function ours(
  bench: NetdevBench,
  key: string,
  actions: string,
  frame: Uint8Array,
): Promise<Sent> {
  bench.dp.flows.flush();
  bench.dp.flows.put({ key, actions });
  bench.inject(1, frame);
  await bench.settle();
  const [flow] = [...bench.dp.flows.dump()];
  assert.equal(flow?.stats.packets, 1n, `the frame did not meet its flow: ${key}`);
  return [hex(collectAll(bench.dp, 2)), hex(collectAll(bench.dp, 3))];
}

Deno.test(
  "hundreds of action lists do to frames what Open vSwitch's userspace datapath does",
  skippable(async () => {
    await using dummy = await startDummy();
    await using bench = await NetdevBench.open();
    await bench.ports("p1", "p2", "p3");
    await dummy.call("upcall/set-flow-limit", "0");
    let compared = 0;
    const seen = new Set<Difference>();
    const wrong: string[] = [];
    for (const one of cases()) {
      const { frame, key } = one;
      const actions = one.list.join();
      const text = formatKey(toKeyAndMaskBytes(keyView(encodeKey(key)), maskOf(key)), {
        verbose: true,
      });
      const them = await theirs(dummy, text, actions, frame);
      const us = await ours(bench, text, actions, frame);
      const known = differences.find(({ applies }) => applies(one));
      const equal = JSON.stringify(them) === JSON.stringify(us);
      if (known !== undefined) {
        if (!equal) seen.add(known);
        continue;
      }
      compared++;
      if (equal) continue;
      wrong.push(
        `${actions}\n  in     ${frame.toHex()}\n  ` +
          `theirs ${JSON.stringify(them)}\n  ours   ${JSON.stringify(us)}`,
      );
    }
    assert.deepEqual(wrong, [], `${wrong.length} of ${compared}:\n${wrong.join("\n")}`);
    assert.ok(compared >= 900, `only ${compared} cases`);
    for (const difference of differences) {
      assert.ok(seen.has(difference), `no longer different: ${difference.reason}`);
    }
  }),
);
