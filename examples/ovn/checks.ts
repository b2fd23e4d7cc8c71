// SPDX-License-Identifier: Apache-2.0
/**
 * What the network of OVN is to do, each by traffic of real programs.
 *
 * @module
 */
import { addresses, type HostName, type Network } from "./network.ts";
import { get, Program, say, until } from "./programs.ts";

/** Something that the network is to do. */
export interface Check {
  readonly name: string;
  /** Tries it; what was seen. Throws what was not as it is to be. */
  readonly run: (network: Network) => Promise<string>;
}

/** Says what is wrong. */
function fail(text: string): never {
  throw new Error(text);
}

/** Pings until enough answers came, however late: a busy machine takes its time. */
async function ping(network: Network, from: HostName, to: string): Promise<string> {
  const words = ["ping", "-n", "-c", "5", "-i", "0.2", "-w", "30", to];
  const { code, stdout } = await say(network.on(from, ...words));
  const summary = stdout.trim().split("\n").slice(-2).join("; ");
  if (code !== 0) fail(`${from} does not reach ${to}: ${summary}`);
  return summary;
}

/** What a web server answers; undefined for none. */
async function ask(
  network: Network,
  from: HostName,
  url: string,
  seconds = 20,
): Promise<string | undefined> {
  const words = ["curl", "-s", "-m", `${seconds}`, url];
  const { code, stdout } = await say(network.on(from, ...words));
  return code === 0 ? stdout.trim() : undefined;
}

async function acl(network: Network): Promise<string> {
  const url = `http://${addresses.b}`;
  const allowed = await ask(network, "a", `${url}:80/`);
  if (allowed !== "b 10.0.0.1") fail(`port 80 answers ${allowed}`);
  const dropped = await ask(network, "a", `${url}:81/`, 3);
  if (dropped !== undefined) fail(`port 81 is not dropped: ${dropped}`);
  // The other switch has no such rule.
  const other = await ask(network, "c", `http://${addresses.outside}:81/`);
  if (other !== `outside ${addresses.router}`) fail(`c gets from outside: ${other}`);
  return "port 80 answers, port 81 is dropped, but not of a host on the other switch";
}

async function snat(network: Network): Promise<string> {
  const url = `http://${addresses.outside}/`;
  for (const from of ["a", "c"] as const) {
    const said = await ask(network, from, url);
    if (said !== `outside ${addresses.router}`) fail(`${from} is seen as: ${said}`);
  }
  return `a and c are seen as ${addresses.router}`;
}

async function balance(network: Network): Promise<string> {
  const seen = new Map<string, number>();
  const tries = 24;
  for (let i = 0; i < tries; i++) {
    const said = await ask(network, "a", `http://${addresses.balancer}/`);
    if (said !== "b 10.0.0.1" && said !== "c 10.0.0.1") fail(`it answers ${said}`);
    seen.set(said, (seen.get(said) ?? 0) + 1);
  }
  // Either is taken by the hash of a connection: that it is one alone, 24 times, is no chance.
  if (seen.size !== 2) fail(`all of ${tries} went to ${[...seen.keys()]}`);
  return [...seen].map(([who, count]) => `${who[0]} ${count} times`).join(", ");
}

/** What udhcpc(8) does with a lease. */
const LEASE = `#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
ip route add default via "$router"
`;

async function dhcp(network: Network): Promise<string> {
  const script = `${network.folder}/lease.sh`;
  await Deno.writeTextFile(script, LEASE, { mode: 0o755 });
  const words = ["udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "10", "-T", "2"];
  const { code, stderr } = await say(network.on("d", ...words, "-s", script));
  if (code !== 0) fail(`no lease: ${stderr.trim()}`);
  const text = await get(network.on("d", "ip", "-4", "address", "show", "eth0"));
  if (!text.includes(`${addresses.leased}/24`)) fail(`the lease is another: ${text}`);
  await ping(network, "d", addresses.c);
  return `d has ${addresses.leased}, and reaches c by the router that it was told`;
}

/** TCP between hosts by iperf3, in bits a second. */
export async function throughput(
  network: Network,
  from: HostName,
  to: "b" | "c",
  seconds = 3,
): Promise<number> {
  const start = {
    namespace: network.host(to).namespace,
    log: `${network.folder}/iperf3.log`,
  };
  const server = new Program(start, ["iperf3", "-s", "-1"]);
  try {
    await until("iperf3 to listen", async () => {
      const text = await get(network.on(to, "ss", "-ltnH"));
      return /:5201 /.test(text);
    });
    const words = ["iperf3", "-J", "-c", addresses[to], "-t", `${seconds}`];
    const { end } = JSON.parse(await get(network.on(from, ...words)));
    return Number(end.sum_received.bits_per_second);
  } finally {
    await server.end();
  }
}

async function iperf(network: Network): Promise<string> {
  const bits = await throughput(network, "a", "b");
  if (!(bits > 1e6)) fail(`${bits} bit/s`);
  return `${(bits / 1e9).toFixed(2)} Gbit/s of TCP from a to b`;
}

/** Lines by which ovn-controllers tell that a switch refused something. */
export async function refusals(network: Network): Promise<string[]> {
  const all = await Promise.all([network.one, network.two].map(async ({ folder }) => {
    const text = await Deno.readTextFile(`${folder}/controller.log`);
    return text.split("\n").filter((line) => /OpenFlow error|OFPT_ERROR/.test(line));
  }));
  return all.flat();
}

async function errors(network: Network): Promise<string> {
  const all = await refusals(network);
  if (all.length > 0) fail(all.slice(0, 5).join("\n"));
  const counts = await Promise.all(
    [network.one, network.two].map(async (one) =>
      `${one.name} has ${(await one.flows()).length} flows`
    ),
  );
  return `no OpenFlow error; ${counts.join(", ")}`;
}

/** All of it, in an order in which nothing rests on what is later. */
export const checks: readonly Check[] = [
  { name: "ping across hosts", run: (network) => ping(network, "a", addresses.b) },
  { name: "ping across the router", run: (network) => ping(network, "a", addresses.c) },
  {
    name: "IPv6 across hosts: ND by packet-in",
    run: (network) => ping(network, "a", addresses.b6),
  },
  {
    name: "IPv6 across the router",
    run: (network) => ping(network, "a", addresses.c6),
  },
  { name: "ACL", run: acl },
  {
    name: "ping to the outside: ARP by packet-in",
    run: (network) => ping(network, "a", addresses.outside),
  },
  { name: "SNAT", run: snat },
  { name: "load balancer", run: balance },
  { name: "DHCP", run: dhcp },
  { name: "iperf3 across hosts", run: iperf },
  { name: "OpenFlow", run: errors },
];
