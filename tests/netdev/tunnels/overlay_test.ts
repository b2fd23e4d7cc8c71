// SPDX-License-Identifier: Apache-2.0
/**
 * examples/overlay.ts on two hosts: ping and iperf3 through VXLAN and Geneve, and the
 * flows and neighbours that each host has of the other.
 */
import assert from "node:assert/strict";
import { control } from "../../../control/socket.ts";
import { run } from "../../support/command.ts";
import { figure } from "../../support/figure.ts";
import { NetdevBench } from "../../support/netdev.ts";
import { needProgram, needRoot, skippable } from "../../support/skip.ts";
import { root } from "../../support/tree.ts";
import { until } from "../../support/wait.ts";
import { at, type End, iperf, makeWire, reach } from "./lab.ts";
import { lines } from "./lines.ts";

/** Runs the example at an end; gives the folder of its control socket. */
async function start(
  end: End,
  other: End,
  type: string,
): Promise<AsyncDisposable & { readonly rundir: string }> {
  const rundir = await Deno.makeTempDir({ prefix: "upcall-overlay-" });
  const words = ["run", "-A", "--quiet", "--no-check", "examples/overlay.ts"];
  const child = new Deno.Command("ip", {
    args: at(end, Deno.execPath(), ...words, "netdev@ov0", "eth0", other.ipv4).slice(1),
    cwd: root,
    stdin: "null",
    stderr: "piped",
    env: { NO_COLOR: "1", UPCALL_RUNDIR: rundir, TUNNEL: type },
  }).spawn();
  const said = lines(child.stderr);
  const heard: string[] = [];
  let isReady = false;
  const reading = (async () => {
    for await (const line of said) {
      heard.push(line);
      isReady ||= line.includes(" is ready with ");
    }
  })();
  const stop = async () => {
    try {
      child.kill("SIGINT");
    } catch {
      // It has ended: the status says why.
    }
    await reading;
    const { code } = await child.status;
    await Deno.remove(rundir, { recursive: true });
    assert.equal(code, 0, heard.join("\n"));
  };
  try {
    const state = () => heard.join("\n");
    await until("the overlay to be ready", () => isReady, { state, limitMs: 60_000 });
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
  return { rundir, [Symbol.asyncDispose]: stop };
}

for (const type of ["vxlan", "geneve"]) {
  Deno.test(
    `examples: overlay.ts joins two hosts by ${type}`,
    skippable(async () => {
      needRoot("netdev");
      needProgram("iperf3", { requirement: "peer" });
      await (await NetdevBench.open())[Symbol.asyncDispose](); // Compiles, or skips.
      await using wire = await makeWire("ex");
      const [a, b] = wire.ends;
      await using one = await start(a, b, type);
      await using _two = await start(b, a, type);
      for (const [i, end] of wire.ends.entries()) {
        const ip = (...words: string[]) => run("ip", "-n", end.namespace, ...words);
        await ip("addr", "add", `10.10.0.${i + 1}/24`, "dev", "ov0");
        await ip("link", "set", "ov0", "mtu", "1400", "up");
      }
      await reach(a, "10.10.0.2");
      await reach(b, "10.10.0.1");
      const rate = await iperf(wire.ends, "10.10.0.2");
      figure(`overlay.ts by ${type}: TCP ${(rate / 1e6).toFixed(0)} Mbit/s`);
      assert.ok(rate > 0);
      const path = `${one.rundir}/netdev@ov0.ctl`;
      const flows = await control(path, "dpctl/dump-flows", ["netdev@ov0"]);
      assert.match(
        flows,
        /in_port\(0\).*actions:set\(tunnel\(tun_id=0x7,dst=192\.0\.2\.2/,
      );
      assert.match(flows, /tunnel\(tun_id=0x7,src=192\.0\.2\.2.*actions:0/);
      assert.match(await control(path, "tnl/neigh/show", []), /192\.0\.2\.2 /);
      assert.match(await control(path, "tnl/ports/show", []), /tunnel0 \((4789|6081)\)/);
    }),
  );
}
