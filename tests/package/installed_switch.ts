// SPDX-License-Identifier: Apache-2.0
/**
 * The switch daemon of the package, as its unit runs it: of a real database, on a device of Linux,
 * with the unit's two capabilities and without.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Server } from "../ovsdb/server.ts";
import { run } from "../support/command.ts";
import { needProgram, needRoot } from "../support/skip.ts";
import { until } from "../support/wait.ts";

/** What became of a port that the database asks for: its number, or why there is none. */
interface Outcome {
  readonly ofport: string;
  readonly error: string;
}

/** The installed daemon takes a device by the capabilities of its unit, and not without. */
export async function switchWithTwo(installed: string): Promise<void> {
  needRoot("netdev");
  const setpriv = needProgram("setpriv", { requirement: "tool" });
  needProgram("ip", { requirement: "tool" });
  const unit = await Deno.readTextFile(
    `${installed}/lib/systemd/system/upcall-switchd.service`,
  );
  const wanted = /^CapabilityBoundingSet=(.*)$/m.exec(unit)?.[1] ?? "";
  assert.equal(wanted, "CAP_NET_ADMIN CAP_NET_RAW");
  const [, options = ""] =
    /^ExecStart=\/usr\/bin\/upcall-switchd \$DATABASE (.*) \$OPTIONS$/m.exec(unit) ?? [];
  const caps = wanted.toLowerCase().replaceAll("cap_", "+").replace(" ", ",");
  const device = `us${Deno.pid % 100000}a`;
  await run("ip", "link", "add", device, "type", "veth", "peer", "name", `${device}b`);
  // The command names modules by their place in the package.
  const command = `${installed}/usr/bin/upcall-switchd`;
  const text = await Deno.readTextFile(command);
  await Deno.writeTextFile(
    command,
    text.replaceAll(" /usr/lib/", ` ${installed}/usr/lib/`),
  );
  try {
    const attempt = async (bounds: string): Promise<Outcome> => {
      await using server = await Server.start();
      const daemon = new Deno.Command(setpriv, {
        args: [
          ...["--no-new-privs", `--bounding-set=${bounds}`, "--inh-caps=-all"],
          ...["sh", command, server.target, ...options.split(" "), "-vconsole:off"],
        ],
        clearEnv: true,
        env: {
          PATH: `${Deno.execPath().replace(/\/[^/]*$/, "")}:/usr/bin:/bin`,
          HOME: server.folder,
          OVS_RUNDIR: server.folder,
          UPCALL_LIBRARY: `${installed}/usr/lib/upcall/libupcall.so`,
        },
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
      try {
        const bridge = `us${Deno.pid % 100000}`;
        await server.vs(
          ...["--no-wait", "add-br", bridge, "--", "set", "bridge", bridge],
          ...["datapath_type=netdev", "--", "add-port", bridge, device],
        );
        const column = async (name: string): Promise<string> =>
          (await server.vs("--if-exists", "get", "interface", device, name)).trim();
        return await until("the port, or why there is none", async () => {
          const [ofport, error] = [await column("ofport"), await column("error")];
          return /^-?\d+$/.test(ofport) || error !== "[]" ? { ofport, error } : undefined;
        }, { limitMs: 60_000 });
      } finally {
        daemon.kill("SIGTERM");
        assert.equal((await daemon.status).code, 0);
      }
    };
    const without = await attempt("-all");
    assert.notEqual(without.error, "[]", `port ${without.ofport} without capabilities`);
    const withTwo = await attempt(`-all,${caps}`);
    assert.deepEqual(withTwo, { ofport: "1", error: "[]" });
    assert.match(await run("sh", command, "--help"), /^NAME\n {2}upcall-switchd - /);
  } finally {
    await run("ip", "link", "delete", device);
  }
}
