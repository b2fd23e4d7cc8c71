// SPDX-License-Identifier: Apache-2.0
/**
 * Values that go from one run to others: what programs hand over and use again, what they find and
 * keep, and when it ends.
 */
import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import {
  again,
  type Carry,
  Cell,
  Counter,
  decide,
  type Decision,
  drop,
  forward,
  keepState,
  type Packet,
  type Policy,
  PrefixMap,
  runPolicy,
  slowly,
  stage,
  StateMap,
} from "../../policy/mod.ts";
import { advanceClock } from "../../policy/clock.ts";
import { newState } from "../../policy/state/keep.ts";
import { set } from "../../providers/odp/mod.ts";
import { until } from "../support/wait.ts";
import { onEach, type PolicyBench } from "./bench.ts";
import { frame, mac } from "./stations.ts";

const quiet = { audit: { perSecond: 0 } } as const;
/** What the datapath has no part in. */
const onFake = (name: string, test: (bench: PolicyBench) => Promise<void>) =>
  onEach(name, test, 3, ["fake"]);
const tcp = "in_port(1),eth(),eth_type(0x0800),ipv4(proto=6),tcp(dst=80)";

onEach(
  "an object that is taught again and again is what it was each time",
  async (bench) => {
    const hosts = new StateMap<string, { port: number }>({ name: "scratch hosts" });
    const scratch = { port: 0 };
    await using run = await runPolicy(bench.dp, (packet) => {
      scratch.port = packet.inPort;
      if (packet.ethernet) packet.learn(hosts, packet.ethernet.src, scratch);
      const to = hosts.lookup(packet, "ethernet.dst");
      return to === undefined ? drop("unknown") : forward(to.port);
    }, quiet);
    await bench.send(1, frame(1, 2));
    await bench.send(2, frame(2, 1));
    await bench.send(3, frame(3, 1));
    deepStrictEqual(bench.where(), { 1: 2 });
    deepStrictEqual([hosts.get(mac(1)), hosts.get(mac(2))], [{ port: 1 }, { port: 2 }]);
    strictEqual(run.stats.failures.policy_error, undefined);
  },
);

onFake(
  "an object that is taught anew is the same value if it is made of the same",
  async (bench) => {
    const hosts = new StateMap<string, { at: readonly number[] }>({
      name: "fresh hosts",
    });
    await using run = await runPolicy(bench.dp, (packet) => {
      const src = packet.ethernet?.src ?? "";
      packet.learn(hosts, src, { at: [packet.inPort] });
      return forward(hosts.get(src)?.at[0] ?? 3);
    }, quiet);
    for (let i = 0; i < 3; i++) await bench.send(1, frame(1, 9));
    await run.statistics();
    strictEqual(hosts.counters.flapping, 0);
    deepStrictEqual([run.stats.flows, run.stats.failures.unstable], [1, undefined]);
  },
);

Deno.test("what packets teach is plain data, or state that is tracked", () => {
  const table = new StateMap<string, unknown>({ name: "taught" });
  const teach = (value: unknown) =>
    decide((packet) => {
      packet.learn(table, "key", value);
      return drop();
    }, tcp).effects[0];
  for (const value of [new Map(), new Date(), [new Set()], { of: new URL("a:b") }]) {
    throws(() => teach(value), TypeError);
  }
  for (const value of [1, "a", undefined, null, new Counter(), new Cell(1), table]) {
    const effect = teach(value);
    ok(effect?.kind === "learn" && Object.is(effect.value, value));
  }
});

onFake(
  "a decision that a program uses again is what it was for each flow",
  async (bench) => {
    const said: { -readonly [N in keyof Decision]: Decision[N] } = {
      actions: forward(2),
    };
    await using run = await runPolicy(bench.dp, (packet) => {
      said.reason = `from ${packet.ethernet?.src}`;
      return said;
    }, quiet);
    await bench.send(1, frame(1, 9), frame(2, 9));
    deepStrictEqual([...run.flows()].map(({ reason }) => reason).sort(), [
      `from ${mac(1)}`,
      `from ${mac(2)}`,
    ]);
  },
);

onFake("a verdict ends at its time, and not with the next look at all", async (bench) => {
  const { setInterval } = globalThis;
  globalThis.setInterval = (() => 0) as never; // Nobody looks now and then.
  try {
    const end = Date.now() + 150;
    await using run = await runPolicy(bench.dp, (packet) => {
      packet.until(packet.now < end ? end : Infinity);
      return forward(packet.now < end ? 2 : 3);
    }, quiet);
    await bench.send(1, frame(1, 9));
    strictEqual(run.stats.flows, 1);
    await until("the flow to be another", () => run.stats.modified === 1);
    bench.where();
    await bench.send(1, frame(1, 9));
    deepStrictEqual(bench.where(), { 3: 1 });
  } finally {
    globalThis.setInterval = setInterval;
  }
});

Deno.test("a verdict that has ended is for its packet alone", () => {
  const at = (end: number) =>
    decide(
      (packet) => {
        packet.until(end);
        return forward(packet.now < end ? 1 : 2);
      },
      tcp,
      undefined,
      { nowMs: 1000 },
    ).uncacheable;
  deepStrictEqual([at(999), at(1000), at(1001), at(Infinity)], [
    "expired",
    "expired",
    undefined,
    undefined,
  ]);
});

Deno.test("what a map counted holds for one packet", () => {
  const map = new StateMap<string, number>({ name: "counting" });
  const { uncacheable } = decide(
    () => map.counters.evicted > 0 ? drop() : forward(1),
    tcp,
  );
  strictEqual(uncacheable, "counter");
  strictEqual(map.counters.evicted, 0);
});

Deno.test("prefixes: bad text is a SyntaxError, and numbers keep their digits", () => {
  const routes = new PrefixMap<number>({ name: "texts" });
  for (const text of ["nonsense", "", "/8", "10.0.0.0/", "10.0.0.0/8/9", "10.0.0.0/33"]) {
    throws(() => routes.set(text, 1), SyntaxError, text);
    throws(() =>
      decide((packet) => {
        packet.within("ipv4.dst", text);
        return drop();
      }, tcp), SyntaxError);
  }
  strictEqual(routes.size, 0);
  const key = { inPort: 1, tunnel: { id: 2n ** 63n + 1n, ttl: 64, src: "1.1.1.1" } };
  const inside = (packet: Packet) => packet.within("tunnel.id", `${2n ** 63n + 1n}/64`);
  const { actions } = decide(
    (packet) => inside(packet) ? forward(1) : drop(),
    key as never,
  );
  deepStrictEqual(actions, forward(1));
});

Deno.test("prefixes: what was found once stays as it was", () => {
  const routes = new PrefixMap<number>({ name: "found" });
  routes.set("10.0.0.0/8", 1);
  let found: { readonly value: number } | undefined;
  const policy: Policy = (packet) => {
    found = routes.lookup(packet, "ipv4.dst");
    return drop();
  };
  decide(policy, "in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.0.0.1)");
  routes.set("10.0.0.0/8", 2);
  strictEqual(found?.value, 1);
});

onFake("an empty map of prefixes becomes one of another kind", async (bench) => {
  const links = new PrefixMap<number>({ name: "kinds" });
  await using run = await runPolicy(bench.dp, (packet) => {
    void packet.ethernet?.dst;
    return forward(links.lookup(packet, "ethernet.dst")?.value ?? 2);
  }, { ...quiet, onError: () => "drop" });
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 2: 1 });
  links.set("10.0.0.0/8", 3); // To ask for an Ethernet address throws from now on.
  await run.settled();
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), {});
});

Deno.test("a program that is loaded again has one cell or map of a name", async () => {
  const load = (...ports: number[]) => () => {
    const made = ports.map((_, i) => new StateMap<string, number>({ name: `kept${i}` }));
    return Promise.resolve(made);
  };
  const [first] = await newState(load(1));
  first?.set("a", 1);
  const twice = () => {
    new Cell(1, { name: "kept0" });
    return load(1)();
  };
  await rejects(newState(twice), /two cells or maps have the name "kept0"/);
  // One that was not taken takes nothing away.
  await rejects(
    keepState(async () => {
      const [lost] = await load(1)();
      lost?.clear();
      throw new Error("not taken");
    }),
    /not taken/,
  );
  const [next] = await keepState(load(1));
  strictEqual(next?.get("a"), 1);
});

Deno.test("a stage carries plain data", () => {
  const next = stage<Carry>("plain", () => drop());
  for (const carry of [new Map(), new Date(), () => 1, [Symbol("a")]]) {
    throws(() => decide(() => again([], next, carry as never), tcp), TypeError);
  }
});

onFake("what follows an edit may have parts of its packet", async (bench) => {
  await using run = await runPolicy(
    bench.dp,
    ({ ethernet }) =>
      ethernet === undefined
        ? drop()
        : slowly((bytes) => bytes, [set({ ethernet }), ...forward(2)]),
    quiet,
  );
  await bench.send(1, frame(1, 9), frame(1, 9));
  deepStrictEqual(bench.where(), { 2: 2 });
  strictEqual(run.stats.failures.edit_failed, undefined);
});

// The last one: the clock does not go back.
onFake("a clock that is put forward ends what was learned", async (bench) => {
  const idleMs = 3_600_000;
  const seen = new StateMap<string, number>({ name: "aged", idleMs });
  await using _ = await runPolicy(bench.dp, (packet) => {
    packet.learn(seen, packet.ethernet?.src ?? "", packet.inPort);
    return forward(2);
  }, { ...quiet, idleMs: 1e9 });
  await bench.send(1, frame(1, 9));
  strictEqual(seen.size, 1);
  advanceClock(2 * idleMs);
  await until("the station to be forgotten", () => seen.size === 0);
});
