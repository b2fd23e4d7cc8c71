// SPDX-License-Identifier: Apache-2.0
/**
 * What ports of type dpdk may ask of their devices: granted by some, refused by name by others,
 * never ignored.
 */
import assert from "node:assert/strict";
import type { DatapathError } from "../../providers/errors.ts";
import { run } from "../support/command.ts";
import { udpFrame } from "../support/frames.ts";
import { makeHosts, on, sendFrom } from "../support/netns.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needRoot, skippable } from "../support/skip.ts";
import { pause, until } from "../support/wait.ts";

type Options = Readonly<Record<string, string | number | boolean>>;

/** Names of devices that no other test has. */
let serial = 0;
const device = (driver: string): string => `${driver}_dp${Deno.pid}x${++serial}`;

const add = (bench: NetdevBench, options: Options) =>
  bench.dp.ports.add({ name: "x", type: "dpdk", options });

async function refusal(bench: NetdevBench, options: Options): Promise<DatapathError> {
  try {
    await add(bench, options);
  } catch (error) {
    return error as DatapathError;
  }
  return assert.fail(`${JSON.stringify(options)} was taken`);
}

Deno.test(
  "dpdk: a device that cannot do what a port asks for is refused, by the option's name",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const cannot: readonly (readonly [Options, RegExp])[] = [
      [{ "rx-flow-ctrl": true }, /no flow control, and rx-flow-ctrl/],
      [{ "tx-flow-ctrl": "true" }, /tx-flow-ctrl/],
      [{ "flow-ctrl-autoneg": "true" }, /flow-ctrl-autoneg/],
      [{ "dpdk-lsc-interrupt": "true" }, /driver net_null does not interrupt/],
      [{ "rx-interrupt": "true" }, /driver does not interrupt for packets/],
      [{ "dpdk-vf-mac": "02:00:00:00:00:09" }, /stands for no virtual function/],
      [{ "rx-steering": "rss+lacp" }, /rss\+lacp: the device cannot/],
      [{ "rx-steering": "rss+lacp", n_rxq: 2 }, /rss\+lacp: the device cannot/],
      [{ "tx-offload": "checksum" }, /driver net_null cannot complete checksums/],
      [{ "tx-offload": "tso" }, /driver net_null cannot cut TCP/],
    ];
    for (const [options, message] of cannot) {
      const error = await refusal(bench, { devargs: device("net_null"), ...options });
      assert.equal(error.code, "EOPNOTSUPP", error.message);
      assert.match(error.message, message);
    }
    const wrong: readonly (readonly [Options, RegExp])[] = [
      [{ "rx-flow-ctrl": "yes" }, /rx-flow-ctrl is "yes", expected true or false/],
      [{ "rx-interrupt": "1" }, /rx-interrupt is "1", expected true or false/],
      [{ "dpdk-vf-mac": "01:00:00:00:00:09" }, /the MAC address of one station/],
      [{ "dpdk-vf-mac": "here" }, /the MAC address/],
      [{ "rx-steering": "lacp" }, /expected rss or rss\+lacp/],
      [{ mtu_request: 10 }, /mtu_request is "10"/],
      [{ "tx-steering": "rss" }, /tx-steering is "rss", expected thread or hash/],
      [{ "tx-offload": "true" }, /tx-offload is "true", expected none, checksum or tso/],
    ];
    for (const [options, message] of wrong) {
      const error = await refusal(bench, { devargs: device("net_null"), ...options });
      assert.equal(error.code, "EINVAL", error.message);
      assert.match(error.message, message);
    }
    // What costs nothing to grant is granted, and the device of a refusal is free again.
    const { no, mtu } = await add(bench, {
      "dpdk-devargs": device("net_null"),
      "rx-steering": "rss",
      "tx-steering": "thread",
      "tx-offload": "none",
      "dpdk-lsc-interrupt": false,
      mtu_request: 1600,
      n_rxq: 2,
      n_txq: 3,
      n_rxq_desc: 256,
      n_txq_desc: 128,
    });
    assert.equal(mtu, 1600);
    await bench.dp.ports.delete(no);
  }),
);

Deno.test(
  "dpdk: the link of a device that interrupts is told, and pause frames may be declined",
  skippable(async () => {
    needRoot("netdev");
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const name = `dpt${Deno.pid % 100000}`;
    const devargs = `${device("net_tap")},iface=${name}`;
    const error = await refusal(bench, { devargs, "tx-flow-ctrl": true });
    assert.equal(error.code, "EOPNOTSUPP", error.message);
    const { link } = await add(bench, {
      devargs,
      "dpdk-lsc-interrupt": true,
      "rx-flow-ctrl": false,
    });
    assert.equal(link?.up, true);
    await run("ip", "link", "set", name, "down");
    await until("the link to be down", () => dp.ports.get("x")?.link?.up === false);
    await run("ip", "link", "set", name, "up");
    await until("the link to be up", () => dp.ports.get("x")?.link?.up === true);
  }),
);

Deno.test(
  "dpdk: packets of a device that interrupts for them end the sleep of an idle thread",
  skippable(async () => {
    needRoot("netdev");
    await using bench = await NetdevBench.open({ config: { maxSleepUs: 10_000 } });
    const { dp } = bench;
    const name = `dpi${Deno.pid % 100000}`;
    const devargs = `${device("net_tap")},iface=${name}`;
    const { no } = await add(bench, { devargs, "rx-interrupt": true });
    await run("ip", "link", "set", name, "up");
    const count = (of: string): bigint => dp.pollThreads?.dump()[0]?.counters[of] ?? 0n;
    const woken = count("woken");
    const received = (): bigint => dp.ports.stats(no).rxPackets;
    // Each is for a thread that has slept for long.
    for (let i = 0; i < 5; i++) {
      await pause(20);
      const before = received();
      await sendFrom(name, udpFrame());
      await until("a packet", () => received() > before);
    }
    assert.ok(count("woken") - woken >= 3n, `woken ${count("woken") - woken} times`);
    await dp.ports.delete(no);
  }),
);

Deno.test(
  "dpdk: buffers follow descriptors: many get a pool of their own, which goes with the port",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    for (let round = 0; round < 3; round++) {
      const { no } = await add(bench, {
        devargs: device("net_null"),
        n_rxq: 8,
        n_rxq_desc: 4096,
      });
      await until("packets", () => dp.ports.stats(no).rxPackets > 0n);
      await dp.ports.delete(no);
    }
    const much = { devargs: device("net_null"), n_rxq: 64, n_rxq_desc: 32768 };
    const error = await refusal(bench, much);
    assert.equal(error.code, "ENOMEM", error.message);
    assert.match(
      error.message,
      /packet buffers, which 64 receive and \d+ transmit queues/,
    );
  }),
);

Deno.test(
  "dpdk: transmit queues are chosen by hash if asked for, and otherwise by the thread that sends",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const [host] = await bench.ports("host");
    const frames = Array.from({ length: 64 }, (_, i) => udpFrame({ srcPort: 1000 + i }));
    for (const [steering, most] of [["hash", 4], ["thread", 1]] as const) {
      const options = { devargs: device("net_null"), n_txq: 4, "tx-steering": steering };
      const { no } = await add(bench, options);
      dp.flows.put({ key: `in_port(${host}),eth(),eth_type(0x0800)`, actions: `${no}` });
      await bench.injectAll(host, frames);
      await until("the frames", () => dp.ports.stats(no).txPackets === 64n);
      const counters = await dp.ports.driverCounters(no);
      const queues = Object.keys(counters).filter((name) =>
        /^tx_q\d+_packets$/.test(name) && counters[name] !== 0n
      );
      assert.equal(queues.length, most, queues.join());
      dp.flows.flush();
      await dp.ports.delete(no);
    }
  }),
);

for (const offload of ["none", "checksum", "tso"] as const) {
  Deno.test(
    `dpdk: TCP of a veth leaves by a device with tx-offload=${offload}`,
    skippable(async () => {
      needRoot("netdev");
      await using hosts = await makeHosts("dpo", 1, { net: 79 });
      const [client] = hosts.hosts;
      assert.ok(client !== undefined);
      await using bench = await NetdevBench.open();
      const { dp } = bench;
      const name = `dpo${Deno.pid % 100000}`;
      const { no } = await add(bench, {
        devargs: `${device("net_tap")},iface=${name}`,
        "tx-offload": offload,
      });
      const veth = await dp.ports.add({ name: client.device, type: "system" });
      await run("ip", "address", "add", "10.79.0.9/24", "dev", name);
      await run("ip", "link", "set", name, "up");
      // net_tap of DPDK 22.11 has a segment's Ethernet header fit into its MTU as well, or sends
      // nothing.
      await run(
        ...on(client, "ip", "link", "set", client.inner, "mtu", "1400") as [string],
      );
      for (const [from, to] of [[no, veth.no], [veth.no, no]]) {
        for (const type of ["0x0800", "0x0806"]) {
          dp.flows.put({
            key: `in_port(${from}),eth(),eth_type(${type})`,
            actions: `${to}`,
          });
        }
      }
      using server = Deno.listen({ hostname: "10.79.0.9", port: 0 });
      const { port } = server.addr as Deno.NetAddr;
      const bytes = 4_000_000;
      const send = `head -c ${bytes} /dev/zero > /dev/tcp/10.79.0.9/${port}`;
      const sent = run(...on(client, "timeout", "60", "bash", "-c", send) as [string]);
      const connection = await server.accept();
      let came = 0;
      for await (const chunk of connection.readable) came += chunk.length;
      await sent;
      assert.equal(came, bytes);
      const flow = [...dp.flows.dump()].find(({ key }) =>
        key?.inPort === veth.no && key.etherType === 0x0800
      );
      const each = Number(flow?.stats?.bytes ?? 0n) / Number(flow?.stats?.packets ?? 1n);
      assert.ok(each > 2000, `${each} bytes a packet: nothing was left to cut`);
    }),
  );
}
