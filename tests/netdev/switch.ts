// SPDX-License-Identifier: Apache-2.0
/**
 * Two hosts in network namespaces and a learning switch on the userspace datapath between them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Log } from "../../control/log.ts";
import { decideMisses } from "../../cli/miss_policy.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { DatapathError } from "../../providers/errors.ts";
import type { PortRequest } from "../../providers/contract/mod.ts";
import type { PortNo } from "../../providers/ids.ts";
import { run } from "../support/command.ts";
import { type Host, makeHosts, on } from "../support/netns.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needProgram, needRoot, Unsupported } from "../support/skip.ts";

/** A learning switch on a datapath, until it is closed: that of `dpctl serve`. */
export function learn(dp: Datapath): Promise<void> {
  const { signal } = new AbortController();
  return decideMisses(dp, { policy: "learn", log: new Log(() => {}), signal });
}

/** Two hosts on ports of a type, and a switch between them. */
export async function withSwitch(
  options: { prefix: string; type?: string; mtu?: number },
  test: (bench: NetdevBench, left: Host, right: Host) => Promise<void>,
): Promise<void> {
  needRoot("netdev");
  const { prefix, type = "system", mtu } = options;
  await using network = await makeHosts(prefix, 2, { net: 78 });
  const [left, right] = network.hosts;
  assert.ok(left !== undefined && right !== undefined);
  if (mtu !== undefined) {
    for (const { device, inner, namespace } of network.hosts) {
      await run("ip", "link", "set", device, "mtu", `${mtu}`);
      await run("ip", "-n", namespace, "link", "set", inner, "mtu", `${mtu}`);
    }
  }
  await using bench = await NetdevBench.open();
  for (const { device } of network.hosts) await addPort(bench.dp, device, type);
  const loop = learn(bench.dp);
  try {
    await test(bench, left, right);
  } finally {
    await bench.dp.close();
    await loop;
  }
}

/** Adds a port, or throws `Unsupported` where AF_XDP is missing. */
export function addPort(dp: Datapath, name: string, type: string): Promise<PortNo> {
  return addRequest(dp, { name, type });
}

/** The same with options. */
export async function addRequest(dp: Datapath, request: PortRequest): Promise<PortNo> {
  const { type } = request;
  try {
    return (await dp.ports.add(request)).no;
  } catch (error) {
    const cannot = ["EAFNOSUPPORT", "EOPNOTSUPP", "ENOSYS"];
    if (
      type === "afxdp" && error instanceof DatapathError && cannot.includes(error.code)
    ) {
      throw new Unsupported(`AF_XDP: ${error.message}`, { requirement: "peer" });
    }
    throw error;
  }
}

/** Runs iperf3 for a second, or for as many `--bytes` as asked, and gives the end of its report. */
export async function iperf(from: Host, to: Host, address: string, ...args: string[]) {
  const iperf3 = needProgram("iperf3", { requirement: "peer" });
  const server = new Deno.Command("ip", {
    args: on(to, iperf3, "--server", "--one-off", "--forceflush").slice(1),
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const { promise: listening, resolve } = Promise.withResolvers<void>();
  const drained = (async () => {
    for await (const text of server.stdout.pipeThrough(new TextDecoderStream())) {
      if (text.includes("listening")) resolve();
    }
    resolve();
  })();
  try {
    await listening;
    const client = on(
      from,
      iperf3,
      "--client",
      address,
      ...(args.includes("--bytes") ? [] : ["--time", "1"]),
      "--json",
      ...args,
    );
    return JSON.parse(await run("timeout", "60", ...client)).end;
  } catch (error) {
    server.kill("SIGKILL"); // It would wait for ever.
    throw error;
  } finally {
    await server.status;
    await drained;
  }
}
