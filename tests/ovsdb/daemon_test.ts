// SPDX-License-Identifier: Apache-2.0
/** A daemon that ovs-vsctl drives through a real ovsdb-server, judged by it and by ovs-ofctl. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { type PortNo, portNo } from "../../providers/ids.ts";
import { decodeMask } from "../../providers/odp/mod.ts";
import { Daemon } from "../../vswitch/daemon.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";
import { lab, ofctl } from "./lab.ts";
import { say } from "./server.ts";

Deno.test(
  "daemon: bridges and ports are there when ovs-vsctl returns",
  skippable(() =>
    lab(async (server, daemon) => {
      await server.vs("add-br", "br0");
      const times: number[] = [];
      for (let i = 0; i < 3; i++) {
        if (i > 0) await server.vs("del-br", "br1");
        const since = performance.now();
        await server.vs("add-br", "br1");
        times.push(performance.now() - since);
      }
      ok(Math.min(...times) < 500, `add-br took ${times.join(", ")} ms`);
      await server.vs(
        ...["add-port", "br0", "p1", "--", "set", "Interface", "p1", "type=dummy"],
        ...["--", "add-port", "br0", "p7", "--", "set", "Interface", "p7", "type=dummy"],
        ...["ofport_request=7"],
      );
      strictEqual(await server.vs("get", "Interface", "p1", "ofport"), "1");
      strictEqual(await server.vs("get", "Interface", "p7", "ofport"), "7");
      strictEqual(await server.vs("get", "Interface", "br0", "ofport"), "65534");
      strictEqual(await server.vs("get", "Interface", "p1", "link_state"), "up");
      match(await ofctl(server, "show", "br0"), /1\(p1\).*7\(p7\).*LOCAL\(br0\)/s);
      match(await ofctl(server, "dump-flows", "br0"), /priority=0 actions=NORMAL/);
      // Tests of Open vSwitch count on the addresses of ports in memory.
      match(await server.vs("get", "Interface", "p1", "mac_in_use"), /"aa:55:aa:55:/);
      // Its own port has the least MTU of the others, unless another is asked for.
      const mtus = async (asked: string): Promise<string> => {
        await server.vs(...asked.split(" "));
        return await server.vs("get", "Interface", "br0", "mtu");
      };
      strictEqual(await mtus("set Interface p1 mtu_request=1600"), "1500");
      strictEqual(await mtus("set Interface p7 mtu_request=1700"), "1600");
      strictEqual(await mtus("set Interface br0 mtu_request=1450"), "1450");
      strictEqual(await mtus("clear Interface br0 mtu_request"), "1600");
      // Without megaflows a flow is for packets like one only, in their priority too.
      const [backing] = daemon.datapaths.all();
      const no = backing?.dp.ports.get("p7")?.no;
      ok(backing !== undefined && no !== undefined);
      backing.switches.exact.value = true;
      backing.dp.ports.inject?.(no, new Uint8Array(60).fill(2));
      await until("an exact flow", () =>
        [...backing.dp.flows.dump()].some(({ raw: { key, mask } }) =>
          key !== undefined && mask !== undefined &&
          decodeMask(mask, key).priority === 0xffffffff
        ));
      backing.switches.exact.value = false;
      const meters = await ofctl(server, "-O", "OpenFlow15", "meter-features", "br0");
      match(meters, /max_meter/);
      // A number that is asked for moves a port; another bridge's numbers are its own.
      await server.vs("set", "Interface", "p1", "ofport_request=9");
      strictEqual(await server.vs("get", "Interface", "p1", "ofport"), "9");
      await server.vs("add-port", "br1", "q1");
      strictEqual(await server.vs("get", "Interface", "q1", "ofport"), "1");
      await server.vs("set", "Interface", "q1", "type=odd");
      strictEqual(await server.vs("get", "Interface", "q1", "ofport"), "-1");
      match(await server.vs("get", "Interface", "q1", "error"), /could not open network/);
      await server.vs("set", "Interface", "q1", "type=dummy");
      strictEqual(await server.vs("get", "Interface", "q1", "error"), "[]");
      await server.vs("del-port", "p1");
      ok(!(await ofctl(server, "show", "br0")).includes("p1"));
      await server.vs("del-br", "br1");
      deepStrictEqual([...daemon.bridges.keys()], ["br0"]);
      const { code } = await say("ovs-ofctl", ["show", "br1"], server.folder);
      strictEqual(code, 1);
    })
  ),
);

Deno.test(
  "daemon: what controllers may say, who they are, and what a switch does without them",
  skippable(() =>
    lab(async (server, daemon) => {
      await server.vs(
        ...["add-br", "br0", "--", "set", "Bridge", "br0", "protocols=OpenFlow13"],
        ...["other-config:datapath-id=00000000000000ab", "--"],
        ...["set-fail-mode", "br0", "secure"],
      );
      strictEqual(
        await server.vs("get", "Bridge", "br0", "datapath_id"),
        '"00000000000000ab"',
      );
      const old = await say("ovs-ofctl", ["show", "br0"], server.folder);
      match(old.stderr, /version negotiation failed/);
      match(
        await ofctl(server, "-O", "OpenFlow13", "show", "br0"),
        /dpid:00000000000000ab/,
      );
      const flows = () => ofctl(server, "-O", "OpenFlow13", "dump-flows", "br0");
      ok(!(await flows()).includes("NORMAL"));
      const path = `${server.folder}/controller.sock`;
      const listener = Deno.listen({ transport: "unix", path });
      try {
        const called = listener.accept();
        await server.vs("set-controller", "br0", `unix:${path}`, "ptcp:0:127.0.0.1");
        const stream = await called;
        const place = { transport: "unix", path: `${server.folder}/br0.snoop` } as const;
        const snoop = await Deno.connect(place);
        strictEqual(await snoop.read(new Uint8Array(16)), 16, "its own hello");
        await stream.write(new Uint8Array([4, 0, 0, 8, 0, 0, 0, 9]));
        const heard = new Uint8Array(8);
        strictEqual(await snoop.read(heard), 8);
        deepStrictEqual([...heard], [4, 0, 0, 8, 0, 0, 0, 9], "what the controller says");
        snoop.close();
        const hello = new Uint8Array(16);
        strictEqual(await stream.read(hello), 16);
        strictEqual(hello[0], 4, "the highest version that it may speak");
        stream.close();
        await server.vs("del-controller", "br0");
        strictEqual(await server.vs("list", "Controller"), "");
      } finally {
        listener.close();
      }
      await server.vs("set-fail-mode", "br0", "standalone");
      match(await flows(), /NORMAL/);
      // While no controller answers, all goes by NORMAL; its flow is not among those.
      await server.vs(
        ...["set-controller", "br0", `unix:${path}`, "--", "set", "Controller", "br0"],
        ...["inactivity_probe=300", "--", "add-port", "br0", "p1", "--"],
        ...["add-port", "br0", "p2"],
      );
      const dp = daemon.bridges.get("br0")?.backing.dp;
      ok(dp !== undefined);
      const frame = new Uint8Array(60).fill(0xff, 0, 6);
      frame.set([2, 0, 0, 0, 0, 1, 0x12, 0x34], 6);
      dp.ports.inject?.(dp.ports.get("p1")?.no ?? portNo(0), frame);
      const got = () => {
        dp.ports.inject?.(dp.ports.get("p1")?.no ?? portNo(0), frame);
        return dp.ports.collect?.(dp.ports.get("p2")?.no ?? portNo(0));
      };
      strictEqual(got(), undefined);
      deepStrictEqual(await until("the switch to stand alone", got), frame);
      ok(!(await flows()).includes("NORMAL"));
    })
  ),
);

Deno.test(
  "daemon: packets through NORMAL with VLANs, and through patch ports into another bridge",
  skippable(() =>
    lab(async (server, daemon) => {
      const dummy = (bridge: string, name: string, ...more: string[]) => [
        ...["--", "add-port", bridge, name, ...more, "--"],
        ...["set", "Interface", name, "type=dummy"],
      ];
      const patch = (bridge: string, name: string, peer: string) => [
        ...["--", "add-port", bridge, name, "--", "set", "Interface", name],
        ...["type=patch", `options:peer=${peer}`],
      ];
      await server.vs(
        ...["add-br", "br0", "--", "add-br", "br1"],
        ...dummy("br0", "p1", "tag=5"),
        ...dummy("br0", "p2", "tag=6"),
        ...dummy("br1", "p3", "tag=5"),
        ...patch("br0", "to1", "to0"),
        ...patch("br1", "to0", "to1"),
      );
      const dp = [...daemon.datapaths.all()][0]?.dp;
      ok(dp !== undefined);
      const no = (name: string): PortNo => dp.ports.get(name)?.no ?? portNo(0);
      const frame = new Uint8Array(60);
      frame.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x12, 0x34]);
      dp.ports.inject?.(no("p1"), frame);
      const got = await until("the frame", () => dp.ports.collect?.(no("p3")));
      deepStrictEqual(got, frame);
      strictEqual(dp.ports.collect?.(no("p2")), undefined);
      // The answer goes where the address was learned.
      const answer = frame.slice();
      answer.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 3]);
      dp.ports.inject?.(no("p3"), answer);
      deepStrictEqual(
        await until("the answer", () => dp.ports.collect?.(no("p1"))),
        answer,
      );
      strictEqual(await server.vs("get", "Interface", "to1", "ofport"), "3");
      match(await server.vs("get", "Interface", "to1", "status"), /driver_name=patch/);
      await server.vs("del-port", "to0");
      dp.ports.inject?.(no("p1"), frame);
      const local = () => dp.ports.collect?.(no("br0"));
      await until("the frame at the local port", local);
      strictEqual(dp.ports.collect?.(no("p3")), undefined);
    })
  ),
);

Deno.test(
  "daemon: two of one name, capabilities, a server that goes and comes, a second daemon",
  skippable(() =>
    lab(async (server, daemon) => {
      await server.vs("add-br", "br0", "--", "add-br", "br1");
      await server.vs(
        ...["set", "Bridge", "br0", "datapath_type=netdev", "--", "--id=@d", "create"],
        ...["Datapath", "datapath_version=x", "--", "set", "Open_vSwitch", "."],
        ...["datapaths:netdev=@d"],
      );
      match(await server.vs("list", "Datapath"), /capabilities.*recirc="true"/);
      match(await server.vs("get", "Open_vSwitch", ".", "iface_types"), /geneve.*patch/);
      match(await server.vs("get", "Open_vSwitch", ".", "datapath_types"), /dummy/);
      await server.stop();
      await until("the end", () => !daemon.database.isConnected);
      match(await ofctl(server, "show", "br0"), /LOCAL/, "packets go on");
      await server.run();
      await server.vs(
        "add-port",
        "br0",
        "p1",
        "--",
        "set",
        "Interface",
        "p1",
        "type=dummy",
      );
      strictEqual(await server.vs("get", "Interface", "p1", "ofport"), "1");
      await using second = new Daemon({
        database: server.target,
        folder: server.folder,
        dummy: "override",
        log: () => {},
      });
      await until("it to be connected", () => second.database.isConnected);
      strictEqual(second.database.isLocked, false);
      strictEqual(second.bridges.size, 0);
    })
  ),
);
