// SPDX-License-Identifier: Apache-2.0
/** What ports say of their devices: MTU, address, link, and what the driver counts. */
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import type { Port } from "../../providers/contract/mod.ts";
import type { PortNo } from "../../providers/ids.ts";
import { run } from "../support/command.ts";
import { makeHosts } from "../support/netns.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needRoot, skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";

const sysfs = async (device: string, name: string): Promise<string> =>
  (await Deno.readTextFile(`/sys/class/net/${device}/${name}`)).trim();

/** Waits until a change is told of, and the port is as `wanted`. */
async function untilTold(
  dp: Datapath,
  change: () => Promise<unknown>,
  wanted: (port: Port) => boolean,
): Promise<void> {
  const told = (async () => {
    let first = true;
    for await (const _ of dp.ports.changes({ signal: AbortSignal.timeout(30_000) })) {
      if (first) await change();
      first = false;
      const port = dp.ports.get(1 as PortNo);
      if (port !== undefined && wanted(port)) return;
    }
  })();
  await told;
}

Deno.test(
  "links: a port on a veth has its device's address, MTU, speed and link, and changes of them are told",
  skippable(async () => {
    needRoot("netdev");
    await using network = await makeHosts("lka", 1);
    const [host] = network.hosts;
    assert.ok(host !== undefined);
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const added = await dp.ports.add({ name: host.device });
    assert.equal(added.mac, await sysfs(host.device, "address"));
    assert.equal(added.mtu, Number(await sysfs(host.device, "mtu")));
    assert.deepEqual(added.link, {
      up: true,
      speed: Number(await sysfs(host.device, "speed")),
      duplex: await sysfs(host.device, "duplex"),
    });

    const inside = ["-n", host.namespace, "link", "set", host.inner];
    await untilTold(dp, () => run("ip", ...inside, "down"), ({ link }) => !link?.up);
    assert.deepEqual(dp.ports.get(host.device)?.link, { up: false });
    await untilTold(
      dp,
      () => run("ip", ...inside, "up"),
      ({ link }) => link?.up === true && link.speed === added.link?.speed,
    );
    const mtu = ["link", "set", host.device, "mtu", "1400"];
    await untilTold(dp, () => run("ip", ...mtu), (port) => port.mtu === 1400);
  }),
);

Deno.test(
  "links: driver counters of a Linux device are those of ethtool",
  skippable(async () => {
    needRoot("netdev");
    await using network = await makeHosts("lkb", 1);
    const [host] = network.hosts;
    assert.ok(host !== undefined);
    await using bench = await NetdevBench.open();
    const { no } = await bench.dp.ports.add({ name: host.device });
    const text = await run("ethtool", "-S", host.device);
    const theirs = [...text.matchAll(/^\s+([^:\n]+): (\d+)$/gm)].map(([, name]) => name);
    const ours = await bench.dp.ports.driverCounters(no);
    assert.deepEqual(Object.keys(ours), theirs);
    const index = Number(
      await run("ip", "-n", host.namespace, "-o", "link", "show", host.inner)
        .then((line) => line.split(":", 1)[0]),
    );
    assert.equal(ours["peer_ifindex"], BigInt(index));
  }),
);

Deno.test(
  "links: devices of DPDK have a speed, a link, and counters of their driver",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const options = { devargs: `net_null_lk${Deno.pid}`, mtu: 1600 };
    const { no, link, mtu, mac } = await dp.ports.add({
      name: "n",
      type: "dpdk",
      options,
    });
    assert.deepEqual(link, { up: true, speed: 10_000, duplex: "full" });
    assert.equal(mtu, 1600);
    assert.match(mac ?? "", /^(..:){5}..$/);
    await until("packets of the null device", () => dp.ports.stats(no).rxPackets > 1000n);
    const counters = await dp.ports.driverCounters(no);
    assert.ok((counters["rx_good_packets"] ?? 0n) > 1000n, Object.keys(counters).join());
    assert.ok("rx_q0_packets" in counters);
  }),
);

Deno.test(
  "links: ports in memory have no driver that counts, and no speed",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const [no] = await bench.ports("d");
    const { link, mtu } = bench.dp.ports.get("d") ?? {};
    assert.deepEqual(link, { up: true });
    assert.equal(typeof mtu, "number");
    await assert.rejects(
      bench.dp.ports.driverCounters(no as PortNo),
      /EOPNOTSUPP/,
    );
    await assert.rejects(bench.dp.ports.driverCounters(99 as PortNo), /ENODEV/);
  }),
);
