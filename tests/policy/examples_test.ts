// SPDX-License-Identifier: Apache-2.0
/** The examples that are policies: their flows are sound, and they do what they say. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import * as balancer from "../../examples/balancer.ts";
import * as firewall from "../../examples/firewall_policy.ts";
import * as router from "../../examples/router.ts";
import * as learning from "../../examples/switch.ts";
import {
  checkPolicy,
  decide,
  type Hints,
  type Policy,
  PortsView,
  runPolicy,
} from "../../policy/mod.ts";
import { ethernet, tcpFrame } from "../support/frames.ts";
import { root } from "../support/tree.ts";
import { onEach } from "./bench.ts";

/** Packets and mutants are few here; `deno task policy:oracle` has a million of each. */
const runs = Number(Deno.env.get("POLICY_RUNS") ?? 400);
const addresses: Hints = {
  ports: [1, 2, 3],
  ethernet: ["02:00:00:00:00:01", "02:00:00:00:00:02", router.mine],
  ipv4: ["10.0.0.100", "10.1.2.3", "10.2.0.1", "10.2.9.9"],
  services: [80, 443, 22],
};
const examples: Readonly<Record<string, Policy>> = {
  switch: learning.policy,
  firewall: firewall.policy,
  router: router.policy,
  balancer: balancer.policy,
};

for (const [name, policy] of Object.entries(examples)) {
  Deno.test(`examples: the flows of the ${name} are sound`, () => {
    const ports = new PortsView([1, 2, 3]);
    const report = checkPolicy(policy, {
      runs,
      seed: 7,
      hints: addresses,
      ports,
      change: (random) => {
        ports.update([1, 2, 3, 4].slice(0, 2 + random(3)));
        router.neighbours.set("10.2.0.1", `02:00:00:00:02:0${random(3)}`);
        router.routes.set("10.1.2.0/24", { port: 1 + random(3) });
        if (random(2) === 0) router.neighbours.delete("10.2.0.1");
        if (random(2) === 0) router.routes.delete("10.1.2.0/24");
        const [first, ...rest] = balancer.servers.value;
        if (first) balancer.servers.value = [...rest, first];
      },
    });
    ok(report.mutants > 20 * runs, `${report.mutants}`);
    // What the firewall knows of connections is the datapath's.
    ok(name === "firewall" || report.changes > 10);
  });
}

Deno.test("examples: are as short as they are to be", async () => {
  const limits = { switch: 12, firewall_policy: 20, router: 25, balancer: 25 };
  for (const [name, limit] of Object.entries(limits)) {
    const text = await Deno.readTextFile(`${root}examples/${name}.ts`);
    const { length } = text.split("\n").filter((line) => line !== "");
    ok(length <= limit, `${name} has ${length} lines, ${limit} allowed`);
  }
});

Deno.test("examples: the firewall asks the tracker and lets answers in", () => {
  const web = "in_port(2),eth(),eth_type(0x0800),ipv4(proto=6),tcp(dst=80)";
  const { actions, mask } = decide(firewall.policy, web);
  deepStrictEqual(actions.map(({ type }) => type), ["ct", "recirc"]);
  ok(mask.length > 0);
});

onEach("the router forwards by the longest prefix, and TTL goes down", async (bench) => {
  router.neighbours.clear();
  router.neighbours.set("10.1.0.9", "02:00:00:00:01:09");
  router.neighbours.set("10.2.0.1", "02:00:00:00:02:01");
  await using run = await runPolicy(bench.dp, router.policy);
  const to = (dst: string, ttl = 64) => tcpFrame({ dst, ttl });
  if (bench.dp.type === "netdev") {
    await bench.send(2, to("10.1.0.9"));
    const [frame] = bench.collect(1);
    strictEqual(frame?.subarray(0, 6).toHex(), "020000000109");
    strictEqual(frame?.[22], 63);
    await bench.send(1, to("192.0.2.1"));
    strictEqual(bench.collect(2)[0]?.subarray(0, 6).toHex(), "020000000201");
  }
  await bench.send(1, to("10.1.0.8"), to("192.0.2.1", 1));
  deepStrictEqual(bench.where(), {});
  deepStrictEqual(run.stats.drops, { "no neighbour": 1, "TTL ends": 1 });
});

onEach(
  "the balancer sends each connection to one server",
  async (bench) => {
    await using run = await runPolicy(bench.dp, balancer.policy);
    for (let port = 1000; port < 1040; port++) {
      const frame = tcpFrame({ dst: "10.0.0.100", srcPort: port, dstPort: 80 });
      await bench.send(1, frame, frame);
      const [two, three] = [bench.collect(2), bench.collect(3)];
      strictEqual(Math.max(two.length, three.length), 2, "both go the same way");
      strictEqual(two.length + three.length, 2);
    }
    ok(run.stats.flows <= 40, `${run.stats.flows} flows for 40 connections`);
    const flows = [...run.flows()].map(({ stage }) => stage);
    ok(flows.includes("choose"));
  },
  3,
  ["netdev"],
);

onEach(
  "the firewall lets answers in, and nothing that nobody asked for",
  async (bench) => {
    await using run = await runPolicy(bench.dp, firewall.policy);
    const SYN = 2;
    const ACK = 16;
    const out = (flags: number) =>
      tcpFrame({ src: "10.0.0.1", dst: "10.0.0.2", srcPort: 999, dstPort: 443, flags });
    const back = (flags: number, srcPort = 443) =>
      tcpFrame({ src: "10.0.0.2", dst: "10.0.0.1", srcPort, dstPort: 999, flags });
    await bench.send(2, back(SYN));
    deepStrictEqual(bench.where(), {}, "nobody asked for it");
    await bench.send(1, out(SYN));
    deepStrictEqual(bench.where(), { 2: 1 });
    await bench.send(2, back(SYN | ACK));
    deepStrictEqual(bench.where(), { 1: 1 });
    await bench.send(1, out(ACK));
    await bench.send(2, back(ACK), back(SYN, 444));
    deepStrictEqual(bench.where(), { 1: 1, 2: 1 });
    const web = tcpFrame({
      src: "10.0.0.9",
      dst: "10.0.0.1",
      srcPort: 5,
      dstPort: 80,
      flags: SYN,
    });
    await bench.send(2, web);
    deepStrictEqual(bench.where(), { 1: 1 });
    ok((run.stats.failures.put_failed ?? 0) === 0, JSON.stringify(run.stats.failures));
  },
  2,
  ["netdev"],
);

let networks = 0;

onEach("the switch is README's", async (bench) => {
  // Stations are the program's and outlive a run: each datapath has its own.
  const net = `02:77:00:00:${(++networks).toString(16).padStart(2, "0")}`;
  await using run = await runPolicy(bench.dp, learning.policy);
  const frame = (src: string, dst: string) =>
    ethernet(0x1234, new Uint8Array(50), { src, dst });
  await bench.send(1, frame(`${net}:01`, `${net}:02`));
  deepStrictEqual(bench.where(), { 2: 1, 3: 1 });
  await bench.send(2, frame(`${net}:02`, `${net}:01`));
  deepStrictEqual(bench.where(), { 1: 1 });
  match(run.explain([...run.flows()][0]?.ufid ?? "").toString(), /stations/);
  const readme = await Deno.readTextFile(`${root}README.md`);
  const text = await Deno.readTextFile(`${root}examples/switch.ts`);
  ok(readme.includes(text.trim()));
});
