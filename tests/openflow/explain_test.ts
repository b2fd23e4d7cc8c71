// SPDX-License-Identifier: Apache-2.0
/** What `dpctl explain` says of a switch of OpenFlow: which flows a verdict came from. */
import { deepStrictEqual, match, ok } from "node:assert/strict";
import { build, ethernet, ipv4, payload, udp } from "../../frames/mod.ts";
import { openSwitch } from "../../openflow/open.ts";
import { openLab } from "../../testing/mod.ts";
import { handled } from "./handled.ts";

const frame = build([
  ethernet({ src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" }),
  ipv4({ src: "10.0.0.1", dst: "10.0.0.2" }),
  udp({ src: 1000, dst: 53 }),
  payload("hello"),
]);

Deno.test("openflow explain: a verdict names the flows that it came from, and the table without one", async () => {
  await using lab = await openLab({ ports: ["p1", "p2"] });
  await using of = await openSwitch(lab.dp);
  of.flowMod("cookie=0x5,priority=7,udp,actions=resubmit(,3),output:2");
  of.flowMod("cookie=0x9,priority=6,actions=drop");
  await lab.inject("p1", frame);
  await handled(lab, of);
  const told = `${of.run.explain({ frame, inPort: 1 })}`;
  ok(told.includes("table 0: cookie=0x5, priority=7,udp"), told);
  ok(told.includes("table 3: no flow fits"), told);
  ok(!told.includes("cookie=0x9"), told);
  // The flow of the datapath says so by its name, too.
  const [flow] = [...of.run.flows()];
  ok(flow !== undefined, "a flow was put");
  match(`${of.run.explain(flow.ufid)}`, /table 0: cookie=0x5, priority=7,udp/);
  deepStrictEqual(
    flow.dependencies.filter((text) => text.startsWith("table")),
    ["table 0: cookie=0x5, priority=7,udp", "table 3: no flow fits"],
  );
});
