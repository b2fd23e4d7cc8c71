// SPDX-License-Identifier: Apache-2.0
/**
 * Bonds: `lb_output` takes the bucket that Open vSwitch's userspace datapath (3.1) takes, and
 * counts what it sends.
 */
import assert from "node:assert/strict";
import { controlCommands } from "../../control/commands.ts";
import { Log } from "../../control/log.ts";
import { ethernet, ipv4, ipv6, tcpFrame, udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

const tcp = tcpFrame({ srcPort: 1000, dstPort: 80 });
const udp = udpFrame({ srcPort: 53, dstPort: 54 });
/** A request from 10.0.0.1 for 10.0.0.2. */
const arp = ethernet(
  0x0806,
  Uint8Array.fromHex(
    "0001080006040001" + "020000000001" + "0a000001" + "000000000000" + "0a000002",
  ),
);
const tcp6 = ethernet(
  0x86dd,
  ipv6(6, Uint8Array.fromHex("03e80050000000000000000050000000ffff0000"), {
    src: "2001:cafe::92",
    dst: "2001:cafe::88",
  }),
);

/** Frames and the low byte of the hash that Open vSwitch was seen to give them. */
const observed: readonly (readonly [name: string, frame: Uint8Array, bucket: number])[] =
  [
    ["TCP", tcp, 0xc6],
    ["UDP", udp, 0x3b],
    ["GRE", ethernet(0x0800, ipv4(47, new Uint8Array(8))), 0x16],
    ["ping", ethernet(0x0800, ipv4(1, Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0))), 0x45],
    [
      "SCTP",
      ethernet(0x0800, ipv4(132, Uint8Array.fromHex("000700080000000000000000"))),
      0xa6,
    ],
    ["ARP", arp, 0x1a],
    ["neither", ethernet(0x88b5, new Uint8Array(46)), 0x5c],
    [
      "a later fragment",
      ethernet(0x0800, ipv4(17, new Uint8Array(8), { fragment: 0x0005 })),
      0xc5,
    ],
    ["TCP over IPv6", tcp6, 0x9d],
    [
      "ping over IPv6",
      ethernet(
        0x86dd,
        ipv6(58, Uint8Array.of(128, 0, 0, 0, 0, 0, 0, 0), {
          src: "2001:cafe::92",
          dst: "2001:cafe::88",
        }),
      ),
      0xdc,
    ],
  ];

const any = (members: readonly [number, number], at: number) =>
  Array.from({ length: 256 }, (_, bucket) => members[Number(bucket === at)] as number);

const keys = ["0x0800", "0x0806", "0x86dd", "0x88b5"].map((type) => `eth_type(${type})`);

async function open(actions: string, types = keys): Promise<NetdevBench> {
  const bench = await NetdevBench.open();
  await bench.ports("p1", "p2", "p3");
  for (const type of types) {
    bench.dp.flows.put({ key: `in_port(1),eth(),${type}`, actions });
  }
  return bench;
}

function bondsOf({ dp }: NetdevBench) {
  assert.ok(dp.bonds);
  return dp.bonds;
}

Deno.test(
  "netdev bonds: a packet takes the bucket that Open vSwitch takes",
  skippable(async () => {
    await using bench = await open("lb_output(7)");
    for (const [name, frame, bucket] of observed) {
      bondsOf(bench).add(7, any([2, 3], bucket));
      bench.inject(1, frame);
      assert.equal((await bench.collect(3)).length, 1, name);
      const bytes = bondsOf(bench).stats(7);
      assert.equal(bytes[bucket], BigInt(frame.length), name);
      bondsOf(bench).delete(7);
    }
    assert.equal((await bench.collect(2)).length, 0);
  }),
);

Deno.test(
  "netdev bonds: what changes on the way, or another lookup, does not change the bucket",
  skippable(async () => {
    await using bench = await open(
      "set(ipv4(src=9.9.9.9)),set(tcp(src=5)),push_vlan(vid=3,pcp=0),lb_output(7),recirc(1)",
      ["eth_type(0x0800),ipv4(proto=6,frag=no),tcp()"],
    );
    bench.dp.flows.put({
      key:
        "recirc_id(1),in_port(1),eth(),eth_type(0x8100),vlan(vid=3,pcp=0),encap(eth_type(0x0800))",
      actions: "trunc(60),lb_output(7)",
    });
    bondsOf(bench).add(7, any([2, 3], 0xc6));
    bench.inject(
      1,
      tcpFrame({ srcPort: 1000, dstPort: 80, payload: new Uint8Array(100) }),
    );
    const sent = await bench.collect(3);
    assert.deepEqual(sent.map(({ length }) => length), [158, 60]);
    assert.equal(
      bondsOf(bench).stats(7)[0xc6],
      158n + 60n,
      "bytes are those that were sent",
    );
  }),
);

Deno.test(
  "netdev bonds: members change, buckets whose member stays go on counting",
  skippable(async () => {
    await using bench = await open("lb_output(7)");
    const bonds = bondsOf(bench);
    const drops = () => bench.dp.stats().counters ?? {};
    bench.inject(1, tcp);
    await bench.settle();
    assert.equal(drops().drop_no_bond, 1n);
    bonds.add(7, any([2, 3], 0xc6));
    bonds.add(4, any([2, 2], 0));
    bench.inject(1, tcp);
    bench.inject(1, udp);
    await bench.settle();
    bonds.add(7, any([9, 3], 0xc6));
    assert.equal(bonds.stats(7)[0xc6], BigInt(tcp.length));
    assert.equal(bonds.stats(7)[0x3b], 0n, "another member begins at 0");
    bench.inject(1, udp); // There is no port 9.
    bench.inject(1, tcp);
    await bench.settle();
    assert.equal(bonds.stats(7)[0xc6], 2n * BigInt(tcp.length));
    assert.equal(bonds.stats(7)[0x3b], 0n, "what no port takes is not counted");
    assert.equal(drops().drop_no_port, 1n);
    assert.deepEqual(bonds.list().map(({ id }) => id), [4, 7]);
    bonds.delete(4);
    assert.throws(() => bonds.delete(4), { code: "ENOENT" });
    assert.throws(() => bonds.stats(4), { code: "ENOENT" });
    assert.throws(() => bonds.add(5, [1, 2]), { code: "EINVAL" });
    assert.equal((await bench.collect(2)).length, 1);
    assert.equal((await bench.collect(3)).length, 2);
  }),
);

Deno.test(
  "netdev bonds: dpif-netdev/bond-show prints what Open vSwitch prints",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const commands = controlCommands({ dp, log: new Log(() => {}), onExit: () => {} });
    const show = async (...args: string[]): Promise<string> =>
      await commands.get("dpif-netdev/bond-show")?.run(args, {
        hungUp: () => new Promise<void>(() => {}),
      }) ?? "";
    assert.equal(await show(), "");
    bondsOf(bench).add(2, any([6, 4], 1));
    const text = await show(dp.name);
    assert.match(
      text,
      /^Bonds:\n {2}bond-id 2:\n {4}bucket 0 - member 6\n {4}bucket 1 - member 4\n/,
    );
    assert.equal(text.split("\n").length, 2 + 256 + 1);
    await assert.rejects(() => show("nobody"), /please specify an existing datapath/);
  }),
);
