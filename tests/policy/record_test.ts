// SPDX-License-Identifier: Apache-2.0
/** What a running policy tells: records and their replay, explanations. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  again,
  Cell,
  drop,
  flood,
  forward,
  type Match,
  type Packet,
  type Policy,
  PrefixMap,
  Recorder,
  replay,
  RuleTable,
  runPolicy,
  stage,
  StateMap,
} from "../../policy/mod.ts";
import { encodeKey } from "../../providers/odp/key.ts";
import { tcpFrame, udpFrame } from "../support/frames.ts";
import { onEach } from "./bench.ts";
import { frame, learning, mac } from "./stations.ts";

onEach("a record has what came up, what was said, and what changed", async (bench) => {
  const { dp } = bench;
  const record = new Recorder({ snap: 14 });
  const to = new Cell(2, { name: "to" });
  await using run = await runPolicy(dp, () => forward(to.value), { record });
  await bench.send(1, frame(1, 2));
  to.value = 3;
  await run.settled();
  const events = record.lines().map((line) => JSON.parse(line).event);
  ok(events.includes("upcall") && events.includes("state") && events.includes("ports"));
  strictEqual(events[0], "ports", "before the first packet");
  const upcall = record.lines().map((line) => JSON.parse(line))
    .find(({ event }) => event === "upcall");
  strictEqual(upcall.verdict, "2");
  strictEqual(upcall.frame.length, 28);
});

onEach(
  "a replay gives the same verdicts, and shows where another policy differs",
  async (bench) => {
    const { dp } = bench;
    const record = new Recorder();
    const state = () => {
      const closed = new StateMap<string, boolean>({ name: "closed" });
      const acl = new RuleTable<{ match: Match; priority: number }>({ name: "acl" });
      const routes = new PrefixMap<number>({ name: "routes" });
      const { policy, stations } = learning(dp);
      const decide = (packet: Packet) => {
        if (closed.lookup(packet, "ethernet.src")) return drop("closed");
        if (acl.match(packet) !== undefined) return drop("acl");
        const route = routes.lookup(packet, "ipv4.dst");
        return route === undefined ? policy(packet) : forward(route.value);
      };
      return { policy: decide, closed, acl, routes, stations };
    };
    const then = state();
    await using run = await runPolicy(dp, then.policy, { record });
    const rule = { match: { "tcp.dst": 22 } as const, priority: 1 };
    const ssh = tcpFrame({ dst: "10.9.9.9", dstPort: 22 });
    await bench.send(1, frame(1, 2), frame(3, 2), ssh);
    then.closed.set(mac(3), true);
    then.acl.transact((t) => t.add(rule));
    then.routes.set("10.9.0.0/16", 3);
    await run.settled();
    await bench.send(2, frame(2, 1), frame(3, 1), ssh, tcpFrame({ dst: "10.9.1.1" }));
    then.acl.transact((t) => void t.delete(rule));
    then.closed.delete(mac(3));
    await run.settled();
    await bench.send(3, frame(3, 1), ssh);
    const now = state();
    const same = replay(record.lines(), now.policy, [now.closed, now.acl, now.routes]);
    deepStrictEqual(same.differences, []);
    ok(same.upcalls >= 8, `${same.upcalls}`);
    strictEqual(same.flows.after, same.flows.before);
    const other = replay(record.lines(), () => forward(9));
    ok(other.different >= 8 && other.differences[0]?.to === "9");
    ok(other.flows.after < other.flows.before);
  },
);

onEach("a record that has lost its beginning still knows the ports", async (bench) => {
  const { dp } = bench;
  const record = new Recorder({ events: 3 });
  const policy: Policy = (packet, ports) => {
    void packet.ethernet?.src;
    return flood(ports, packet.inPort);
  };
  await using run = await runPolicy(dp, policy, { record });
  for (let i = 1; i < 8; i++) await bench.send(1, frame(i, 99));
  await run.settled();
  const lines = record.lines();
  strictEqual(lines.length, 4);
  const report = replay(lines, policy);
  deepStrictEqual(report.differences, []);
  strictEqual(report.upcalls, 3);
});

onEach("explain: reads, state, flow, through stages", async (bench) => {
  const { dp } = bench;
  const open = new Cell(true, { name: "open" });
  const next = stage<string>("next", () => open.value ? forward(2) : drop("closed"));
  await using run = await runPolicy(
    dp,
    (packet) =>
      packet.within("ipv4.dst", "10.0.0.0/8")
        ? again([], next, "inside")
        : drop("outside"),
  );
  const inside = run.explain(
    "in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.1.2.3,proto=17),udp()",
  );
  strictEqual(inside.steps.length, 2);
  strictEqual(inside.steps[1]?.stage, "next");
  deepStrictEqual(inside.steps[1]?.dependencies, ["open = true"]);
  ok(inside.steps[0]?.reads[0]?.at?.includes("record_test.ts"), inside.toString());
  const text = run.explain({ frame: udpFrame(), inPort: 1 });
  ok(`${text}`.includes("verdict"), `${text}`);
  strictEqual(run.stats.flows, 0);
});

Deno.test("replay: what packets taught then they teach again, whenever it is replayed", () => {
  const places = new StateMap<string, number>({ name: "places" });
  const [a, b] = [mac(1), mac(2)];
  const learn: Policy = (packet) => {
    packet.learn(places, packet.ethernet?.src ?? "", packet.inPort);
    const to = places.lookup(packet, "ethernet.dst");
    return to === undefined ? drop() : forward(to);
  };
  // The program has put in what it knew before, just now.
  places.set(b, 7);
  places.set(b, 8);
  const atMs = Date.now() - 60_000;
  const came = (
    after: number,
    inPort: number,
    src: string,
    dst: string,
    verdict: string,
  ) => {
    const key = encodeKey({ inPort, ethernet: { src, dst }, etherType: 0x1234 }).toHex();
    return JSON.stringify({ event: "upcall", at: atMs + after, key, verdict, mask: key });
  };
  const { differences } = replay(
    [
      JSON.stringify({
        event: "state",
        at: atMs,
        name: "places",
        op: "set",
        key: a,
        value: 1,
      }),
      JSON.stringify({
        event: "state",
        at: atMs,
        name: "places",
        op: "set",
        key: a,
        value: 3,
      }),
      came(500, 5, a, mac(9), "drop"), // Held: it was moved just before.
      came(5000, 2, a, b, "8"),
      came(6000, 4, b, a, "2"),
      came(7000, 2, a, b, "4"),
    ],
    learn,
    [places],
  );
  deepStrictEqual(differences, []);
  strictEqual(places.get(a), 2);
});

onEach(
  "replay: packets without a flow needed none",
  async (bench) => {
    const record = new Recorder();
    const policy: Policy = (packet) => ({
      actions: forward(2),
      cache: packet.ethernet?.src === mac(1),
    });
    await using run = await runPolicy(bench.dp, policy, { record });
    for (const from of [1, 2, 3, 4]) await bench.send(1, frame(from, 9));
    strictEqual(run.stats.flows, 1);
    deepStrictEqual(replay(record.lines(), policy).flows, { before: 1, after: 1 });
  },
  3,
  ["fake"],
);

onEach(
  "replay: what came while masks were few needed what it read",
  async (bench) => {
    const record = new Recorder();
    const policy: Policy = (packet) => {
      for (let bit = 0; bit < 16; bit++) {
        if (packet.equals("tcp.dst", 0x8000 >> bit)) return forward(2);
      }
      return forward(3);
    };
    await using run = await runPolicy(bench.dp, policy, { record, masks: 4 });
    const ports = Array.from({ length: 40 }, (_, i) => i * 40503 & 0xffff >> i % 16);
    await bench.sendAll(ports.map((dstPort) => [1, tcpFrame({ dstPort })]));
    const { before, after } = replay(record.lines(), policy).flows;
    const without = run.stats.withoutFlow.mask_budget ?? 0;
    ok(before <= after && after <= before + without, `${before} ${after} ${without}`);
  },
  3,
  ["fake"],
);
