// SPDX-License-Identifier: Apache-2.0
/**
 * What policies cost: `deno run -A tests/bench/policy_bench.ts [NAME…]`. Each line is a figure with
 * its spread over rounds.
 *
 * Packets are made here and not by a port, so that what is measured is everything beside the ring:
 * deciding, putting flows into a real table of the userspace datapath, keeping them true. The
 * hand-written switch is fed the same batches, in turn with the policy.
 *
 * @module
 */
import {
  Cell,
  checkPolicy,
  drop,
  forward,
  type Policy,
  PortsView,
  type Rule,
  RuleTable,
  runPolicy,
  StateMap,
} from "../../policy/mod.ts";
import { Runner } from "../../policy/runner.ts";
import { Continuations } from "../../policy/stage.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { exact, output } from "../../providers/odp/mod.ts";
import type { Op } from "../../providers/operations.ts";
import type { Upcall } from "../../providers/upcall.ts";
import { packetsFor, policyOf, rulesOf, upcallOf } from "./policy_rules.ts";
import { BenchError, helpIfAsked, orComplain } from "./usage.ts";
import { policy as firewall } from "../../examples/firewall_policy.ts";
import { policy as learningSwitch } from "../../examples/switch.ts";
import {
  batches,
  cpuSeconds,
  Fed,
  ip,
  mac,
  ROUNDS,
  say,
  upcall,
  withDatapath,
} from "./policy_feed.ts";

/** The learning switch as one writes it by hand, fed the same batches; s of CPU. */
function byHand(dp: Datapath, all: readonly Upcall[][]): number {
  const stations = new Map<string, number>();
  const mask = exact("inPort", "ethernet");
  const start = cpuSeconds();
  for (const batch of all) {
    const ops: Op[] = [];
    for (const { key, packet, inPort = 0 } of batch) {
      if (key.ethernet === undefined) continue;
      stations.set(key.ethernet.src, inPort);
      const to = stations.get(key.ethernet.dst) ?? 2;
      ops.push({ op: "put", key, packet, mask, actions: [output(to)] });
    }
    dp.operate(ops);
  }
  return cpuSeconds() - start;
}

const benches: Readonly<Record<string, () => Promise<void> | void>> = {
  /** Set-ups of a learning switch, against one by hand. */
  setups: () =>
    withDatapath(async (dp) => {
      const count = 30_000;
      const policies: number[] = [];
      const hands: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const make = () =>
          batches(Array.from({ length: count }, (_, i) => upcall(i + 2)));
        dp.flows.flush();
        hands.push(count / byHand(dp, make()));
        dp.flows.flush();
        const fed = new Fed(dp);
        const run = await runPolicy(fed.dp, learningSwitch, { flows: { cpu: 10 } });
        await fed.handle([[upcall(1, { src: mac(1), dst: mac(99) })]]);
        policies.push(count / await fed.handle(make()));
        fed.end();
        await run.close();
      }
      say("set-ups, by hand", "/s of CPU", hands);
      say("set-ups, policy", "/s of CPU", policies);
      say("set-ups, ratio", "x", policies.map((rate, i) => rate / (hands[i] as number)));
    }),

  /** Set-ups through a table of 1,000 rules of five fields. */
  rules: () =>
    withDatapath(async (dp) => {
      const rules = rulesOf(1000, 1);
      const policy = policyOf(rules);
      const rates: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const all = batches(packetsFor(rules, 20_000, round).map(upcallOf));
        dp.flows.flush();
        const fed = new Fed(dp);
        const run = await runPolicy(fed.dp, policy, { flows: { cpu: 10 } });
        rates.push(20_000 / await fed.handle(all));
        console.log(`  ${run.stats.flows} flows, ${run.stats.masks} masks`);
        fed.end();
        await run.close();
      }
      say("upcalls through 1,000 rules", "/s of CPU", rates);
    }),

  /** One run of a policy, without a datapath. */
  runs: () => {
    const runner = new Runner(new Continuations(), new PortsView([1, 2]));
    const policies: Record<string, Policy> = {
      forward: () => forward(1),
      switch: learningSwitch,
      firewall,
    };
    const keys = Array.from({ length: 4096 }, (_, i) => upcall(i).raw.key);
    for (const [name, policy] of Object.entries(policies)) {
      const costs: number[] = [];
      for (let round = 0; round < ROUNDS + 2; round++) {
        const start = cpuSeconds();
        for (let i = 0; i < 200_000; i++) {
          runner.run(policy, keys[i & 4095] as Uint8Array, 0);
          runner.tracker.dropDependencies();
        }
        costs.push((cpuSeconds() - start) / 200_000 * 1e9);
      }
      say(`a run of ${name}`, "ns", costs.slice(2));
    }
  },

  /** 100,000 flows: all run again; one that changes among them; idle. */
  rerun: () =>
    withDatapath(async (dp) => {
      const count = 100_000;
      const everything = new Cell(0, { name: "everything" });
      const doors = new StateMap<string, boolean>({ name: "doors", max: 1 << 20 });
      const fed = new Fed(dp);
      const run = await runPolicy(fed.dp, (packet) => {
        if (packet.ethernet === undefined || everything.value < 0) return drop();
        return doors.get(packet.ethernet.src) ? drop("closed") : forward(2);
      }, { idleMs: 600_000, flows: { cpu: 10, max: 300_000 }, audit: { perSecond: 0 } });
      const before = Deno.memoryUsage().heapUsed + Deno.memoryUsage().external;
      await fed.handle(batches(Array.from({ length: count }, (_, i) => upcall(i))));
      const after = Deno.memoryUsage().heapUsed + Deno.memoryUsage().external;
      say("memory of a flow, garbage included", "bytes", [(after - before) / count]);
      const all: number[] = [];
      const some: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const cpu = cpuSeconds();
        everything.value++;
        await run.settled();
        all.push(count / (cpuSeconds() - cpu));
        const { reruns } = run.stats;
        const start = performance.now();
        for (let i = 0; i < 100; i++) doors.set(mac(round * 100 + i), true);
        await run.settled();
        some.push(performance.now() - start);
        if (run.stats.reruns - reruns !== 100) throw new Error("not exactly those ran");
      }
      say(`${run.stats.flows} flows run again`, "flows/s of CPU", all);
      say("100 flows of 100,000 changed", "ms", some);
      const walks: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const start = cpuSeconds();
        await run.statistics();
        walks.push((cpuSeconds() - start) / count * 1e9);
      }
      say("a walk, each flow", "ns of CPU", walks);
      fed.end();
      await run.close();
    }),

  /** 100,000 flows, each through 20 tables of rules: all run again. */
  tables: () =>
    withDatapath(async (dp) => {
      const count = 100_000;
      const everything = new Cell(0, { name: "everything" });
      const tables = Array.from({ length: 20 }, (_, i) => {
        const table = new RuleTable<Rule & { readonly to: number }>({
          name: `table${i}`,
        });
        table.transact((t) =>
          t.add({ match: { etherType: 0x0800 }, priority: 1, to: i })
        );
        return table;
      });
      const fed = new Fed(dp);
      const run = await runPolicy(fed.dp, (packet) => {
        if (packet.ethernet?.src === "" || everything.value < 0) return drop();
        for (const table of tables) if (table.match(packet) === undefined) return drop();
        return forward(2);
      }, { idleMs: 600_000, flows: { cpu: 10, max: 300_000 }, audit: { perSecond: 0 } });
      await fed.handle(batches(Array.from({ length: count }, (_, i) => upcall(i))));
      const all: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const start = cpuSeconds();
        everything.value++;
        await run.settled();
        all.push(count / (cpuSeconds() - start));
      }
      say(`${run.stats.flows} flows run again through 20 tables`, "flows/s of CPU", all);
      fed.end();
      await run.close();
    }),

  /** 100,000 flows and nothing that happens: what keeping an eye on them costs. */
  idle: () =>
    withDatapath(async (dp) => {
      const count = 100_000;
      const shares: number[] = [];
      for (let round = 0; round < 3; round++) {
        dp.flows.flush();
        const fed = new Fed(dp);
        const run = await runPolicy(fed.dp, learningSwitch, { flows: { max: 300_000 } });
        await fed.handle(batches(Array.from({ length: count }, (_, i) => upcall(i + 2))));
        // Flows that no packet hits go after ten seconds: before that nothing happens to them.
        const seconds = 8;
        const before = cpuSeconds();
        await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
        shares.push((cpuSeconds() - before) / seconds * 100);
        console.log(`  ${run.stats.flows} flows`);
        fed.end();
        await run.close();
      }
      say("an idle policy with 100,000 flows", "% of a core", shares);
    }),

  /** One rule of 10,000 changes, 100,000 flows, 100 of them affected. */
  rule: () =>
    withDatapath(async (dp) => {
      const table = new RuleTable<Rule & { readonly to: number }>({ name: "acl" });
      // Each rule is a /24 of 10.0.0.0/8, with ten flows each.
      const rules = Array.from({ length: 10_000 }, (_, i) => ({
        match: { "ipv4.dst": `${ip(0x0a000000 + (i << 8))}/24` },
        priority: 10,
        to: 2,
      }));
      table.transact((t) => rules.forEach((rule) => t.add(rule)));
      const fed = new Fed(dp);
      const run = await runPolicy(fed.dp, (packet) => {
        // What is read beside makes a flow of each packet.
        if (packet.ethernet === undefined || packet.ethernet.src === "") return drop();
        const rule = table.match(packet);
        return rule === undefined ? drop() : forward(rule.to);
      }, { idleMs: 600_000, flows: { cpu: 10, max: 300_000 }, audit: { perSecond: 0 } });
      const upcalls = Array.from({ length: 100_000 }, (_, i) =>
        upcall(i, { ip: ip(0x0a000000 + (i % 1000 << 8) + Math.floor(i / 1000)) }));
      await fed.handle(batches(upcalls));
      const times: number[] = [];
      const cpu: number[] = [];
      const runs: number[] = [];
      // As often as that for code to be compiled: what a change takes right after the start is
      // the upper end of the range.
      for (let round = 0; round < 4 * ROUNDS; round++) {
        const gone = rules[round] as typeof rules[number];
        const { reruns } = run.stats;
        const start = performance.now();
        const cpuStart = cpuSeconds();
        table.transact((t) => {
          t.delete(gone);
          t.add({ ...gone, to: 3 });
        });
        await run.settled();
        times.push(performance.now() - start);
        cpu.push((cpuSeconds() - cpuStart) * 1000);
        runs.push(run.stats.reruns - reruns);
      }
      say(`${run.stats.flows} flows true again after one rule of 10,000`, "ms", times);
      say("the same", "ms of CPU", cpu);
      say("flows that ran", "flows", runs);
      console.log(`  modified ${run.stats.modified}, gone ${run.stats.gone.changed}`);
      fed.end();
      await run.close();
    }),

  /** The oracle, for each packet that it tries. */
  oracle: () => {
    const costs: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const start = cpuSeconds();
      const { mutants } = checkPolicy(firewall, { runs: 500, seed: round + 1 });
      costs.push((cpuSeconds() - start) / mutants * 1e6);
    }
    say("the oracle, each packet", "us", costs);
  },
};

if (import.meta.main) {
  helpIfAsked(import.meta.url);
  const names = Deno.args.length > 0 ? Deno.args : Object.keys(benches);
  await orComplain(async () => {
    for (const name of names) {
      const bench = benches[name];
      if (bench === undefined) {
        throw new BenchError(
          `no bench ${name}: there are ${Object.keys(benches).join(", ")}`,
        );
      }
      await bench();
    }
  });
}
