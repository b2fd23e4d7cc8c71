// SPDX-License-Identifier: Apache-2.0
/** Mirrors and bonds of the database: real packets through ports in memory, and what is told. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import type { Daemon } from "../../vswitch/daemon.ts";
import { daemonCommands } from "../../vswitch/commands/commands.ts";
import { DaemonLog } from "../../vswitch/log.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";
import { lab, ofctl } from "./lab.ts";
import type { Server } from "./server.ts";

/** A frame of `size` bytes, between addresses 02:00:00:00:00:NN. */
function frame(from: number, to: number, vid?: number, size = 64): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes.set(to > 0xff ? [255, 255, 255, 255, 255, 255] : [2, 0, 0, 0, 0, to]);
  bytes.set([2, 0, 0, 0, 0, from], 6);
  bytes.set(
    vid === undefined ? [0x12, 0x34] : [0x81, 0, vid >> 8, vid & 255, 0x12, 0x34],
    12,
  );
  return bytes;
}

function dpOf(daemon: Daemon): Datapath {
  const [backing] = daemon.datapaths.all();
  ok(backing);
  return backing.dp;
}

/** Frames that left a port since it was asked last. */
function left(dp: Datapath, name: string): Uint8Array[] {
  const no = dp.ports.get(name)?.no;
  ok(no !== undefined, name);
  const found: Uint8Array[] = [];
  for (let one = dp.ports.collect?.(no); one; one = dp.ports.collect?.(no)) {
    found.push(one);
  }
  return found;
}

/** Sends frames into a port, and answers how many bytes each of some ports got of each. */
async function sent(
  daemon: Daemon,
  from: string,
  frames: readonly Uint8Array[],
  at: Readonly<Record<string, number>>,
): Promise<Record<string, number[]>> {
  const dp = dpOf(daemon);
  const no = dp.ports.get(from)?.no;
  ok(no !== undefined);
  const got = Object.fromEntries(Object.keys(at).map((name) => [name, [] as number[]]));
  for (const one of frames) dp.ports.inject?.(no, one);
  const look = (): boolean => {
    for (const [name, sizes] of Object.entries(got)) {
      sizes.push(...left(dp, name).map(({ length }) => length));
    }
    return Object.entries(at).every(([name, count]) => (got[name]?.length ?? 0) >= count);
  };
  await until(`frames ${JSON.stringify(at)}`, look);
  // What comes beyond that would come now.
  await new Promise((resolve) => setTimeout(resolve, 50));
  look();
  return got;
}

/** A bridge with ports in memory, whose database goes on with some words. */
async function bridge(server: Server, names: readonly string[], ...more: string[]) {
  await server.vs("add-br", "br0", "--", "set", "bridge", "br0", "fail-mode=secure");
  await server.vs(
    ...names.flatMap((name, i) => [
      ...["--", "add-port", "br0", name, "--", "set", "interface", name, "type=dummy"],
      `ofport_request=${i + 1}`,
    ]),
    ...more,
  );
}

/** Says a command to a daemon. */
async function tell(daemon: Daemon, name: string, ...args: string[]): Promise<string> {
  const commands = daemonCommands({ daemon, log: new DaemonLog(), exit: () => {} });
  return await commands.get(name)?.run(args, new AbortController().signal as never) ?? "";
}

Deno.test(
  "mirrors: a port has copies of what comes, cut, and nothing else; the database is told",
  skippable(() =>
    lab(async (server, daemon) => {
      await bridge(server, ["p1", "p2", "p3"]);
      await server.vs(
        ...["--", "--id=@p1", "get", "port", "p1", "--", "--id=@p3", "get", "port", "p3"],
        ...["--", "--id=@m", "create", "mirror", "name=m", "select_src_port=@p1"],
        ...["output_port=@p3", "snaplen=40", "--", "set", "bridge", "br0", "mirrors=@m"],
      );
      await ofctl(server, "add-flow", "br0", "in_port=1,actions=2");
      await ofctl(server, "add-flow", "br0", "in_port=2,actions=1");
      await ofctl(server, "add-flow", "br0", "in_port=3,actions=1,2");
      const there = [frame(1, 2), frame(1, 2)];
      deepStrictEqual(await sent(daemon, "p1", there, { p1: 0, p2: 2, p3: 2 }), {
        p1: [],
        p2: [64, 64],
        p3: [40, 40],
      });
      // What goes out of p1 was not asked for, and what comes by p3 goes nowhere.
      deepStrictEqual(await sent(daemon, "p2", [frame(2, 1)], { p1: 1, p3: 0 }), {
        p1: [64],
        p3: [],
      });
      deepStrictEqual(await sent(daemon, "p3", [frame(3, 1)], { p1: 0, p2: 0 }), {
        p1: [],
        p2: [],
      });
      // Flows that were there are others once the mirror is.
      await server.vs("clear", "bridge", "br0", "mirrors");
      deepStrictEqual(await sent(daemon, "p1", there, { p2: 2, p3: 0 }), {
        p2: [64, 64],
        p3: [],
      });
    })
  ),
);

Deno.test(
  "mirrors: copies go into a VLAN, once, wherever it is carried; what has been is counted",
  skippable(() =>
    lab(async (server, daemon) => {
      await bridge(server, ["p1", "p2", "p3", "p4"]);
      await server.vs("set", "port", "p3", "tag=30");
      await server.vs("set", "port", "p4", "tag=40");
      await server.vs(
        ...["--", "--id=@m", "create", "mirror", "name=m", "select_all=true"],
        ...[
          "select_vlan=7",
          "output_vlan=30",
          "--",
          "set",
          "bridge",
          "br0",
          "mirrors=@m",
        ],
      );
      await ofctl(server, "add-flow", "br0", "in_port=1,actions=2");
      // p2 carries all VLANs: it has the packet, and a copy with the other tag.
      deepStrictEqual(
        await sent(daemon, "p1", [frame(1, 2, 7)], { p1: 1, p2: 2, p3: 1, p4: 0 }),
        { p1: [64], p2: [64, 64], p3: [60], p4: [] },
      );
      deepStrictEqual(
        await sent(daemon, "p1", [frame(1, 2, 8)], { p1: 0, p2: 1, p3: 0, p4: 0 }),
        { p1: [], p2: [64], p3: [], p4: [] },
      );
      await tell(daemon, "revalidator/wait");
      const [mirrors] = [...daemon.bridges.values()].map(({ mirrors }) =>
        [...mirrors.statistics()].map(([, numbers]) => numbers.get("tx_packets"))
      );
      deepStrictEqual(mirrors, [1n]);
    })
  ),
);

Deno.test(
  "mirrors: one that cannot be, and columns that are not honoured, are told by name",
  skippable(() =>
    lab(async (server, _daemon, said) => {
      await bridge(server, ["p1"]);
      await server.vs(
        ...["--", "--id=@m", "create", "mirror", "name=lost", "select_all=true"],
        ...["--", "set", "bridge", "br0", "mirrors=@m", "stp_enable=true"],
      );
      await server.vs("set", "port", "p1", "lacp=active");
      const warned = (text: RegExp): boolean =>
        said.some((line) => line.startsWith("bridge|warn|") && text.test(line));
      await until("mirror", () => warned(/mirror lost does not specify output/));
      await until("STP", () => warned(/br0: column stp_enable is not honoured/));
      await until("LACP", () => warned(/port p1: column lacp is not honoured/));
      strictEqual(said.filter((line) => /stp_enable/.test(line)).length, 1);
    })
  ),
);

Deno.test(
  "bonds: one port has all packets, another when it goes down, and neighbours are told",
  skippable(() =>
    lab(async (server, daemon) => {
      await bridge(server, ["p3"]);
      await server.vs(
        ...["add-bond", "br0", "bond0", "p1", "p2", "bond_mode=active-backup"],
        ...["other_config:bond-primary=p1", "--", "set", "interface", "p1", "type=dummy"],
        ...["--", "set", "interface", "p2", "type=dummy"],
      );
      await ofctl(server, "add-flow", "br0", "actions=normal");
      match(
        await tell(daemon, "bond/show", "bond0"),
        /member p1: enabled\n {2}active member/,
      );
      deepStrictEqual(await sent(daemon, "p3", [frame(3, 0x100)], { p1: 1, p2: 0 }), {
        p1: [64],
        p2: [],
      });
      // What comes by the other one is a copy.
      deepStrictEqual(await sent(daemon, "p2", [frame(9, 0x100)], { p3: 0 }), { p3: [] });
      deepStrictEqual(await sent(daemon, "p1", [frame(9, 0x100)], { p3: 1 }), {
        p3: [64],
      });
      await tell(daemon, "netdev-dummy/set-admin-state", "p1", "down");
      const dp = dpOf(daemon);
      const told: Uint8Array[] = [];
      await until("a frame that tells where 3 is", () => {
        told.push(...left(dp, "p2"));
        return told.length > 0;
      });
      deepStrictEqual([...told[0]?.subarray(6, 14) ?? []], [
        2,
        0,
        0,
        0,
        0,
        3,
        0x80,
        0x35,
      ]);
      deepStrictEqual(await sent(daemon, "p3", [frame(3, 0x100)], { p1: 0, p2: 1 }), {
        p1: [],
        p2: [64],
      });
      await tell(daemon, "netdev-dummy/set-admin-state", "p1", "up");
      await until(
        "the primary port is back",
        async () =>
          /p1: enabled\n {2}active member/.test(await tell(daemon, "bond/show")),
      );
    })
  ),
);

Deno.test(
  "bonds: addresses are spread over ports, and load moves to the one that has less",
  skippable(() =>
    lab(async (server, daemon) => {
      await bridge(server, ["p3"]);
      await server.vs(
        ...["add-bond", "br0", "bond0", "p1", "p2", "bond_mode=balance-slb", "--", "set"],
        ...[
          "interface",
          "p1",
          "type=dummy",
          "--",
          "set",
          "interface",
          "p2",
          "type=dummy",
        ],
      );
      await ofctl(server, "add-flow", "br0", "actions=normal");
      const frames = Array.from({ length: 40 }, (_, i) => frame(i + 10, 0x100));
      const dp = dpOf(daemon);
      const no = dp.ports.get("p3")?.no;
      ok(no !== undefined);
      for (const one of frames) dp.ports.inject?.(no, one);
      const got = { p1: 0, p2: 0 };
      await until("all frames by one of two ports", () => {
        got.p1 += left(dp, "p1").length;
        got.p2 += left(dp, "p2").length;
        return got.p1 + got.p2 === frames.length;
      });
      ok(got.p1 > 5 && got.p2 > 5, JSON.stringify(got));
      const [found] = [...daemon.bridges.values()].flatMap((
        { bonds },
      ) => [...bonds.all()]);
      ok(found);
      const [first, second, ...others] = found.hashesOf("p1");
      ok(first !== undefined && second !== undefined);
      for (const load of found.counters) load.bytes = 0;
      for (const hash of [first, second, ...others]) {
        const load = found.counters[hash];
        if (load) load.bytes = 1_000_000;
      }
      found.nextBalanceMs = 0;
      for (const { bonds } of daemon.bridges.values()) bonds.run();
      const kept = found.hashesOf("p1").length;
      ok(kept > 50 && kept < 80, `${kept} of 128 stay`);
    })
  ),
);
