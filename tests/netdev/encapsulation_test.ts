// SPDX-License-Identifier: Apache-2.0
/**
 * TCP in every encapsulation that this kernel can make, of which the senders leave the inner
 * checksum and the cutting undone: what passes a Linux bridge passes the datapath, beside it.
 */
import assert from "node:assert/strict";
import { run, tryRun } from "../support/command.ts";
import { type Host, makeHosts, on, pinged } from "../support/netns.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needProgram, needRoot, skippable, Unsupported } from "../support/skip.ts";
import { addPort, iperf, learn } from "./switch.ts";

/**
 * Commands of ip(8) that make one end, for a host and its peer; the inner address is 192.0.2.N or
 * fd99::N.
 */
interface Encapsulation {
  readonly name: string;
  readonly family: 4 | 6;
  readonly make: (own: Host, peer: Host, n: number) => readonly string[];
}

const inner = (n: number, family: 4 | 6): string =>
  family === 4 ? `192.0.2.${n}` : `fd99::${n}`;

/** A device with the inner address. */
function device(
  name: string,
  words: (own: Host, peer: Host, n: number) => string,
  family: 4 | 6 = 4,
): Encapsulation {
  const mask = family === 4 ? 24 : 64;
  const make = (own: Host, peer: Host, n: number) => [
    `link add enc ${words(own, peer, n)}`,
    `addr add ${inner(n, family)}/${mask} dev enc ${family === 6 ? "nodad" : ""}`,
    "link set enc up",
  ];
  return { name, family, make };
}

const over4 = (own: Host, peer: Host) => `local ${own.ipv4} remote ${peer.ipv4}`;
const over6 = (own: Host, peer: Host) => `local ${own.ipv6} remote ${peer.ipv6}`;

/** Tags of VLAN devices on top of each other. */
const tags = (count: number): Encapsulation => ({
  name: `${count} tags`,
  family: 4,
  make: (own, _peer, n) => {
    const names = Array.from(
      { length: count },
      (_, i) => i + 1 === count ? "enc" : `tag${i}`,
    );
    const links = names.flatMap((name, i) => [
      `link add link ${names[i - 1] ?? own.inner} name ${name} type vlan id ${i + 10}`,
      `link set ${name} up`,
    ]);
    return [...links, `addr add ${inner(n, 4)}/24 dev enc`];
  },
});

const encapsulations: readonly Encapsulation[] = [
  device(
    "vxlan",
    (a, b) => `type vxlan id 42 dstport 4789 ${over4(a, b)} dev ${a.inner}`,
  ),
  device(
    "vxlan, IPv6 inside",
    (a, b) => `type vxlan id 42 dstport 4789 ${over4(a, b)} dev ${a.inner}`,
    6,
  ),
  device(
    "vxlan with checksums",
    (a, b) => `type vxlan id 42 dstport 4789 ${over4(a, b)} dev ${a.inner} udpcsum`,
  ),
  device(
    "vxlan over IPv6",
    (a, b) => `type vxlan id 42 dstport 4789 ${over6(a, b)} dev ${a.inner}`,
  ),
  device("geneve", (_a, b) => `type geneve id 42 remote ${b.ipv4}`),
  device("geneve over IPv6", (_a, b) => `type geneve id 42 remote ${b.ipv6}`, 6),
  device("gre", (a, b) => `type gre ${over4(a, b)}`),
  device("gre with key and checksum", (a, b) => `type gre ${over4(a, b)} key 7 csum`),
  device("gre with sequence numbers", (a, b) => `type gre ${over4(a, b)} seq`),
  device("gretap", (a, b) => `type gretap ${over4(a, b)}`),
  device("ip6gre", (a, b) => `type ip6gre ${over6(a, b)}`),
  device("ip6gretap", (a, b) => `type ip6gretap ${over6(a, b)}`),
  device("IPv4 in IPv4", (a, b) => `type ipip ${over4(a, b)}`),
  device("IPv6 in IPv4", (a, b) => `type sit ${over4(a, b)}`, 6),
  device("IPv6 in IPv6", (a, b) => `type ip6tnl mode ip6ip6 ${over6(a, b)}`, 6),
  device("IPv4 in IPv6", (a, b) => `type ip6tnl mode ipip6 ${over6(a, b)}`),
  device(
    "foo over UDP",
    (a, b) => `type ipip ${over4(a, b)} encap fou encap-sport auto encap-dport 5555`,
  ),
  device("bareudp", () => "type bareudp dstport 6635 ethertype ip"),
  tags(1),
  tags(2),
  tags(3),
  {
    name: "MPLS route",
    family: 4,
    make: (own, peer, n) => [
      `addr add ${inner(n, 4)}/32 dev lo`,
      `route add ${
        inner(3 - n, 4)
      }/32 encap mpls 100 via inet ${peer.ipv4} dev ${own.inner} src ${inner(n, 4)}`,
      "-f mpls route add 100 dev lo",
    ],
  },
  {
    name: "SRv6 route",
    family: 6,
    make: (own, peer, n) => [
      `addr add ${inner(n, 6)}/128 dev lo nodad`,
      `-6 route add fd98::${n}/128 encap seg6local action End.DT6 table 255 dev ${own.inner}`,
      `-6 route add fd98::${3 - n}/128 via ${peer.ipv6} dev ${own.inner}`,
      `-6 route add ${inner(3 - n, 6)}/128 encap seg6 mode encap segs fd98::${
        3 - n
      } dev ${own.inner} src ${inner(n, 6)}`,
    ],
  },
];

/** Whether this kernel can make it, and what is in its way if not. */
async function set(
  encapsulation: Encapsulation,
  [left, right]: readonly [Host, Host],
): Promise<string | undefined> {
  for (const [own, peer, n] of [[left, right, 1], [right, left, 2]] as const) {
    for (const words of encapsulation.make(own, peer, n)) {
      const { code, stderr } = await tryRun(
        ...on(own, "ip", ...words.trim().split(/\s+/)),
      );
      if (code !== 0) return `${words}: ${stderr.trim()}`;
    }
  }
  return undefined;
}

/** Bytes of TCP a second from left to right and back; 0: none pass. */
async function transfer(
  [left, right]: readonly [Host, Host],
  family: 4 | 6,
): Promise<readonly [number, number]> {
  const address = inner(2, family);
  const there = await pinged(left, address, { count: 2, seconds: 10 });
  if (there.length < 2) return [0, 0];
  const rates: number[] = [];
  for (const more of [[], ["-R"]]) {
    try {
      const words = ["--connect-timeout", "5000", "--bytes", "24M", ...more];
      const { sum_received } = await iperf(left, right, address, ...words);
      rates.push(
        sum_received.bytes > 0 ? Math.max(1, sum_received.bits_per_second / 8) : 0,
      );
    } catch {
      rates.push(0);
    }
  }
  return rates as [number, number];
}

async function withHosts<T>(
  prefix: string,
  use: (hosts: readonly [Host, Host]) => Promise<T>,
): Promise<T> {
  await using network = await makeHosts(prefix, 2, { net: 78 });
  for (const host of network.hosts) {
    for (const name of ["all.seg6_enabled", `${host.inner}.seg6_enabled`]) {
      await tryRun(...on(host, "sysctl", "-qw", `net.ipv6.conf.${name}=1`));
    }
    for (
      const setting of [
        "mpls.platform_labels=1000",
        `mpls.conf.${host.inner}.input=1`,
        "ipv4.conf.all.rp_filter=0",
        "ipv6.conf.all.forwarding=1",
      ]
    ) {
      await tryRun(...on(host, "sysctl", "-qw", `net.${setting}`));
    }
    await tryRun(...on(host, "ip", "fou", "add", "port", "5555", "ipproto", "4"));
  }
  return await use(network.hosts as unknown as readonly [Host, Host]);
}

async function throughBridge(hosts: readonly [Host, Host], family: 4 | 6) {
  const bridge = `ebr${Deno.pid % 100000}`;
  await run("ip", "link", "add", bridge, "type", "bridge", "mcast_snooping", "0");
  try {
    for (const { device } of hosts) {
      await run("ip", "link", "set", device, "master", bridge);
    }
    await run("ip", "link", "set", bridge, "up");
    return await transfer(hosts, family);
  } finally {
    await run("ip", "link", "delete", bridge);
  }
}

async function throughDatapath(hosts: readonly [Host, Host], family: 4 | 6) {
  await using bench = await NetdevBench.open();
  for (const { device } of hosts) await addPort(bench.dp, device, "system");
  const loop = learn(bench.dp);
  try {
    const rates = await transfer(hosts, family);
    return { rates, counters: bench.dp.stats().counters ?? {} };
  } finally {
    await bench.dp.close();
    await loop;
  }
}

for (const [i, encapsulation] of encapsulations.entries()) {
  Deno.test(
    `encapsulation: TCP passes as through a bridge: ${encapsulation.name}`,
    skippable(async () => {
      needRoot("netdev");
      needProgram("iperf3", { requirement: "peer" });
      await withHosts(`e${String.fromCharCode(97 + i)}`, async (hosts) => {
        const missing = await set(encapsulation, hosts);
        if (missing !== undefined) {
          throw new Unsupported(missing, { requirement: "peer" });
        }
        const beside = await throughBridge(hosts, encapsulation.family);
        if (beside.every((rate) => rate === 0)) {
          throw new Unsupported("a bridge that it passes", { requirement: "peer" });
        }
        const { rates, counters } = await throughDatapath(hosts, encapsulation.family);
        console.log(
          `bridge ${beside.map((rate) => (rate / 1e6).toFixed(0))} MB/s, datapath ${
            rates.map((rate) => (rate / 1e6).toFixed(0))
          } MB/s`,
        );
        for (const [way, rate] of beside.entries()) {
          if (rate > 0) {
            assert.ok(
              (rates[way] ?? 0) > 0,
              `${way === 0 ? "there" : "back"}: nothing passes`,
            );
          }
        }
        assert.equal(counters.drop_tx_error, 0n, "tx_error");
        assert.equal(counters.drop_tx_oversize, 0n, "tx_oversize");
      });
    }),
  );
}
