// SPDX-License-Identifier: Apache-2.0
/**
 * Ways in which a flow could become false that no packet at random shows: what is read beside the
 * packet, and what happens between a decision and its flow.
 */
import {
  deepStrictEqual,
  notDeepStrictEqual,
  notStrictEqual,
  ok,
  strictEqual,
  throws,
} from "node:assert/strict";
import {
  again,
  type Carry,
  Cell,
  checkPolicy,
  Counter,
  decide,
  drop,
  forward,
  type Policy,
  PrefixMap,
  RuleTable,
  runPolicy,
  stage,
  type StageAction,
  StateMap,
  track,
} from "../../policy/mod.ts";
import { Continuations } from "../../policy/stage.ts";
import { set } from "../../providers/odp/mod.ts";
import type { EthernetKey } from "../../providers/types.ts";
import { until } from "../support/wait.ts";
import { onEach } from "./bench.ts";
import { frame, mac } from "./stations.ts";

onEach("a flow that takes another's room keeps what both rest on", async (bench) => {
  const to = new Cell(2, { name: "to" });
  await using run = await runPolicy(bench.dp, (packet) => {
    void packet.ethernet?.src;
    return forward(to.value);
  }, { flows: { max: 1 }, audit: { perSecond: 0 } });
  await bench.send(1, frame(1, 9), frame(1, 9), frame(2, 9), frame(2, 9), frame(2, 9));
  strictEqual(run.stats.flows, 1);
  bench.where();
  to.value = 3;
  await run.settled();
  await bench.send(1, frame(2, 9));
  deepStrictEqual(bench.where(), { 3: 1 });
});

Deno.test("a removed key leaves no bits that a miss has to tell apart", () => {
  const packet = "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)," +
    "eth_type(0x0806),arp()";
  const maskOf = (map: StateMap<string, number>) =>
    decide((asked) => forward(map.lookup(asked, "ethernet.dst") ?? 9), packet).mask;
  const [never, once] = [1, 2].map((n) =>
    new StateMap<string, number>({ name: `map${n}` }).set("12:00:00:00:00:01", 1)
  );
  ok(never !== undefined && once !== undefined);
  once.set("02:00:00:00:00:02", 2);
  notDeepStrictEqual(maskOf(once), maskOf(never));
  once.delete("02:00:00:00:00:02");
  deepStrictEqual(maskOf(once), maskOf(never));
});

onEach("keys of one value in two spellings", async (bench) => {
  const stations = new StateMap<string, number>({ name: "spellings" });
  stations.set("02:00:00:00:00:AA", 2);
  await using run = await runPolicy(
    bench.dp,
    (packet) => forward(stations.lookup(packet, "ethernet.dst") ?? 1),
    { audit: { perSecond: 0 } },
  );
  await bench.send(3, frame(1, 0xaa));
  deepStrictEqual(bench.where(), { 2: 1 });
  stations.set("02:00:00:00:00:aa", 1);
  await run.settled();
  await bench.send(3, frame(1, 0xaa));
  deepStrictEqual(bench.where(), { 1: 1 });
  stations.delete("02:00:00:00:00:aa");
  await run.settled();
  await bench.send(3, frame(1, 0xaa));
  deepStrictEqual(bench.where(), { 2: 1 });
});

onEach("sizes of tables, and counters", async (bench) => {
  const routes = new PrefixMap<number>();
  const rules = new RuleTable();
  const counter = new Counter({ name: "read" });
  await using run = await runPolicy(bench.dp, (packet) => {
    if (packet.equals("ethernet.src", mac(1))) return forward(routes.size === 0 ? 2 : 3);
    if (packet.equals("ethernet.src", mac(2))) return forward(rules.size === 0 ? 2 : 3);
    packet.credit(counter);
    return forward(counter.packets > 0n ? 3 : 2);
  }, { audit: { perSecond: 0 } });
  const all = [frame(1, 9), frame(2, 9), frame(3, 9)];
  await bench.send(1, ...all);
  bench.where();
  routes.set("10.0.0.0/8", 1);
  rules.transact((t) => t.add({ match: {}, priority: 1 }));
  await run.settled();
  await bench.send(1, ...all);
  deepStrictEqual(bench.where(), { 3: 3 });
});

onEach("adopt: a verdict that ends at a time ends then", async (bench) => {
  let end = Date.now() + 60_000;
  const policy: Policy = (packet) => {
    packet.until(packet.now < end ? end : Infinity);
    return forward(packet.now < end ? 2 : 3);
  };
  {
    await using _ = await runPolicy(bench.dp, policy);
    await bench.send(1, frame(1, 9));
  }
  bench.where();
  end = Date.now() + 300;
  await using run = await runPolicy(bench.dp, policy, {
    existing: "adopt",
    audit: { perSecond: 0 },
  });
  strictEqual(run.stats.flows, 1);
  await until("the flow to end", () => run.stats.modified === 1);
});

onEach(
  "adopt: a flow that leaves its EtherType open proves nothing of it",
  async (bench) => {
    bench.dp.flows.put({
      key: "in_port(1),eth(),eth_type(0x1234)",
      mask: { inPort: 0xffffffff, recircId: 0xffffffff } as never,
      actions: "2",
    });
    await using _ = await runPolicy(
      bench.dp,
      (packet) => packet.etherType === 0x1234 ? forward(3) : drop(),
      { existing: "adopt", audit: { perSecond: 0 } },
    );
    await bench.send(1, frame(1, 9));
    deepStrictEqual(bench.where(), { 3: 1 });
  },
);

onEach(
  "adopt: a flow is changed under the key that the datapath gave",
  async ({ dp }) => {
    // As of a kernel that tracks no connections: it refuses what it does not know.
    dp.flows.put({
      key: "in_port(1),eth(src=02:00:00:00:00:01),eth_type(0x1234)",
      mask: { inPort: true, recircId: true, ethernet: { src: true }, etherType: true },
      actions: "2",
    });
    const [before] = [...dp.flows.dump()];
    ok(before?.key?.ctState === undefined);
    const keys: unknown[] = [];
    const operate = dp.operate.bind(dp);
    Object.assign(dp, {
      operate(ops: Parameters<typeof operate>[0]) {
        for (const op of ops) if (op.op === "put") keys.push(op.key);
        return operate(ops);
      },
    });
    await using run = await runPolicy(
      dp,
      (packet) => packet.ethernet?.src === mac(1) ? forward(3) : drop(),
      { existing: "adopt", audit: { perSecond: 0 } },
    );
    strictEqual(run.stats.flows, 1);
    deepStrictEqual(keys, [before?.raw.key]);
  },
  3,
  ["fake"],
);

onEach("what packets teach is a copy of theirs", async (bench) => {
  const hosts = new StateMap<string, EthernetKey>({
    name: "hosts",
    holdMs: 0,
    equals: (a, b) => a.dst === b.dst,
  });
  await using run = await runPolicy(bench.dp, (packet) => {
    const { ethernet } = packet;
    if (ethernet === undefined) return drop();
    packet.learn(hosts, ethernet.src, ethernet);
    return forward(hosts.get(mac(1))?.dst === mac(9) ? 3 : 2);
  }, { audit: { perSecond: 0 } });
  await bench.send(1, frame(1, 9), frame(2, 8));
  deepStrictEqual({ ...hosts.get(mac(1)) }, { src: mac(1), dst: mac(9) });
  bench.where();
  await run.settled();
  await bench.send(1, frame(2, 8));
  deepStrictEqual(bench.where(), { 3: 1 });
});

onEach(
  "what is credited to another from now on counted for the one before",
  async (bench) => {
    const [one, other] = [new Counter({ name: "one" }), new Counter({ name: "other" })];
    const isOther = new Cell(false, { name: "which" });
    await using run = await runPolicy(bench.dp, (packet) => {
      packet.credit(isOther.value ? other : one);
      return forward(2);
    }, { idleMs: 60_000, audit: { perSecond: 0 } });
    for (let i = 0; i < 5; i++) await bench.send(1, frame(1, 9));
    isOther.value = true;
    await run.settled();
    for (let i = 0; i < 3; i++) await bench.send(1, frame(1, 9));
    await run.statistics();
    deepStrictEqual([one.packets, other.packets], [5n, 3n]);
  },
);

onEach("a flow that is held rests on what the run read that threw", async (bench) => {
  const mode = new Cell(0, { name: "mode" });
  const isBroken = new Cell(true, { name: "broken" });
  await using run = await runPolicy(bench.dp, () => {
    if (mode.value === 0) return forward(2);
    if (isBroken.value) throw new Error("broken");
    return forward(3);
  }, { audit: { perSecond: 0 }, onError: () => "hold" });
  await bench.send(1, frame(1, 9));
  mode.value = 1;
  await run.settled();
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 2: 2 });
  isBroken.value = false;
  await run.settled();
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 3: 1 });
});

onEach(
  "a packet that changes its own verdict in each run gets no flow",
  async (bench) => {
    const counts = new StateMap<string, number>({ name: "counts", holdMs: 0 });
    const codes: string[] = [];
    await using run = await runPolicy(bench.dp, (packet) => {
      const src = packet.ethernet?.src ?? "";
      const count = counts.get(src) ?? 0;
      packet.learn(counts, src, src === mac(1) ? count + 1 : Math.min(2, count + 1));
      return forward(2);
    }, { audit: { perSecond: 0 }, onError: (error) => void codes.push(error.code) });
    await bench.send(1, frame(1, 9));
    deepStrictEqual(bench.where(), { 2: 1 });
    deepStrictEqual([run.stats.flows, run.stats.failures.unstable], [0, 1]);
    deepStrictEqual(codes, ["unstable"]);
  },
);

onEach(
  "what a fault changes while a batch settles makes flows run again",
  async (bench) => {
    const faults = new Cell(0, { name: "faults" });
    const seen = new StateMap<string, number>({ name: "seen", holdMs: 0 });
    await using run = await runPolicy(bench.dp, (packet) => {
      const src = packet.ethernet?.src ?? "";
      if (src === mac(1)) return forward(faults.value === 0 ? 2 : 3);
      if (seen.get(src) !== undefined) throw new Error("seen before");
      packet.learn(seen, src, 1);
      return forward(2);
    }, { audit: { perSecond: 0 }, onError: () => void faults.value++ });
    await bench.send(1, frame(1, 9));
    await bench.send(1, frame(2, 9));
    await run.settled();
    ok(faults.value > 0);
    bench.where();
    await bench.send(1, frame(1, 9));
    deepStrictEqual(bench.where(), { 3: 1 });
  },
);

Deno.test("a stage gets what was carried, whatever becomes of the object", () => {
  const values: Carry[] = [
    NaN,
    null,
    Infinity,
    undefined,
    [undefined],
    [],
    0,
    -0,
    "0",
    0n,
  ];
  const seen = stage<Carry>("seen", () => drop());
  const continuations = new Continuations();
  const idOf = (carry: Carry) => continuations.of(seen as never, carry).id;
  strictEqual(new Set(values.map(idOf)).size, values.length);
  const carry = { port: 1 };
  const [first] = track({ zone: 1 }, seen, carry).slice(-1) as StageAction[];
  const known = continuations.of(seen as never, first?.carry);
  carry.port = 2;
  deepStrictEqual([first?.carry, known.carry], [{ port: 1 }, { port: 1 }]);
  const [other] = again([], seen, carry).slice(-1) as StageAction[];
  notStrictEqual(idOf(other?.carry), known.id);
});

Deno.test("a table of rules refuses what has no order, and changes within changes", () => {
  const rules = new RuleTable();
  const rule = { match: {}, priority: 1 };
  rules.transact((t) => t.add(rule));
  throws(() => rules.transact((t) => t.add({ match: {}, priority: NaN })), RangeError);
  const nested = () =>
    rules.transact((t) => {
      t.delete(rule);
      rules.transact((u) => void u.delete(rule));
    });
  throws(nested, TypeError);
  strictEqual(rules.size, 1);
});

Deno.test("oracle: finds a policy that throws only when its packet is tracked", () => {
  // A number that a leaf cannot have is an error, and not merely another value.
  const policy: Policy = (packet) =>
    packet.equals("vlan.vid", 5000) ? drop() : forward(1);
  throws(() => checkPolicy(policy), /the tracked packet makes the policy throw/);
});

Deno.test("oracle: maps with many keys, in whatever spelling", () => {
  const many = new StateMap<string, number>({ name: "many" });
  for (let i = 0; i < 100; i++) many.set(mac(i).toUpperCase(), i);
  const policy: Policy = (packet) => forward(many.lookup(packet, "ethernet.dst") ?? 999);
  checkPolicy(policy, {
    runs: 300,
    hints: { ethernet: [mac(10), mac(11)] },
    change: (random) => {
      const key = mac(10 + random(2));
      const spelled = random(2) === 0 ? key : key.toUpperCase();
      if (random(2) === 0) many.delete(spelled);
      else many.set(spelled, random(1000));
    },
  });
});

Deno.test("oracle: verdicts that have parts of the packet in them are checked", () => {
  const policy: Policy = ({ ethernet }) =>
    ethernet === undefined ? drop() : [set({ ethernet }), ...forward(1)];
  strictEqual(checkPolicy(policy, { runs: 100 }).runs, 100);
});
