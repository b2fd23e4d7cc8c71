// SPDX-License-Identifier: Apache-2.0
/** Packets in, packets out: every action of the userspace datapath, judged byte by byte. */
import assert from "node:assert/strict";
import { formatActions } from "../../providers/odp/mod.ts";
import {
  arpFrame,
  bytes,
  checksum,
  defaults,
  ethernet,
  icmpFrame,
  ip4,
  ipv4,
  ipv6,
  neighbourFrame,
  tagged,
  tcpFrame,
  transportChecksumIsRight,
  udpFrame,
} from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { random, randomBytes } from "../support/random.ts";
import { skippable } from "../support/skip.ts";
import { patience } from "../support/wait.ts";

const { dst } = defaults;

/**
 * One packet through a list of actions, by execute and by a flow: what has to come out of ports 2
 * and 3.
 */
interface Case {
  readonly name: string;
  readonly actions: string;
  readonly frame: Uint8Array;
  readonly out1?: readonly Uint8Array[];
  readonly out2?: readonly Uint8Array[];
  readonly out3?: readonly Uint8Array[];
}

const udp = udpFrame();
const tcp = tcpFrame();
const udp6 = udpFrame({ version: 6 });
const tcp6 = tcpFrame({ version: 6 });
const vlan = tagged(udp, 0x6005);

/** A frame with other Ethernet addresses. */
function withMacs(frame: Uint8Array, newSrc: string, newDst: string): Uint8Array {
  return bytes(newDst, newSrc, frame.subarray(12));
}

/** An IPv4 header's fields changed, with its checksum made anew. */
function withIpv4(frame: Uint8Array, change: (header: Uint8Array) => void): Uint8Array {
  const copy = frame.slice();
  const header = copy.subarray(14, 34);
  change(header);
  header.fill(0, 10, 12);
  const sum = checksum(header);
  header[10] = sum >>> 8;
  header[11] = sum;
  return copy;
}

/** A UDP frame that says that it has no checksum. */
const withoutSum = udp.slice();
withoutSum.fill(0, 40, 42);

const fragment = ethernet(
  0x0800,
  ipv4(17, new Uint8Array(32).fill(3), { fragment: 100 }),
);

const cases: readonly Case[] = [
  { name: "output", actions: "2", frame: udp, out2: [udp] },
  { name: "output to two ports", actions: "2,3", frame: udp, out2: [udp], out3: [udp] },
  { name: "output twice to one", actions: "2,2", frame: udp, out2: [udp, udp] },
  {
    name: "output to the port it came from",
    actions: "1,2",
    frame: udp,
    out1: [udp],
    out2: [udp],
  },
  { name: "drop", actions: "drop", frame: udp },
  {
    name: "push_vlan",
    actions: "push_vlan(vid=5,pcp=3),2",
    frame: udp,
    out2: [vlan],
  },
  {
    name: "push_vlan, 802.1ad",
    actions: "push_vlan(tpid=0x88a8,vid=7,pcp=0),2",
    frame: vlan,
    out2: [tagged(vlan, 7, 0x88a8)],
  },
  { name: "pop_vlan", actions: "pop_vlan,2", frame: vlan, out2: [udp] },
  {
    name: "pop_vlan of two tags",
    actions: "pop_vlan,2",
    frame: tagged(vlan, 9, 0x88a8),
    out2: [vlan],
  },
  { name: "pop_vlan without a tag", actions: "pop_vlan,2", frame: udp, out2: [udp] },
  {
    name: "output before and after a change",
    actions: "2,push_vlan(vid=5,pcp=3),3",
    frame: udp,
    out2: [udp],
    out3: [vlan],
  },
  {
    name: "set eth",
    actions: "set(eth(src=02:00:00:00:00:aa,dst=02:00:00:00:00:bb)),2",
    frame: udp,
    out2: [withMacs(udp, "02:00:00:00:00:aa", "02:00:00:00:00:bb")],
  },
  {
    name: "set_masked eth",
    actions: "set(eth(src=00:00:00:00:00:aa/00:00:00:00:00:ff)),2",
    frame: udp,
    out2: [withMacs(udp, "02:00:00:00:00:aa", dst)],
  },
  {
    name: "set ipv4 addresses of UDP",
    actions: "set(ipv4(src=192.168.1.1,dst=192.168.1.2)),2",
    frame: udp,
    out2: [udpFrame({ src: "192.168.1.1", dst: "192.168.1.2" })],
  },
  {
    name: "set ipv4 addresses of TCP",
    actions: "set(ipv4(src=192.168.1.1,dst=192.168.1.2)),2",
    frame: tcp,
    out2: [tcpFrame({ src: "192.168.1.1", dst: "192.168.1.2" })],
  },
  {
    name: "set ipv4 tos and ttl",
    actions: "set(ipv4(tos=0xb8,ttl=9)),2",
    frame: udp,
    out2: [udpFrame({ tos: 0xb8, ttl: 9 })],
  },
  {
    name: "set_masked ipv4 dst",
    actions: "set(ipv4(dst=0.0.9.0/0.0.255.0)),2",
    frame: udp,
    out2: [udpFrame({ dst: "10.0.9.2" })],
  },
  {
    name: "set ipv4 of UDP without checksum",
    actions: "set(ipv4(src=192.168.1.1)),2",
    frame: withoutSum,
    out2: [withIpv4(withoutSum, (header) => header.set(ip4("192.168.1.1"), 12))],
  },
  {
    name: "set ipv4 of a later fragment",
    actions: "set(ipv4(src=192.168.1.1)),2",
    frame: fragment,
    out2: [withIpv4(fragment, (header) => header.set(ip4("192.168.1.1"), 12))],
  },
  {
    name: "set udp ports",
    actions: "set(udp(src=53,dst=5353)),2",
    frame: udp,
    out2: [udpFrame({ srcPort: 53, dstPort: 5353 })],
  },
  {
    name: "set tcp ports",
    actions: "set(tcp(src=80,dst=8080)),2",
    frame: tcp,
    out2: [tcpFrame({ srcPort: 80, dstPort: 8080 })],
  },
  {
    name: "set ipv6 addresses of UDP",
    actions: "set(ipv6(src=fd00::a,dst=fd00::b)),2",
    frame: udp6,
    out2: [udpFrame({ version: 6, src: "fd00::a", dst: "fd00::b" })],
  },
  {
    name: "set ipv6 addresses of TCP",
    actions: "set(ipv6(src=fd00::a,dst=fd00::b)),2",
    frame: tcp6,
    out2: [tcpFrame({ version: 6, src: "fd00::a", dst: "fd00::b" })],
  },
  {
    name: "set ipv6 hlimit",
    actions: "set(ipv6(hlimit=3)),2",
    frame: ethernet(0x86dd, ipv6(59, new Uint8Array(30))),
    out2: [ethernet(0x86dd, ipv6(59, new Uint8Array(30), { hlimit: 3 }))],
  },
  {
    name: "set ipv6 label and tclass",
    actions: "set(ipv6(label=0x12345,tclass=0x20)),2",
    frame: ethernet(0x86dd, ipv6(59, new Uint8Array(30))),
    out2: [
      ethernet(0x86dd, ipv6(59, new Uint8Array(30), { label: 0x12345, tclass: 0x20 })),
    ],
  },
  {
    name: "set arp",
    actions: "set(arp(sip=10.0.0.9,tip=10.0.0.8,op=2)),2",
    frame: arpFrame(),
    out2: [arpFrame({ sip: "10.0.0.9", tip: "10.0.0.8", op: 2 })],
  },
  {
    name: "push_mpls and pop_mpls",
    actions:
      "push_mpls(label=100,tc=3,ttl=64,bos=1,eth_type=0x8847),2,pop_mpls(eth_type=0x800),3",
    frame: udp,
    out2: [bytes(udp.subarray(0, 12), "8847", "00064740", udp.subarray(14))],
    out3: [udp],
  },
  {
    name: "trunc",
    actions: "trunc(20),2,3",
    frame: udp,
    out2: [udp.subarray(0, 20)],
    out3: [udp],
  },
  {
    name: "trunc to more than there is",
    actions: "trunc(2000),2",
    frame: udp,
    out2: [udp],
  },
  {
    name: "clone keeps its changes to itself",
    actions: "clone(push_vlan(vid=5,pcp=3),2),3",
    frame: udp,
    out2: [vlan],
    out3: [udp],
  },
  {
    name: "sample always",
    actions: "sample(sample=100.0%,actions(push_vlan(vid=5,pcp=3),2)),3",
    frame: udp,
    out2: [vlan],
    out3: [udp],
  },
  {
    name: "sample never",
    actions: "sample(sample=0.0%,actions(2)),3",
    frame: udp,
    out3: [udp],
  },
  {
    name: "set skb_mark, priority and dp_hash change nothing on the wire",
    actions: "set(skb_mark(5)),set(skb_priority(6)),2",
    frame: udp,
    out2: [udp],
  },
  {
    name: "check_pkt_len",
    actions: "check_pkt_len(size=100,gt(3),le(2))",
    frame: udp,
    out2: [udp],
  },
];

function hex(frames: readonly Uint8Array[]): string[] {
  return frames.map((frame) => frame.toHex());
}

Deno.test(
  "actions: each does what it says, executed and in a flow",
  skippable(async (t) => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [inPort, second, third] = await bench.ports("p1", "p2", "p3");
    const check = async (item: Case): Promise<void> => {
      assert.deepEqual(hex(await bench.collect(second)), hex(item.out2 ?? []), "port 2");
      assert.deepEqual(hex(await bench.collect(third)), hex(item.out3 ?? []), "port 3");
      assert.deepEqual(hex(await bench.collect(inPort)), hex(item.out1 ?? []), "port 1");
    };
    const clear = async (): Promise<void> => {
      dp.flows.flush();
      for (const port of [inPort, second, third]) await bench.collect(port);
    };
    for (const item of cases) {
      await clear();
      await t.step(`${item.name}, executed`, async () => {
        dp.execute({ packet: item.frame, key: { inPort }, actions: item.actions });
        await check(item);
      });
      await clear();
      await t.step(`${item.name}, in a flow`, async () => {
        await using upcalls = dp.upcalls({ signal: patience() });
        bench.inject(inPort, item.frame);
        const { value } = await upcalls.next();
        assert.ok(value !== undefined);
        dp.flows.put({ key: value.key, actions: item.actions });
        bench.inject(inPort, item.frame);
        await check(item);
        assert.equal(dp.flows.delete({ key: value.key })?.packets, 1n);
      });
    }
  }),
);

Deno.test(
  "actions: hash and recirc, sample's share, userspace in the midst",
  skippable(async (t) => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [inPort, second] = await bench.ports("p1", "p2");

    await t.step(
      "hash gives packets of one connection one hash, and spreads others",
      async () => {
        await using upcalls = dp.upcalls({ signal: patience() });
        const hashes = new Map<number, number>();
        for (const srcPort of [1, 2, 3, 4, 1, 2, 3, 4]) {
          const packet = udpFrame({ srcPort });
          dp.execute({ packet, key: { inPort }, actions: "hash(l4(0)),recirc(7)" });
          const { key } = (await upcalls.next()).value ?? assert.fail("ended");
          assert.equal(key.recircId, 7);
          assert.ok(key.dpHash !== undefined && key.dpHash !== 0);
          assert.equal(hashes.get(srcPort) ?? key.dpHash, key.dpHash);
          hashes.set(srcPort, key.dpHash);
        }
        assert.ok(new Set(hashes.values()).size > 1, "four connections, one hash");
      },
    );

    await t.step("sample takes about its share", async () => {
      const count = 2000;
      for (let i = 0; i < count; i++) {
        dp.execute({
          packet: udp,
          key: { inPort },
          actions: "sample(sample=25.0%,actions(2))",
        });
      }
      // Five standard deviations to either side.
      const taken = (await bench.collect(second)).length;
      assert.ok(Math.abs(taken - count / 4) < 100, `${taken} of ${count}`);
    });

    await t.step(
      "userspace takes the packet as it is at that point, and the rest goes on",
      async () => {
        await using upcalls = dp.upcalls({ signal: patience() });
        const actions = "push_vlan(vid=5,pcp=3),userspace(pid=0,userdata(77)),pop_vlan,2";
        dp.execute({ packet: udp, key: { inPort }, actions });
        const upcall = (await upcalls.next()).value ?? assert.fail("ended");
        assert.equal(upcall.kind, "action");
        assert.equal(upcall.packet.toHex(), vlan.toHex());
        assert.equal(upcall.key.vlans?.[0]?.vid, 5);
        assert.deepEqual(upcall.userdata, Uint8Array.of(0x77));
        assert.deepEqual(hex(await bench.collect(second)), hex([udp]));
      },
    );

    await t.step("userspace may ask for the actions", async () => {
      await using upcalls = dp.upcalls({ signal: patience() });
      dp.execute({ packet: udp, key: { inPort }, actions: "userspace(pid=0,actions),2" });
      const upcall = (await upcalls.next()).value ?? assert.fail("ended");
      assert.equal(formatActions(upcall.actions ?? []), "userspace(pid=0,actions),2");
    });

    await t.step("trunc before userspace tells the length before", async () => {
      await using upcalls = dp.upcalls({ signal: patience() });
      dp.execute({ packet: udp, key: { inPort }, actions: "trunc(20),userspace(pid=0)" });
      const upcall = (await upcalls.next()).value ?? assert.fail("ended");
      assert.equal(upcall.packet.length, 20);
      assert.equal(upcall.originalLength, udp.length);
    });
  }),
);

Deno.test(
  "actions: what is set has right checksums, for every protocol",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const [inPort, second] = await bench.ports("p1", "p2");
    const v4 = "set(ipv4(src=172.16.5.4,dst=172.16.255.254,tos=0x10,ttl=2))";
    const v6 = "set(ipv6(src=fd00:1:2:3:4:5:6:7,dst=fd00::ffff,hlimit=7))";
    const ports = { udp: "set(udp(src=65535,dst=1))", tcp: "set(tcp(src=65535,dst=1))" };
    const packets: [Uint8Array, string][] = [
      [udp, `${v4},${ports.udp}`],
      [tcp, `${v4},${ports.tcp}`],
      [icmpFrame(), v4],
      [udp6, `${v6},${ports.udp}`],
      [tcp6, `${v6},${ports.tcp}`],
      [neighbourFrame(), v6],
    ];
    for (let size = 0; size < 40; size++) {
      const payload = randomBytes(random(size), size);
      packets.push([udpFrame({ payload }), `${v4},${ports.udp}`]);
      packets.push([tcpFrame({ payload, version: 6 }), `${v6},${ports.tcp}`]);
    }
    for (const [packet, actions] of packets) {
      bench.dp.execute({ packet, key: { inPort }, actions: `${actions},2` });
      const [frame, ...more] = await bench.collect(second);
      assert.deepEqual(more, []);
      assert.ok(frame !== undefined && frame.length === packet.length);
      const ip = frame.subarray(14);
      if (packet[12] === 8) assert.equal(checksum(ip.subarray(0, 20)), 0, "IPv4 header");
      assert.ok(
        transportChecksumIsRight(ip),
        `${actions} on ${packet.toHex()}: ${frame.toHex()}`,
      );
    }
  }),
);

Deno.test(
  "actions: what the datapath does not know is refused when a flow is put",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    for (
      const actions of [
        Uint8Array.fromHex("0800c80000000000"),
        Uint8Array.fromHex("04000100"),
      ]
    ) {
      assert.throws(
        () => dp.flows.put({ key: "in_port(1),eth(),eth_type(0x9000)", actions }),
        { code: "EINVAL" },
      );
    }
    assert.equal(dp.stats().flows, 0);
  }),
);
