// SPDX-License-Identifier: Apache-2.0
/** Walks over the flows: what they count, and what becomes of a policy when they fail. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Cell, Counter, forward, runPolicy } from "../../policy/mod.ts";
import type { Datapath } from "../../providers/datapath.ts";
import type { Flow } from "../../providers/flow.ts";
import { ufidBytes } from "../../providers/odp/mod.ts";
import { pause } from "../support/wait.ts";
import { onEach } from "./bench.ts";
import { frame, mac } from "./stations.ts";

const quiet = { audit: { perSecond: 0 } } as const;

/** Has listings of flows go through `change`. */
function withListing(
  dp: Datapath,
  change: (flows: Iterable<Flow>) => IteratorObject<Flow, void, undefined>,
): void {
  const dump = dp.flows.dump.bind(dp.flows);
  dp.flows.dump = (options) => change(dump(options));
}

onEach(
  "a walk that fails is told of, the next counts; many in a row end the policy",
  async (bench) => {
    let isBroken = false;
    withListing(bench.dp, function* (flows) {
      yield* flows;
      if (isBroken) throw new Error("the table grew all the time");
    });
    const told: string[] = [];
    await using run = await runPolicy(
      bench.dp,
      (packet) => forward(packet.ethernet === undefined ? 3 : 2),
      { ...quiet, idleMs: 600_000, onError: ({ message }) => void told.push(message) },
    );
    let hasEnded = false;
    void run.ended.then(() => hasEnded = true);
    await bench.send(1, frame(1, 9));
    // After this one the next is due in minutes.
    await run.statistics();
    await bench.send(1, frame(1, 9));
    isBroken = true;
    // The first error of a kind is told, others of the same second are not.
    for (let i = 0; i < 7; i++) await run.statistics();
    deepStrictEqual(told, ["a walk over the flows failed: the table grew all the time"]);
    isBroken = false;
    await run.statistics();
    deepStrictEqual([...run.flows()].map(({ packets }) => packets), [1n]);
    isBroken = true;
    for (let i = 0; i < 7; i++) await run.statistics();
    await pause(0);
    strictEqual(hasEnded, false);
    strictEqual(run.stats.failures.walk_failed, 14);
    await run.statistics();
    await run.ended;
    strictEqual(run.stats.failures.walk_failed, 15);
  },
  3,
  ["fake"],
);

onEach(
  "flows that are silent go although the walk fails behind them",
  async (bench) => {
    await using run = await runPolicy(bench.dp, () => forward(2), {
      ...quiet,
      idleMs: 1,
      onError: () => {},
    });
    withListing(bench.dp, function* (flows) {
      yield* flows;
      throw new Error("broken");
    });
    await bench.send(1, frame(1, 9));
    await pause(10);
    await run.statistics();
    await run.statistics();
    strictEqual(run.stats.gone.idle, 1);
    strictEqual(run.stats.flows, 0);
  },
  3,
  ["fake"],
);

onEach(
  "what was listed before a flow's counters were asked for is not credited again",
  async (bench) => {
    const [counter, to] = [new Counter({ name: "c" }), new Cell(2, { name: "to" })];
    await using run = await runPolicy(bench.dp, (packet) => {
      if (packet.ethernet?.src !== mac(1)) return forward(3);
      packet.credit(counter);
      return forward(to.value);
    }, { ...quiet, idleMs: 600_000 });
    await run.statistics();
    await bench.send(1, frame(1, 9), frame(1, 9), frame(2, 9));
    await run.statistics();
    const before = counter.packets;
    let isOld = true;
    withListing(bench.dp, function* (flows) {
      const listed = [...flows];
      if (!isOld) return yield* listed;
      const stats = listed.map(({ stats }) => ({ ...stats }));
      bench.dp.ports.inject?.(1, frame(1, 9));
      to.value = 3;
      // So many that the flow runs again before the walk is at it.
      for (let i = 0; i < 512; i++) yield withStats(listed[1], stats[1]);
      yield withStats(listed[0], stats[0]);
    });
    await run.statistics();
    isOld = false;
    await run.statistics();
    strictEqual(counter.packets, before + 1n);
  },
  3,
  ["fake"],
);

/** A listed flow with counters of before. */
function withStats(flow: Flow | undefined, stats: Flow["stats"] | undefined): Flow {
  const { ufid, offloaded } = flow as Flow;
  return { ufid, offloaded, stats, raw: { ufid, stats } } as Flow;
}

onEach(
  "a flow that a listing leaves out is lost only if the datapath has it no more",
  async (bench) => {
    const counter = new Counter({ name: "c" });
    await using run = await runPolicy(bench.dp, (packet) => {
      packet.credit(counter);
      return forward(2);
    }, { ...quiet, idleMs: 600_000 });
    await run.statistics();
    await bench.send(1, frame(1, 9), frame(1, 9));
    await pause(5);
    withListing(bench.dp, function* () {});
    await run.statistics();
    strictEqual(counter.packets, 2n);
    deepStrictEqual([run.stats.flows, run.stats.gone.lost], [1, 0]);
    bench.dp.flows.flush();
    await run.statistics();
    deepStrictEqual([run.stats.flows, run.stats.gone.lost], [0, 1]);
  },
  3,
  ["fake"],
);

onEach(
  "a listing has names and counters as numbers that say the same",
  async (bench) => {
    await using run = await runPolicy(bench.dp, (packet) => {
      void packet.ethernet?.src;
      return forward(2);
    }, quiet);
    for (let i = 0; i < 3; i++) await bench.send(1, frame(1, 9), frame(2, 9));
    const words = new Uint32Array(4);
    let seen = 0;
    for (const { ufid, stats, raw } of bench.dp.flows.dump({ terse: true })) {
      raw.writeUfid?.(words);
      deepStrictEqual(new Uint8Array(words.buffer), ufidBytes(ufid ?? ""));
      strictEqual(raw.packetCount, Number(stats.packets));
      seen++;
    }
    strictEqual(seen, 2);
    await run.statistics();
    deepStrictEqual([...run.flows()].map(({ packets }) => packets), [2n, 2n]);
  },
  3,
  ["netdev"],
);
