// SPDX-License-Identifier: Apache-2.0
/** Options of Geneve as fields, driven by ovs-ofctl; and tunnels that flows say. */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { build, ethernet, ipv4, payload, udp } from "../../frames/mod.ts";
import { type OpenFlowSwitch, openSwitch } from "../../openflow/open.ts";
import { openLab } from "../../testing/mod.ts";
import { skippable } from "../support/skip.ts";
import { ofctl, ofctlPath } from "./recorder.ts";

function place(of: OpenFlowSwitch): string {
  return of.listeners[0] as string;
}

const frame = build([
  ethernet({ src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" }),
  ipv4({ src: "10.0.0.1", dst: "10.0.0.2" }),
  udp({ src: 1, dst: 2 }),
  payload("x"),
]);

Deno.test(
  "openflow options: fields stand for options once they are mapped, and while none is used",
  skippable(async () => {
    ofctlPath();
    await using lab = await openLab({ ports: ["p1", "p2"] });
    const path = `${await Deno.makeTempDir()}/mgmt`;
    await using of = await openSwitch(lab.dp, { listen: [`punix:${path}`] });
    const say = (...args: string[]) => {
      const [verb = "", ...rest] = args;
      return ofctl(["-O", "OpenFlow15", verb, place(of), ...rest]);
    };
    const one = "{class=0x102,type=0x80,len=4}->tun_metadata0";
    const two = "{class=0xffff,type=1,len=12}->tun_metadata7";
    for (const map of [one, two]) {
      const { code, stderr } = await say("add-tlv-map", map);
      strictEqual(code, 0, stderr);
    }
    match((await say("add-tlv-map", one)).stderr, /NXTTMFC_(ALREADY_MAPPED|DUP_ENTRY)/);
    const table = (await say("dump-tlv-map")).stdout;
    match(table, /max option space=256 max fields=64/);
    match(table, /0x102\s+0x80\s+4\s+tun_metadata0/);
    match(table, /0xffff\s+0x1\s+12\s+tun_metadata7/);
    const flows = [
      "priority=5,tun_metadata0=0x12345678,tun_id=0x5 actions=output:1",
      "priority=6,tun_metadata7=0x5 actions=output:2",
      "priority=7,in_port=1 actions=set_field:0x77->tun_metadata0," +
      "move:NXM_NX_REG0[0..15]->NXM_NX_TUN_METADATA0[0..15],output:2",
    ];
    for (const flow of flows) {
      const { code, stderr } = await say("add-flow", flow);
      strictEqual(code, 0, stderr);
    }
    const { stdout } = await ofctl([
      ...["-O", "OpenFlow15", "--no-stats", "dump-flows", place(of)],
    ]);
    const shown = [
      "priority=5,tun_id=0x5,tun_metadata0=0x12345678 actions=output:1",
      ...flows.slice(1),
    ];
    deepStrictEqual(stdout.trim().split("\n").map((line) => line.trim()).sort(), shown);
    match((await say("del-tlv-map", one)).stderr, /NXTTMFC_INVALID_TLV_DEL/);
    strictEqual((await say("del-flows")).code, 0);
    strictEqual((await say("del-tlv-map")).code, 0);
    match((await say("dump-tlv-map")).stdout, /max fields=64/);
  }),
);

Deno.test("openflow options: output to a tunnel says where, and with which options", async () => {
  await using lab = await openLab({ ports: ["p1"] });
  const { no: port } = await lab.dp.ports.add({
    name: "gnv",
    type: "geneve",
    options: { remote_ip: "192.0.2.1", key: "flow", dst_port: "6081" },
  });
  await using of = await openSwitch(lab.dp);
  of.flowMod(`in_port=1,actions=set_field:0x99->tun_id,output:${port}`);
  const text = of.run.explain({ frame, inPort: 1 } as never).toString();
  match(text, /set\(tunnel\(tun_id=0x99,dst=192\.0\.2\.1,ttl=64,.*df.*\)\),/);
});
