// SPDX-License-Identifier: Apache-2.0
/** Ports and datapaths that go, or change, under a daemon. */
import {
  deepStrictEqual,
  match,
  ok,
  rejects,
  strictEqual,
  throws,
} from "node:assert/strict";
import type { Port, PortRequest } from "../../providers/contract/ports.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { type PortNo, portNo } from "../../providers/ids.ts";
import { Bridge } from "../../vswitch/bridge.ts";
import type { BridgeConfig, FaceConfig } from "../../vswitch/config.ts";
import type { Database } from "../../ovsdb/database.ts";
import type { Transaction } from "../../ovsdb/transaction.ts";
import { Written } from "../../vswitch/status.ts";
import { Leftovers, sweep } from "../../vswitch/leftovers.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";
import { type Daemon } from "../../vswitch/daemon.ts";
import { daemonCommands } from "../../vswitch/commands/commands.ts";
import { DaemonLog } from "../../vswitch/log.ts";
import { lab } from "./lab.ts";
import type { Server } from "./server.ts";

/** Ports in memory, as a kernel would have them. */
class Kept {
  readonly all = new Map<PortNo, Port>();
  readonly stuck = new Set<string>();
  #next = 100;

  constructor(...ports: readonly Omit<Port, "no">[]) {
    for (const [i, port] of ports.entries()) {
      this.all.set(portNo(i), { no: portNo(i), ...port });
    }
  }

  get names(): string[] {
    return [...this.all.values()].map(({ name, type }) => `${name} ${type}`);
  }

  *dump(): IterableIterator<Port> {
    yield* this.all.values();
  }

  get(port: PortNo | string): Port | undefined {
    return [...this.dump()].find(({ no, name }) => no === port || name === port);
  }

  delete(no: PortNo): Promise<void> {
    if (this.stuck.has(this.get(no)?.name ?? "")) {
      return Promise.reject(new Error("stuck"));
    }
    this.all.delete(no);
    return Promise.resolve();
  }

  add({ name, type = "system", options }: PortRequest): Promise<Port> {
    const no = portNo(this.#next++);
    const port = { no, name, type, options: { ...options } as Record<string, string> };
    this.all.set(no, port);
    return Promise.resolve(port);
  }
}

Deno.test("ports: what a killed daemon left goes, but for what is wanted", async () => {
  const ports = new Kept(
    ...["ovs-system", "br0", "old", "stuck", "eth1"].map((name) => ({
      name,
      type: "internal",
    })),
  );
  ports.stuck.add("stuck");
  const faults: unknown[] = [];
  await sweep(ports, new Set(["br0", "eth1"]), (error) => void faults.push(error));
  deepStrictEqual(
    ports.names,
    ["ovs-system", "br0", "stuck", "eth1"].map((name) => `${name} internal`),
  );
  strictEqual(faults.length, 1);
});

Deno.test("ports: one that was left is taken over if it is what is asked for", async () => {
  const ports = new Kept(
    { name: "ovs-system", type: "internal" },
    { name: "eth1", type: "system" },
    { name: "i1", type: "system" },
    { name: "i2", type: "internal" },
    { name: "t1", type: "geneve" },
    { name: "t2", type: "geneve", options: { dst_port: "6081" } },
    { name: "t3", type: "geneve", options: { dst_port: "7000" } },
  );
  const dp = { name: "d", ports } as unknown as Datapath;
  const types: Record<string, string> = {
    ...{ eth1: "system", i1: "internal", i2: "internal" },
    ...{ t1: "geneve", t2: "geneve", t3: "geneve" },
  };
  const config = {
    name: "br0",
    ports: Object.entries(types).map(([name, type]) => ({
      name,
      bundle: { mode: "trunk", tag: 0, isProtected: false, priorityTags: "no" },
      faces: [
        // A tunnel says where it leads to; flows do here.
        { uuid: name, name, type, options: new Map([["remote_ip", "flow"]]) },
      ] as unknown as FaceConfig[],
    })),
  } as unknown as BridgeConfig;
  const backing = {
    ...{ kind: "system", dp, leftovers: new Leftovers(ports, () => {}) },
  } as unknown as ConstructorParameters<typeof Bridge>[1];
  const bridge = new Bridge(config, backing, {
    folder: "/run/x",
    patchEnd: () => undefined,
  });
  await bridge.grow(new Map());
  const numbers = Object.fromEntries([...ports.dump()].map(({ name, no }) => [name, no]));
  for (const [name, face] of bridge.faces) {
    strictEqual(face.error, undefined, name);
    strictEqual(face.dp, numbers[name], name);
    strictEqual(ports.get(name)?.type, types[name]);
  }
  const kept = Object.entries(numbers).filter(([, no]) => no < 100).map(([name]) => name);
  deepStrictEqual(kept, ["ovs-system", "eth1", "i2", "t2"]);
});

Deno.test("status: what was not sent is sent the next time", async () => {
  const written = new Written();
  const sent: boolean[] = [];
  let refuses = false;
  const database = {
    transact: (to: Transaction) => {
      sent.push(!to.isEmpty);
      return refuses ? Promise.reject(new Error("refused")) : Promise.resolve();
    },
  } as unknown as Pick<Database, "transact">;
  const tell = (to: Transaction): void =>
    written.update(to, "Interface", "u", { ofport: 7 });
  refuses = true;
  await rejects(() => written.send(database, tell), /refused/);
  refuses = false;
  await rejects(
    () =>
      written.send(database, (to) => {
        tell(to);
        throw new Error("another cannot be told");
      }),
    /cannot be told/,
  );
  await written.send(database, tell);
  await written.send(database, tell);
  deepStrictEqual(sent, [true, true]);
});

/** Runs a command of the daemon's. */
async function run(daemon: Daemon, name: string, ...args: string[]): Promise<string> {
  const commands = daemonCommands({ daemon, log: new DaemonLog(), exit: () => {} });
  const command = commands.get(name);
  if (command === undefined) throw new Error(`no command ${name}`);
  return await command.run(args, { hungUp: () => new Promise(() => {}) });
}

const added = (bridge: string, name: string): string[] => [
  ...["add-port", bridge, name, "--", "set", "Interface", name, "type=dummy"],
];

/** What the database is told of an interface. */
async function told(
  server: Server,
  name: string,
): Promise<[ofport: string, error: string]> {
  const said = await server.vs("--no-wait", "get", "Interface", name, "ofport", "error");
  return said.split("\n") as [string, string];
}

Deno.test(
  "daemon: a port that goes by itself is told of and comes again, and none is taken for it",
  skippable(() =>
    lab(async (server, daemon) => {
      await server.vs("add-br", "br0", "--", ...added("br0", "p1"));
      await server.vs(...added("br0", "p2"));
      const bridge = daemon.bridges.get("br0");
      ok(bridge !== undefined);
      const { dp, switches } = bridge.backing;
      const before = dp.ports.get("p1");
      ok(before !== undefined);
      // Its number is another's at once.
      await dp.ports.delete(before.no);
      await dp.ports.add({ name: "foreign", type: "dummy", no: before.no });
      switches.readPorts();
      const known = [...bridge.of.ports.value.values()];
      deepStrictEqual(known.filter((port) => port.dp === before.no), []);
      await until("p1 to come again", async () => {
        const now = dp.ports.get("p1");
        const isThere = [...bridge.of.ports.value.values()].some((one) =>
          one.name === "p1" && one.dp === now?.no
        );
        return isThere && (await told(server, "p1"))[1] === "[]" ? true : undefined;
      });
      strictEqual(dp.ports.get(before.no)?.name, "foreign");
      // What cannot come again says so, and is tried again.
      const { add } = dp.ports;
      const refused = { count: 0 };
      dp.ports.add = (request) => {
        if (request.name !== "p1") return add.call(dp.ports, request);
        refused.count++;
        return Promise.reject(new Error("it is away"));
      };
      await dp.ports.delete("p1");
      await until("it to be told", async () => {
        const [ofport, error] = await told(server, "p1");
        return ofport === "-1" && /it is away/.test(error) ? true : undefined;
      });
      strictEqual((await told(server, "p2"))[1], "[]");
      dp.ports.add = add;
      await until("p1 to be tried again", async () => {
        const [ofport, error] = await told(server, "p1");
        return ofport !== "-1" && error === "[]" ? true : undefined;
      });
      ok(refused.count > 0);
      const statistics = await until("statistics", async () => {
        const text = await server.vs("get", "Interface", "p2", "statistics");
        return text.includes("rx_packets") ? text : undefined;
      });
      match(statistics, /rx_packets=0/);
    })
  ),
);

Deno.test(
  "daemon: a datapath that others took away is opened anew, with all of its ports",
  skippable(() =>
    lab(async (server, daemon) => {
      await server.vs("add-br", "br0", "--", ...added("br0", "p1"));
      const before = daemon.bridges.get("br0");
      await run(daemon, "dpctl/del-dp", "ovs-dummy");
      await until("another datapath", () => {
        const now = daemon.bridges.get("br0");
        return now !== undefined && now !== before && !now.backing.dp.closed &&
            now.backing.dp.ports.get("p1") !== undefined
          ? true
          : undefined;
      });
      await server.vs(...added("br0", "p3"));
      deepStrictEqual(await told(server, "p3"), ["2", "[]"]);
      deepStrictEqual((await told(server, "p1"))[1], "[]");
      match(await run(daemon, "dpif/show"), /p1.*p3/s);
    })
  ),
);

Deno.test(
  "daemon: the database has no socket made, or called, but in the run folder",
  skippable(() =>
    lab(async (server, daemon) => {
      const outside = `${server.folder}x`;
      await server.vs(
        ...["add-br", "br0", "--", "set-controller", "br0", `punix:${outside}`],
        ...[`unix:${server.folder}/../x`, "punix:inside"],
      );
      const states = await until("all of them to be told", () => {
        const peers = daemon.bridges.get("br0")?.peers;
        const all = [...peers?.controllers() ?? []];
        return all.length === 3 ? { all, isLacking: peers?.isLacking } : undefined;
      });
      const faults = states.all.flatMap(([, { lastError }]) => lastError ?? []);
      strictEqual(faults.length, 2);
      for (const fault of faults) match(fault, /is not in the folder/);
      strictEqual(states.isLacking, false);
      ok(Deno.lstatSync(`${server.folder}/inside`).isSocket);
      throws(() => Deno.lstatSync(outside), Deno.errors.NotFound);
    })
  ),
);
