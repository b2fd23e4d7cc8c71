// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { parseEntry } from "./flow_entry.ts";

Deno.test("parseEntry() keeps a field together that is written as bytes", () => {
  const flow = "in_port(1),eth(),eth_type(0x86dd),ipv6(frag=no),key32(00 00/00 00),udp()";
  assert.deepEqual(parseEntry(`${flow} 1,2`, "add"), {
    word: "add",
    flow,
    actions: "1,2",
  });
  assert.deepEqual(parseEntry(`modify ${flow} drop`, "add"), {
    word: "modify",
    flow,
    actions: "drop",
  });
});
