// SPDX-License-Identifier: Apache-2.0
/**
 * FTP and TFTP.
 *
 * @module
 */
import assert from "node:assert/strict";
import { address, type Scenario, type Version, type World } from "./world.ts";

const server = (version: Version) => address(version, 2);

/** What a `ct` is given that commits, from either side. */
interface Pipeline {
  readonly version?: Version;
  readonly port?: number;
  /** Without a helper nothing that FTP announces comes through. */
  readonly helper?: "ftp" | "tftp";
  /** The translation of the control connection. */
  readonly nat?: string;
}

/** The client may begin FTP, and what that announces may begin from either side. */
function ftp(
  world: World,
  { version = 4, port = 21, helper, nat = "" }: Pipeline,
): void {
  const ip = version === 4 ? "ip" : "ip6";
  const translates = nat === "" ? "" : ",nat";
  const word = helper === undefined ? "" : `,helper=${helper}`;
  const given = nat === "" ? "" : `,nat(${nat})`;
  const l4 = helper === "tftp" ? `proto=17 udp(dst=${port})` : `proto=6 tcp(dst=${port})`;
  const ct = translates === "" ? "ct" : "ct(nat)";
  world.flows(`
    1 ${ip} -> ${ct},recirc(1)
    1 ${ip} r=1 -new-inv+trk -> 2
    1 ${ip} r=1 +new-rel-inv+trk ${l4} -> ct(commit${word}${given}),2
    1 ${ip} r=1 +new+rel-inv+trk -> ct(commit${translates}),2
    2 ${ip} -> ${ct},recirc(2)
    2 ${ip} r=2 -new-inv+trk -> 1
    2 ${ip} r=2 +new+rel-inv+trk -> ct(commit${translates}),recirc(3)
    2 ${ip} r=3 -inv+trk -> 1
  `);
}

interface Session {
  readonly version?: Version;
  readonly mode?: "active" | "passive" | "eprt" | "epsv";
  readonly to?: string;
  readonly times?: number;
  readonly port?: number;
}

async function fetch(world: World, { version = 4, to, ...rest }: Session): Promise<void> {
  await world.a.do("ftp", { to: to ?? server(version), ...rest });
}

/** Through the helper it works, and not without. */
async function plain(world: World, session: Session): Promise<void> {
  const { version = 4, mode = "passive" } = session;
  ftp(world, { version, helper: "ftp" });
  await fetch(world, session);
  world.one({ helper: "ftp", dstPort: 21 });
  world.reset();
  ftp(world, { version });
  await world.blocked("ftp", { version, mode, to: server(version) });
}

/** With the client's address translated: what FTP says must be, too. */
async function translated(world: World, session: Session, i = 109): Promise<void> {
  const { version = 4 } = session;
  ftp(world, { version, helper: "ftp", nat: `src=${address(version, i)}` });
  await fetch(world, session);
  world.one({ helper: "ftp", replyDst: address(version, i) });
}

/** With the server behind an address of others. */
async function hidden(world: World, session: Session, i = 64): Promise<void> {
  const { version = 4 } = session;
  ftp(world, { version, helper: "ftp", nat: `dst=${server(version)}` });
  await fetch(world, { ...session, to: address(version, i) });
  world.one({ helper: "ftp", replySrc: server(version) });
}

export const alg: readonly Scenario[] = [
  { name: "FTP", run: (world) => plain(world, { mode: "active" }) },
  { name: "FTP over IPv6", run: (world) => plain(world, { version: 6, mode: "active" }) },
  {
    name: "IPv6 FTP Passive",
    run: (world) => plain(world, { version: 6, mode: "passive" }),
  },
  {
    name: "FTP with multiple expectations",
    run: async (world) => {
      ftp(world, { helper: "ftp" });
      await fetch(world, { mode: "active", times: 6 });
      await fetch(world, { mode: "passive", times: 6 });
      await fetch(world, { mode: "epsv", times: 2 });
      await fetch(world, { mode: "eprt", times: 2 });
    },
  },
  {
    name: "FTP with expectation dump",
    async run(world) {
      ftp(world, { helper: "ftp" });
      await fetch(world, { mode: "active" });
      // A client that a busy machine held up has begun again: the one that announced is listed.
      const controls = world.found({ helper: "ftp", dstPort: 21 });
      const expected = [...world.conntrack.expectations?.() ?? []];
      assert.ok(expected.length > 0);
      for (const { parent, helper, tuple } of expected) {
        const control = controls.find(({ orig }) => orig.srcPort === parent.srcPort);
        assert.deepEqual([parent, helper], [control?.orig, "ftp"]);
        assert.deepEqual([tuple.src, tuple.dst], [parent.dst, parent.src]);
      }
    },
    not: { system: "the kernel's expectation ends with the connection that it lets in" },
  },
  {
    name: "FTP non-standard port",
    async run(world) {
      ftp(world, { helper: "ftp", port: 2121 });
      await fetch(world, { mode: "passive", port: 2121 });
      await fetch(world, { mode: "active", port: 2121 });
    },
    not: { system: "the kernel's helper is loaded for port 21 alone" },
  },
  {
    name: "TFTP",
    async run(world) {
      ftp(world, { helper: "tftp", port: 69 });
      await world.a.do("tftp", { to: server(4) });
      world.one({ helper: "tftp" });
      world.reset();
      world.flows(`
        1 ip -> ct(commit),2
        2 ip -> ct,recirc(2)
        2 ip r=2 -new-inv+trk -> 1
      `);
      await world.blocked("tftp");
    },
  },
  {
    // Six in Open vSwitch, by where the translation is: before the packet is looked up again, or
    // behind; and with addresses of the same length, or longer ones.
    name: "FTP $1",
    async run(world) {
      await translated(world, { mode: "active" }, 109);
      world.reset();
      await translated(world, { mode: "active", times: 3 }, 240);
      world.reset();
      const to = address(4, 240);
      world.flows(`
        1 ip proto=6 -> ct(commit,helper=ftp,nat(src=${to})),recirc(1)
        1 ip r=1 -inv+trk -> 2
        2 ip -> ct(nat),recirc(2)
        2 ip r=2 -new-inv+trk -> 1
        2 ip r=2 +new+rel-inv+trk -> ct(commit,nat),recirc(3)
        2 ip r=3 -inv+trk ct_tuple4(proto=6,tp_dst=21) -> 1
      `);
      await fetch(world, { mode: "active" });
    },
  },
  {
    name: "IPv4 FTP Passive with SNAT",
    run: (world) => translated(world, { mode: "passive", times: 2 }),
  },
  {
    name: "IPv4 FTP Passive with DNAT",
    run: (world) => hidden(world, { mode: "passive" }),
  },
  {
    // The address that the server says becomes one that is longer.
    name: "IPv4 FTP Passive with DNAT 2",
    run: (world) => hidden(world, { mode: "passive", times: 3 }, 200),
  },
  {
    name: "IPv4 FTP Active with DNAT",
    run: (world) => hidden(world, { mode: "active" }),
  },
  {
    name: "IPv4 FTP Active with DNAT with reverse skew",
    async run(world) {
      await hidden(world, { mode: "passive", times: 2 }, 201);
      await fetch(world, { mode: "active", times: 2, to: address(4, 201) });
    },
  },
  {
    name: "IPv6 FTP with SNAT",
    run: (world) => translated(world, { version: 6, mode: "active" }),
  },
  {
    name: "IPv6 FTP Passive with SNAT",
    run: (world) => translated(world, { version: 6, mode: "passive" }),
  },
  {
    name: "IPv6 FTP with SNAT - orig tuple",
    async run(world) {
      const to = address(6, 240);
      world.flows(`
        1 ip6 proto=6 -> ct(commit,helper=ftp,nat(src=${to})),recirc(1)
        1 ip6 r=1 -inv+trk -> 2
        2 ip6 -> ct(nat),recirc(2)
        2 ip6 r=2 -new-inv+trk -> 1
        2 ip6 r=2 +new+rel-inv+trk -> ct(commit,nat),recirc(3)
        2 ip6 r=3 -inv+trk ct_tuple6(proto=6,tp_dst=21) -> 1
      `);
      await fetch(world, { version: 6, mode: "active" });
    },
  },
  {
    name: "IPv4 TFTP with SNAT",
    async run(world) {
      ftp(world, { helper: "tftp", port: 69, nat: `src=${address(4, 109)}` });
      await world.a.do("tftp", { to: server(4) });
      world.one({ helper: "tftp", replyDst: address(4, 109) });
    },
  },
];
