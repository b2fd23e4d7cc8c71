// SPDX-License-Identifier: Apache-2.0
/** The example, as people run it: hosts in namespaces, os-ken, a policy before the tables. */
import { match, ok } from "node:assert/strict";
import { needProgram, needRoot, skippable } from "../support/skip.ts";
import { root } from "../support/tree.ts";

/** What the example printed. */
async function example(...args: string[]): Promise<string> {
  needRoot("netdev");
  needProgram("osken-manager", { requirement: "peer" });
  needProgram("ip", { requirement: "netdev" });
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", `${root}examples/openflow/demo.ts`, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout);
  ok(success, `${text}${new TextDecoder().decode(stderr)}`);
  return text;
}

Deno.test(
  "openflow: os-ken connects two hosts through the example",
  skippable(async () => {
    const text = await example();
    match(text, / 0% packet loss/);
    match(text, /in_port=1,dl_src=[0-9a-f:]+,dl_dst=[0-9a-f:]+ actions=output:2/);
  }),
);

Deno.test(
  "openflow: a policy before the tables limits new hosts, and known ones not",
  skippable(async () => {
    const text = await example("--limit");
    const lost = [...text.matchAll(/: ([\d.]+) % are lost/g)].map(([, share]) =>
      Number(share)
    );
    ok(lost.length === 2 && (lost[0] as number) > 40 && (lost[1] as number) < 10, text);
  }),
);
