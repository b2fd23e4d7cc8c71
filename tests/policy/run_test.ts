// SPDX-License-Identifier: Apache-2.0
/**
 * Policies that run: flows follow from what was read, and stay true when state, ports and stations
 * change.
 */
import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import {
  again,
  Cell,
  Counter,
  drop,
  forward,
  type Packet,
  type PolicyError,
  PrefixMap,
  Recorder,
  RuleTable,
  runPolicy,
  slowly,
  stage,
  StateMap,
  toProgram,
} from "../../policy/mod.ts";
import { tcpFrame } from "../support/frames.ts";
import { dependencyCount } from "../../policy/state/dependency.ts";
import { until } from "../support/wait.ts";
import { onEach } from "./bench.ts";
import { frame, learning, mac } from "./stations.ts";

onEach(
  "a learning switch floods by a flow, and learning takes it back",
  async (bench) => {
    const { dp } = bench;
    const { policy, stations } = learning(dp);
    await using run = await runPolicy(dp, policy);
    await bench.send(1, frame(1, 2));
    deepStrictEqual(bench.where(), { 2: 1, 3: 1 });
    strictEqual(stations.get(mac(1)), 1);
    strictEqual(run.stats.flows, 1);
    // The second hits the flow, which floods too.
    const { upcalls } = run.stats;
    await bench.send(1, frame(1, 2));
    deepStrictEqual(bench.where(), { 2: 1, 3: 1 });
    strictEqual(run.stats.upcalls, upcalls);
    // An answer teaches where 2 is: the flow that flooded is changed, or gone.
    await bench.send(2, frame(2, 1));
    await run.settled();
    deepStrictEqual(bench.where(), { 1: 1 });
    await bench.send(1, frame(1, 2));
    deepStrictEqual(bench.where(), { 2: 1 });
    // Station 2 moves: what was sent to port 2 goes to port 3.
    await bench.send(3, frame(2, 1));
    await run.settled();
    bench.where();
    await bench.send(1, frame(1, 2));
    deepStrictEqual(bench.where(), { 3: 1 });
    strictEqual(run.stats.failures.put_failed, undefined);
  },
);

onEach("a port that comes is flooded to, one that goes is not", async (bench) => {
  const { dp } = bench;
  await using run = await runPolicy(dp, learning(dp).policy);
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 2: 1, 3: 1 });
  await dp.ports.add({ name: "p4", type: "dummy", no: 4 });
  await until(
    "the port to be known",
    () => run.explain(frameKey(1, 9)).steps[0]?.actions.includes("4"),
  );
  await run.settled();
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 2: 1, 3: 1, 4: 1 });
  await dp.ports.delete(3);
  await until(
    "the port to be gone",
    () => !run.explain(frameKey(1, 9)).steps[0]?.actions.includes("3"),
  );
  await run.settled();
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 2: 1, 4: 1 });
});

function frameKey(src: number, dst: number): string {
  return `in_port(1),eth(src=${mac(src)},dst=${mac(dst)}),eth_type(0x1234)`;
}

onEach("only flows that read what changed run again", async (bench) => {
  const { dp } = bench;
  const doors = new StateMap<string, boolean>({ name: "doors" });
  await using run = await runPolicy(dp, (packet) => {
    if (packet.ethernet === undefined) return drop();
    return doors.get(packet.ethernet.src) === true ? forward(2) : drop("closed");
  });
  for (let i = 1; i <= 20; i++) await bench.send(1, frame(i, 99));
  strictEqual(run.stats.flows, 20);
  deepStrictEqual(bench.where(), {});
  doors.set(mac(7), true);
  await run.settled();
  strictEqual(run.stats.reruns, 1);
  strictEqual(run.stats.modified, 1);
  const { upcalls } = run.stats;
  await bench.send(1, frame(7, 99), frame(8, 99));
  deepStrictEqual(bench.where(), { 2: 1 });
  strictEqual(run.stats.upcalls, upcalls, "the flow was changed in place");
  doors.set(mac(7), true); // An equal value changes nothing.
  await run.settled();
  strictEqual(run.stats.reruns, 1);
});

onEach("a verdict that needs more of the packet deletes the flow", async (bench) => {
  const { dp } = bench;
  const strict = new Cell(false, { name: "strict" });
  await using run = await runPolicy(
    dp,
    (packet) =>
      strict.value && !packet.equals("ethernet.src", mac(1))
        ? drop("strict")
        : forward(2),
  );
  await bench.send(1, frame(1, 9), frame(2, 9));
  deepStrictEqual(bench.where(), { 2: 2 });
  strictEqual(run.stats.flows, 1);
  strict.value = true;
  await run.settled();
  strictEqual(run.stats.flows, 0);
  await bench.send(1, frame(1, 9), frame(2, 9));
  deepStrictEqual(bench.where(), { 2: 1 });
  deepStrictEqual(run.stats.drops, { strict: 1 });
});

onEach("counters get what flows counted, the first packet included", async (bench) => {
  const { dp } = bench;
  const web = new Counter({ name: "web" });
  const to = new Cell(2, { name: "to" });
  await using run = await runPolicy(dp, (packet) => {
    packet.credit(web);
    return forward(to.value);
  });
  for (let i = 0; i < 10; i++) await bench.send(1, frame(1, 2));
  to.value = 3; // Counted so far belongs to the old verdict, and nothing is lost.
  await run.settled();
  for (let i = 0; i < 5; i++) await bench.send(1, frame(1, 2));
  await run.statistics();
  strictEqual(web.packets, 15n);
  strictEqual(web.bytes, 15n * BigInt(frame(1, 2).length));
  ok(web.usedMs !== undefined);
  deepStrictEqual(bench.where(), { 2: 10, 3: 5 });
});

onEach("flows that are idle go, and stations with them", async (bench) => {
  const { dp } = bench;
  const { policy, stations } = learning(dp, 400);
  await using run = await runPolicy(dp, policy, { idleMs: 200 });
  await bench.send(1, frame(1, 2));
  strictEqual(run.stats.setUps, 1); // On a busy machine the flow may have gone again.
  await until("the flow to go", () => run.stats.flows === 0);
  strictEqual(run.stats.gone.idle, 1);
  await until("the station to be forgotten", () => stations.size === 0);
});

onEach(
  "what a flow counted before a station moved does not move it back",
  async (bench) => {
    const { dp } = bench;
    const { policy, stations } = learning(dp);
    await using run = await runPolicy(dp, policy, { idleMs: 60_000 });
    for (let i = 0; i < 3; i++) await bench.send(1, frame(1, 9)); // Counted, but not walked yet.
    await bench.send(2, frame(1, 9));
    strictEqual(stations.get(mac(1)), 2);
    await run.statistics();
    strictEqual(stations.get(mac(1)), 2, "its packets may be older than the move");
    // It moves back where it has a flow: nothing comes up, the next walk tells.
    await bench.send(1, frame(1, 9));
    await run.statistics();
    strictEqual(stations.get(mac(1)), 1);
  },
);

onEach(
  "a policy ends with nothing left behind, and only one runs at a time",
  async (bench) => {
    const { dp } = bench;
    const before = dependencyCount();
    {
      const { policy } = learning(dp);
      await using run = await runPolicy(dp, policy);
      for (let i = 1; i < 9; i++) await bench.send(1, frame(i, i + 1));
      ok(dependencyCount() > before);
      ok(run.stats.flows > 0);
      await rejects(runPolicy(dp, policy), { code: "EBUSY" });
    }
    strictEqual(dependencyCount(), before);
    bench.where();
    dp.flows.flush();
    const stop = new AbortController();
    const run = await runPolicy(dp, () => forward(2), { signal: stop.signal });
    stop.abort();
    await run.ended;
    await bench.send(1, frame(1, 2));
    deepStrictEqual(bench.where(), {});
  },
);

onEach("a policy that throws drops, is told of, and hurts no flow", async (bench) => {
  const { dp } = bench;
  const errors: PolicyError[] = [];
  await using run = await runPolicy(dp, (packet) => {
    if (packet.equals("ethernet.src", mac(13))) throw new Error("unlucky");
    return forward(2);
  }, { onError: (error) => void errors.push(error) });
  await bench.send(1, frame(1, 2), frame(13, 2), frame(13, 2), frame(1, 2));
  deepStrictEqual(bench.where(), { 2: 2 });
  strictEqual(run.stats.failures.policy_error, 2);
  strictEqual(errors.length, 1, "told once a second");
  strictEqual(errors[0]?.code, "threw");
  ok(errors[0]?.packet?.includes("in_port(1)"));
});

onEach(
  "what a table cannot learn, or a record cannot write, ends nothing",
  async (bench) => {
    const { dp } = bench;
    const odd = new StateMap<string, number>({ name: "odd" });
    const errors: string[] = [];
    const onLine = (line: string): void => {
      if (line.includes("upcall")) throw new Error("the disk is full");
    };
    let isBroken = false;
    await using run = await runPolicy(dp, (packet) => {
      void odd.lookup(packet, "ethernet.dst");
      packet.learn(odd, "no address", 1);
      return forward(2);
    }, {
      onError: (error) => void errors.push(error.message),
      record: new Recorder({ onLine: (line) => isBroken && onLine(line) }),
    });
    await bench.send(1, frame(1, 2));
    isBroken = true;
    await bench.send(2, frame(1, 2));
    isBroken = false;
    await bench.send(3, frame(1, 2));
    deepStrictEqual(bench.where(), { 2: 2 });
    ok(errors.some((message) => message.includes("odd did not learn")), errors.join());
    ok(errors.some((message) => message.includes("the disk is full")), errors.join());
    strictEqual(run.stats.failures.upcall_failed, 1);
  },
);

onEach("a stage sees what was carried, under an id of its own", async (bench) => {
  const { dp } = bench;
  const gate = new Cell(true, { name: "gate" });
  const second = stage<number>(
    "second",
    (packet, to) =>
      gate.value && packet.equals("ethernet.dst", mac(9)) ? drop("nine") : forward(to),
  );
  await using run = await runPolicy(
    dp,
    (packet) => again([], second, packet.equals("ethernet.src", mac(1)) ? 2 : 3),
  );
  await bench.send(1, frame(1, 5), frame(2, 5), frame(1, 9));
  deepStrictEqual(bench.where(), { 2: 1, 3: 1 });
  strictEqual(run.stats.stages, 2);
  const stages = [...run.flows()].map(({ stage }) => stage).sort();
  ok(stages.includes("second") && stages.includes(undefined));
  gate.value = false;
  await run.settled();
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 2: 1 });
});

onEach(
  "routes and rules: the longest prefix, the best priority, and changes of both",
  async (bench) => {
    const { dp } = bench;
    const routes = new PrefixMap<number>({ name: "routes" });
    const rules = new RuleTable<
      { match: Record<string, unknown>; priority: number; deny: boolean }
    >({
      name: "acl",
    });
    routes.set("10.0.0.0/8", 2);
    await using run = await runPolicy(dp, (packet) => {
      if (rules.match(packet)?.deny) return drop("acl");
      const route = routes.lookup(packet, "ipv4.dst");
      return route === undefined ? drop("no route") : forward(route.value);
    });
    const to = (dst: string, dstPort = 80) => tcpFrame({ dst, dstPort });
    await bench.send(1, to("10.1.2.3"), to("10.1.9.9"), to("192.168.0.1"));
    deepStrictEqual(bench.where(), { 2: 2 });
    routes.set("10.1.2.0/24", 3);
    await run.settled();
    await bench.send(1, to("10.1.2.3"), to("10.1.9.9"));
    deepStrictEqual(bench.where(), { 2: 1, 3: 1 });
    const deny = { match: { "tcp.dst": 22 }, priority: 5, deny: true };
    rules.transact((t) => t.add(deny));
    await run.settled();
    await bench.send(1, to("10.1.2.3"), to("10.1.2.3", 22));
    deepStrictEqual(bench.where(), { 3: 1 });
    rules.transact((t) => void t.delete(deny));
    routes.delete("10.1.2.0/24");
    await run.settled();
    await bench.send(1, to("10.1.2.3", 22));
    deepStrictEqual(bench.where(), { 2: 1 });
  },
);

onEach(
  "packets that no action can do are edited, others are handed to the program",
  async (bench) => {
    const { dp } = bench;
    const got: string[] = [];
    await using run = await runPolicy(dp, (packet) => {
      if (packet.equals("ethernet.dst", mac(1))) {
        return slowly((bytes) => {
          bytes[20] = 0xab;
          return bytes;
        }, forward(2));
      }
      // So slow that no time which a busy machine takes makes room for a third.
      const rate = { perSecond: 0.001, burst: 2 };
      return toProgram("strange", { ...rate, userdata: new Uint8Array([7]) });
    }, {
      onPacket: ({ reason, userdata }) => void got.push(`${reason} ${userdata[0]}`),
    });
    await bench.send(1, frame(5, 1), frame(5, 1));
    const edited = bench.collect(2);
    deepStrictEqual(edited.map((bytes) => bytes[20]), [0xab, 0xab]);
    for (let i = 0; i < 6; i++) await bench.send(1, frame(5, 2));
    strictEqual(got.length, 2, "the rate bounds it");
    strictEqual(got[0], "strange 7");
    strictEqual(run.stats.failures.to_program_rate, 4);
  },
);

onEach(
  "replace: equal behaviour changes nothing, another one exactly its flows",
  async (bench) => {
    const { dp } = bench;
    const policy = (to: number) => (packet: Packet) =>
      packet.equals("ethernet.src", mac(1)) ? forward(to) : forward(3);
    await using run = await runPolicy(dp, policy(2));
    await bench.send(1, frame(1, 9), frame(2, 9));
    bench.where();
    const same = await run.replace(policy(2), { dryRun: true });
    deepStrictEqual([same.kept, same.modified.length, same.unprovable.length], [2, 0, 0]);
    const dry = await run.replace(policy(1), { dryRun: true });
    strictEqual(dry.modified.length, 1);
    deepStrictEqual([dry.modified[0]?.from, dry.modified[0]?.to], ["2", "1"]);
    await bench.send(1, frame(1, 9));
    deepStrictEqual(bench.where(), { 2: 1 }, "nothing was changed");
    await run.replace(policy(3));
    await run.settled();
    await bench.send(1, frame(1, 9));
    deepStrictEqual(bench.where(), { 3: 1 });
    await rejects(
      run.replace(() => {
        throw new Error("no");
      }),
      TypeError,
    );
    await bench.send(1, frame(1, 9));
    deepStrictEqual(bench.where(), { 3: 1 });
  },
);

onEach(
  "adopt: what can be proven stays, what is false goes or is changed",
  async (bench) => {
    const { dp } = bench;
    const policy = (packet: Packet) =>
      packet.equals("ethernet.src", mac(1)) ? forward(2) : forward(3);
    {
      await using run = await runPolicy(dp, policy);
      await bench.send(1, frame(1, 9), frame(2, 9));
      strictEqual(run.stats.flows, 2);
    }
    bench.where();
    dp.flows.put({ key: "in_port(3),eth(),eth_type(0x0806)", actions: "1" });
    await using run = await runPolicy(dp, policy, { existing: "adopt" });
    strictEqual(run.stats.flows, 2);
    await bench.send(1, frame(1, 9), frame(2, 9));
    deepStrictEqual(bench.where(), { 2: 1, 3: 1 });
    strictEqual(run.stats.upcalls, 0, "no packet came up");
  },
);

onEach("limits: the coldest make room, and a scan evicts nobody", async (bench) => {
  const { dp } = bench;
  await using run = await runPolicy(dp, (packet) => {
    void packet.ethernet?.src;
    return forward(2);
  }, { idleMs: 600_000, flows: { max: 50 } });
  for (let i = 0; i < 44; i++) await bench.send(1, frame(i, 99));
  strictEqual(run.stats.flows, 44);
  // From 90 % on, a flow is for those who come twice.
  for (let i = 100; i < 140; i++) await bench.send(1, frame(i, 99));
  ok(run.stats.flows <= 50);
  ok((run.stats.withoutFlow.admission ?? 0) >= 30);
  strictEqual(Object.values(bench.where())[0], 84, "every packet was forwarded");
  await bench.send(1, frame(200, 99), frame(200, 99), frame(201, 99), frame(201, 99));
  ok(run.stats.flows <= 50);
});

onEach(
  "audit: a verdict that changes behind the runtime's back is found and mended",
  async (bench) => {
    const { dp } = bench;
    let to = 2;
    const errors: string[] = [];
    await using run = await runPolicy(dp, () => forward(to), {
      audit: { perSecond: 100 },
      onError: (error) => void errors.push(error.code),
    });
    await bench.send(1, frame(1, 2));
    to = 3;
    await until("the audit to find it", () => errors.includes("untracked"));
    await run.settled();
    bench.where();
    await bench.send(1, frame(1, 2));
    deepStrictEqual(bench.where(), { 3: 1 });
  },
);
