// SPDX-License-Identifier: Apache-2.0
/**
 * Devices that go, come back, are renamed, belong to somebody else, or are none that can be a port.
 */
import assert from "node:assert/strict";
import type { Datapath } from "../../providers/datapath.ts";
import type { PortRequest } from "../../providers/contract/mod.ts";
import type { DatapathError } from "../../providers/errors.ts";
import type { PortNo } from "../../providers/ids.ts";
import { run, tryRun } from "../support/command.ts";
import { type Host, makeHosts, on, ping, pinged } from "../support/netns.ts";
import { NetdevBench, openNetdev } from "../support/netdev.ts";
import { runScript } from "../support/script.ts";
import { needRoot, skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";
import { addRequest, learn, withSwitch } from "./switch.ts";

const module = JSON.stringify(new URL("../../mod.ts", import.meta.url).href);

/** Port 1 as it is listed, once `wanted` holds of it. */
async function untilPort(
  dp: Datapath,
  wanted: (port: { gone?: true; device?: string }) => boolean,
): Promise<void> {
  await until("the port to follow its device", () => wanted(dp.ports.get(1) ?? {}));
}

/** Changes of the set of ports from now on, counted. */
function countChanges(dp: Datapath): { count: number } {
  const seen = { count: 0 };
  const listen = async () => {
    for await (const _ of dp.ports.changes()) seen.count++;
  };
  listen().catch(() => {});
  return seen;
}

async function refusal(add: Promise<unknown>): Promise<DatapathError> {
  try {
    await add;
  } catch (error) {
    return error as DatapathError;
  }
  return assert.fail("it was added");
}

Deno.test(
  "devices: a port goes with its device, says so, and takes up a new one of the name",
  skippable(() =>
    withSwitch({ prefix: "dga" }, async ({ dp }, left, right) => {
      await ping(left, right.ipv4);
      const changes = countChanges(dp);
      await until("the first rescan", () => changes.count === 1);
      for (const round of [1n, 2n]) {
        await run("ip", "link", "delete", left.device);
        await untilPort(dp, ({ gone }) => gone === true);
        assert.equal(dp.ports.stats(1).counters?.device_lost, round);
        await makeAgain(left);
        await untilPort(dp, ({ gone }) => gone === undefined);
        await ping(left, right.ipv4);
        await until("both changes", () => changes.count >= 1 + 2 * Number(round));
      }
    })
  ),
);

/** Makes the veth pair of a host anew, which was deleted. */
async function makeAgain({ device, inner, mac, namespace, ipv4 }: Host): Promise<void> {
  const peer = ["peer", "name", inner, "address", mac, "netns", namespace];
  await run("ip", "link", "add", device, "type", "veth", ...peer);
  await run("ip", "link", "set", device, "up");
  await run("ip", "-n", namespace, "link", "set", inner, "up");
  await run("ip", "-n", namespace, "addr", "add", `${ipv4}/24`, "dev", inner);
}

/** Kinds of ports that DPDK opens on a Linux device. */
const drivers: Readonly<Record<string, (device: string) => PortRequest>> = {
  "dpdk, net_af_packet": (device) => ({
    name: "x",
    type: "dpdk",
    options: { devargs: `net_af_packet_${device},iface=${device}` },
  }),
  afxdp: (device) => ({ name: "x", type: "afxdp", options: { device } }),
};

for (const [type, request] of Object.entries(drivers)) {
  Deno.test(
    `devices: a port of type ${type} goes with its device, and takes up a new one`,
    skippable(async () => {
      needRoot("netdev");
      await using network = await makeHosts("dge", 2, { net: 78 });
      const [left, right] = network.hosts;
      assert.ok(left !== undefined && right !== undefined);
      await using bench = await NetdevBench.open();
      const { dp } = bench;
      await addRequest(dp, request(left.device));
      await dp.ports.add({ name: right.device });
      const loop = learn(dp);
      try {
        await ping(left, right.ipv4);
        let before = dp.ports.stats(1);
        assert.ok(before.rxPackets > 0n && before.txPackets > 0n);
        for (const round of [1n, 2n]) {
          await run("ip", "link", "delete", left.device);
          await untilPort(dp, ({ gone }) => gone === true);
          const { counters, ...gone } = dp.ports.stats(1);
          assert.equal(counters?.device_lost, round);
          assert.ok(gone.rxPackets >= before.rxPackets, "counters go on");
          await makeAgain(left);
          await untilPort(dp, ({ gone }) => gone === undefined);
          await ping(left, right.ipv4);
          const now = dp.ports.stats(1);
          assert.ok(now.rxPackets > before.rxPackets, "counters go on");
          assert.ok(now.txPackets > before.txPackets, "counters go on");
          before = now;
        }
        // Away and back by itself: what was bound to it is not any more.
        await run("ip", "link", "set", left.device, "netns", right.namespace);
        await untilPort(dp, ({ gone }) => gone === true);
        const back = ["ip", "link", "set", left.device, "netns", `${Deno.pid}`];
        await run(...on(right, ...back));
        await run("ip", "link", "set", left.device, "up");
        await untilPort(dp, ({ gone }) => gone === undefined);
        await ping(left, right.ipv4);
      } finally {
        await dp.close();
        await loop;
      }
    }),
  );
}

Deno.test(
  "devices: a TAP device that somebody deletes is made anew, with its address",
  skippable(async () => {
    needRoot("netdev");
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const name = `dgf${Deno.pid % 100000}`;
    const { no } = await dp.ports.add({ name, type: "tap", options: { mtu: "1400" } });
    const address = () => Deno.readTextFile(`/sys/class/net/${name}/address`);
    const mac = await address();
    for (const round of [1n, 2n]) {
      await run("ip", "link", "delete", name);
      const lost = () => dp.ports.stats(no).counters?.device_lost === round;
      await until("the port to notice", lost);
      await untilPort(dp, ({ gone }) => gone === undefined);
      assert.equal(await address(), mac);
      assert.equal(
        (await Deno.readTextFile(`/sys/class/net/${name}/mtu`)).trim(),
        "1400",
      );
      // What the host sends arrives: its own announcement, by the new descriptor.
      const before = dp.ports.stats(no).rxPackets;
      await run("ip", "addr", "add", "10.99.0.1/24", "dev", name);
      await until("a packet from the host", async () => {
        await tryRun("ping", "-c", "1", "-W", "0.2", "-I", name, "10.99.0.2");
        return dp.ports.stats(no).rxPackets > before;
      });
    }
    await dp.ports.delete(no);
    assert.equal((await tryRun("ip", "link", "show", name)).code, 1);
  }),
);

Deno.test(
  "devices: more than DPDK was built for are refused as DPDK's limit, and deleting one makes room",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { ports } = bench.dp;
    const add = (i: number) => {
      const options = { devargs: `net_null${i}` };
      return ports.add({ name: `n${i}`, type: "dpdk", options });
    };
    let count = 0;
    const all = async () => {
      for (; count <= 1024; count++) await add(count);
    };
    const limit = await refusal(all());
    assert.equal(limit.code, "ENOSPC", limit.message);
    assert.match(limit.message, new RegExp(`DPDK was built for ${count} devices`));
    const memif = await refusal(ports.add({ name: "m", type: "memif" }));
    assert.equal(memif.code, "ENOSPC", memif.message);
    await ports.delete(1 as PortNo);
    await add(count);
  }),
);

Deno.test(
  "devices: one that is moved to another namespace is gone, and comes back with it",
  skippable(() =>
    withSwitch({ prefix: "dgb" }, async ({ dp }, left, right) => {
      await run("ip", "link", "set", left.device, "netns", right.namespace);
      await untilPort(dp, ({ gone }) => gone === true);
      await run(...on(right, "ip", "link", "set", left.device, "netns", `${Deno.pid}`));
      await run("ip", "link", "set", left.device, "up");
      await untilPort(dp, ({ gone }) => gone === undefined);
      await ping(left, right.ipv4);
    })
  ),
);

Deno.test(
  "devices: a renamed one is followed, its MTU too, and a stranger of the old name is another",
  skippable(() =>
    withSwitch({ prefix: "dgc" }, async ({ dp }, left, right) => {
      const name = `dgr${Deno.pid % 100000}`;
      await run("ip", "link", "set", left.device, "down");
      await run("ip", "link", "set", left.device, "name", name);
      await run("ip", "link", "set", name, "up");
      try {
        await untilPort(dp, ({ device }) => device === name);
        for (const [host, device] of [[left, name], [right, right.device]] as const) {
          await run("ip", "link", "set", device, "mtu", "9000");
          await run("ip", "-n", host.namespace, "link", "set", host.inner, "mtu", "9000");
        }
        const options = ["-M", "do", "-s", "8000"];
        assert.equal((await pinged(right, left.ipv4, { count: 3, options })).length, 3);
        await run("ip", "link", "add", left.device, "mtu", "1000", "type", "veth");
        assert.equal((await pinged(right, left.ipv4, { count: 3, options })).length, 3);
        const stranger = { name: "stranger", options: { device: left.device } };
        const { no } = await dp.ports.add(stranger);
        await dp.ports.delete(no);
        // And the device itself is one port, whatever it is called.
        const again = { name: "again", options: { device: name } };
        assert.equal((await refusal(dp.ports.add(again))).code, "EEXIST");
      } finally {
        await run("ip", "link", "delete", name);
      }
    })
  ),
);

Deno.test(
  "devices: one that is a port elsewhere is refused by the name of who has it",
  skippable(async () => {
    needRoot("netdev");
    await using network = await makeHosts("dgd", 1);
    const device = network.hosts[0]?.device ?? "";
    await using bench = await NetdevBench.open();
    await bench.dp.ports.add({ name: device });
    await using other = await openNetdev(`o${crypto.randomUUID().slice(0, 8)}`);
    for (const type of ["system", "afxdp"]) {
      const error = await refusal(other.ports.add({ name: device, type }));
      assert.equal(error.code, "EBUSY", error.message);
      assert.match(error.message, /another datapath of this process/);
    }
    const script = `
      const { openDatapath } = await import(${module});
      await using dp = await openDatapath("netdev@x", { create: true, onNotice() {} });
      const add = (options: Record<string, string>) =>
        dp.ports.add({ name: ${JSON.stringify(device)}, options })
          .then(() => "added", (error) => error.code + error.message);
      console.log(await add({}));
      console.log(await add({ shared: "yes" }));`;
    const { stdout } = await runScript(script, { flags: ["-A"] });
    const [refused = "", shared] = stdout.trim().split("\n");
    assert.match(refused, new RegExp(`^EBUSY.*process ${Deno.pid}\\b`));
    assert.equal(shared, "added");
  }),
);

Deno.test(
  "devices: what has no Ethernet header is refused, and named",
  skippable(async () => {
    needRoot("netdev");
    await using bench = await NetdevBench.open();
    const { ports } = bench.dp;
    const tun = `dgt${Deno.pid % 100000}`;
    await run("ip", "tuntap", "add", "dev", tun, "mode", "tun");
    try {
      const devargs = `net_af_packet_dg,iface=${tun}`;
      for (
        const request of [
          { name: tun },
          { name: "x", options: { device: tun } },
          { name: tun, type: "afxdp" },
          { name: "x", type: "dpdk", options: { devargs } },
        ]
      ) {
        const error = await refusal(ports.add(request));
        assert.equal(error.code, "EINVAL", error.message);
        assert.match(error.message, /TUN/);
      }
      assert.equal((await refusal(ports.add({ name: "lo" }))).code, "EINVAL");
    } finally {
      await run("ip", "link", "delete", tun);
    }
  }),
);

/** A capture of no packets: classic in either byte order, or pcapng in either. */
function capture(link: number, { big, ng }: { big: boolean; ng: boolean }): Uint8Array {
  const words = ng
    ? [
      0x0a0d0d0a,
      28,
      0x1a2b3c4d,
      big ? 0x00010000 : 1,
      0xffffffff,
      0xffffffff,
      28,
      1,
      20,
      link,
      0,
      20,
    ]
    : [0xa1b2c3d4, big ? 0x00020004 : 0x00040002, 0, 0, 65535, link];
  const view = new DataView(new ArrayBuffer(4 * words.length));
  words.forEach((word, i) => view.setUint32(4 * i, word, !big));
  if (ng) view.setUint32(36, link << (big ? 16 : 0), !big);
  return new Uint8Array(view.buffer);
}

Deno.test(
  "devices: a capture of anything else than Ethernet is refused, and its link type named",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const path = await Deno.makeTempFile({ prefix: "upcall-link-" });
    try {
      const add = () =>
        bench.dp.ports.add({ name: "c", type: "pcap", options: { rx_pcap: path } });
      for (const ng of [false, true]) {
        for (const big of [false, true]) {
          for (const [link, name] of [[0, "BSD loopback"], [101, "raw IP"]] as const) {
            await Deno.writeFile(path, capture(link, { big, ng }));
            const error = await refusal(add());
            assert.equal(error.code, "EINVAL");
            assert.match(error.message, new RegExp(`link type is ${link} \\(${name}\\)`));
          }
          await Deno.writeFile(path, capture(1, { big, ng }));
          const { no } = await add();
          await bench.dp.ports.delete(no);
        }
      }
    } finally {
      await Deno.remove(path);
    }
  }),
);
