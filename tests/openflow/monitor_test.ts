// SPDX-License-Identifier: Apache-2.0
/** Flow monitors, judged by ovs-ofctl in every version: what it is told of flows of others. */
import { deepStrictEqual } from "node:assert/strict";
import { openSwitch } from "../../openflow/open.ts";
import { openLab } from "../../testing/mod.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";
import { ofctl, ofctlPath } from "./recorder.ts";

const words = (text: string): string[] =>
  text.split("\n").filter((line) => line.startsWith(" event=")).map((line) =>
    line.trim().replace("INITIAL", "ADDED")
  );

Deno.test(
  "openflow monitors: a program is told which flows come, change and go",
  skippable(async () => {
    const folder = await Deno.makeTempDir({ prefix: "upcall-of-" });
    const path = `${folder}/br0.mgmt`;
    await using lab = await openLab({ ports: ["p1", "p2"] });
    await using _ = await openSwitch(lab.dp, { listen: [`punix:${path}`] });
    const target = `unix:${path}`;
    const say = async (...args: string[]): Promise<void> => {
      const { code, stderr } = await ofctl(args);
      deepStrictEqual([code, stderr], [0, ""], args.join(" "));
    };
    for (const version of ["OpenFlow10", "OpenFlow12", "OpenFlow13", "OpenFlow15"]) {
      await say("add-flow", target, "cookie=1,in_port=1,actions=output:2");
      const child = new Deno.Command(ofctlPath(), {
        args: [
          "-O",
          version,
          `--unixctl=${folder}/c`,
          "monitor",
          target,
          "watch:!initial,out_port=2",
        ],
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
        clearEnv: true,
        env: { LC_ALL: "C", OVS_RUNDIR: folder },
      }).spawn();
      let text = "";
      const read = (async () => {
        const decoder = new TextDecoder();
        for await (const chunk of child.stderr) text += decoder.decode(chunk);
      })();
      const told = (count: number) =>
        until("what is told", () => words(text).length >= count, { state: () => text });
      // It has asked when its barrier is answered.
      await until("the monitor", async () => {
        const { code } = await new Deno.Command("ovs-appctl", {
          args: ["-t", `${folder}/c`, "ofctl/barrier"],
          stdout: "null",
          stderr: "null",
        }).output();
        return code === 0;
      });
      await say("add-flow", target, "in_port=2,udp,actions=output:1");
      await say("mod-flows", target, "in_port=2,udp,actions=output:2");
      await say("mod-flows", target, "in_port=2,udp,actions=output:2");
      await say("del-flows", target, "in_port=2");
      await say("del-flows", target);
      await told(3);
      child.kill("SIGTERM");
      await child.status;
      await read;
      await child.stdout.cancel();
      deepStrictEqual(words(text), [
        "event=MODIFIED table=0 cookie=0 udp,in_port=2 actions=output:2",
        "event=DELETED reason=delete table=0 cookie=0 udp,in_port=2 actions=output:2",
        "event=DELETED reason=delete table=0 cookie=0x1 in_port=1 actions=output:2",
      ], version);
    }
    await Deno.remove(folder, { recursive: true });
  }),
);
