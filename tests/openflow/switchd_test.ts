// SPDX-License-Identifier: Apache-2.0
/** The switch as a program. */
import { deepStrictEqual, match, strictEqual, throws } from "node:assert/strict";
import { readArguments } from "../../switchd.ts";
import { skippable } from "../support/skip.ts";
import { root } from "../support/tree.ts";
import { until } from "../support/wait.ts";
import { ofctl, ofctlPath } from "./recorder.ts";

Deno.test("switchd: its command line", () => {
  const { bridge, ports, options } = readArguments(
    ["--bridge=br0", "--port", "eth1", "--controller", "tcp:127.0.0.1", "--tight"],
  );
  strictEqual(bridge, "netdev@br0");
  deepStrictEqual(ports, ["eth1"]);
  deepStrictEqual(options, { tight: true, controllers: ["tcp:127.0.0.1"], listen: [] });
  strictEqual(readArguments(["--bridge", "system@dp0"]).bridge, "system@dp0");
  throws(() => readArguments(["--port", "eth1"]), /--bridge is missing/);
  throws(() => readArguments(["--bridge"]), /needs a value/);
  throws(
    () => readArguments(["--bridge", "b", "--protocols", "2.0"]),
    /2\.0 is no version/,
  );
  throws(() => readArguments(["--bridge", "b", "--colour", "x"]), /no option --colour/);
});

Deno.test(
  "switchd: ovs-ofctl drives it, and it ends when it is told to",
  skippable(async () => {
    ofctlPath();
    const path = Deno.makeTempFileSync({ prefix: "sd" });
    Deno.removeSync(path);
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...[
          "run",
          "-A",
          "--quiet",
          "--no-check",
          `${root}switchd.ts`,
          "--bridge",
          `sd${Deno.pid}`,
        ],
        ...["--port", "p1:dummy", "--port", "p2:dummy", "--listen", `punix:${path}`],
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      const show = () => ofctl(["-O", "OpenFlow13", "show", `unix:${path}`]);
      const text = await until("the switch", async () => {
        const { code, stdout } = await show();
        return code === 0 && stdout.includes("p2") ? stdout : undefined;
      }, { limitMs: 120_000 });
      match(text, /1\(p1\)/);
    } finally {
      child.kill("SIGTERM");
      strictEqual((await child.status).code, 0);
    }
  }),
);
