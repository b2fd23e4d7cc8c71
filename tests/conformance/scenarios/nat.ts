// SPDX-License-Identifier: Apache-2.0
/**
 * Translation of addresses and ports.
 *
 * @module
 */
import assert from "node:assert/strict";
import { run } from "../../support/command.ts";
import { ping } from "../../support/netns.ts";
import { firewall } from "./basic.ts";
import { address, type Scenario, type Version, type World } from "./world.ts";

const outside = address(4, 109);
const service = address(4, 64);

const family = (version: Version) => version === 4 ? "ip" as const : "ip6" as const;

/** Clients go out with another address. */
export function snat(world: World, to: string, version: Version = 4, more = ""): void {
  firewall(world, {
    ip: family(version),
    out: `ct(commit,nat(src=${to})${more})`,
    back: "ct(nat)",
  });
}

/** A service's address leads to host b. */
export function dnat(world: World, to: string, version: Version = 4, more = ""): void {
  firewall(world, {
    ip: family(version),
    out: `ct(commit,nat(dst=${to})${more})`,
    back: "ct(nat)",
  });
}

async function simpleSnat(world: World, version: Version): Promise<void> {
  const seen = address(version, 109);
  snat(world, seen, version);
  const { host, echo } = await world.tcp({ version, text: "a longer text ".repeat(300) });
  assert.equal(host, seen);
  assert.equal(echo?.length, 14 * 300);
  assert.equal((await world.udp({ version })).host, seen);
  world.one({ proto: 6, replyDst: seen });
}

async function simpleDnat(world: World, version: Version): Promise<void> {
  const asked = address(version, 64);
  dnat(world, address(version, 2), version);
  const { server } = await world.tcp({ version, to: asked });
  assert.equal(server, address(version, 2));
  assert.equal(world.one({ proto: 6 }).orig.dst, asked);
}

/** Connections go to one of two addresses, by their hash, and stay there. */
async function balanced(world: World): Promise<void> {
  world.flows(`
    1 ip -> ct(nat),recirc(1)
    1 ip r=1 -new-inv+trk -> 2
    1 ip r=1 +new-inv+trk -> hash(l4(0)),recirc(2)
    1 ip r=2 dp_hash(0/0x1) -> ct(commit,nat(dst=${address(4, 200)})),2
    1 ip r=2 dp_hash(0x1/0x1) -> ct(commit,nat(dst=${address(4, 201)})),2
    2 ip -> ct(nat),recirc(3)
    2 ip r=3 -new-inv+trk -> 1
  `);
  // Host b has these addresses, too.
  const extra = [200, 201].map((i) => address(4, i));
  const change = (verb: string) =>
    Promise.all(
      extra.map((own) =>
        run("ip", "-n", world.b.host.namespace, "addr", verb, `${own}/32`, "dev", "eth0")
      ),
    );
  await change("add");
  try {
    const seen = new Set<string>();
    for (let i = 0; i < 30; i++) {
      const { server = "" } = await world.tcp({ to: service });
      assert.ok(extra.includes(server), server);
      seen.add(server);
    }
    assert.equal(seen.size, 2, "both are used");
  } finally {
    await change("del");
  }
}

export const nat: readonly Scenario[] = [
  { name: "simple SNAT", run: (world) => simpleSnat(world, 4) },
  {
    name: "SNAT with ct_mark change on reply",
    async run(world) {
      world.flows(`
        1 ip -> ct(commit,nat(src=${outside})),recirc(1)
        1 ip r=1 -inv+trk -> 2
        2 ip -> ct(nat),recirc(2)
        2 ip r=2 +est+trk mark=0 -> ct(commit,mark=0x7),1
        2 ip r=2 +est+trk mark=0x7 -> 1
      `);
      await world.tcp();
      assert.equal(world.one({ proto: 6 }).mark, 7);
      await world.hit("2 ip r=2 +est+trk mark=0x7");
    },
  },
  {
    name: "SNAT with port range",
    async run(world) {
      snat(world, `${address(4, 100)}-${address(4, 102)}:34567-34568`);
      for (let i = 0; i < 4; i++) {
        const { host = "", port } = await world.tcp();
        assert.ok([100, 101, 102].some((i) => host === address(4, i)), host);
        assert.ok(port === 34567 || port === 34568, `${port}`);
        world.conntrack.flush();
      }
    },
  },
  {
    name: "SNAT with port range using ICMP",
    async run(world) {
      snat(world, `${outside}:34567`);
      await ping(world.a.host, address(4, 2), 3);
      world.one({ proto: 1, replyDst: outside });
    },
  },
  {
    name: "SNAT with port range with exhaustion",
    async run(world) {
      snat(world, `${outside}:34568`);
      assert.equal((await world.udp({ source: 4001 })).port, 34568);
      // Nothing is left: the kernel drops the packet, Open vSwitch's userspace passes it
      // untranslated.
      await world.a.try("udp", { to: address(4, 2), port: 53, source: 4002, limit: 0.3 });
      assert.equal(world.found({ proto: 17, replyDst: outside }).length, 1);
      assert.equal((await world.udp({ source: 4001 })).port, 34568);
    },
  },
  {
    name: "SNAT with icmp_id",
    async run(world) {
      snat(world, outside);
      await ping(world.a.host, address(4, 2), 2);
      await ping(world.a.host, address(4, 2), 2);
      const all = world.found({ proto: 1, replyDst: outside });
      assert.equal(new Set(all.map(({ reply }) => reply.icmpId)).size, all.length);
    },
  },
  {
    name: "more complex SNAT",
    async run(world) {
      world.flows(`
        1 ip -> ct(nat),recirc(1)
        1 ip r=1 +new-inv+trk -> ct(commit,nat(src=${outside})),2
        1 ip r=1 -new+est-inv+trk -> 2
        2 ip dst=${outside} -> ct(nat),recirc(2)
        2 ip r=2 -new+est-inv+trk dst=${address(4, 1)} -> 1
      `);
      assert.equal((await world.tcp()).host, outside);
      await world.blocked("tcp", { from: world.b, to: outside });
    },
  },
  {
    name: "all-zero IP SNAT",
    async run(world) {
      snat(world, "0.0.0.0");
      const { host } = await world.tcp();
      assert.equal(host, address(4, 1));
    },
    not: { system: "Linux 6.1 writes 0.0.0.0 into the packet: it has no such feature" },
  },
  { name: "simple DNAT", run: (world) => simpleDnat(world, 4) },
  {
    name: "DNAT with additional SNAT",
    needs: "zones",
    async run(world) {
      world.flows(`
        1 ip -> ct(commit,zone=1,nat(dst=${address(4, 2)}:8080)),recirc(1)
        1 ip r=1 -inv+trk -> ct(commit,zone=2,nat(src=${outside})),recirc(2)
        1 ip r=2 -inv+trk -> 2
        2 ip -> ct(zone=2,nat),recirc(3)
        2 ip r=3 +est+trk -> ct(zone=1,nat),recirc(4)
        2 ip r=4 +est+trk -> 1
      `);
      const { host, server } = await world.tcp({ to: service });
      assert.equal(host, outside);
      assert.equal(server, address(4, 2));
      assert.equal(world.one({ zone: 1 }).reply.srcPort, 8080);
    },
  },
  {
    name: "more complex DNAT",
    async run(world) {
      world.flows(`
        1 ip dst=${service} -> ct(nat),recirc(1)
        1 ip r=1 +new-inv+trk -> ct(commit,nat(dst=${address(4, 2)})),2
        1 ip r=1 -new+est-inv+trk dst=${address(4, 2)} -> 2
        2 ip -> ct(nat),recirc(2)
        2 ip r=2 -new+est-inv+trk src=${service} -> 1
      `);
      await world.tcp({ to: service });
      await world.blocked("tcp"); // Not by its own address.
    },
  },
  { name: "IPv6 HTTP with SNAT", run: (world) => simpleSnat(world, 6) },
  { name: "IPv6 HTTP with DNAT", run: (world) => simpleDnat(world, 6) },
  {
    name: "DNAT load balancing",
    run: (world) => balanced(world),
  },
  {
    name: "DNAT load balancing with NC",
    async run(world) {
      dnat(world, `${address(4, 2)}:8080`);
      const seen = new Set<number>();
      for (let i = 0; i < 12; i++) {
        const { server, local = 0 } = await world.tcp({ to: service });
        assert.equal(server, address(4, 2));
        seen.add(local);
      }
      assert.equal(seen.size, 12);
      assert.equal(world.found({ proto: 6, replySrc: address(4, 2) }).length, 12);
    },
  },
  {
    name: "floating IP",
    async run(world) {
      // Each side knows the other by an address that nobody has.
      world.flows(`
        1 ip dst=${service} -> ct(commit,nat(dst=${address(4, 2)})),recirc(1)
        1 ip r=1 -inv+trk -> 2
        1 ip src=${address(4, 1)},dst=${address(4, 2)} -> ct(nat),recirc(2)
        1 ip r=2 +est+trk -> 2
        2 ip dst=${outside} -> ct(commit,nat(dst=${address(4, 1)})),recirc(3)
        2 ip r=3 -inv+trk -> 1
        2 ip dst=${address(4, 1)} -> ct(nat),recirc(4)
        2 ip r=4 +est+trk -> 1
      `);
      assert.equal((await world.tcp({ to: service })).server, address(4, 2));
      const { server } = await world.tcp({ from: world.b, to: outside });
      assert.equal(server, address(4, 1));
      await world.blocked("tcp");
    },
  },
  {
    name: "Flush many conntrack entries by port",
    async run(world) {
      firewall(world);
      for (let source = 4001; source < 4013; source++) await world.udp({ source });
      await world.udp({ source: 4020, port: 7000 });
      const asked = world.found({ dstPort: 53 });
      assert.equal(asked.length, 12);
      for (const { orig } of asked) world.conntrack.flush({ tuple: orig });
      assert.equal(world.found({ dstPort: 53 }).length, 0);
      assert.equal(world.found({ dstPort: 7000 }).length, 1);
    },
  },
];
