// SPDX-License-Identifier: Apache-2.0
/**
 * Two hosts with a wire between them, for tests of tunnels: at each end a userspace datapath of a
 * process of its own, devices of the kernel, or Open vSwitch.
 *
 * @module
 */
import assert from "node:assert/strict";
import { run, shell, tryRun } from "../../support/command.ts";
import { Unsupported } from "../../support/skip.ts";
import { until } from "../../support/wait.ts";
import { lines } from "./lines.ts";

/** One tunnel of a side. */
export interface TunnelSpec {
  /** Its port, of a type, with options. */
  readonly name: string;
  readonly type: string;
  readonly options?: Readonly<Record<string, string>>;
  /** In front of the output to it. */
  readonly actions?: string;
  /** In front of the output of what comes by it: for tunnels without Ethernet inside. */
  readonly back?: string;
  /** The TAP device inside. */
  readonly tap: string;
  /** Arguments of ip(8) once all is there. */
  readonly commands: readonly string[];
}

/** A side of its own process. */
export interface SideSpec {
  readonly name: string;
  /** The local port has the addresses of the underlay, instead of the device. */
  readonly isBridged?: boolean;
  /** Arguments of ip(8) that give them to it. */
  readonly bridge?: readonly string[];
  readonly config?: Readonly<Record<string, string | number>>;
  readonly tunnels: readonly TunnelSpec[];
}

/** One of two hosts. */
export interface End {
  readonly namespace: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** Two hosts, and the wire between their devices `eth0`. */
export interface Wire extends AsyncDisposable {
  readonly ends: readonly [End, End];
}

/** Makes two hosts 192.0.2.1 and .2, fd00:2::1 and ::2. `prefix` has four letters at most. */
export async function makeWire(prefix: string, mtu = 1500): Promise<Wire> {
  const own = `${prefix}${Deno.pid % 1_000_000}`;
  const ends = [1, 2].map((i): End => ({
    namespace: `${own}n${i}`,
    ipv4: `192.0.2.${i}`,
    ipv6: `fd00:2::${i}`,
  })) as [End, End];
  const [a, b] = ends;
  const remove = async () => {
    for (const { namespace } of ends) await tryRun("ip", "netns", "delete", namespace);
  };
  try {
    await shell(`ip netns add ${a.namespace}; ip netns add ${b.namespace}
      ip link add eth0 netns ${a.namespace} mtu ${mtu} type veth peer name eth0 netns ${b.namespace} mtu ${mtu}`);
    for (const { namespace, ipv4, ipv6 } of ends) {
      await shell(`ip -n ${namespace} link set lo up; ip -n ${namespace} link set eth0 up
        ip -n ${namespace} addr add ${ipv4}/24 dev eth0
        ip -n ${namespace} addr add ${ipv6}/64 dev eth0 nodad`);
    }
  } catch (error) {
    await remove();
    throw error;
  }
  return { ends, [Symbol.asyncDispose]: remove };
}

/** What gives the addresses of an end to its local port `device`, or back to `eth0`. */
export function moveAddresses({ ipv4, ipv6 }: End, device: string): string[] {
  return [
    "addr flush dev eth0",
    `link set ${device} up`,
    `addr add ${ipv4}/24 dev ${device}`,
    `-6 addr add ${ipv6}/64 dev ${device} nodad`,
  ];
}

/** The command line that runs `words` at an end. */
export function at({ namespace }: End, ...words: string[]): string[] {
  return ["ip", "netns", "exec", namespace, ...words];
}

/** A datapath at an end, in a process of its own. */
export interface Side extends AsyncDisposable {
  /** Runs a command of the control socket there. */
  control(line: string): Promise<string>;
}

/** Starts a userspace datapath at an end. */
export async function startSide(end: End, spec: SideSpec): Promise<Side> {
  const path = new URL("side.ts", import.meta.url).pathname;
  const child = new Deno.Command("ip", {
    args: at(end, Deno.execPath(), "run", "-A", path, JSON.stringify(spec)).slice(1),
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const answers = lines(child.stdout);
  const writer = child.stdin.getWriter();
  const stop = async () => {
    await writer.close().catch(() => {});
    for await (const _ of answers) { /* What is left. */ }
    await child.status;
  };
  const { value } = await answers.next();
  if (value !== "ready") {
    await stop();
    throw new Error(`the side of ${end.namespace} ended, having said ${value}`);
  }
  return {
    async control(line) {
      await writer.write(new TextEncoder().encode(`${line}\n`));
      const { value: answer } = await answers.next();
      return JSON.parse(answer ?? '"nothing"') as string;
    },
    [Symbol.asyncDispose]: stop,
  };
}

/**
 * Makes a device of the kernel at an end; throws `Unsupported` where the kernel has no such kind.
 */
export async function kernelDevice(end: End, words: string): Promise<void> {
  const made = await tryRun(
    "ip",
    "-n",
    end.namespace,
    "link",
    "add",
    ...words.split(" "),
  );
  if (made.code === 0) return;
  if (/Unknown device type|not supported/.test(made.stderr)) {
    const [, kind] = / type (\w+)/.exec(` ${words}`) ?? [];
    throw new Unsupported(`kernel device ${kind}`, { requirement: "peer" });
  }
  throw new Error(`ip link add ${words}: ${made.stderr}`);
}

/** Frames on a device of an end while `action` runs, in a file that `look` may read. */
export async function captured(
  end: End,
  action: () => Promise<void>,
  look: (path: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "tunnels-" });
  try {
    const path = `${folder}/wire.pcap`;
    const child = new Deno.Command("ip", {
      args: at(end, "tcpdump", "-i", "eth0", "-U", "--immediate-mode", "-w", path).slice(
        1,
      ),
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const said = lines(child.stderr);
    try {
      for await (const line of said) if (line.includes("listening on")) break;
      await action();
    } finally {
      child.kill("SIGINT");
      for await (const _ of said) { /* Its summary. */ }
      await child.status;
    }
    await look(path);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What tshark objects to in a capture; that an echo was not answered is no fault of a frame. */
export async function objections(path: string): Promise<string[]> {
  const filter =
    "_ws.malformed or (_ws.expert.severity >= 0x600000 and not icmp.resp_not_found " +
    "and not icmpv6.resp_not_found)";
  const text = await run(
    // Port 6635 is MPLS's; bareudp carries IP there.
    ..."tshark -n -o ip.check_checksum:TRUE -d udp.port==6635,ip -Y".split(" "),
    filter,
    ...["-T", "fields", "-e", "_ws.col.Info", "-e", "_ws.expert.message", "-r", path],
  );
  return text.split("\n").filter((line) => line !== "");
}

/** What iperf3 sends in a test: enough for windows that grow and segments that are bundled. */
const MUCH = "24M";

/**
 * 24 MB of TCP, or what `options` say, by iperf3 from one end to an address at the other; gives the
 * rate, bits a second.
 */
export async function iperf(
  [from, to]: readonly [End, End],
  address: string,
  options: readonly string[] = [],
): Promise<number> {
  const server = new Deno.Command("ip", {
    args: at(to, "iperf3", "-s", "-1", "--forceflush").slice(1),
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const said = lines(server.stdout);
  try {
    for await (const line of said) if (line.includes("listening")) break;
    const much = options.includes("-t") ? [] : ["-n", MUCH];
    const words = ["iperf3", "-J", ...much, "-c", address, ...options];
    const { stdout } = await tryRun(...at(from, "timeout", "60", ...words));
    const report = JSON.parse(stdout) as {
      error?: string;
      end?: {
        sum_received?: { bits_per_second: number };
        sum?: { bits_per_second: number };
      };
    };
    if (report.error !== undefined) throw new Error(`iperf3: ${report.error}`);
    return report.end?.sum_received?.bits_per_second ??
      report.end?.sum?.bits_per_second ?? 0;
  } finally {
    try {
      server.kill("SIGKILL");
    } catch {
      // It served its one client.
    }
    for await (const _ of said) { /* What is left. */ }
    await server.status;
  }
}

/** Pings until one answer is back, which may be late: neighbours have to be found. */
export async function reach(
  end: End,
  address: string,
  options: readonly string[] = [],
): Promise<void> {
  const words = at(end, "ping", "-n", "-c", "1", "-W", "1", ...options, address);
  await until(
    `${address} to answer ${end.namespace}`,
    async () => (await tryRun(...words)).code === 0,
  );
}

/**
 * Pings addresses in sizes that fit, nearly fit and go in fragments inside; every answer comes, and
 * tshark objects to no frame on the wire.
 */
export async function pingThrough(
  { ends: [from] }: Wire,
  addresses: readonly string[],
): Promise<void> {
  await captured(from, async () => {
    for (const address of addresses) {
      await reach(from, address);
      for (const size of [56, 1352, 4000]) {
        const options = `-n -c 3 -i 0.02 -w 30 -s ${size} ${address}`.split(" ");
        const { stdout, code } = await tryRun(...at(from, "ping", ...options));
        assert.equal(code, 0, `ping ${options.join(" ")}: ${stdout}`);
      }
    }
  }, async (path) => assert.deepEqual(await objections(path), []));
}

/** What iperf3 gets through: TCP there and back, and UDP. */
export async function rates(
  { ends }: Wire,
  [ipv4, ipv6]: readonly [string, string],
): Promise<string> {
  const measured = [
    await iperf(ends, ipv4),
    await iperf(ends, ipv6, ["-R"]),
    await iperf(ends, ipv4, ["-u", "-b", "20M", "-l", "1200", "-n", "480K"]),
  ];
  for (const rate of measured) assert.ok(rate > 0, `${measured}`);
  const [tcp, back, udp] = measured.map((rate) => (rate / 1e6).toFixed(0));
  return `TCP ${tcp} and ${back} Mbit/s, UDP ${udp} of 20`;
}
