// SPDX-License-Identifier: Apache-2.0
/**
 * Scenarios that others test the kernel's datapath by, as far as no other file has them: see
 * README.md.
 */
import { ok, strictEqual as equal } from "node:assert/strict";
import {
  type Datapath,
  enumerateDatapaths,
  openDatapath,
  type Upcall,
} from "../../mod.ts";
import { run, shell, tryRun } from "../support/command.ts";
import { answers, type Host, makeHosts, on, ping } from "../support/netns.ts";
import { makeDatapath, systemTest, until } from "./system.ts";

/** Attaches two hosts as ports 1 and 2 and lets ARP pass between them. */
async function attach(dp: Datapath, hosts: readonly Host[]): Promise<[Host, Host]> {
  const [a, b] = hosts;
  if (!a || !b) throw new Error("no hosts");
  for (const { device } of [a, b]) await dp.ports.add({ name: device });
  for (const [from, to] of [[1, 2], [2, 1]]) {
    dp.flows.put({
      key: `in_port(${from}),eth(),eth_type(0x0806),arp()`,
      actions: `${to}`,
    });
  }
  return [a, b];
}

/** Writes down which device an address that is nobody's is reached at. */
function neighbour(host: Host, address: string, mac: string): Promise<string> {
  const words = ["neigh", "add", address, "lladdr", mac, "dev", host.inner];
  return run("ip", "-n", host.namespace, ...words);
}

systemTest("destination NAT leads to the inside, and only by its address", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  await using net = await makeHosts("xd", 2);
  const [client, server] = await attach(dp, net.hosts);
  await neighbour(client, "10.77.0.98", server.mac);
  const ipv4 = "eth(),eth_type(0x0800)";
  dp.flows.put({
    key: `recirc_id(0),in_port(1),${ipv4},ipv4(dst=10.77.0.98)`,
    actions: `ct(commit,nat(dst=${server.ipv4})),recirc(1)`,
  });
  dp.flows.put({
    key: `recirc_id(1),in_port(1),ct_state(+trk-inv),${ipv4},ipv4()`,
    actions: "2",
  });
  dp.flows.put({
    key: `recirc_id(0),in_port(2),${ipv4},ipv4()`,
    actions: "ct(nat),recirc(2)",
  });
  dp.flows.put({
    key: `recirc_id(2),in_port(2),ct_state(+trk+est),${ipv4},ipv4()`,
    actions: "1",
  });
  await ping(client, "10.77.0.98");
  const [connection] = [...dp.conntrack?.dump() ?? []].filter(({ orig }) =>
    orig.dst === "10.77.0.98"
  );
  equal(connection?.reply.src, server.ipv4);
  // Nobody else's address is let through, and the other way round no connection begins.
  equal(await answers(client, server.ipv4), false);
  equal(await answers(server, client.ipv4), false);
  dp.conntrack?.flush();
});

systemTest("errors about a connection under source NAT are related to it", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  await using net = await makeHosts("xr", 2);
  const [client, server] = await attach(dp, net.hosts);
  await neighbour(server, "10.77.0.97", client.mac);
  const ipv4 = "eth(),eth_type(0x0800)";
  dp.flows.put({
    key: `recirc_id(0),in_port(1),${ipv4},ipv4()`,
    actions: "ct(commit,nat(src=10.77.0.97)),recirc(1)",
  });
  dp.flows.put({
    key: `recirc_id(1),in_port(1),ct_state(+trk-inv),${ipv4},ipv4()`,
    actions: "2",
  });
  dp.flows.put({
    key: `recirc_id(0),in_port(2),${ipv4},ipv4()`,
    actions: "ct(nat),recirc(2)",
  });
  const related = (address: string, actions: string) => {
    const key = `recirc_id(2),in_port(2),ct_state(+rel+trk),${ipv4},` +
      `ipv4(dst=${address},proto=1),icmp()`;
    dp.flows.put({ key, actions });
    return () => dp.flows.get({ key }).stats.packets;
  };
  const translated = related(client.ipv4, "1");
  const left = related("10.77.0.97", "");
  // Nobody listens there: the server says so, with the packet that it got in its error.
  const send = on(client, "bash", "-c", `echo a >/dev/udp/${server.ipv4}/10000`);
  await until(async () => {
    await tryRun(...send);
    return translated() > 0n;
  });
  equal(left(), 0n);
  dp.conntrack?.flush();
});

systemTest("a miss on a tunnel port says what the tunnel said", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  await using net = await makeHosts("xt", 1);
  const [host] = net.hosts;
  if (!host) throw new Error("no host");
  const { no } = await dp.ports.add({ name: "vxlan_sys_4789", type: "vxlan" });
  const cases = [
    { id: 1155332, ttl: 32, csum: true },
    { id: 45, ttl: 15, csum: false },
  ];
  await shell(`ip addr add 10.77.0.254/24 dev ${host.device}`);
  for (const [i, { id, ttl, csum }] of cases.entries()) {
    const words = [
      `type vxlan id ${id} remote 10.77.0.254 local ${host.ipv4} dstport 4789`,
      `ttl ${ttl} ${csum ? "udpcsum" : "noudpcsum"}`,
    ];
    await shell(`
      ip -n ${host.namespace} link add vx${i} ${words.join(" ")}
      ip -n ${host.namespace} link set vx${i} addrgenmode none mtu 1400 up
      ip -n ${host.namespace} addr add 10.99.${i}.1/24 dev vx${i}`);
  }
  const stream = dp.upcallBatches({ signal: AbortSignal.timeout(30_000) });
  for (const [i, { id, ttl, csum }] of cases.entries()) {
    const asking = answers(host, `10.99.${i}.2`);
    let arp: Upcall | undefined;
    while (!arp) {
      const { value } = await stream.next();
      arp = value?.find(({ key }) => key.arp?.tip === `10.99.${i}.2`);
    }
    equal(arp.key.inPort, no);
    const { tunnel } = arp.key;
    equal(tunnel?.id, BigInt(id));
    equal(tunnel?.src, host.ipv4);
    equal(tunnel?.dst, "10.77.0.254");
    equal(tunnel?.ttl, ttl);
    equal(tunnel?.dstPort, 4789);
    equal(tunnel?.checksum ?? false, csum);
    equal(await asking, false);
  }
  await stream.close();
});

systemTest("a datapath that goes takes its tunnel devices with it", async () => {
  for (const type of ["vxlan", "geneve", "gre"]) {
    await using made = await makeDatapath();
    const { dp } = made;
    const name = `x${type}`;
    await dp.ports.add({ name, type });
    await using again = await openDatapath(dp.fullName);
    await dp.destroy();
    equal((await tryRun("ip", "link", "show", name)).code, 1);
    equal((await tryRun("ip", "link", "show", dp.name)).code, 1);
    let code = "";
    try {
      again.stats();
    } catch (error) {
      ({ code } = error as { code: string });
    }
    equal(code, "ENODEV");
  }
});

systemTest(
  "ten datapaths are listed with ten ports, and not when they are gone",
  async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => makeDatapath()));
    const [first] = all;
    if (!first) throw new Error("no datapath");
    const names = Array.from({ length: 10 }, (_, i) => `xint${i}`);
    for (const name of names) await first.dp.ports.add({ name, type: "internal" });
    equal([...first.dp.ports.dump()].length, 11);
    for (const name of names) {
      const no = first.dp.ports.get(name)?.no;
      ok(no !== undefined);
      await first.dp.ports.delete(no);
    }
    equal([...first.dp.ports.dump()].length, 1);
    const listed = new Set(await enumerateDatapaths({ type: "system" }));
    for (const { dp } of all) ok(listed.has(dp.fullName));
    for (const made of all) await made[Symbol.asyncDispose]();
    const left = new Set(await enumerateDatapaths({ type: "system" }));
    for (const { dp } of all) ok(!left.has(dp.fullName));
  },
);
