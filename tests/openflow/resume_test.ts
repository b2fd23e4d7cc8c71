// SPDX-License-Identifier: Apache-2.0
/** Packets that stay with a controller, here ovs-ofctl, until that has them go on. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { build, ethernet, ipv4, payload, udp } from "../../frames/mod.ts";
import { openSwitch } from "../../openflow/open.ts";
import { openLab, until } from "../../testing/mod.ts";
import { skippable } from "../support/skip.ts";
import { handled } from "./handled.ts";
import { ofctlPath } from "./recorder.ts";

const frame = build([
  ethernet({ src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" }),
  ipv4({ src: "10.0.0.1", dst: "10.0.0.2" }),
  udp({ src: 1, dst: 2 }),
  payload("x"),
]);

Deno.test(
  "openflow resume: a packet goes on where it stayed, with registers, stack and what was left",
  skippable(async () => {
    const path = ofctlPath();
    await using lab = await openLab({ ports: ["p1", "p2", "p3", "p4"] });
    const place = `${await Deno.makeTempDir()}/mgmt`;
    await using of = await openSwitch(lab.dp, { listen: [`punix:${place}`] });
    for (
      const flow of [
        "table=0,in_port=1,ip,actions=load:5->NXM_NX_REG1[],push:NXM_NX_REG1[],resubmit(,1),3",
        "table=1,ip,actions=controller(userdata=01.02.03,pause),pop:NXM_NX_REG2[],resubmit(,2)," +
        "ct(table=3,zone=4)",
        "table=2,reg1=5,reg2=5,ip,actions=2",
        "table=3,ct_state=+new+trk,ct_zone=4,reg1=5,ip,actions=4",
      ]
    ) of.flowMod(flow);
    const child = new Deno.Command(path, {
      args: [
        ...["-O", "OpenFlow15", `--unixctl=${place}.ctl`, "monitor"],
        ...[of.listeners[0] as string, "65534", "resume"],
      ],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    try {
      let text = "";
      const decoder = new TextDecoder();
      const reading = (async () => {
        for await (const bytes of child.stderr) text += decoder.decode(bytes);
      })();
      const draining = child.stdout.pipeTo(
        new WritableStream({ write: (bytes) => void (text += decoder.decode(bytes)) }),
      );
      const got: string[] = [];
      await until("a packet that goes on", async () => {
        await lab.inject("p1", frame);
        await handled(lab, of);
        for (const port of ["p2", "p3", "p4"]) {
          if ((await lab.collect(port)).length > 0) got.push(port);
        }
        return ["p2", "p3", "p4"].every((port) => got.includes(port));
      });
      deepStrictEqual([...new Set(got)].sort(), ["p2", "p3", "p4"]);
      await until("what ovs-ofctl says", () => /NXT_RESUME/.test(text));
      ok(!/OFPT_ERROR/.test(text), text);
      child.kill();
      await Promise.allSettled([reading, draining]);
    } finally {
      try {
        child.kill();
      } catch {
        // It has ended.
      }
      await child.status;
    }
  }),
);
