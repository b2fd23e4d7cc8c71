// SPDX-License-Identifier: Apache-2.0
/**
 * The network of `examples/ovn`: two hosts with daemons of this project that unmodified
 * ovn-controllers drive, judged by traffic of real programs, and taken away without a trace.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { checks } from "../../examples/ovn/checks.ts";
import { Network } from "../../examples/ovn/network.ts";
import { run } from "../support/command.ts";
import { figure } from "../support/figure.ts";
import { skippable } from "../support/skip.ts";
import { needOvn } from "./ovn_lab.ts";

/** Namespaces and processes that name this process, or a folder. */
async function remains(folder: string): Promise<string[]> {
  const names = await run("ip", "netns", "list");
  const spaces = names.split("\n").filter((name) => name.includes(`-${Deno.pid}-`));
  const processes = (await run("ps", "-eo", "args")).split("\n")
    .filter((line) => line.includes(folder));
  return [...spaces, ...processes];
}

Deno.test(
  "ovn: two hosts are what the logical network says, and nothing of them stays",
  skippable(async (t) => {
    await needOvn();
    let folder = "";
    {
      await using network = await Network.make();
      folder = network.folder;
      ok(
        (await remains(folder)).length > 0,
        "what is looked for afterwards is there now",
      );
      for (const { name, run: check } of checks) {
        await t.step(name, async () => figure(`ovn, ${name}: ${await check(network)}`));
      }
    }
    deepStrictEqual(await remains(folder), []);
    const left = await Deno.stat(folder).then(() => true, () => false);
    strictEqual(left, false, folder);
  }),
);
