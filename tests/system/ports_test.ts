// SPDX-License-Identifier: Apache-2.0
/** Datapaths and ports, as the real ovs-dpctl sees them, and what it makes as we see it. */
import {
  deepStrictEqual as deepEqual,
  fail,
  match,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { enumerateDatapaths, openDatapath } from "../../mod.ts";
import type { PortChange, PortRequest } from "../../providers/contract/ports.ts";
import { run, shell, tryRun } from "../support/command.ts";
import { makeHosts, on } from "../support/netns.ts";
import { makeDatapath, newName, systemTest, until } from "./system.ts";

systemTest("what we make, ovs-dpctl shows", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  await using net = await makeHosts("sp", 2);
  const [a, b] = net.hosts;
  await dp.ports.add({ name: a?.device ?? "" });
  await dp.ports.add({ name: b?.device ?? "", no: 7 });
  await dp.ports.add({ name: "spint", type: "internal" });
  await dp.ports.add({
    name: "vxlan_sys_4790",
    type: "vxlan",
    options: { dst_port: 4790 },
  });
  const shown = await run("ovs-dpctl", "show", dp.name);
  for (
    const line of [
      `system@${dp.name}:`,
      `port 0: ${dp.name} (internal)`,
      `port 1: ${a?.device}`,
      `port 2: spint (internal)`,
      `port 3: vxlan_sys_4790 (vxlan: dst_port=4790, packet_type=ptap)`,
      `port 7: ${b?.device}`,
      "masks-cache: size:256",
    ]
  ) ok(shown.includes(line), `${line}\n${shown}`);
  const listed = (await run("ovs-dpctl", "dump-dps")).trim().split("\n").sort();
  deepEqual(listed, (await enumerateDatapaths({ type: "system" })).toSorted());
});

systemTest("what ovs-dpctl makes, we show", async () => {
  const name = newName();
  await using net = await makeHosts("sq", 1);
  const device = net.hosts[0]?.device ?? "";
  const words = [
    `${device},port_no=5`,
    "sqint,type=internal",
    "sqvx,type=vxlan,remote_ip=flow",
  ];
  await run("ovs-dpctl", "add-dp", name, ...words);
  await using dp = await openDatapath(`system@${name}`);
  deepEqual([...dp.ports.dump()].map(({ no, name, type }) => ({ no, name, type })), [
    { no: 0, name, type: "internal" },
    { no: 1, name: "sqint", type: "internal" },
    { no: 2, name: "vxlan_sys_4789", type: "vxlan" },
    { no: 5, name: device, type: "system" },
  ]);
  await rejects(openDatapath(`system@${name}`, { create: "exclusive" }), {
    code: "EEXIST",
  });
  await dp.destroy();
  // Its tunnel device went with it, although it was not we who made it.
  equal((await tryRun("ip", "link", "show", "vxlan_sys_4789")).code, 1);
  ok(!(await enumerateDatapaths({ type: "system" })).includes(`system@${name}`));
});

type TunnelOptions = NonNullable<PortRequest["options"]>;

systemTest("tunnel devices are made with metadata and removed again", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const kinds: [name: string, type: string, shown: RegExp, options?: TunnelOptions][] = [
    ["tvx", "vxlan", /vxlan external .*dstport 4791 nolearning/, {
      dst_port: 4791,
      gbp: true,
    }],
    ["tgn", "geneve", /geneve external/],
    ["tgre", "gre", /gretap external/],
    ["tgre3", "gre", /link\/none.*\n? *gre external/s, { packet_type: "legacy_l3" }],
    ["tgre6", "ip6gre", /ip6gretap external/],
    ["ter", "erspan", /erspan external/],
    ["ter6", "ip6erspan", /ip6erspan external/],
  ];
  for (const [name, type, shown, options = {}] of kinds) {
    const { no } = await dp.ports.add({ name, type, options });
    match(await run("ip", "-d", "link", "show", name), shown);
    // The device of a tunnel is named otherwise by Open vSwitch, so that the kernel's word counts.
    equal(dp.ports.get(no)?.name, name);
    await dp.ports.delete(no);
    equal((await tryRun("ip", "link", "show", name)).code, 1);
  }
  await rejects(dp.ports.add({ name: "t", type: "vxlan", options: { dst_port: 0 } }), {
    code: "EINVAL",
  });
  await rejects(dp.ports.add({ name: "t", type: "geneve", options: { gbp: true } }), {
    code: "EINVAL",
  });
  // Tunnels that only datapaths in userspace have.
  for (const type of ["gtpu", "srv6"]) {
    await rejects(dp.ports.add({ name: "t", type }), {
      code: "EAFNOSUPPORT",
      message: /userspace/,
    });
  }
  // A port that cannot be attached leaves no device behind.
  await rejects(dp.ports.add({ name: "tvx", type: "vxlan", no: 0 }), { code: "EBUSY" });
  equal((await tryRun("ip", "link", "show", "tvx")).code, 1);
});

systemTest(
  "a tunnel device that was there already is used, and left when it is not ours",
  async () => {
    await using made = await makeDatapath();
    const { dp } = made;
    await shell(
      "ip link add tmine type vxlan external dstport 4792 nolearning udp6zerocsumrx",
    );
    try {
      await dp.ports.delete((await dp.ports.add({ name: "tmine" })).no);
      equal((await tryRun("ip", "link", "show", "tmine")).code, 0);
      const wanted = { name: "tmine", type: "vxlan" };
      await rejects(dp.ports.add({ ...wanted, options: { dst_port: 4793 } }), {
        code: "EEXIST",
      });
      const { no } = await dp.ports.add({ ...wanted, options: { dst_port: 4792 } });
      await dp.ports.delete(no);
      equal((await tryRun("ip", "link", "show", "tmine")).code, 0);
    } finally {
      await tryRun("ip", "link", "delete", "tmine");
    }
  },
);

systemTest(
  "a port has its device's address, MTU and link, and changes of them are told",
  async () => {
    await using made = await makeDatapath();
    const { dp } = made;
    await using net = await makeHosts("sl", 1);
    const [host] = net.hosts;
    const name = host?.device ?? "";
    const sysfs = async (file: string) =>
      (await Deno.readTextFile(`/sys/class/net/${name}/${file}`)).trim();
    const { mac, mtu, link } = await dp.ports.add({ name });
    equal(mac, await sysfs("address"));
    equal(mtu, Number(await sysfs("mtu")));
    deepEqual(link, {
      up: true,
      speed: Number(await sysfs("speed")),
      duplex: await sysfs("duplex"),
    });
    const inner = ["-n", host?.namespace ?? "", "link", "set", host?.inner ?? ""];
    const steps = [
      [[...inner, "down"], () => dp.ports.get(name)?.link?.up === false],
      [[...inner, "up"], () => dp.ports.get(name)?.link?.up === true],
      [["link", "set", name, "mtu", "1400"], () => dp.ports.get(name)?.mtu === 1400],
    ] as const;
    for (const [words, holds] of steps) {
      let told = false;
      for await (
        const change of dp.ports.changes({ signal: AbortSignal.timeout(30_000) })
      ) {
        if (change.kind === "rescan") await run("ip", ...words);
        told ||= change.kind === "changed" && change.name === name;
        if (told && holds()) break;
      }
    }
    deepEqual(
      [...dp.ports.dump()].find((port) => port.name === name),
      dp.ports.get(name),
    );
    const counted = await run("ethtool", "-S", name);
    const names = [...counted.matchAll(/^\s+([^:\n]+): \d+$/gm)].map(([, counter]) =>
      counter
    );
    deepEqual(Object.keys(await dp.ports.driverCounters(1)), names);
    await rejects(dp.ports.driverCounters(99), { code: "ENODEV" });
    await rejects(dp.ports.driverCounters(0), { code: "EOPNOTSUPP" });
  },
);

systemTest(
  "a port whose device is in another namespace has nothing of one of its name here",
  async () => {
    await using made = await makeDatapath();
    const { dp } = made;
    await using net = await makeHosts("sw", 1);
    const name = "swint";
    const { no, mtu } = await dp.ports.add({ name, type: "internal" });
    equal(mtu, 1500);
    await run("ip", "link", "set", name, "netns", net.hosts[0]?.namespace ?? "");
    await run("ip", "link", "add", name, "mtu", "1234", "type", "veth", "peer", "swpeer");
    try {
      deepEqual(dp.ports.get(no), { no, name, type: "internal" });
      await rejects(dp.ports.driverCounters(no), {
        code: "EOPNOTSUPP",
        message: /its device is in another network namespace/,
      });
    } finally {
      await run("ip", "link", "delete", name);
    }
  },
);

systemTest("changes of ports are told, whoever makes them", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  await using other = await makeDatapath();
  await using net = await makeHosts("sc", 2);
  const [a, b] = net.hosts.map((host) => host.device);
  const abort = new AbortController();
  const changes: PortChange[] = [];
  const watch = (async () => {
    for await (const change of dp.ports.changes({ signal: abort.signal })) {
      changes.push(change);
    }
  })();
  await until(() => changes.length === 1);
  deepEqual(changes, [{ kind: "rescan" }]);
  await run("ovs-dpctl", "add-if", dp.name, a ?? "");
  await other.dp.ports.add({ name: b ?? "" });
  await run("ovs-dpctl", "del-if", dp.name, a ?? "");
  await until(() => changes.length >= 3);
  // Its device changes as well when it becomes a port.
  for (const change of changes.slice(1)) deepEqual(change, { kind: "changed", name: a });
  // A device that disappears takes its port with it, and that is told as well.
  await dp.ports.add({ name: a ?? "" });
  await run("ip", "link", "delete", a ?? "");
  await until(() => dp.ports.get(a ?? "") === undefined);
  abort.abort();
  await watch.catch((error) => equal(error, abort.signal.reason));
});

systemTest("a namespace that goes takes its ports, under traffic too", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  await using net = await makeHosts("sn", 2);
  const [a, b] = net.hosts;
  if (!a || !b) throw new Error("no hosts");
  for (const { device } of [a, b]) await dp.ports.add({ name: device });
  dp.flows.put({ key: "in_port(1),eth(),eth_type(0x0800),ipv4()", actions: "2" });
  dp.flows.put({ key: "in_port(2),eth(),eth_type(0x0800),ipv4()", actions: "1" });
  dp.flows.put({ key: "in_port(1),eth(),eth_type(0x0806),arp()", actions: "2" });
  dp.flows.put({ key: "in_port(2),eth(),eth_type(0x0806),arp()", actions: "1" });
  const [program = "", ...args] = on(a, "ping", "-q", "-f", "-w", "20", b.ipv4);
  const flood = new Deno.Command(program, { args, stdout: "null", stderr: "null" })
    .spawn();
  await until(() => dp.stats().hit > 100n);
  await run("ip", "netns", "delete", b.namespace);
  await until(() => dp.ports.get(2) === undefined);
  await dp.ports.delete(1);
  flood.kill("SIGKILL");
  await flood.status;
  deepEqual([...dp.ports.dump()].map(({ no }) => no), [0]);
  equal(dp.stats().flows, 4);
});

systemTest("counters of ports are those of the kernel", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  await using net = await makeHosts("ss", 1);
  const host = net.hosts[0] ?? fail();
  const { device } = host;
  const { no } = await dp.ports.add({ name: device });
  await tryRun(...on(host, "ping", "-c", "1", "-W", "0.1", "10.77.0.9"));
  // The host says something of its own now and then: between one look and the other, too.
  await until(async () => {
    const shown = await run("ovs-dpctl", "show", "-s", dp.name);
    const { rxPackets, rxBytes } = dp.ports.stats(no);
    const block = shown.slice(shown.indexOf(`port ${no}: ${device}`));
    return rxPackets > 0n && block.includes(`RX packets:${rxPackets} `) &&
      block.includes(`RX bytes:${rxBytes} `);
  });
  throws(() => dp.ports.stats(99), { code: "ENODEV" });
});

systemTest("features are negotiated, kept and asked for", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  equal((dp.features?.get() ?? 0) & 0xb, 0x9);
  // Sizes and port ids are set without losing the features.
  dp.caches?.setSize(0, 300);
  equal(dp.caches?.size(0), 512);
  deepEqual(dp.caches?.names(), ["masks-cache"]);
  throws(() => dp.caches?.setSize(1, 256), { code: "EINVAL" });
  dp.upcalls().close();
  equal((dp.features?.get() ?? 0) & 0xb, 0x9);
  throws(() => dp.features?.set(0x40000000), { code: "EOPNOTSUPP" });
  equal((dp.features?.get() ?? 0) & 0xb, 0x9);
  await using perPort = await makeDatapath({ config: { dispatch: "per-vport" } });
  equal((perPort.dp.features?.get() ?? 0) & 0xb, 0x3);
  await rejects(
    openDatapath(`system@${newName()}`, { create: true, config: { no: 1 } }),
    {
      code: "EINVAL",
    },
  );
  equal(dp.queues?.toPriority(0), 0x10001);
  throws(() => dp.queues?.toPriority(0xf000), { code: "EINVAL" });
});

systemTest(
  "a port whose device was renamed is got by the name that the dump shows",
  async () => {
    await using made = await makeDatapath();
    const { dp } = made;
    await using net = await makeHosts("sw", 1);
    const old = net.hosts[0]?.device ?? "";
    const { no } = await dp.ports.add({ name: old });
    await shell(
      `ip link set ${old} down; ip link set ${old} name swnew; ip link set swnew up`,
    );
    try {
      deepEqual([...dp.ports.dump()].find((port) => port.no === no)?.name, "swnew");
      equal(dp.ports.get("swnew")?.no, no);
      equal(dp.ports.get(old), undefined);
      equal(dp.ports.get("swnone"), undefined);
    } finally {
      await run("ip", "link", "delete", "swnew");
    }
  },
);
