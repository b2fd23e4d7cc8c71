// SPDX-License-Identifier: Apache-2.0
/** Real hosts in network namespaces talk through the userspace datapath. */
import assert from "node:assert/strict";
import { run, tryRun } from "../support/command.ts";
import { makeHosts, on, ping } from "../support/netns.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needProgram, needRoot, skippable, Unsupported } from "../support/skip.ts";
import { patience, until } from "../support/wait.ts";
import { addPort, iperf, learn, withSwitch } from "./switch.ts";

Deno.test(
  "traffic: ping, TCP and UDP over IPv4 and IPv6 through ports of Linux devices",
  skippable(() =>
    withSwitch({ prefix: "nta" }, async ({ dp }, left, right) => {
      await ping(left, right.ipv4, 5);
      await ping(right, left.ipv4, 5);
      await ping(left, right.ipv6, 5);
      for (const address of [right.ipv4, right.ipv6]) {
        const tcp = await iperf(left, right, address);
        const gigabits = tcp.sum_received.bits_per_second / 1e9;
        // Truncated segments or broken checksums would leave some kbit/s.
        assert.ok(gigabits > 0.02, `TCP to ${address}: ${gigabits} Gbit/s`);
        console.log(`TCP to ${address}: ${gigabits.toFixed(2)} Gbit/s`);
        const udp = await iperf(left, right, address, "--udp", "--bandwidth", "50M");
        // On a busy machine some are lost; with broken checksums all would be.
        assert.ok(
          udp.sum.lost_percent < 50,
          `UDP to ${address}: ${udp.sum.lost_percent} % lost`,
        );
      }
      const { hit, counters = {} } = dp.stats();
      assert.ok(hit > 10_000n, "packets went by flows");
      assert.equal(counters.drop_action_error, 0n);
      assert.equal(counters.drop_tx_oversize, 0n);
    })
  ),
);

Deno.test(
  "traffic: frames of 9000 bytes pass whole",
  skippable(() =>
    withSwitch({ prefix: "ntb", mtu: 9000 }, async (_bench, left, right) => {
      const whole = (size: number) =>
        run(
          ...on(
            left,
            "ping",
            "-c",
            "3",
            "-i",
            "0.05",
            "-W",
            "2",
            "-M",
            "do",
            "-s",
            `${size}`,
            right.ipv4,
          ),
        );
      for (const size of [1472, 1960, 2048, 4000, 8972]) {
        assert.match(await whole(size), / 3 received/, `${size} bytes`);
      }
    })
  ),
);

Deno.test(
  "traffic: tagged frames keep their tags",
  skippable(() =>
    withSwitch({ prefix: "ntc" }, async (_bench, left, right) => {
      for (const [i, { namespace, inner }] of [left, right].entries()) {
        const made = await tryRun(
          "ip",
          "-n",
          namespace,
          "link",
          "add",
          "link",
          inner,
          "name",
          "tagged",
          "type",
          "vlan",
          "id",
          "42",
        ); // deno-fmt-ignore
        if (made.code !== 0) throw new Unsupported("VLAN devices", { requirement: "peer" });
        await run(
          "ip",
          "-n",
          namespace,
          "addr",
          "add",
          `10.142.0.${i + 1}/24`,
          "dev",
          "tagged",
        );
        await run("ip", "-n", namespace, "link", "set", "tagged", "up");
      }
      await ping(left, "10.142.0.2", 5);
      const tcp = await iperf(left, right, "10.142.0.2");
      assert.ok(tcp.sum_received.bits_per_second > 0.02e9);
    })
  ),
);

Deno.test(
  "traffic: ping and TCP through AF_XDP",
  skippable(() =>
    withSwitch({ prefix: "ntd", type: "afxdp" }, async (_bench, left, right) => {
      await ping(left, right.ipv4, 5);
      // XDP does not say which checksums are partial, so the hosts must complete them.
      const ethtool = needProgram("ethtool", { requirement: "peer" });
      for (const host of [left, right]) {
        await run(...on(host, ethtool, "-K", host.inner, "tx", "off"));
      }
      const tcp = await iperf(left, right, right.ipv4);
      assert.ok(tcp.sum_received.bits_per_second > 0.02e9);
    })
  ),
);

Deno.test(
  "traffic: a TAP port is a device of Linux",
  skippable(async () => {
    needRoot("netdev");
    await using network = await makeHosts("nte", 1, { net: 79 });
    const [host] = network.hosts;
    assert.ok(host !== undefined);
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await addPort(dp, host.device, "system");
    const tap = `ntetap${Deno.pid % 10000}`;
    await addPort(dp, tap, "tap");
    await run("ip", "addr", "add", "10.79.0.100/24", "dev", tap);
    await run("ip", "link", "set", tap, "up");
    const loop = learn(dp);
    await ping(host, "10.79.0.100", 5);
    await dp.close();
    await loop;
    assert.notEqual(
      (await tryRun("ip", "link", "show", tap)).code,
      0,
      "the device goes with its port",
    );
  }),
);

Deno.test(
  "traffic: a device that disappears is told of, and the others go on",
  skippable(() =>
    withSwitch({ prefix: "ntf" }, async (bench, left, right) => {
      const { dp } = bench;
      await using more = await makeHosts("ntg", 1, { net: 88 });
      const third = more.hosts[0] ?? assert.fail();
      await run(
        "ip",
        "-n",
        third.namespace,
        "addr",
        "add",
        "10.78.0.9/24",
        "dev",
        third.inner,
      );
      const no = await addPort(dp, third.device, "system");
      await ping(left, "10.78.0.9", 2);

      const changes = dp.ports.changes({ signal: patience() });
      await changes.next();
      const change = changes.next();
      const flood = new Deno.Command("ip", {
        args: on(left, "ping", "-q", "-f", "-w", "5", "10.78.0.9").slice(1),
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
      const { hit } = dp.stats();
      await until("the flood", () => dp.stats().hit > hit + 10n);
      await run("ip", "link", "delete", third.device);
      assert.ok((await change).value !== undefined, "a change of ports");
      await ping(left, right.ipv4, 5);
      await flood.status;
      await dp.ports.delete(no);
      await changes.return();
      assert.equal(dp.ports.get(no), undefined);
    })
  ),
);
