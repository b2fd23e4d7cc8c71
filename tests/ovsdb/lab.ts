// SPDX-License-Identifier: Apache-2.0
/**
 * A daemon over dummy ports that a real `ovsdb-server` drives, for tests.
 *
 * @module
 */
import { Daemon } from "../../vswitch/daemon.ts";
import { openNetdev } from "../support/netdev.ts";
import { say, Server } from "./server.ts";

/** A daemon over dummy ports, with its server. */
export async function lab(
  body: (server: Server, daemon: Daemon, said: string[]) => Promise<void>,
): Promise<void> {
  await using server = await Server.start();
  await (await openNetdev(`warm${Deno.pid}`)).close(); // Skips where there is no library.
  const said: string[] = [];
  await using daemon = new Daemon({
    database: server.target,
    folder: server.folder,
    dummy: "override",
    log: (module, level, text) => void said.push(`${module}|${level}|${text}`),
  });
  await daemon.ready;
  await body(server, daemon, said);
}

/** What ovs-ofctl prints for a bridge. */
export async function ofctl(server: Server, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await say("ovs-ofctl", args, server.folder);
  if (code !== 0) throw new Error(`ovs-ofctl ${args.join(" ")}: ${stderr}`);
  return stdout;
}
