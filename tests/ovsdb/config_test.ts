// SPDX-License-Identifier: Apache-2.0
/** Rows as bridges, interfaces as ports of datapaths, numbers of ports. */
import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { Replica } from "../../ovsdb/replica.ts";
import { bridgesOf, type FaceConfig } from "../../vswitch/config.ts";
import { confined } from "../../vswitch/confine.ts";
import {
  type DatapathKind,
  dummyNumber,
  requestOf as requestIn,
} from "../../vswitch/face.ts";
import { Numbers } from "../../vswitch/numbers.ts";

const port = (name: string, wanted?: number, had?: number) => ({ name, wanted, had });

Deno.test("numbers: what is asked for, what is had, and none again soon", () => {
  let now = 0;
  const numbers = new Numbers(() => now);
  const of = (...ports: ReturnType<typeof port>[]) =>
    Object.fromEntries(numbers.assign(ports));
  deepStrictEqual(of(port("a"), port("b")), { a: 1, b: 2 });
  // One that goes leaves its number free, but others are given first.
  deepStrictEqual(of(port("b"), port("c")), { b: 2, c: 3 });
  // A port gets the number that it asks for, though another port had that number.
  deepStrictEqual(of(port("b"), port("c"), port("d", 2)), { d: 2, c: 3, b: 4 });
  // Of two that ask for one number, the second gets another.
  deepStrictEqual(of(port("e", 9), port("f", 9)), { e: 9, f: 5 });
  // A port that is new to the program keeps the number that the database has for it.
  deepStrictEqual(of(port("e", 9), port("g", undefined, 77)), { e: 9, g: 77 });
  deepStrictEqual(of(port("e", 65_280), port("h", 0)), { e: 9, h: 6 });
  // After an hour numbers are free again, once all have had their turn.
  now = 3_600_001;
  const many = Array.from({ length: 32_760 }, (_, i) => port(`m${i}`));
  strictEqual(new Set(numbers.assign(many).values()).size, 32_760);
});

Deno.test("numbers: a switch that has none left says so", () => {
  const numbers = new Numbers(() => 0);
  const many = Array.from({ length: 32_768 }, (_, i) => port(`m${i}`));
  const given = numbers.assign(many);
  strictEqual(given.size, 32_767);
  strictEqual(given.get("m32767"), undefined);
});

const face = (type: string, options: Record<string, string> = {}): FaceConfig => ({
  uuid: "",
  name: "x1",
  type,
  options: new Map(Object.entries(options)),
  wanted: undefined,
  had: undefined,
  mtu: 1400,
  address: undefined,
});

const FOLDER = "/run/switch";

function requestOf(one: FaceConfig, kind: DatapathKind) {
  return requestIn(one, kind, FOLDER);
}

Deno.test("faces: no database has files of others opened, or programs started", () => {
  const options = (type: string, given: Record<string, string> = {}) => {
    const { mtu: _, ...rest } = requestOf(face(type, given), "netdev")?.options ?? {};
    return rest;
  };
  throws(() => options("pcap", { tx_pcap: "/etc/shadow" }), { code: "EAFNOSUPPORT" });
  throws(() => options("pcap"), { code: "EAFNOSUPPORT" });
  // Sockets that are made here are in the run folder.
  deepStrictEqual(options("dpdkvhostuser"), { path: `${FOLDER}/x1` });
  deepStrictEqual(options("dpdkvhostuser", { path: "vm/1" }), { path: `${FOLDER}/vm/1` });
  const server = { role: "server", "socket-abstract": "no" };
  deepStrictEqual(options("memif", server), {
    ...server,
    socket: `${FOLDER}/memif.sock`,
  });
  for (
    const path of ["/etc/cron.d/x", `${FOLDER}/../x`, "../x", `${FOLDER}x/y`, ".", "/"]
  ) {
    throws(() => options("dpdkvhostuser", { path }), { code: "EINVAL" }, path);
    throws(() => options("memif", { ...server, socket: path }), { code: "EINVAL" }, path);
    throws(() => options("afxdp", { xdp_prog: path }), { code: "EINVAL" }, path);
    throws(() => confined(FOLDER, path), RangeError);
  }
  strictEqual(confined(FOLDER, `${FOLDER}/./a//b`), `${FOLDER}/a/b`);
  // Those that are made by others are where these say.
  const client = { "vhost-server-path": "/var/lib/vm.sock" };
  deepStrictEqual(options("dpdkvhostuserclient", client), { path: "/var/lib/vm.sock" });
  const peer = { role: "client", socket: "/run/vpp/memif.sock" };
  deepStrictEqual(options("memif", peer), peer);
  const plain = [
    ...["0000:01:00.0", "01:00.0,representor=0", "class=eth,mac=02:00:00:00:00:01"],
    ...["net_af_packet0,iface=eth0", "net_virtio_user0,path=/dev/vhost-net,queues=2"],
  ];
  for (const devargs of plain) {
    deepStrictEqual(options("dpdk", { "dpdk-devargs": devargs }), {
      "dpdk-devargs": devargs,
    });
  }
  const unsafe = [
    ...["net_pcap0,tx_pcap=shadow", "eth_pcap0,rx_pcap=a", "net_vhost0,iface=x"],
    ...["net_memif0,socket=x", "net_failsafe0,exec(reboot)", "net_tap0,remote=/etc/x"],
    ...["net_virtio_user0,path=x,server=1", "net_af_xdp0,iface=a,xdp_prog=x"],
  ];
  for (const devargs of unsafe) {
    for (const option of ["devargs", "dpdk-devargs"]) {
      const given = { [option]: devargs };
      throws(() => options("dpdk", given), { code: "EINVAL" }, devargs);
    }
  }
});

Deno.test("faces: what they are in each kind of datapath", () => {
  deepStrictEqual(requestOf(face("system"), "system"), { name: "x1" });
  deepStrictEqual(requestOf(face("internal"), "system"), {
    name: "x1",
    type: "internal",
  });
  deepStrictEqual(requestOf(face("internal"), "netdev"), {
    name: "x1",
    type: "internal",
    options: { mtu: "1400" },
  });
  const dummy = { name: "x1", type: "dummy", options: { mtu: "1400" }, no: 1 };
  deepStrictEqual(requestOf(face("internal"), "dummy"), dummy);
  strictEqual(requestOf(face("patch", { peer: "y" }), "netdev"), undefined);
  deepStrictEqual(
    requestOf(
      face("vxlan", { remote_ip: "1.1.1.1", key: "flow", exts: "gbp" }),
      "netdev",
    ),
    {
      name: "x1",
      type: "vxlan",
      options: { remote_ip: "1.1.1.1", key: "flow", dst_port: "4789", gbp: "true" },
    },
  );
  deepStrictEqual(requestOf(face("geneve", { remote_ip: "flow" }), "system"), {
    name: "x1",
    type: "geneve",
    options: { dst_port: "6081" },
  });
  throws(() => requestOf(face("odd"), "netdev"), /odd|x1/);
  throws(() => requestOf(face("dummy"), "system"), /x1/);
  deepStrictEqual(
    ["br0", "br1", "p1", "p", "eth07x9", "p99999"].map(dummyNumber),
    [100, 101, 1, undefined, 7, undefined],
  );
});

Deno.test("config: values that are none fall back", () => {
  const uuid = (last: number) => `00000000-0000-0000-0000-00000000000${last}`;
  const rows = new Replica();
  const set = (...numbers: number[]) => ["set", numbers.map((n) => ["uuid", uuid(n)])];
  const map = (pairs: Record<string, string>) => ["map", Object.entries(pairs)];
  rows.apply({
    Open_vSwitch: { [uuid(1)]: { initial: { bridges: set(2, 3, 4) } } },
    Bridge: {
      [uuid(2)]: {
        initial: {
          name: "br0",
          ports: set(5),
          fail_mode: "secure",
          protocols: ["set", ["OpenFlow10", "OpenFlow13", "odd"]],
          other_config: map({ "datapath-id": "0xab", hwaddr: "01:00:00:00:00:01" }),
        },
      },
      [uuid(3)]: { initial: { name: "../x" } },
      [uuid(4)]: { initial: { name: "br0", datapath_type: "netdev" } },
    },
    Port: {
      [uuid(5)]: {
        initial: { name: "p", interfaces: set(6), tag: 7, trunks: ["set", [1]] },
      },
    },
    Interface: { [uuid(6)]: { initial: { name: "p", mac: "aa:55:aa:55:00:01" } } },
  } as never);
  const bridges = bridgesOf(rows);
  deepStrictEqual([...bridges.keys()], ["br0"]);
  const bridge = bridges.get("br0");
  strictEqual(bridge?.type, "system");
  strictEqual(bridge?.versions, 1 << 1 | 1 << 4);
  strictEqual(bridge?.datapathId, 0xabn);
  strictEqual(bridge?.address, undefined, "the address of a group is nobody's");
  strictEqual(bridge?.ports[0]?.faces[0]?.address, "aa:55:aa:55:00:01");
  // As in Open vSwitch: a tag alone makes an access port, and trunks are nothing to it.
  deepStrictEqual(bridge?.ports[0]?.bundle, {
    customers: undefined,
    mode: "access",
    tag: 7,
    trunks: undefined,
    isProtected: false,
    priorityTags: "no",
  });
});

Deno.test("config: what no device and no timer can have", () => {
  const [root, bridge, port, face, controller] = [1, 2, 3, 4, 5].map((n) =>
    `00000000-0000-4000-8000-00000000000${n}`
  ) as [string, string, string, string, string];
  const rows = new Replica();
  const uuid = (of: string) => ["uuid", of];
  const most = Number.MAX_SAFE_INTEGER;
  rows.apply({
    Open_vSwitch: { [root]: { initial: { bridges: uuid(bridge) } } },
    Bridge: {
      [bridge]: {
        initial: { name: "b", ports: uuid(port), controller: uuid(controller) },
      },
    },
    Port: { [port]: { initial: { name: "p", interfaces: uuid(face) } } },
    Interface: { [face]: { initial: { name: "p", mtu_request: most } } },
    Controller: {
      [controller]: {
        initial: { target: "tcp:h", max_backoff: most, inactivity_probe: most },
      },
    },
  });
  const found = bridgesOf(rows).get("b");
  strictEqual(found?.ports[0]?.faces[0]?.mtu, undefined);
  // A timer of more fires at once.
  const [{ probeMs, maxBackoffMs } = { probeMs: 0, maxBackoffMs: 0 }] =
    found?.controllers ?? [];
  deepStrictEqual([probeMs, maxBackoffMs], [2 ** 31 - 1, 2 ** 31 - 1]);
  rows.apply({ Controller: { [controller]: { modify: { inactivity_probe: -1 } } } });
  strictEqual(bridgesOf(rows).get("b")?.controllers[0]?.probeMs, 0);
});
