// SPDX-License-Identifier: Apache-2.0
/**
 * What holds when somebody wants too much of a policy: too many masks, too many flows, too little
 * CPU, a policy with faults; and what a policy that is loaded again changes. Figures of
 * `policy_figures.ts`.
 *
 * @module
 */
import {
  drop,
  forward,
  type Packet,
  type Policy,
  type Rule,
  RuleTable,
  runPolicy,
  StateMap,
} from "../../policy/mod.ts";
import { seeded } from "../../policy/check/random.ts";
import { tcpFrame } from "../support/frames.ts";
import {
  batches,
  Fed,
  ip,
  mac,
  many,
  ROUNDS,
  say,
  upcall,
  withDatapath,
} from "./policy_feed.ts";

/** Says whether a promise holds. */
export type Promising = (text: string, holds: boolean) => void;

/** A firewall of six tests: prefixes of both addresses, ports of both sides, a range. */
const sixTests: Policy = (packet) => {
  if (packet.within("ipv4.src", "10.9.0.0/16")) return drop("from there");
  if (packet.within("ipv4.dst", "10.77.0.0/16")) return drop("to there");
  if (packet.equals("tcp.dst", 22) || packet.equals("tcp.src", 23)) return drop("port");
  if (packet.equals("ipv4.dst", "10.1.2.3")) return forward(3);
  return packet.between("tcp.dst", 1024, 5000) ? drop("range") : forward(2);
};

/** Random headers: masks stay within their budget, and flows that were there stay. */
export const explosion = (promise: Promising) =>
  withDatapath(async (dp) => {
    const fed = new Fed(dp);
    const run = await runPolicy(fed.dp, sixTests, {
      idleMs: 600_000,
      flows: { cpu: 100, max: 100_000 },
    });
    const random = seeded(6);
    const headers = (count: number) =>
      batches(Array.from({ length: count }, (_, n) =>
        upcall(n, {
          ipSrc: ip(random(2 ** 31) * 2),
          ip: ip(random(2 ** 31) * 2),
          srcPort: random(65_536),
          dstPort: random(65_536),
        })));
    await fed.handle(headers(2000));
    const mine = new Set([...run.flows()].map(({ ufid }) => ufid));
    let most = 0;
    for (let i = 0; i < 10; i++) {
      for (const batch of headers(5000)) {
        // What a flow covers does not come up.
        const found = dp.operate(batch.map(({ raw: { key } }) => ({ op: "get", key })));
        const misses = batch.filter((_, i) => found[i]?.ok !== true);
        if (misses.length > 0) await fed.handle([misses]);
      }
      most = Math.max(most, run.stats.masks);
    }
    const left = [...run.flows()].filter(({ ufid }) => mine.has(ufid)).length;
    const { flows, withoutFlow } = run.stats;
    console.log(
      `  ${flows} flows, ${withoutFlow.mask_budget ?? 0} packets beyond the budget`,
    );
    promise(`${most} masks under random headers, 256 at most`, most <= 256);
    promise(`${mine.size} flows that were there stay`, left === mine.size);
    fed.end();
    await run.close();
  });

/** A policy that is loaded again: an equal one changes nothing, another rule exactly its flows. */
export const reload = (promise: Promising) =>
  withDatapath(async (dp) => {
    const policyOf = (changed: number): Policy => {
      const table = new RuleTable<Rule & { readonly to: number }>();
      table.transact((t) => {
        for (let i = 0; i < 1000; i++) {
          const match = { "ipv4.dst": `${ip(0x0a000000 + (i << 8))}/24` };
          t.add({ match, priority: 1, to: i === changed ? 3 : 2 });
        }
      });
      return (packet: Packet) => {
        void packet.tcp?.src; // A flow for each connection.
        const rule = table.match(packet);
        return rule === undefined ? drop("no rule") : forward(rule.to);
      };
    };
    const fed = new Fed(dp);
    const run = await runPolicy(fed.dp, policyOf(-1), {
      idleMs: 600_000,
      flows: { cpu: 100 },
      audit: { perSecond: 0 },
    });
    await fed.handle(batches(Array.from({ length: 20_000 }, (_, i) =>
      upcall(i, { ip: ip(0x0a000000 + (i % 1000 << 8) + 1) }))));
    const { flows } = run.stats;
    const same = await run.replace(policyOf(-1), { dryRun: true });
    promise(
      `an equal policy keeps ${same.kept} of ${flows} flows`,
      same.kept === flows && same.modified.length + same.unprovable.length === 0,
    );
    const times: number[] = [];
    let exact = true;
    for (let round = 0; round < ROUNDS; round++) {
      const start = performance.now();
      const { modified, unprovable } = await run.replace(policyOf(round % 2), {
        dryRun: true,
      });
      times.push(performance.now() - start);
      exact &&= modified.length === flows / 1000 && unprovable.length === 0 &&
        modified.every(({ flow }) =>
          flow.includes(`dst=10.0.${round % 2}.`)
        );
    }
    say(`a look at ${flows} flows`, "ms", times);
    promise("another rule changes exactly its flows", exact);
    fed.end();
    await run.close();
  });

/** A frame of the station that `upcall(n)` is of. */
function frameOf(n: number): Uint8Array {
  const frame = tcpFrame();
  frame.set(mac(n).split(":").map((byte) => Number.parseInt(byte, 16)), 6);
  return frame;
}

/**
 * More flows are offered than the share of CPU allows, then others take the CPU: the bound of the
 * table does not shrink with that, and flows that packets use are not evicted.
 */
export const limit = (promise: Promising) =>
  withDatapath(async (dp) => {
    const fed = new Fed(dp);
    // So little that the share of CPU bounds the table, and not `max`.
    const run = await runPolicy(fed.dp, (packet) => {
      void packet.ethernet?.src;
      return forward(2);
    }, { idleMs: 60_000, flows: { max: 200_000, cpu: 0.0007 } });
    await fed.handle(many(0, 5000));
    let next = 1_000_000;
    const busy = Array.from({ length: 100 }, (_, n) => frameOf(n));
    const walks = async (count: number): Promise<number> => {
      let least = Infinity;
      for (let i = 0; i < count; i++) {
        for (let n = 0; n < 3; n++) for (const one of busy) dp.ports.inject?.(1, one);
        // Twice: a full table takes who comes again.
        for (let n = 0; n < 2; n++) await fed.handle(many(next, 500));
        next += 500;
        await run.statistics();
        await new Promise((resolve) => setTimeout(resolve, 110));
        least = Math.min(least, run.stats.limit);
      }
      return least;
    };
    await walks(24);
    const used = new Set(
      [...run.flows()].filter(({ packets }) => packets > 0n).map(({ ufid }) => ufid),
    );
    for (let n = 0; n < 2; n++) {
      for (let i = 0; i < 60; i++) await fed.handle(many(2_000_000 + i * 1000, 1000));
    }
    const free = await walks(8);
    const source = "const end = Date.now() + 60000; while (Date.now() < end);";
    const url = `data:text/javascript,${encodeURIComponent(source)}`;
    const thieves = Array.from(
      { length: navigator.hardwareConcurrency },
      () => new Worker(url, { type: "module" }),
    );
    try {
      const stolen = await walks(16);
      const { flows, gone } = run.stats;
      console.log(
        `  ${free} flows are allowed on a free core, ${stolen} on one that is shared; ` +
          `${flows} flows, ${gone.evicted} evicted`,
      );
      promise("a core that others use allows 0.9 of that at least", stolen >= 0.9 * free);
      const left = [...run.flows()].filter(({ ufid }) => used.has(ufid)).length;
      promise(
        `of ${used.size} flows that packets use none is evicted`,
        used.size >= busy.length && left === used.size,
      );
    } finally {
      for (const thief of thieves) thief.terminate();
    }
    fed.end();
    await run.close();
  });

/** A policy that throws, loops and lets state grow: flows forward on, and each has its counter. */
export const faults = (promise: Promising) =>
  withDatapath(async (dp) => {
    const seen = new StateMap<number, number>({ name: "seen", max: 1000 });
    const run = await runPolicy(dp, (packet) => {
      const port = packet.tcp?.src ?? 0;
      if (port === 1) return forward(2);
      if (port % 3 === 0) throw new Error("a fault");
      if (port % 50 === 1) { for (const end = Date.now() + 100; Date.now() < end;); }
      packet.learn(seen, port, port);
      return forward(3);
    }, { idleMs: 600_000, flows: { max: 500 }, onError: () => "drop" });
    const established = tcpFrame({ srcPort: 1 });
    const inject = (frame: Uint8Array) => dp.ports.inject?.(1, frame);
    inject(established);
    while (run.stats.flows === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    let lost = 0;
    for (let port = 2; port < 2002; port++) {
      const before = dp.stats().hit;
      inject(tcpFrame({ srcPort: port }));
      inject(established);
      for (const end = Date.now() + 2000; dp.stats().hit === before;) {
        if (Date.now() > end && ++lost > 0) break;
        if (port % 64 === 0) await new Promise((resolve) => setTimeout(resolve));
      }
    }
    const { failures, flows } = run.stats;
    console.log(
      `  policy_error ${failures.policy_error ?? 0}, ${flows} flows, ${seen.size} keys`,
    );
    promise("each packet of a flow that was there is forwarded", lost === 0);
    promise("faults are counted", (failures.policy_error ?? 0) > 0);
    promise("flows and state keep their bounds", flows <= 500 && seen.size <= 1000);
    await run.close();
  });
