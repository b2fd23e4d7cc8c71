// SPDX-License-Identifier: Apache-2.0
/** Real traffic between namespaces through kernel datapaths. */
import { match, ok, strictEqual as equal } from "node:assert/strict";
import { type Datapath, openDatapath } from "../../mod.ts";
import { run, shell, tryRun } from "../support/command.ts";
import { answers, type Host, makeHosts, on, ping } from "../support/netns.ts";
import { needProgram } from "../support/skip.ts";
import { makeDatapath, newName, systemTest, until } from "./system.ts";

/** Attaches hosts; their ports get the numbers 1, 2, … */
async function attach(dp: Datapath, hosts: readonly Host[]): Promise<void> {
  for (const { device } of hosts) await dp.ports.add({ name: device });
}

/** Lets ARP and neighbour discovery pass between ports 1 and 2, and `types` too. */
function connect(dp: Datapath, ...actions: string[]): void {
  const [there = "2", back = "1"] = actions;
  for (const [from, to] of [[1, there], [2, back]] as const) {
    dp.flows.put({ key: `in_port(${from}),eth(),eth_type(0x0806),arp()`, actions: to });
    dp.flows.put({
      key: `in_port(${from}),eth(),eth_type(0x0800),ipv4(frag=no)`,
      actions: to,
    });
    dp.flows.put({
      key: `in_port(${from}),eth(),eth_type(0x86dd),ipv6(frag=no)`,
      actions: to,
    });
  }
}

/** Sends `bytes` of TCP (or UDP) from one host to another; rejects unless they came. */
async function iperf(from: Host, to: Host, ...options: string[]): Promise<void> {
  const iperf3 = needProgram("iperf3", { requirement: "peer" });
  const [program = "", ...args] = on(to, iperf3, "-s", "-1");
  const server = new Deno.Command(program, { args, stdout: "null" }).spawn();
  try {
    await until(async () =>
      (await tryRun(...on(to, "ss", "-ltn"))).stdout.includes(":5201")
    );
    const words = on(from, iperf3, "-J", "-c", to.ipv4, ...options);
    const report = JSON.parse(await run("timeout", "60", ...words));
    const { sum_received: sum } = report.end;
    ok(sum.bytes > 100_000, `${sum.bytes} bytes`);
  } finally {
    try {
      server.kill("SIGKILL");
    } catch {
      // It ended with its one client.
    }
    await server.status;
  }
}

systemTest("ping, TCP, UDP and IPv6 pass by flows", async () => {
  await using made = await makeDatapath();
  await using net = await makeHosts("ta", 2);
  const [a, b] = net.hosts;
  if (!a || !b) throw new Error("no hosts");
  await attach(made.dp, [a, b]);
  equal(await answers(a, b.ipv4), false);
  connect(made.dp);
  await ping(a, b.ipv4);
  await ping(b, a.ipv6);
  await iperf(a, b, "-n", "1M");
  await iperf(b, a, "-u", "-b", "10M", "-n", "300K");
});

systemTest("the learning switch of the examples joins three hosts", async () => {
  const name = newName();
  await using net = await makeHosts("tl", 3);
  const program = new URL("../../examples/learning_switch.ts", import.meta.url).pathname;
  const devices = net.hosts.map((host) => host.device);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", program, `system@${name}`, ...devices],
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  try {
    const [a, b, c] = net.hosts;
    if (!a || !b || !c) throw new Error("no hosts");
    await until(async () => (await tryRun("ovs-dpctl", "show", name)).code === 0);
    await until(() => answers(a, b.ipv4));
    await ping(b, c.ipv4);
    await ping(c, a.ipv6);
    await iperf(a, c, "-n", "1M");
    await using dp = await openDatapath(`system@${name}`);
    ok(dp.stats().flows >= 4);
    ok(dp.stats().hit > dp.stats().missed);
    await dp.destroy();
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
});

systemTest("VLAN tags are pushed, matched and popped", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  await using net = await makeHosts("tv", 2);
  const [a, b] = net.hosts;
  if (!a || !b) throw new Error("no hosts");
  await attach(dp, [a, b]);
  // Host b is on VLAN 7, host a does not know of it.
  await shell(`
    ip -n ${b.namespace} addr flush dev ${b.inner}
    ip -n ${b.namespace} link add link ${b.inner} name v7 type vlan id 7
    ip -n ${b.namespace} link set v7 up
    ip -n ${b.namespace} addr add ${b.ipv4}/24 dev v7`);
  for (const type of ["eth_type(0x0806)", "eth_type(0x0800)"]) {
    dp.flows.put({
      key: `in_port(1),eth(),${type}`,
      actions: "push_vlan(vid=7,pcp=0),2",
    });
    dp.flows.put({
      key: `in_port(2),eth(),eth_type(0x8100),vlan(vid=7),encap(${type})`,
      actions: "pop_vlan,1",
    });
  }
  await ping(a, b.ipv4);
});

for (
  const [type, name, tunnel] of [
    [
      "vxlan",
      "vxlan_sys_4789",
      "set(tunnel(tun_id=0x2a,src=SRC,dst=DST,ttl=64,tp_dst=4789,flags(key)))",
    ],
    [
      "geneve",
      "genev_sys_6081",
      "set(tunnel(tun_id=0x2a,src=SRC,dst=DST,ttl=64,tp_dst=6081,flags(key)))",
    ],
  ] as const
) {
  systemTest(`${type} carries packets between two datapaths`, async () => {
    // Two machines: namespaces m1 and m2 with a cable between them; each has a datapath with one
    // host port and one tunnel port.  A datapath belongs to a namespace, so each side is made
    // there.
    await using net = await makeHosts("tt", 2, { net: 90 });
    const [m1, m2] = net.hosts;
    if (!m1 || !m2) throw new Error("no hosts");
    await shell(`ip link add ttcable type bridge
      ip link set ttcable up
      ip link set ${m1.device} master ttcable
      ip link set ${m2.device} master ttcable`);
    const side = new URL("./tunnel_side.ts", import.meta.url).pathname;
    const make = (self: Host, far: Host, index: number) => {
      const actions = tunnel.replace("SRC", self.ipv4).replace("DST", far.ipv4);
      const spec = JSON.stringify({ type, name, actions, index });
      return run(...on(self, Deno.execPath(), "run", "-A", "--no-check", side, spec));
    };
    try {
      await make(m1, m2, 1);
      await make(m2, m1, 2);
      await run(...on(m1, "ping", "-n", "-c", "2", "-i", "0.1", "-W", "20", "10.91.0.2"));
      const flows = await run(...on(m2, "ovs-dpctl", "dump-flows", "dptun"));
      match(
        flows,
        /tunnel\(tun_id=0x2a,src=10\.90\.0\.1,dst=10\.90\.0\.2.*packets:[1-9]/,
      );
    } finally {
      for (const machine of [m1, m2]) {
        await tryRun(...on(machine, "ovs-dpctl", "del-dp", "dptun"));
      }
      await tryRun("ip", "link", "delete", "ttcable");
    }
  });
}

systemTest(
  "a firewall lets answers in and nothing else, and conntrack agrees",
  async () => {
    needProgram("conntrack", { requirement: "peer" });
    await using made = await makeDatapath();
    const { dp } = made;
    await using net = await makeHosts("tf", 2);
    const [inside, outside] = net.hosts;
    if (!inside || !outside) throw new Error("no hosts");
    await attach(dp, [inside, outside]);
    for (const [from, to] of [[1, 2], [2, 1]]) {
      dp.flows.put({
        key: `in_port(${from}),eth(),eth_type(0x0806),arp()`,
        actions: `${to}`,
      });
      dp.flows.put({
        key: `recirc_id(0),in_port(${from}),eth(),eth_type(0x0800),ipv4()`,
        actions: "ct,recirc(1)",
      });
      dp.flows.put({
        key:
          `recirc_id(1),in_port(${from}),ct_state(+trk+est),eth(),eth_type(0x0800),ipv4()`,
        actions: `${to}`,
      });
    }
    dp.flows.put({
      key: "recirc_id(1),in_port(1),ct_state(+trk+new),eth(),eth_type(0x0800),ipv4()",
      actions: "ct(commit,mark=0x5/0xffffffff,label=0x7/0xff),2",
    });
    equal(await answers(outside, inside.ipv4), false);
    await ping(inside, outside.ipv4);
    await iperf(inside, outside, "-n", "500K");
    const listed = await run("conntrack", "-L");
    match(listed, /tcp .*src=10\.77\.0\.1 dst=10\.77\.0\.2 .*mark=5/);
    const ours = (dp.conntrack ? [...dp.conntrack.dump({ zone: 0 })] : []).filter((
      connection,
    ) => connection.orig.src === inside.ipv4 && connection.orig.dst === outside.ipv4);
    const icmp = ours.find((connection) => connection.orig.proto === 1);
    equal(icmp?.mark, 5);
    equal(icmp?.labels, 7n);
    const tcp = ours.find((connection) => connection.orig.dstPort === 5201);
    ok(tcp?.tcp !== undefined);
    // One by its tuple, then all that are left.
    if (icmp) dp.conntrack?.flush({ tuple: icmp.orig });
    ok(![...dp.conntrack?.dump() ?? []].some(({ id }) => id === icmp?.id));
    dp.conntrack?.flush({ zone: 0 });
    equal([...dp.conntrack?.dump() ?? []].filter(({ mark }) => mark === 5).length, 0);
    await ping(inside, outside.ipv4, 1);
  },
);

systemTest("source NAT hides the inside, and conntrack agrees", async () => {
  needProgram("conntrack", { requirement: "peer" });
  await using made = await makeDatapath();
  const { dp } = made;
  await using net = await makeHosts("tn", 2);
  const [a, b] = net.hosts;
  if (!a || !b) throw new Error("no hosts");
  await attach(dp, [a, b]);
  // Host b answers to 10.77.0.99, which is nobody's: the neighbour is written down.
  await run(
    "ip",
    "-n",
    b.namespace,
    "neigh",
    "add",
    "10.77.0.99",
    "lladdr",
    a.mac,
    "dev",
    b.inner,
  );
  for (const [from, to] of [[1, 2], [2, 1]]) {
    dp.flows.put({
      key: `in_port(${from}),eth(),eth_type(0x0806),arp()`,
      actions: `${to}`,
    });
  }
  dp.flows.put({
    key: "in_port(1),eth(),eth_type(0x0800),ipv4()",
    actions: "ct(commit,nat(src=10.77.0.99)),2",
  });
  dp.flows.put({
    key: "recirc_id(0),in_port(2),eth(),eth_type(0x0800),ipv4()",
    actions: "ct(nat),recirc(2)",
  });
  dp.flows.put({
    key: "recirc_id(2),in_port(2),ct_state(+trk+est),eth(),eth_type(0x0800),ipv4()",
    actions: "1",
  });
  await ping(a, b.ipv4);
  match(
    await run("conntrack", "-L"),
    /icmp .*src=10\.77\.0\.1 dst=10\.77\.0\.2 .*src=10\.77\.0\.2 dst=10\.77\.0\.99/,
  );
  dp.conntrack?.flush();
});

systemTest("a meter drops what exceeds it, and counts both", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  await using net = await makeHosts("tm", 2);
  const [a, b] = net.hosts;
  if (!a || !b) throw new Error("no hosts");
  await attach(dp, [a, b]);
  connect(dp, "meter(3),2");
  dp.meters?.set(3, { unit: "pktps", bands: [{ rate: 1, burst: 5 }] });
  const words = on(a, "ping", "-q", "-c", "100", "-i", "0.002", "-W", "1", b.ipv4);
  const { stdout } = await tryRun(...words);
  const received = Number(/(\d+) received/.exec(stdout)?.[1]);
  ok(received >= 1 && received < 60, stdout);
  const stats = dp.meters?.get(3);
  ok((stats?.packets ?? 0n) >= 100n);
  ok((stats?.bands[0]?.packets ?? 0n) > 30n);
  ok((dp.meters?.delete(3).packets ?? 0n) >= 100n);
});

systemTest("the demo runs on the kernel's datapath", async () => {
  needProgram("iperf3", { requirement: "peer" });
  const demo = new URL("../../examples/demo.ts", import.meta.url).pathname;
  const words = [
    "run",
    "-A",
    "--no-check",
    demo,
    "--provider",
    "system",
    "--seconds",
    "1",
  ];
  const output = await run("timeout", "120", Deno.execPath(), ...words);
  match(output, /learning_switch\.ts system@demo/);
  const [, loss, gigabits] = /Result: ([\d.]+) % loss, ([\d.]+) Gbit\/s/.exec(output) ??
    [];
  ok(Number(loss) < 100, output);
  ok(Number(gigabits) > 0, output);
});
