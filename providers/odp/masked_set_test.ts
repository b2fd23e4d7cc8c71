// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import type { SetAction } from "../types.ts";
import {
  type ActionsInput,
  clone,
  decodeActions,
  encodeActions,
  formatActions,
  parseActions,
  set,
} from "./mod.ts";
import { toActionBytes } from "./input.ts";

const put = (actions: ActionsInput) =>
  formatActions(decodeActions(toActionBytes(actions)));

Deno.test("what is put has no bits of a value outside its mask, at any depth", () => {
  const cases = [
    [
      "set(eth(dst=02:00:00:00:00:04/ff:00:ff:00:ff:00))",
      "set(eth(dst=02:00:00:00:00:00/ff:00:ff:00:ff:00))",
    ],
    ["set(ipv4(src=1.2.3.4/255.255.0.0))", "set(ipv4(src=1.2.0.0/255.255.0.0))"],
    ["set(tcp(src=80/0xff00,dst=8080))", "set(tcp(src=0/0xff00,dst=8080))"],
    ["set(nsh(si=255/0x3))", "set(nsh(si=3/0x3))"],
    ["clone(set(udp(dst=81/0xf)))", "clone(set(udp(dst=1/0xf)))"],
    [
      "sample(sample=50.0%,actions(clone(set(udp(dst=81/0xf)),1)))",
      "sample(sample=50.0%,actions(clone(set(udp(dst=1/0xf)),1)))",
    ],
    [
      "check_pkt_len(size=99,gt(set(udp(dst=81/0xf))),le(set(udp(src=81/0x10))))",
      "check_pkt_len(size=99,gt(set(udp(dst=1/0xf))),le(set(udp(src=16/0x10))))",
    ],
    ["dec_ttl(le_1(set(udp(dst=81/0xf))))", "dec_ttl(le_1(set(udp(dst=1/0xf))))"],
  ] as const;
  for (const [text, settable] of cases) {
    const parsed = parseActions(text);
    assert.equal(put(text), settable);
    assert.equal(put(parsed), settable);
    assert.equal(formatActions(parsed), text, "the text keeps what it said");
    assert.deepEqual(toActionBytes(encodeActions(parsed)), encodeActions(parsed));
  }
});

Deno.test("sets without a mask and other actions are put as they are", () => {
  for (
    const text of [
      "set(eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)),1",
      "push_vlan(vid=5,pcp=0),userspace(pid=0,userdata(0102ff)),sample(sample=0.0%,actions(drop))",
      "set(ipv4(tos=0x1/0x3)),set(skb_mark(0x1))",
    ]
  ) assert.equal(put(text), text);
});

/** A set that names a part, and its text: the rest of the field is not touched. */
const parts: readonly (readonly [SetAction["key"], string])[] = [
  [{ ethernet: { dst: "02:00:00:00:00:01" } }, "eth(dst=02:00:00:00:00:01)"],
  [{ ipv4: { dst: "10.0.0.1" } }, "ipv4(dst=10.0.0.1)"],
  [{ ipv4: { ttl: 0 } }, "ipv4(ttl=0)"],
  [{ ipv6: { label: 5 } }, "ipv6(label=0x5)"],
  [{ tcp: { dst: 81 } }, "tcp(dst=81)"],
  [{ udp: { src: 81 } }, "udp(src=81)"],
  [{ sctp: { dst: 81 } }, "sctp(dst=81)"],
  [{ icmp: { type: 3 } }, "icmp(type=3)"],
  [{ icmpv6: { code: 0 } }, "icmpv6(code=0)"],
  [{ arp: { op: 2 } }, "arp(op=2)"],
  [{ nd: { target: "fe80::1" } }, "nd(target=fe80::1)"],
  [{ mpls: [{ ttl: 9 }] }, "mpls(label=0/0x0,tc=0/0,ttl=9/0xff,bos=0/0)"],
  [{ nsh: { si: 3 } }, "nsh(si=3)"],
  [{ nsh: { contexts: [1, 2, 3, 4] } }, "nsh(c1=0x1,c2=0x2,c3=0x3,c4=0x4)"],
  [{ vlans: [{ vid: 5 }] }, "vlan(vid=5)"],
  [{ ctTuple4: { dstPort: 5 } }, "ct_tuple4(tp_dst=5)"],
];

Deno.test("a set without a mask is of what it names, and the same as its text", () => {
  for (const [key, text] of parts) {
    const bytes = toActionBytes([set(key)]);
    assert.equal(formatActions(bytes), `set(${text})`);
    const [action] = decodeActions(bytes);
    assert.ok(action?.type === "set" && action.mask !== undefined, text);
    assert.deepEqual(
      toActionBytes([clone([set(key)])]),
      toActionBytes([clone([action])]),
    );
  }
  // A tunnel is always set in whole.
  const tunnel = set({ tunnel: { dst: "10.0.0.1", ttl: 64 } });
  assert.deepEqual(decodeActions(encodeActions([tunnel])), [tunnel]);
});

Deno.test("a set of everything names everything, and needs no mask", () => {
  const whole = set({ tcp: { src: 80, dst: 81 } });
  assert.deepEqual(decodeActions(toActionBytes([whole])), [whole]);
  const wrong: readonly SetAction[] = [
    set({ tcp: { dst: 81 } }, { tcp: true }),
    set({ tcp: { dst: 81 } }, { tcp: { src: 0xff, dst: true } }),
    set({ ipv4: { ttl: 1 } }, { ipv4: { src: "255.0.0.0", ttl: true } }),
    set({ nsh: { si: 1 } }, { nsh: { si: true, contexts: [0, 1, 0, 0] } }),
    set({ mpls: [{ ttl: 1 }] }, { mpls: [{ label: 1 }] }),
    set({ udp: {} }),
    set({ vlans: [{ tpid: 0x88a8, vid: 5 }] }),
  ];
  for (const action of wrong) {
    assert.throws(() => toActionBytes([action]), TypeError, JSON.stringify(action));
  }
  // Bits that are not there need no value.
  const mask = { tcp: { src: 0, dst: 0xff } };
  assert.equal(put([set({ tcp: { dst: 81 } }, mask)]), "set(tcp(dst=81/0xff))");
});
