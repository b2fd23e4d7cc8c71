// SPDX-License-Identifier: Apache-2.0
/**
 * States, zones, marks and labels.
 *
 * @module
 */
import assert from "node:assert/strict";
import { DatapathError } from "../../../providers/errors.ts";
import { ethernet, ipv4 } from "../../support/frames.ts";
import { ping } from "../../support/netns.ts";
import { until } from "../../support/wait.ts";
import { address, keyOf, type Scenario, type Version, type World } from "./world.ts";

/** Connections begin at port 1: what goes out is committed, what comes back must belong to it. */
export function firewall(
  world: World,
  { ip = "ip", out = "ct(commit)", back = "ct", known = "-new-inv+trk" }: {
    readonly ip?: "ip" | "ip6";
    readonly out?: string;
    readonly back?: string;
    readonly known?: string;
  } = {},
): void {
  world.flows(`
    1 ${ip} -> ${out},recirc(1)
    1 ${ip} r=1 -inv+trk -> 2
    2 ${ip} -> ${back},recirc(2)
    2 ${ip} r=2 ${known} -> 1
  `);
}

async function web(world: World, version: Version): Promise<void> {
  firewall(world, { ip: version === 4 ? "ip" : "ip6" });
  const { host, echo } = await world.tcp({ version });
  assert.equal(host, address(version, 1));
  assert.equal(echo, "hello");
  await world.blocked("tcp", { from: world.b, version });
  assert.equal(world.one({ proto: 6 }).orig.dst, address(version, 2));
}

/** Two zones of `numbers`, one for TCP and one for UDP, neither of which knows the other's. */
async function inZones(world: World, numbers: readonly [number, number]): Promise<void> {
  const [tcp, udp] = numbers;
  world.flows(`
    1 ip proto=6 -> ct(commit,zone=${tcp}),2
    1 ip proto=17 -> ct(commit,zone=${udp}),2
    2 ip proto=6 -> ct(zone=${tcp}),recirc(1)
    2 ip proto=17 -> ct(zone=${tcp}),recirc(1)
    2 ip r=1 +est+trk zone=${tcp} -> 1
  `);
  await world.tcp();
  await world.blocked("udp"); // Its connection is in the other zone.
  assert.equal(world.found({ zone: tcp }).length, 1);
  assert.equal(world.one({ zone: udp }).orig.proto, 17);
  assert.equal([...world.conntrack.dump({ zone: udp as never })].length, 1);
}

/** What the answers' flow asks of the mark that the way out gave. */
async function marked(
  world: World,
  { out, known, mark }: { out: string; known: string; mark: number },
): Promise<void> {
  firewall(world, { out, known });
  await world.tcp();
  assert.equal(world.one({ proto: 6 }).mark, mark);
}

export const basic: readonly Scenario[] = [
  {
    name: "controller",
    async run(world) {
      world.flows("1 ip -> ct(commit),2\n2 ip -> ct,recirc(1)");
      await using upcalls = world.dp.upcalls();
      const asked = world.a.try("udp", { to: address(4, 2), port: 53, limit: 0.5 });
      for await (const { key } of upcalls) {
        if (key.recircId !== 1) continue;
        assert.equal(key.ctState, 0x2a);
        assert.equal(key.ipv4?.src, address(4, 2));
        break;
      }
      await asked;
    },
  },
  {
    name: "force commit",
    async run(world) {
      world.flows("1 ip -> ct(commit,mark=0x1),2\n2 ip -> ct(force_commit,mark=0x2),1");
      await world.udp();
      const { orig } = world.one({ mark: 2 });
      assert.equal(orig.src, address(4, 2));
      assert.equal(world.found({ mark: 1 }).length, 0);
    },
  },
  {
    name: "ct flush",
    async run(world) {
      firewall(world);
      await world.udp();
      await world.tcp();
      const { orig } = world.one({ proto: 17 });
      world.conntrack.flush({ tuple: orig });
      assert.equal(world.found({ proto: 17 }).length, 0);
      assert.equal(world.found({ proto: 6 }).length, 1);
      assert.throws(() => world.conntrack.flush({ tuple: orig }), /ENOENT/);
      world.conntrack.flush({ zone: 0 as never });
      assert.equal([...world.conntrack.dump()].length, 0);
    },
  },
  {
    name: "IPv4 ping",
    async run(world) {
      firewall(world);
      await ping(world.a.host, address(4, 2), 3);
      assert.equal(world.one({ proto: 1 }).orig.icmpType, 8);
    },
  },
  {
    name: "get_nconns and get/set_maxconns",
    not: { system: "the kernel's table has no maximum that a datapath sets" },
    async run(world) {
      const { maxConnections, count } = world.conntrack;
      assert.ok(maxConnections && count);
      firewall(world);
      await world.udp({ source: 4001 });
      assert.equal(world.conntrack.count?.(), 1);
      const before = maxConnections.get();
      assert.equal(before, 3_000_000);
      maxConnections.set(1);
      try {
        await world.blocked("udp", { source: 4002 });
        assert.equal(world.conntrack.count?.(), 1);
        await world.udp({ source: 4001 });
      } finally {
        maxConnections.set(before);
      }
    },
  },
  {
    name: "IPv6 ping",
    async run(world) {
      firewall(world, { ip: "ip6" });
      await ping(world.a.host, address(6, 2), 3);
      assert.equal(world.one({ proto: 58 }).orig.icmpType, 128);
    },
  },
  {
    // Registers are OpenFlow's; what a datapath keeps for them is the packet's mark.
    name: "preserve registers",
    async run(world) {
      world.flows(`
        1 ip -> set(skb_mark(0x5)),ct(commit),recirc(1)
        1 ip r=1 -inv+trk skb_mark(0x5) -> 2
        2 ip -> set(skb_mark(0x6)),ct,recirc(2)
        2 ip r=2 +est+trk skb_mark(0x6) -> 1
      `);
      await world.tcp();
    },
  },
  {
    name: "invalid",
    async run(world) {
      world.flows(`
        1 ip -> 2
        2 ip -> ct,recirc(1)
        2 ip r=1 -inv+trk -> 1
        2 ip r=1 +inv+trk -> drop
      `);
      await world.blocked("tcp");
      await world.hit("2 ip r=1 +inv+trk");
    },
  },
  { name: "zones", needs: "zones", run: (world) => inZones(world, [1, 2]) },
  // To a datapath a zone is a number; from which field it came is OpenFlow's.
  {
    name: "zones from field",
    needs: "zones",
    run: (world) => inZones(world, [0x1001, 0x1002]),
  },
  {
    name: "zones from other field",
    needs: "zones",
    run: (world) => inZones(world, [0xffff, 1]),
  },
  {
    name: "zones from other field, more tests",
    needs: "zones",
    run: (world) => inZones(world, [0x100, 0x200]),
  },
  {
    name: "multiple zones",
    needs: "zones",
    async run(world) {
      firewall(world, {
        out: "ct(commit,zone=1),ct(commit,zone=2)",
        back: "ct(zone=1)",
      });
      await world.tcp();
      assert.equal(world.found({ zone: 1 }).length, 1);
      assert.equal(world.found({ zone: 2 }).length, 1);
      // The close goes on after the client has ended.
      await until("both sides to have ended", () => {
        const { tcp } = world.one({ zone: 1 });
        return tcp?.orig === tcp?.reply;
      });
      assert.equal(world.one({ zone: 2 }).tcp?.reply === "ESTABLISHED", false);
    },
  },
  {
    name: "ct_mark",
    run: (world) =>
      marked(world, { out: "ct(commit,mark=0x1)", known: "+est+trk mark=0x1", mark: 1 }),
  },
  {
    name: "ct_mark bit-fiddling",
    run: (world) =>
      marked(world, {
        out: "ct(commit,mark=0x3/0x3),ct(commit,mark=0x40000000/0x40000000)",
        known: "+est+trk mark=0x2/0x2",
        mark: 0x40000003,
      }),
  },
  {
    // Where a mark came from is OpenFlow's.
    name: "ct_mark from register",
    run: (world) =>
      marked(world, {
        out: "ct(commit,mark=0xfedcba98)",
        known: "+est+trk mark=0xfedcba98",
        mark: 0xfedcba98,
      }),
  },
  {
    name: "ct_label",
    async run(world) {
      const label = "0xa000d000005000001";
      firewall(world, {
        out: `ct(commit,label=${label})`,
        known: `+est+trk label=${label}`,
      });
      await world.tcp();
      assert.equal(world.one({ proto: 6 }).labels, BigInt(label));
    },
  },
  {
    name: "ct_label bit-fiddling",
    async run(world) {
      firewall(world, {
        out:
          "ct(commit,label=0x1/0x1),ct(commit,label=0x20000000000000000/0x20000000000000000)",
        known: "+est+trk label=0x20000000000000000/0x20000000000000000",
      });
      await world.tcp();
      assert.equal(world.one({ proto: 6 }).labels, 0x20000000000000001n);
    },
  },
  {
    name: "ct metadata, multiple zones",
    needs: "zones",
    async run(world) {
      world.flows(`
        1 ip -> ct(commit,zone=1,mark=0x1),ct(commit,zone=2,label=0x4),2
        2 ip -> ct(zone=1),recirc(1)
        2 ip r=1 zone=1 mark=0x1 +est+trk -> ct(zone=2),recirc(2)
        2 ip r=2 zone=2 mark=0 label=0x4 +est+trk -> 1
      `);
      await world.udp();
    },
  },
  {
    name: "new connections",
    async run(world) {
      world.flows(`
        1 ip -> ct,recirc(1)
        1 ip r=1 +new-est+trk -> ct(commit),2
        1 ip r=1 -new+est+trk -> 2
        2 ip -> ct,recirc(2)
        2 ip r=2 -new+est+trk -> 1
        2 ip r=2 +new+trk -> drop
      `);
      await world.tcp();
      await world.blocked("udp", { from: world.b });
      await world.hit("2 ip r=2 +new+trk");
    },
  },
  {
    name: "generic IP protocol",
    async run(world) {
      firewall(world);
      const { a, b } = world;
      const packet = (from: 1 | 2) =>
        ethernet(
          0x0800,
          ipv4(253, new Uint8Array([1, 2, 3, 4]), {
            src: address(4, from),
            dst: address(4, 3 - from),
          }),
          { src: (from === 1 ? a : b).host.mac, dst: (from === 1 ? b : a).host.mac },
        );
      await world.send(packet(1), "^.{46}fd.*01020304");
      await world.send(packet(2), "^.{46}fd.*01020304", b);
      assert.equal(world.one({ proto: 253 }).orig.src, address(4, 1));
    },
  },
  {
    name: "resubmit to ct multiple times",
    async run(world) {
      world.flows(`
        1 ip -> ct,recirc(1)
        1 ip r=1 -inv+trk -> ct,recirc(2)
        1 ip r=2 -inv+trk -> ct(commit),2
        2 ip -> ct,recirc(3)
        2 ip r=3 -inv+trk -> ct,recirc(4)
        2 ip r=4 +est+trk -> 1
      `);
      await ping(world.a.host, address(4, 2), 3);
    },
  },
  { name: "IPv4 HTTP", run: (world) => web(world, 4) },
  { name: "IPv6 HTTP", run: (world) => web(world, 6) },
  {
    name: "commit, recirc",
    async run(world) {
      firewall(world, { out: "ct(commit),ct", back: "ct,ct" });
      world.dp.flows.delete({ key: keyOf("1 ip r=1 -inv+trk") });
      world.flows("1 ip r=1 -inv+trk -> ct(commit),recirc(5)\n1 ip r=5 -inv+trk -> 2");
      await world.tcp();
      assert.equal(world.found({ proto: 6 }).length, 1);
    },
  },
  {
    name: "limit by zone",
    needs: "zones",
    async run(world) {
      const { limits } = world.conntrack;
      assert.ok(limits);
      limits.set([{ zone: 7 as never, limit: 2 }]);
      try {
        firewall(world, { out: "ct(commit,zone=7)", back: "ct(zone=7)" });
        for (const source of [4001, 4002]) await world.udp({ source });
        await world.blocked("udp", { source: 4003 });
        assert.equal(world.found({ zone: 7 }).length, 2);
        assert.equal(limits.get([7 as never]).find(({ zone }) => zone === 7)?.count, 2);
      } finally {
        limits.delete([7 as never]);
      }
    },
  },
  {
    name: "zone-based timeout policy",
    async run(world) {
      const { timeoutPolicies } = world.conntrack;
      assert.ok(timeoutPolicies);
      const id = 3;
      timeoutPolicies.set({
        id,
        timeouts: { udpFirst: 1, udpSingle: 1, udpMultiple: 1 },
      });
      try {
        const { name } = timeoutPolicies.name(id, 0x0800, 17);
        // The kernel wants to know the protocol when the flow is put.
        world.flows(`
          1 ip proto=17 -> ct(commit,timeout=${name}),2
          2 ip -> ct,recirc(2)
          2 ip r=2 -new-inv+trk -> 1
        `);
        await world.udp();
        const { timeout = 99 } = world.one({ proto: 17 });
        assert.ok(timeout <= 1, `${timeout} s with ${name}`);
        await until("it to be over", () => world.found({ proto: 17 }).length === 0);
        world.reset();
      } finally {
        world.reset();
        // The kernel lets go of connections a little later.
        await until("the policy to be free", () => {
          try {
            timeoutPolicies.delete(id);
            return true;
          } catch (error) {
            if (error instanceof DatapathError && error.code === "EBUSY") return false;
            throw error;
          }
        });
      }
    },
  },
  {
    name: "negative test for recirculation optimization",
    async run(world) {
      // The second ct looks again: actions between have changed what the first found.
      world.flows(`
        1 ip -> ct(commit),set(ipv4(ttl=9)),ct,recirc(1)
        1 ip r=1 -inv+trk ttl=9 -> 2
        2 ip -> ct,recirc(2)
        2 ip r=2 +est+trk -> 1
      `);
      await world.tcp();
    },
  },
  {
    name: "Multiple ICMP traverse",
    async run(world) {
      world.flows(`
        1 ip -> ct(commit),recirc(1)
        1 ip r=1 -inv+trk -> ct_clear,ct,recirc(2)
        1 ip r=2 -inv+trk -> 2
        2 ip -> ct,recirc(3)
        2 ip r=3 +est+trk -> ct_clear,ct,recirc(4)
        2 ip r=4 +est+trk -> 1
      `);
      await ping(world.a.host, address(4, 2), 3);
      assert.equal(world.found({ proto: 1 }).length, 1);
    },
  },
  {
    name: "can match and clear ct_state from outside OVS",
    async run(world) {
      world.flows(`
        1 ip -> ct(commit),recirc(1)
        1 ip r=1 +trk -> ct_clear,recirc(2)
        1 ip r=2 -trk -> 2
        2 ip -> 1
      `);
      await ping(world.a.host, address(4, 2), 2);
    },
  },
];
