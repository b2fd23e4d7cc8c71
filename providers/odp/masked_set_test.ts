// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import {
  type ActionsInput,
  decodeActions,
  encodeActions,
  formatActions,
  parseActions,
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
