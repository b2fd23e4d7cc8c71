// SPDX-License-Identifier: Apache-2.0
/**
 * ICMP errors about connections.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ethernet, icmpFrame, ipv4, udpFrame } from "../../support/frames.ts";
import { snat } from "./nat.ts";
import { address, type Scenario, type Version, type World } from "./world.ts";

/** A port that nobody listens on: the host says so, and the client hears of it. */
const closed = 9;

async function refused(world: World, version: Version): Promise<void> {
  const to = address(version, 2);
  const { error } = await world.a.try("udp", { to, port: closed });
  assert.match(error ?? "an answer", /refused/i);
}

/** Only errors come in. */
function related(world: World, out: string, back: string, version: Version = 4): void {
  const ip = version === 4 ? "ip" : "ip6";
  world.flows(`
    1 ${ip} -> ${out},recirc(1)
    1 ${ip} r=1 -inv+trk -> 2
    2 ${ip} -> ${back},recirc(2)
    2 ${ip} r=2 +rel+rpl-new-est-inv+trk -> 1
  `);
}

/** "Unreachable", said by somebody about a packet. */
function unreachable(
  world: World,
  about: Uint8Array,
  { src, dst }: { src: string; dst: string },
): Uint8Array<ArrayBuffer> {
  const whole = icmpFrame({ src, dst, payload: about.slice(14) });
  // Type and code in place of those of an echo request, and the checksum anew.
  const message = whole.slice(34);
  message.set([3, 1, 0, 0, 0, 0, 0, 0]);
  let sum = 0;
  for (let i = 0; i < message.length; i += 2) {
    sum += (message[i] ?? 0) << 8 | (message[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  message.set([~sum >> 8 & 0xff, ~sum & 0xff], 2);
  const { a, b } = world;
  return ethernet(0x0800, ipv4(1, message, { src, dst }), {
    src: b.host.mac,
    dst: a.host.mac,
  });
}

function udpPacket(
  world: World,
  fields: { src: string; dst: string; srcPort: number; dstPort: number },
  from: "a" | "b",
): Uint8Array<ArrayBuffer> {
  const packet = udpFrame(fields).slice(14);
  const [own, other] = from === "a" ? [world.a, world.b] : [world.b, world.a];
  return ethernet(0x0800, packet, { src: own.host.mac, dst: other.host.mac });
}

/** An error from a router that is neither end, about a translated packet. */
async function fromElsewhere(world: World): Promise<void> {
  const outside = address(4, 109);
  snat(world, outside);
  const sent = udpPacket(
    world,
    { src: address(4, 1), dst: address(4, 2), srcPort: 4001, dstPort: 7777 },
    "a",
  );
  const passed = Uint8Array.fromHex(await world.send(sent, "^.{46}11"));
  const error = unreachable(world, passed, { src: "172.16.0.1", dst: outside });
  const arrived = await world.send(error, "^.{46}01ac100001", world.b)
    .catch(() => world.send(error, "^.{46}01.{4}ac100001", world.b));
  // What is inside is the packet that a sent.
  assert.equal(arrived.slice(84 + 24, 84 + 32), sent.toHex().slice(52, 60));
  assert.equal(arrived.slice(60, 68), sent.toHex().slice(52, 60));
}

export const errors: readonly Scenario[] = [
  {
    name: "ICMP related",
    async run(world) {
      related(world, "ct(commit)", "ct");
      await refused(world, 4);
    },
  },
  {
    name: "ICMP related to original direction",
    async run(world) {
      world.flows(`
        1 ip -> ct(commit),recirc(1)
        1 ip r=1 +new-inv+trk -> 2
        1 ip r=1 -new+est-inv+trk -> 2
        1 ip r=1 +rel-rpl-inv+trk -> 2
        2 ip -> ct,recirc(2)
        2 ip r=2 +est+trk -> 1
      `);
      const ends = { src: address(4, 1), dst: address(4, 2) };
      const { a } = world;
      // The answer finds nobody at a, which says so.
      await a.do("send", {
        frames: [udpPacket(world, { ...ends, srcPort: 4001, dstPort: 53 }, "a").toHex()],
      });
      await world.hit("1 ip r=1 +rel-rpl-inv+trk");
    },
  },
  {
    name: "ICMP related 2",
    async run(world) {
      related(world, "ct(commit)", "ct");
      const ends = { src: address(4, 1), dst: address(4, 2) };
      const sent = udpPacket(world, { ...ends, srcPort: 4001, dstPort: 7777 }, "a");
      await world.send(sent, "^.{46}11");
      const about = (packet: Uint8Array) =>
        unreachable(world, packet, { src: address(4, 2), dst: address(4, 1) });
      await world.send(about(sent), "^.{46}01.{20}0301", world.b);
      // About a packet that nobody sent.
      const other = udpPacket(world, { ...ends, srcPort: 4002, dstPort: 7777 }, "a");
      await world.a.do("watch", {});
      await world.b.do("send", { frames: [about(other).toHex()] });
      const { frames } = await world.a.do("seen", {
        pattern: "^.{46}01.{20}0301",
        limit: 0.3,
      });
      assert.deepEqual(frames, []);
    },
  },
  {
    name: "ICMP related with NAT",
    async run(world) {
      related(world, `ct(commit,nat(src=${address(4, 109)}))`, "ct(nat)");
      await refused(world, 4);
    },
  },
  {
    name: "ICMP related with SNAT",
    async run(world) {
      related(world, `ct(commit,nat(src=${address(4, 109)}))`, "ct(nat)");
      await refused(world, 4);
      world.one({ proto: 17, replyDst: address(4, 109) });
    },
  },
  {
    name: "IPv6 ICMP6 Related with SNAT",
    async run(world) {
      related(world, `ct(commit,nat(src=${address(6, 109)}))`, "ct(nat)", 6);
      await refused(world, 6);
    },
  },
  {
    name: "ICMP related NAT with single port",
    async run(world) {
      related(world, `ct(commit,nat(src=${address(4, 109)}:34567))`, "ct(nat)");
      await refused(world, 4);
    },
  },
  {
    name: "ICMPv6 related NAT with single port",
    async run(world) {
      related(world, `ct(commit,nat(src=[${address(6, 109)}]:34567))`, "ct(nat)", 6);
      await refused(world, 6);
    },
  },
  { name: "ICMP from different source related with NAT", run: fromElsewhere },
];
