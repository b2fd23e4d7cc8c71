// SPDX-License-Identifier: Apache-2.0
/** What goes wrong with one bridge, port or program, and what goes on all the same. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { DatapathError } from "../../providers/errors.ts";
import { portNo } from "../../providers/ids.ts";
import { Faults } from "../../vswitch/faults.ts";
import { Leftovers } from "../../vswitch/leftovers.ts";
import { skippable } from "../support/skip.ts";
import { root } from "../support/tree.ts";
import { pause, until } from "../support/wait.ts";
import { lab, ofctl } from "./lab.ts";
import { say, type Server } from "./server.ts";

/** Whether a bridge answers ovs-ofctl. */
async function answers(server: Server, bridge: string): Promise<boolean> {
  return (await say("ovs-ofctl", ["show", bridge], server.folder)).code === 0;
}

Deno.test(
  "faults: a bridge without its sockets keeps its ports, others go on, and it is tried again",
  skippable(() =>
    lab(async (server, _daemon, said) => {
      const { folder } = server;
      await Deno.mkdir(`${folder}/br5.mgmt`);
      const other = Deno.listen({ transport: "unix", path: `${folder}/br6.snoop` });
      const port = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const place = `ptcp:${(port.addr as Deno.NetAddr).port}:127.0.0.1`;
      const long = "b".repeat(100);
      for (const name of [long, "br5", "br6", "zz"]) await server.vs("add-br", name);
      await server.vs("add-port", "zz", "p1", "--", "set-controller", "zz", place);
      strictEqual(await server.vs("get", "Interface", "p1", "ofport"), "1");
      await server.vs("add-port", long, "p2");
      strictEqual(await server.vs("get", "Interface", "p2", "ofport"), "1");
      match(await server.vs("get", "Controller", "zz", "status"), /last_error=.*in use/);
      ok(await answers(server, "br6"), "what listens already is no other's");
      strictEqual(await answers(server, "br5"), false);
      const told = (what: RegExp) => said.filter((line) => what.test(line));
      strictEqual(told(/bbb.*socket has 107 bytes at most/).length, 1);
      match(told(/br5/)[0] ?? "", /bridge\|err\|bridge br5: .*br5.mgmt is there already/);
      match(told(/br6/)[0] ?? "", /br6.snoop is served by another program/);
      await Deno.remove(`${folder}/br5.mgmt`);
      other.close();
      port.close();
      await until("its socket", () => answers(server, "br5"));
      await until(
        "the place for controllers",
        () =>
          ofctl(server, "show", `tcp:${place.slice(5).split(":").reverse().join(":")}`)
            .catch(() => undefined),
      );
      for (const name of ["br5.mgmt", "br5.snoop", "br6.snoop", "zz.mgmt"]) {
        const info = await until(name, () =>
          Deno.stat(`${folder}/${name}`).catch(() => null));
        strictEqual((info.mode ?? 0) & 0o777, 0o600, name);
      }
      strictEqual(told(/br5|br6/).length, 2, "each is told once");
    })
  ),
);

Deno.test(
  "faults: a port that cannot go is tried again, and its name is nobody's until then",
  skippable(() =>
    lab(async (server, daemon, said) => {
      await server.vs("add-br", "br0", "--", "add-port", "br0", "p1");
      await server.vs("add-br", "br1", "--", "add-port", "br1", "q1");
      const ports = daemon.bridges.get("br0")?.backing.dp.ports;
      ok(ports !== undefined);
      const stuck = (name: string) => {
        const whole = ports.delete.bind(ports);
        const no = ports.get(name)?.no;
        ports.delete = (port) =>
          port === no ? Promise.reject(new TypeError("it is stuck")) : whole(port);
        return () => void (ports.delete = whole);
      };
      const free = stuck("p1");
      await server.vs("del-port", "p1");
      ok(ports.get("p1") !== undefined);
      strictEqual(said.filter((line) => line.includes("it is stuck")).length, 1);
      await server.vs("add-port", "br1", "p1");
      strictEqual(await server.vs("get", "Interface", "p1", "ofport"), "-1");
      match(await server.vs("get", "Interface", "p1", "error"), /cannot be taken away/);
      free();
      await until(
        "the port",
        async () => await server.vs("get", "Interface", "p1", "ofport") === "2",
      );
      const freeAgain = stuck("br1");
      await server.vs("del-br", "br1");
      deepStrictEqual([ports.get("q1"), ports.get("p1")], [undefined, undefined]);
      ok(ports.get("br1") !== undefined);
      freeAgain();
      await until("the last to go", () => ports.get("br1") === undefined);
    })
  ),
);

Deno.test("leftovers: what goes by itself is none", async () => {
  let there = true;
  const told: unknown[] = [];
  const left = new Leftovers({
    get: () => there ? { no: portNo(1), name: "p" } as never : undefined,
    delete: () => Promise.reject(new DatapathError({ operation: "x", code: "EBUSY" })),
  }, (error) => void told.push(error));
  await left.remove(portNo(1), "p");
  await left.retry();
  deepStrictEqual([left.isEmpty, left.has("p"), told.length], [false, true, 1]);
  there = false;
  await left.retry();
  deepStrictEqual([left.isEmpty, left.has("p"), told.length], [true, false, 1]);
});

Deno.test("faults: told once, and forgotten with what had them", async () => {
  const told: string[] = [];
  const faults = new Faults((message) => void told.push(message));
  const fail = (why: string) => () => Promise.reject(new Error(why));
  strictEqual(await faults.run("br0", "a", fail("x")), false);
  await faults.run("br0", "a", fail("x"));
  await faults.run("br0", "b", fail("y"));
  await faults.run("", "all", fail("z"));
  deepStrictEqual(told, ["bridge br0: x", "bridge br0: y", "z"]);
  strictEqual(await faults.run("br0", "a", () => Promise.resolve()), true);
  faults.keep(new Map([["br0", 1]]));
  await faults.run("", "all", () => Promise.resolve());
  strictEqual(faults.isEmpty, false);
  faults.keep(new Map());
  strictEqual(faults.isEmpty, true);
});

Deno.test(
  "faults: values out of range, and rows that are in two bridges, stop nothing",
  skippable(() =>
    lab(async (server, daemon, said) => {
      await server.vs("add-br", "br0", "--", "add-port", "br0", "p1");
      await server.vs("set", "Interface", "br0", "mtu_request=9007199254740993");
      await server.vs("set-controller", "br0", "ptcp:0:127.0.0.1");
      strictEqual(said.filter((line) => line.startsWith("ovsdb|warn|")).length, 1);
      const [port, peer] = [
        await server.vs("get", "Port", "p1", "_uuid"),
        await server.vs("get", "Controller", "br0", "_uuid"),
      ];
      await server.vs(
        ...["--id=@b", "create", "Bridge", "name=br9", `ports=${port}`],
        ...[`controller=${peer}`, "--", "add", "Open_vSwitch", ".", "bridges", "@b"],
      );
      strictEqual(await server.vs("get", "Interface", "p1", "ofport"), "1");
      let written = 0;
      const { database } = daemon;
      const transact = database.transact.bind(database);
      database.transact = (transaction) => {
        written++;
        return transact(transaction);
      };
      for (let i = 0; i < 3; i++) {
        daemon.configure();
        await pause(100);
      }
      strictEqual(written, 0, "what was told is not told again");
    })
  ),
);

Deno.test(
  "faults: a daemon ends within seconds although its server does not answer",
  skippable(() =>
    lab(async (server, daemon) => {
      await server.vs("add-br", "br0");
      const ports = daemon.bridges.get("br0")?.backing.dp.ports;
      const no = ports?.get("br0")?.no;
      ok(ports !== undefined && no !== undefined);
      server.pause();
      await ports.setConfig(no, { mtu: "1300" });
      daemon.configure();
      await pause(200);
      const since = performance.now();
      await daemon.close();
      ok(performance.now() - since < 5000);
    })
  ),
);

Deno.test(
  "faults: a bridge that is closed calls no controller",
  skippable(() =>
    lab(async (server, daemon) => {
      await server.vs("add-br", "br0");
      using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      let open = 0;
      const serve = async (stream: Deno.Conn): Promise<void> => {
        open++;
        while (await stream.read(new Uint8Array(4096)) !== null);
        stream.close();
        open--;
      };
      void (async () => {
        for await (const stream of listener) void serve(stream);
      })();
      const { port } = listener.addr as Deno.NetAddr;
      await server.vs("set-controller", "br0", `tcp:127.0.0.1:${port}`);
      await until("the call", () => open === 1);
      const bridge = daemon.bridges.get("br0");
      const again = bridge?.peers.reconnect();
      await server.vs("del-br", "br0");
      await again;
      await until("the end of all calls", () => open === 0);
      await pause(1500); // A controller is called again after a second.
      deepStrictEqual([open, [...bridge?.peers.controllers() ?? []].length], [0, 0]);
    })
  ),
);

/** Starts the daemon as a program in the foreground. */
function program(server: Server, ...args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--quiet", "--no-check", `${root}switchd.ts`, server.target],
      ...["--enable-dummy=override", "-vconsole:off", ...args],
    ],
    env: { OVS_RUNDIR: server.folder },
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
}

Deno.test(
  "faults: the lock goes to another program, and its sockets when they are free",
  skippable(() =>
    lab(async (server, daemon) => {
      await server.vs("add-br", "br0");
      await daemon.database.close(); // It goes on with what it knows.
      const second = program(server, "--unixctl=none");
      try {
        await server.vs("add-br", "br1");
        ok(await answers(server, "br1"), "the second program has the switch");
        const isOurs = (bridge: string): boolean => daemon.bridges.has(bridge);
        deepStrictEqual([isOurs("br0"), isOurs("br1")], [true, false]);
        const { ino } = await Deno.stat(`${server.folder}/br0.mgmt`);
        // What the first leaves behind when it ends is not what the second has put there.
        await Deno.remove(`${server.folder}/br0.mgmt`);
        const taken = await until("the socket of the second", async () => {
          const now = await Deno.stat(`${server.folder}/br0.mgmt`).catch(() => undefined);
          return now?.ino !== ino ? now?.ino : undefined;
        });
        await daemon.close();
        strictEqual((await Deno.stat(`${server.folder}/br0.mgmt`)).ino, taken);
        await until("its snoop", () =>
          Deno.stat(`${server.folder}/br0.snoop`).catch(() => undefined));
        ok(await answers(server, "br0"));
        server.pause();
        const since = performance.now();
        second.kill("SIGTERM");
        await second.status;
        ok(performance.now() - since < 5000);
      } finally {
        try {
          second.kill("SIGKILL");
        } catch {
          // It ended.
        }
      }
    })
  ),
);
