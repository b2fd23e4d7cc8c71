// SPDX-License-Identifier: Apache-2.0
/**
 * Two hosts in network namespaces, a switch between them, and os-ken that drives it by OpenFlow
 * 1.3:
 *
 *     sudo deno run -A examples/openflow/demo.ts [--limit] [APP]
 *
 * APP is a program of os-ken, learning_switch.py if absent. With --limit a policy in TypeScript
 * stands before the tables, which limits what new hosts may send.
 *
 * @module
 */
import { openDatapath } from "../../mod.ts";
import { openSwitch } from "../../openflow/open.ts";
import { makeHosts, on, removeHosts, run } from "../demo/network.ts";
import { purpose } from "../start.ts";
import { NewHosts } from "./new_hosts.ts";

const usage = "usage: sudo deno run -A examples/openflow/demo.ts [--limit] [APP]";
const limited = Deno.args.includes("--limit");
const [app = new URL("learning_switch.py", import.meta.url).pathname, ...more] = Deno.args
  .filter((arg) => !arg.startsWith("--"));
if (Deno.args.includes("--help")) {
  console.log(purpose() + usage);
  Deno.exit(0);
}
if (more.length > 0 || Deno.args.some((arg) => /^--(?!limit$)/.test(arg))) {
  console.error(usage);
  Deno.exit(1);
}

/** A TCP port of this machine that nobody has. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

/** Ends a program that may have ended already. */
function stop(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGTERM");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

async function main(): Promise<void> {
  const port = freePort();
  const controller = new Deno.Command("osken-manager", {
    args: ["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", `${port}`, app],
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const hosts = await makeHosts(2);
    await using dp = await openDatapath("netdev@openflow", { create: true });
    for (const { device } of hosts) await dp.ports.add({ name: device });
    using limits = limited
      ? new NewHosts(dp, { packetsPerSecond: 20, forMs: 12_000 })
      : undefined;
    await using of = await openSwitch(dp, {
      controllers: [`tcp:127.0.0.1:${port}`],
      ...(limits && { policy: limits.policy }),
    });
    while (of.flows().length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const [a, b] = hosts as [typeof hosts[0] & object, typeof hosts[0] & object];
    const pinged = (...args: string[]): Promise<string> =>
      run("ip", ...on(a, "ping", "-q", ...args, b.address));
    console.log("one host pings the other:");
    console.log(
      (await pinged("-c", "5", "-i", "0.2", "-W", "5")).trim().split("\n").at(-2),
    );
    if (limits !== undefined) {
      const flood = ["-c", "300", "-i", "0.005", "-W", "1"];
      const lost = async (): Promise<number> =>
        Number(
          /([\d.]+)% packet loss/.exec(await pinged(...flood).catch(String))?.[1] ?? 100,
        );
      console.log(`200 packets a second of a new host: ${await lost()} % are lost`);
      await limits.known(2);
      console.log(`of one that is known: ${await lost()} % are lost`);
    }
    console.log("flows of the controller:");
    for (const flow of of.flows()) console.log(`  ${flow}`);
  } finally {
    stop(controller);
    await controller.status;
    await removeHosts();
  }
}

await main();
