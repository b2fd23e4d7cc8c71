// SPDX-License-Identifier: Apache-2.0
/** Flows in lines of a width: whatever is long, key and actions are both seen. */
import assert from "node:assert/strict";
import { flowLine } from "./flow_line.ts";

const key = "recirc_id(0),in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)," +
  "eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,frag=no),tcp(src=1,dst=80)";

Deno.test("a flow that fits is shown whole, without counters", () => {
  assert.equal(
    flowLine(
      "recirc_id(0),in_port(1),eth(), packets:3, bytes:180, used:0.1s, actions:2",
      40,
    ),
    "in_port(1) -> 2",
  );
  assert.equal(flowLine("in_port(1), actions:drop", 40), "in_port(1) -> drop");
  assert.equal(flowLine("recirc_id(0),eth(),actions:drop", 40), "any -> drop");
});

Deno.test("of a long flow, key and actions are both seen, in the width there is", () => {
  const long = `${key}, packets:0, bytes:0, used:never, actions:`;
  const one = flowLine(`${long}2`, 68);
  assert.match(one, /^in_port\(1\),eth\(src=02.*… -> 2$/);
  assert.equal(one.length, 68);
  const many = flowLine(`${long}${"ct(commit,zone=1),".repeat(9)}2`, 68);
  assert.match(many, /^in_port\(1\),.*… -> ct\(commit,zone=1\),.*…$/);
  assert.equal(many.length, 68);
  for (let width = 1; width < 200; width++) {
    for (const text of [`${long}2`, `${long}${"x".repeat(300)}`, "no flow", ""]) {
      assert(flowLine(text, width).length <= width, `${width}`);
    }
  }
});
