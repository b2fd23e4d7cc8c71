// SPDX-License-Identifier: Apache-2.0
/** A database that is followed, with a real ovsdb-server. */
import { deepStrictEqual, match, rejects, strictEqual, throws } from "node:assert/strict";
import { Database, parseTarget } from "../../ovsdb/database.ts";
import { Transaction } from "../../ovsdb/transaction.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";
import { Server } from "./server.ts";

function follow(server: Server, lock?: string): Database {
  return new Database({
    target: server.target,
    watched: { Open_vSwitch: "all", Bridge: "all", Port: "all", Interface: "all" },
    ...(lock !== undefined && { lock }),
    onChange: () => {},
  });
}

Deno.test(
  "ovsdb: what ovs-vsctl writes is seen, and what is written ovs-vsctl sees",
  skippable(async () => {
    await using server = await Server.start();
    await using db = follow(server, "ovs_vswitchd");
    await until("the database", () => db.isConnected && db.isLocked);
    await server.vs("--no-wait", "add-br", "br0");
    await server.vs(
      ...["--no-wait", "add-port", "br0", "p1", "tag=7", "trunks=1,2,3"],
      ...["--", "set", "Interface", "p1", "type=dummy", "options:a=b"],
      ...["options:c=d", "ofport_request=5"],
    );
    const port = await until(
      "the port",
      () => [...db.rows.rows("Port")].find(({ name }) => name === "p1"),
    );
    deepStrictEqual([port.tag, port.trunks], [7, new Set([1, 2, 3])]);
    const [face] = db.rows.all("Interface", port.interfaces);
    deepStrictEqual(face?.options, new Map([["a", "b"], ["c", "d"]]));
    deepStrictEqual([face?.type, face?.ofport_request], ["dummy", 5]);
    // Changes of sets and maps name what came, went, and is another now.
    await server.vs(
      ...["--no-wait", "set", "Interface", "p1", "options:a=x", "--"],
      ...[
        "remove",
        "Interface",
        "p1",
        "options",
        "c",
        "--",
        "clear",
        "Port",
        "p1",
        "tag",
      ],
      ...["--", "set", "Port", "p1", "trunks=3,4"],
    );
    await until("the change", () => {
      const changed = db.rows.get("Port", port.uuid);
      return changed !== undefined && changed.tag === undefined;
    });
    deepStrictEqual(db.rows.get("Port", port.uuid)?.trunks, new Set([3, 4]));
    const uuid = face?.uuid ?? "";
    deepStrictEqual(db.rows.get("Interface", uuid)?.options, new Map([["a", "x"]]));
    const large = 9_223_372_036_854_775_807n;
    await db.transact(
      new Transaction().update("Interface", uuid, {
        statistics: new Map([["rx_bytes", large]]),
        ofport: 5,
        status: new Map([["driver_name", "dummy"]]),
      }),
    );
    strictEqual(await server.vs("get", "Interface", "p1", "ofport"), "5");
    const text = await server.vs("get", "Interface", "p1", "statistics");
    strictEqual(text, `{rx_bytes=${large}}`);
    await until(
      "the large number",
      () => db.rows.get("Interface", uuid)?.statistics.get("rx_bytes") === large,
    );
    await server.vs("--no-wait", "del-port", "p1");
    await until("it to go", () => db.rows.get("Port", port.uuid) === undefined);
    const [of] = db.rows.rows("Open_vSwitch");
    const made = new Transaction().comment("a datapath");
    const row = made.insert("Datapath", { datapath_version: "1" });
    made.update("Open_vSwitch", of?.uuid ?? "", {
      datapaths: new Map([["netdev", row]]),
    });
    await db.transact(made);
    const [, version] = /datapath_version\s*: "(.*)"/.exec(
      await server.vs("list", "Datapath"),
    ) ?? [];
    strictEqual(version, "1");
  }),
);

Deno.test(
  "ovsdb: one of two has the lock, and the other gets it when that one goes",
  skippable(async () => {
    await using server = await Server.start();
    const first = follow(server, "ovs_vswitchd");
    await until("the lock", () => first.isConnected && first.isLocked);
    await using second = follow(server, "ovs_vswitchd");
    await until("the other", () => second.isConnected);
    deepStrictEqual([second.isLocked, second.isContended], [false, true]);
    const [of] = second.rows.rows("Open_vSwitch");
    const change = new Transaction().update("Open_vSwitch", of?.uuid ?? "", {
      cur_cfg: 1n,
    });
    await rejects(second.transact(change), /not owner/);
    await first.close();
    await until("the lock", () => second.isLocked);
    await second.transact(change);
    strictEqual(await server.vs("get", "Open_vSwitch", ".", "cur_cfg"), "1");
  }),
);

Deno.test(
  "ovsdb: a server that comes back is followed again, and what is refused is told",
  skippable(async () => {
    await using server = await Server.start();
    await using db = follow(server);
    await until("the database", () => db.isConnected);
    await server.vs("--no-wait", "add-br", "br0");
    await until("the bridge", () => [...db.rows.rows("Bridge")].length === 1);
    await server.stop();
    await until("the end", () => !db.isConnected);
    strictEqual([...db.rows.rows("Bridge")].length, 1, "what was read stays");
    await rejects(db.transact(new Transaction()), /not connected/);
    await server.run();
    await server.vs("--no-wait", "add-br", "br1");
    await until("both", () => db.isConnected && [...db.rows.rows("Bridge")].length === 2);
    const [bridge] = db.rows.rows("Bridge");
    await rejects(
      db.transact(
        new Transaction().update("Bridge", bridge?.uuid ?? "", { fail_mode: "odd" }),
      ),
      /constraint violation/,
    );
  }),
);

/** A server that answers with what is said along with its answers, in the same write. */
function scripted(
  path: string,
  rest: Readonly<Record<string, readonly [result: unknown, ...later: unknown[]]>>,
): Deno.Listener {
  const listener = Deno.listen({ transport: "unix", path }) as unknown as Deno.Listener;
  const answer = async (stream: Deno.Conn): Promise<void> => {
    const bytes = new Uint8Array(65_536);
    for (let size = await stream.read(bytes); size !== null;) {
      const { id, method } = JSON.parse(
        new TextDecoder().decode(bytes.subarray(0, size)),
      );
      const [result, ...later] = rest[method] ?? [{}];
      const all = [{ id, result, error: null }, ...later];
      const text = all.map((one) => JSON.stringify(one)).join("");
      await stream.write(new TextEncoder().encode(text));
      size = await stream.read(bytes);
    }
  };
  void (async () => {
    for await (const stream of listener) {
      void answer(stream).finally(() => stream.close());
    }
  })();
  return listener;
}

Deno.test("ovsdb: what comes right behind an answer counts after it", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/db.sock`;
  const [root, gone, made] = [1, 2, 3].map((n) =>
    `00000000-0000-4000-8000-00000000000${n}`
  ) as [string, string, string];
  const told = (method: string, ...params: unknown[]) => ({ id: null, method, params });
  const columns = { next_cfg: {}, name: {} };
  using _listener = scripted(path, {
    get_schema: [{ tables: { Open_vSwitch: { columns }, Bridge: { columns } } }],
    lock: [{ locked: false }, told("locked", "L")],
    monitor_cond_since: [
      [false, root, {
        Open_vSwitch: { [root]: { initial: { next_cfg: 1 } } },
        Bridge: { [gone]: { initial: { name: "gone" } } },
      }],
      told("update3", "switch", made, {
        Open_vSwitch: { [root]: { modify: { next_cfg: 7 } } },
        Bridge: { [gone]: { delete: null }, [made]: { insert: { name: "made" } } },
      }),
    ],
  });
  const states: string[] = [];
  let changes = 0;
  await using db = new Database({
    target: `unix:${path}`,
    lock: "L",
    watched: { Open_vSwitch: "all", Bridge: "all" },
    onChange: () => void changes++,
    onState: (state, reason) => void states.push(`${state} ${reason?.message ?? ""}`),
  });
  await until("the change", () => db.isConnected && changes >= 3);
  deepStrictEqual([...db.rows.rows("Bridge")].map(({ name }) => name), ["made"]);
  deepStrictEqual([...db.rows.rows("Open_vSwitch")].map((row) => row.next_cfg), [7n]);
  deepStrictEqual([db.isLocked, db.isContended], [true, false]);
  deepStrictEqual(states, ["connected "]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test(
  "ovsdb: a value out of range is as none, and the rest goes on",
  skippable(async () => {
    await using server = await Server.start();
    const huge = "9007199254740993";
    await server.vs("--no-wait", "add-br", "br0", "--", "add-port", "br0", "p1");
    await server.vs("--no-wait", "set", "Interface", "p1", `mtu_request=${huge}`);
    const odd: string[] = [];
    const states: string[] = [];
    await using db = new Database({
      target: server.target,
      watched: { Open_vSwitch: "all", Bridge: "all", Port: "all", Interface: "all" },
      onChange: () => {},
      onOdd: (text) => void odd.push(text),
      onState: (state) => void states.push(state),
    });
    const face = (name: string) =>
      [...db.rows.rows("Interface")].find((one) => one.name === name);
    await until("the database", () => db.isConnected);
    deepStrictEqual([face("p1")?.mtu_request, face("br0")?.name], [undefined, "br0"]);
    await server.vs("--no-wait", "set", "Interface", "br0", `mtu_request=${huge}`);
    await until("the change", () => odd.length === 2);
    match(odd[0] ?? "", /^Interface p1, column mtu_request: 9007199254740993 is not an/);
    await server.vs("--no-wait", "set", "Interface", "br0", "mtu_request=1400");
    await until("one that can be", () => face("br0")?.mtu_request === 1400);
    deepStrictEqual(states, ["connected"]);
  }),
);

Deno.test("ovsdb: targets", () => {
  deepStrictEqual(parseTarget("unix:/a:b"), { path: "/a:b" });
  deepStrictEqual(parseTarget("tcp:[::1]:5"), { hostname: "::1", port: 5 });
  deepStrictEqual(parseTarget("tcp:h"), { hostname: "h", port: 6640 });
  for (const bad of ["", "unix:", "ssl:h:1", "tcp:h:99999", "tcp:"]) {
    throws(() => parseTarget(bad), SyntaxError);
  }
});
