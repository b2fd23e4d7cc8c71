// SPDX-License-Identifier: Apache-2.0
/** Flows that go soon once a connection of theirs ends, here and in Open vSwitch. */
import { deepStrictEqual } from "node:assert/strict";
import { build, ethernet, ipv4, tcp } from "../../frames/mod.ts";
import { openSwitch } from "../../openflow/open.ts";
import { openLab } from "../../testing/mod.ts";
import { startDummy } from "../odp/ovs_dummy.ts";
import { skippable } from "../support/skip.ts";
import { handled } from "./handled.ts";

const flows = [
  "priority=9,tcp,tp_dst=80,idle_timeout=600,hard_timeout=900," +
  "actions=fin_timeout(idle_timeout=50,hard_timeout=800),output:2",
  "priority=8,tcp,tp_dst=81,idle_timeout=20,actions=fin_timeout(idle_timeout=50),output:2",
  "priority=7,tcp,tp_dst=82,actions=learn(table=1,idle_timeout=300,fin_idle_timeout=30," +
  "fin_hard_timeout=40,eth_type=0x800,nw_proto=6,NXM_OF_TCP_SRC[],output:NXM_OF_IN_PORT[])," +
  "resubmit(,1)",
];

const [FIN, ACK] = [0x01, 0x10];

function segment(port: number, flags: number): Uint8Array {
  return build([
    ethernet({ src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" }),
    ipv4({ src: "10.0.0.1", dst: "10.0.0.2" }),
    tcp({ src: 1000, dst: port, flags }),
  ]);
}

/** What flows are, without what they counted. */
const plain = (lines: string[]): string[] =>
  lines.map((line) => line.trim().replace(/cookie=0x0, |table=0, /g, "")).filter((line) =>
    line.includes("actions=")
  ).sort();

Deno.test(
  "openflow timeouts: a connection that ends shortens those of its flow",
  skippable(async () => {
    await using ovs = await startDummy();
    await using lab = await openLab({ ports: ["p1", "p2"] });
    await using of = await openSwitch(lab.dp);
    for (const flow of flows) {
      of.flowMod(flow);
      await ovs.ofctl("add-flow", "br0", flow);
    }
    const both = async (port: number, flags: number): Promise<void> => {
      const frame = segment(port, flags);
      await ovs.call("netdev-dummy/receive", "p1", frame.toHex());
      await ovs.call("version");
      await ovs.call("version");
      await lab.inject("p1", frame);
      await handled(lab, of);
      await of.run.statistics();
    };
    const listed = async (): Promise<[ours: string[], theirs: string[]]> => {
      await ovs.call("revalidator/purge");
      const theirs = (await ovs.ofctl("--no-stats", "dump-flows", "br0")).split("\n");
      await of.run.statistics();
      return [plain(of.flows()), plain(theirs)];
    };
    for (const port of [80, 81, 82]) await both(port, ACK);
    const [before, wanted] = await listed();
    deepStrictEqual(before, wanted);
    deepStrictEqual(before.filter((line) => line.includes("idle_timeout=600")).length, 1);
    // The first packet of a connection's end has the flow that is there by now.
    for (const port of [80, 81, 82, 82]) await both(port, FIN | ACK);
    const [after, ended] = await listed();
    deepStrictEqual(after, ended);
    const shortened = after.filter((line) =>
      /^(table=1, )?idle_timeout=(50|20|30),/.test(line)
    );
    deepStrictEqual(shortened.length, 3, after.join("\n"));
  }),
);
