// SPDX-License-Identifier: Apache-2.0
/**
 * Hosts for tests: network namespaces, each on one end of a veth pair whose other end is here.
 *
 * @module
 */
import { run, shell, tryRun } from "./command.ts";

/** One host. */
export interface Host {
  /** Name of its namespace. */
  readonly namespace: string;
  /** Name of its device, in the namespace. */
  readonly inner: string;
  /** Name of the other end, here. */
  readonly device: string;
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** Hosts that are taken down with `await using`. */
export interface Hosts extends AsyncDisposable {
  readonly hosts: readonly Host[];
}

/**
 * Makes `count` hosts in one subnet, 10.`net`.0.0/24 and fd00:`net`::/64, host i with number i+1.
 * `prefix`, of four letters at most, begins every name, so that tests do not meet; the process's
 * number follows, so that neither do two runs, nor one and what was left by another that was
 * killed.
 */
export async function makeHosts(
  prefix: string,
  count: number,
  options: { net?: number } = {},
): Promise<Hosts> {
  const net = options.net ?? 77;
  const own = `${prefix}${Deno.pid % 1_000_000}`;
  const hosts = Array.from({ length: count }, (_, i): Host => ({
    namespace: `${own}h${i + 1}`,
    inner: "eth0",
    device: `${own}v${i + 1}`,
    mac: `02:00:00:${net.toString(16).padStart(2, "0")}:00:0${i + 1}`,
    ipv4: `10.${net}.0.${i + 1}`,
    ipv6: `fd00:${net}::${i + 1}`,
  }));
  const makeOne = ({ namespace, inner, device, mac, ipv4, ipv6 }: Host) => [
    `netns add ${namespace}`,
    `link add ${device} type veth peer name ${inner} address ${mac} netns ${namespace}`,
    `link set ${device} up`,
    `-n ${namespace} link set lo up`,
    `-n ${namespace} link set ${inner} up`,
    `-n ${namespace} addr add ${ipv4}/24 dev ${inner}`,
    `-n ${namespace} addr add ${ipv6}/64 dev ${inner} nodad`,
  ];
  try {
    // `ip -batch` does not know -n: one shell for all of it.
    await shell(hosts.flatMap(makeOne).map((line) => `ip ${line}`).join("\n"));
  } catch (error) {
    await remove(hosts);
    throw error;
  }
  return { hosts, [Symbol.asyncDispose]: () => remove(hosts) };
}

async function remove(hosts: readonly Host[]): Promise<void> {
  // The pair goes with either end; but the namespace may outlive its name for a moment.
  for (const { device } of hosts) await tryRun("ip", "link", "delete", device);
  for (const { namespace } of hosts) await tryRun("ip", "netns", "delete", namespace);
}

/** The command line that runs `words` on a host. */
export function on(host: Host, ...words: string[]): string[] {
  return ["ip", "netns", "exec", host.namespace, ...words];
}

/**
 * Pings `address` from a host, and tells which of the first `count` came back, as numbers from 1.
 * `options` are more words for ping(8).
 *
 * With a deadline, ping goes on until `count` have come back, however late they are. With `-W` it
 * waits for the last ones no longer than an interval, if any has come back (iputils 20221126): a
 * busy machine takes longer.
 */
export async function pinged(
  host: Host,
  address: string,
  { count, seconds = 30, options = [] }: {
    count: number;
    seconds?: number;
    options?: readonly string[];
  },
): Promise<number[]> {
  const words = ["ping", "-n", "-c", `${count}`, "-i", "0.05", "-w", `${seconds}`];
  const { stdout } = await tryRun(...on(host, ...words, ...options, address));
  const numbers = [...stdout.matchAll(/ bytes from .*icmp_seq=(\d+) .*time=/g)];
  return numbers.map(([, number]) => Number(number)).filter((number) => number <= count);
}

/** Pings `address` from a host; rejects unless every one of `count` came back. */
export async function ping(host: Host, address: string, count = 2): Promise<void> {
  const back = await pinged(host, address, { count });
  if (new Set(back).size === count) return;
  throw new Error(
    `ping of ${address}, ${count} sent: back are ${back.join(" ") || "none"}`,
  );
}

/** Whether a ping of `address` from a host comes back within half a second. */
export async function answers(host: Host, address: string): Promise<boolean> {
  const words = on(host, "ping", "-n", "-c", "1", "-W", "0.5", address);
  return (await tryRun(...words)).code === 0;
}

const sender = `
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
s.send(bytes.fromhex(sys.argv[2]))
`;

/** Has a device of this namespace send a frame. */
export async function sendFrom(device: string, frame: Uint8Array): Promise<void> {
  await run("python3", "-c", sender, device, frame.toHex());
}
