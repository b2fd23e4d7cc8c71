// SPDX-License-Identifier: Apache-2.0
/** Flows of datapaths in the order of Open vSwitch's userspace datapath. */
import { strictEqual } from "node:assert/strict";
import { inTheirWords, linesInTheirWords, withoutLayer } from "./flow_words.ts";

Deno.test("metadata of flows comes in the order of the userspace datapath, what follows stays", () => {
  for (
    const [ours, theirs] of [
      [
        "recirc_id(0x1),in_port(2),ct_state(+new+trk),eth_type(0x0800),ipv4(frag=no), actions:drop",
        "ct_state(+new+trk),recirc_id(0x1),in_port(2),eth_type(0x0800),ipv4(frag=no), actions:drop",
      ],
      [
        "ufid:00-1, recirc_id(0),dp_hash(0/0),skb_priority(0/0),in_port(p1),skb_mark(0/0),eth(), packets:0, actions:set(skb_priority(1)),2",
        "ufid:00-1, skb_priority(0/0),skb_mark(0/0),recirc_id(0),dp_hash(0/0),in_port(p1),eth(), packets:0, actions:set(skb_priority(1)),2",
      ],
      [
        "recirc_id(0),tunnel(tun_id=0x1,geneve({class=0x1,type=0x2,len=4,0x3/0xff}),flags(df|key)),in_port(1), actions:1",
        "tunnel(tun_id=0x1,geneve({class=0x1,type=0x2,len=4,0x3/0xff}),flags(df|key)),recirc_id(0),in_port(1), actions:1",
      ],
      ["recirc_id(0),in_port(1)", "recirc_id(0),in_port(1)"],
      ["", ""],
    ] as const
  ) {
    strictEqual(inTheirWords(ours), theirs);
    strictEqual(inTheirWords(theirs), theirs, "once more");
  }
  strictEqual(
    withoutLayer("ufid:00-1, in_port(1), packets:0, dp:ovs, actions:drop"),
    "ufid:00-1 in_port(1), packets:0, actions:drop",
  );
  strictEqual(
    linesInTheirWords("in_port(1),ct_state(+trk), actions:1\n"),
    "ct_state(+trk),in_port(1), actions:1\n",
  );
});
