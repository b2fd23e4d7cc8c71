// SPDX-License-Identifier: Apache-2.0
/** The switch to try: hosts in namespaces talk through it, by NORMAL and by flows. */
import { match, ok, strictEqual } from "node:assert/strict";
import { answers, makeHosts, ping } from "../support/netns.ts";
import { tryRun } from "../support/command.ts";
import { openNetdev } from "../support/netdev.ts";
import { needProgram, needRoot, skippable, Unsupported } from "../support/skip.ts";
import { Sandbox } from "../../vswitch/sandbox.ts";
import { say } from "./server.ts";

Deno.test(
  "sandbox: hosts ping through NORMAL and the host itself, VLANs keep them apart",
  skippable(async () => {
    needRoot("netdev");
    needProgram("ovsdb-server", { requirement: "peer" });
    await (await openNetdev(`warm${Deno.pid}`)).close();
    await using all = await makeHosts("vs", 2);
    const [one, two] = all.hosts;
    ok(one !== undefined && two !== undefined);
    const sandbox = await Sandbox.open({ type: "netdev" });
    const { folder } = sandbox;
    try {
      const vs = async (...args: string[]): Promise<string> => {
        const db = `--db=unix:${folder}/db.sock`;
        const said = await say("ovs-vsctl", [db, "--timeout=20", ...args], folder);
        strictEqual(said.code, 0, said.stderr);
        return said.stdout;
      };
      await vs(
        ...["add-port", "br0", one.device, "--", "add-port", "br0", two.device, "--"],
        ...["set", "Interface", "br0", "mtu_request=1400"],
      );
      await ping(one, two.ipv4);
      await ping(one, two.ipv6);
      // As the sandbox tells people: no socket and no database is named.
      const traced = await say(
        "ovs-appctl",
        ["ofproto/trace", "br0", "in_port=LOCAL,icmp"],
        folder,
      );
      match(traced.stdout, /^Datapath actions: \S/m, traced.stderr);
      match((await say("ovs-vsctl", ["show"], folder)).stdout, /Bridge br0/);
      // The host itself is behind the local port.
      strictEqual(
        (await tryRun("ip", "addr", "add", "10.77.0.9/24", "dev", "br0")).code,
        0,
      );
      strictEqual((await tryRun("ip", "link", "set", "br0", "up")).code, 0);
      await ping(two, "10.77.0.9");
      match(await vs("get", "Interface", "br0", "mtu"), /^1400$/m);
      // The device stays, with its address, when its MTU changes and when the bridge gets another
      // address.
      await vs("set", "Interface", "br0", "mtu_request=1300");
      const hardware = "02:00:00:00:99:01";
      await vs("set", "Bridge", "br0", `other-config:hwaddr="${hardware}"`);
      const shown = await tryRun("ip", "addr", "show", "br0");
      match(shown.stdout, new RegExp(`mtu 1300[^]*${hardware}[^]*10\\.77\\.0\\.9`));
      await tryRun("ip", "-n", two.namespace, "neigh", "flush", "all");
      await ping(two, "10.77.0.9");
      const row = await vs("get", "Interface", "br0", "mac_in_use");
      match(row, new RegExp(hardware));
      match(await vs("get", "Interface", one.device, "admin_state"), /up/);
      match(await vs("get", "Interface", one.device, "status"), /driver_name=veth/);
      await vs("set", "Port", one.device, "tag=5");
      strictEqual(await answers(one, two.ipv4), false);
      await vs("set", "Port", two.device, "tag=5");
      await ping(one, two.ipv4);
      const flow = "priority=9,icmp,actions=drop";
      strictEqual((await say("ovs-ofctl", ["add-flow", "br0", flow], folder)).code, 0);
      strictEqual(await answers(one, two.ipv4), false);
      await vs("del-port", two.device, "--", "add-port", "br0", "nowhere");
      match(await vs("get", "Interface", "nowhere", "error"), /No such device/);
    } finally {
      await sandbox.close();
    }
    strictEqual((await tryRun("ip", "link", "show", "br0")).code, 1);
    await Deno.stat(folder).then(
      () => ok(false, `${folder} is left`),
      (error) => ok(error instanceof Deno.errors.NotFound),
    );
  }),
);

Deno.test(
  "sandbox: a host behind a VXLAN of Linux pings the host itself through a bridge",
  skippable(async () => {
    needRoot("netdev");
    needProgram("ovsdb-server", { requirement: "peer" });
    await (await openNetdev(`warm${Deno.pid}`)).close();
    await using all = await makeHosts("vt", 1, { net: 78 });
    const [host] = all.hosts;
    ok(host !== undefined);
    const { device, namespace, inner } = host;
    const ip = async (...words: string[]): Promise<void> => {
      const { code, stderr } = await tryRun("ip", ...words);
      if (/Unknown device type/.test(stderr)) {
        throw new Unsupported("VXLAN of Linux", { requirement: "netdev" });
      }
      strictEqual(code, 0, stderr);
    };
    const far = ["id", "5", "dstport", "4789", "remote", "10.78.0.9", "dev", inner];
    await ip("-n", namespace, "link", "add", "vx0", "type", "vxlan", ...far);
    await ip("-n", namespace, "addr", "add", "10.79.0.1/24", "dev", "vx0");
    await ip("-n", namespace, "link", "set", "vx0", "up");
    const sandbox = await Sandbox.open({ type: "netdev" });
    const { folder } = sandbox;
    try {
      const vs = async (...args: string[]): Promise<string> => {
        const db = `--db=unix:${folder}/db.sock`;
        const said = await say("ovs-vsctl", [db, "--timeout=20", ...args], folder);
        strictEqual(said.code, 0, said.stderr);
        return said.stdout;
      };
      // The underlay is a device with the host's address, in a bridge of its own.
      await ip("addr", "add", "10.78.0.9/24", "dev", device);
      await vs(
        ...["add-br", "under", "--", "set", "Bridge", "under", "datapath_type=netdev"],
        ...[
          "--",
          "add-port",
          "under",
          device,
          "--",
          "add-port",
          "br0",
          "t0",
          "--",
          "set",
        ],
        ...["Interface", "t0", "type=vxlan", `options:remote_ip=${host.ipv4}`],
        ...["options:key=5", "--", "set", "Interface", "br0", "mtu_request=1400"],
      );
      await ip("addr", "add", "10.79.0.9/24", "dev", "br0");
      await ip("link", "set", "br0", "up");
      await ping(host, "10.79.0.9");
      match(await vs("get", "Interface", "t0", "status"), /driver_name=vxlan/);
      // Flows say the key.
      await vs("set", "Interface", "t0", "options:key=flow", "ofport_request=7");
      strictEqual(await answers(host, "10.79.0.9"), false);
      const flows = [
        "priority=9,in_port=LOCAL,actions=set_tunnel:5,output:7",
        "priority=9,in_port=7,tun_id=5,actions=LOCAL",
      ];
      for (const flow of flows) {
        strictEqual((await say("ovs-ofctl", ["add-flow", "br0", flow], folder)).code, 0);
      }
      await ping(host, "10.79.0.9");
      match(await vs("get", "Interface", "t0", "ofport"), /^7$/m);
    } finally {
      await sandbox.close();
    }
  }),
);
