// SPDX-License-Identifier: Apache-2.0
/** Flows that run again find what they read before without looking for it: but only that. */
import { deepStrictEqual } from "node:assert/strict";
import {
  Cell,
  drop,
  forward,
  type Rule,
  RuleTable,
  runPolicy,
  StateMap,
} from "../../policy/mod.ts";
import { tcpFrame } from "../support/frames.ts";
import { onEach } from "./bench.ts";
import { frame } from "./stations.ts";

interface ToPort extends Rule {
  readonly to: number;
}

const quiet = { audit: { perSecond: 0 } } as const;

onEach(
  "a run that asks for another key than before gets that one's value",
  async (bench) => {
    const which = new Cell("a", { name: "key" });
    const ports = new StateMap<string, number>({ name: "ports of keys" });
    ports.set("a", 1);
    ports.set("b", 2);
    await using run = await runPolicy(
      bench.dp,
      () => forward(ports.get(which.value) ?? 3),
      quiet,
    );
    const seen: unknown[] = [];
    for (const key of ["a", "b", "c", "b", "a"]) {
      which.value = key;
      await run.settled();
      await bench.send(3, frame(1, 9));
      seen.push(bench.where());
    }
    deepStrictEqual(seen, [{ 1: 1 }, { 2: 1 }, { 3: 1 }, { 2: 1 }, { 1: 1 }]);
    deepStrictEqual(run.stats.gone.changed, 0);
  },
);

onEach("a table that changed is searched again, whatever else changed", async (bench) => {
  const factor = new Cell(0, { name: "factor" });
  const [one, other] = ["one", "other"].map((name) => new RuleTable<ToPort>({ name }));
  const rule = { match: { "tcp.dst": 2000 }, priority: 1, to: 1 };
  one?.transact((t) => t.add(rule));
  await using run = await runPolicy(bench.dp, (packet) => {
    const to = (one?.match(packet)?.to ?? 0) + (other?.match(packet)?.to ?? 0);
    return forward(to + factor.value);
  }, quiet);
  const seen: unknown[] = [];
  const look = async (change: () => void) => {
    change();
    await run.settled();
    await bench.send(3, tcpFrame());
    seen.push(bench.where());
  };
  await look(() => {});
  await look(() => factor.value = 1);
  // Both in one turn: the cell names the flow, and so does the table.
  await look(() => {
    factor.value = 0;
    other?.transact((t) => t.add({ match: { "tcp.dst": 2000 }, priority: 1, to: 1 }));
  });
  await look(() => {
    factor.value = 1;
    one?.transact((t) => void t.delete(rule));
  });
  await look(() => factor.value = 0);
  deepStrictEqual(seen, [{ 1: 1 }, { 2: 1 }, { 2: 1 }, { 2: 1 }, { 1: 1 }]);
});

onEach("what a run read that threw is not taken for masked", async (bench) => {
  const mode = new Cell(0, { name: "part" });
  const isBroken = new Cell(true, { name: "is broken" });
  const rules = new RuleTable<ToPort>({ name: "behind" });
  rules.transact((t) => t.add({ match: { "tcp.dst": 80 }, priority: 1, to: 1 }));
  await using run = await runPolicy(bench.dp, (packet) => {
    if (mode.value === 0) return forward(2);
    const rule = rules.match(packet);
    if (isBroken.value) throw new Error("broken");
    return rule === undefined ? drop() : forward(rule.to);
  }, { ...quiet, onError: () => "hold" });
  await bench.send(3, tcpFrame({ dstPort: 80 }));
  mode.value = 1;
  await run.settled();
  isBroken.value = false;
  await run.settled();
  bench.where();
  await bench.send(3, tcpFrame({ dstPort: 80 }), tcpFrame({ dstPort: 81 }));
  deepStrictEqual(bench.where(), { 1: 1 });
});
