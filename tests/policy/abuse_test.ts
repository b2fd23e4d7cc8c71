// SPDX-License-Identifier: Apache-2.0
/**
 * Policies that read what they may not rest on, or say what is no verdict: what comes of it is
 * sound, or refused by an error of its own type.
 */
import {
  deepStrictEqual,
  doesNotThrow,
  ok,
  strictEqual,
  throws,
} from "node:assert/strict";
import {
  type Carry,
  Cell,
  checkPolicy,
  Counter,
  decide,
  type Decision,
  drop,
  forward,
  type Packet,
  type Policy,
  PortsView,
  PrefixMap,
  replay,
  type Rule,
  RuleTable,
  runPolicy,
  stage,
  StateMap,
  track,
} from "../../policy/mod.ts";
import { pause } from "../support/wait.ts";
import { keyBytes } from "../../policy/decide.ts";
import { onEach, type PolicyBench } from "./bench.ts";
import { hints } from "./random_policy.ts";
import { frame } from "./stations.ts";

const quiet = { audit: { perSecond: 0 } } as const;
/** What the datapath has no part in. */
const onFake = (name: string, test: (bench: PolicyBench) => Promise<void>) =>
  onEach(name, test, 3, ["fake"]);
const packets = {
  tcp: "in_port(1),eth(),eth_type(0x0800),ipv4(proto=6),tcp(dst=80)",
  arp: "in_port(1),eth(),eth_type(0x0806),arp(sip=10.0.0.1)",
  tagged: "in_port(1),eth(),eth_type(0x8100),vlan(vid=5,pcp=1)," +
    "encap(eth_type(0x86dd),ipv6(proto=17),udp(src=53))",
  labels: "in_port(1),eth(),eth_type(0x8847),mpls(label=3,tc=0,ttl=64,bos=1)",
} as const;

/** A port that text chooses. */
const portOf = (text: string): number => {
  let hash = 7;
  for (const letter of text) hash = hash * 31 + letter.charCodeAt(0) & 0xffff;
  return 1 + hash % 3;
};
/** The parts of an object that are there, whatever their order. */
const partsOf = (of: object | undefined): string =>
  Object.entries(of ?? {}).filter(([, part]) => part !== undefined).map(String).sort()
    .join();

/** Ways to look at a packet that name none of its fields. */
const looks: Readonly<Record<string, (packet: Packet) => string>> = {
  "spread": ({ ipv4, tcp }) => partsOf({ ...ipv4, ...tcp }),
  "JSON": ({ ethernet, udp }) =>
    partsOf(JSON.parse(JSON.stringify([ethernet ?? {}, udp ?? {}]))[0]),
  "for in": ({ icmp }) => {
    const found: string[] = [];
    for (const name in icmp) found.push(`${name}${Reflect.get(icmp, name)}`);
    return found.sort().join();
  },
  "structuredClone": ({ arp }) => partsOf(structuredClone(arp)),
  "destructuring": ({ ipv6: { src = "", ...rest } = {} as never }) => src + partsOf(rest),
  "tags": ({ vlans = [] }) => vlans.map(partsOf).join(";"),
  "labels": ({ mpls = [] }) => [...mpls].map(({ label }) => label).join(),
  "bigint": ({ ctLabels, tunnel }) =>
    `${ctLabels > 5n}${ctLabels >> 3n & 7n}${(tunnel?.id ?? 0n) === 1n}`,
  "concatenation": (packet) => "" + packet.ipv4?.src + packet.etherType,
  "assign": ({ tcp, tcpFlags }) => partsOf(Object.assign({ tcpFlags }, tcp)),
  "descriptors": ({ ipv4 }) =>
    `${ipv4 && Object.getOwnPropertyDescriptor(ipv4, "ttl")?.get?.call(ipv4)}`
      .replace("undefined", `${ipv4?.ttl}`),
  "catch": ({ ipv6 }) => {
    try {
      if (ipv6?.hlimit === 64) throw new Error("unlucky");
      return "";
    } catch (error) {
      return String(error);
    }
  },
};

for (const [name, look] of Object.entries(looks)) {
  Deno.test(`a packet that is read by ${name} has a sound flow`, () => {
    const { mutants } = checkPolicy((packet) => forward(portOf(look(packet))), {
      ...{ runs: 150, mutants: 32, seed: 11, hints },
    });
    ok(mutants > 1000);
  });
}

Deno.test("a packet that is written down as a whole is masked as a whole", () => {
  const fields = Object.keys((decideOn(packets.tcp, (packet) => ({ ...packet })), seen));
  const deep = (value: unknown): unknown =>
    typeof value === "object" && value !== null ? Object.values(value).map(deep) : value;
  const byName = (packet: Packet) =>
    fields.map((name) => deep((packet as unknown as Record<string, unknown>)[name]));
  const big = (_: string, value: unknown) =>
    typeof value === "bigint" ? `${value}` : value;
  for (const key of Object.values(packets)) {
    const { mask } = decideOn(key, byName);
    deepStrictEqual(decideOn(key, (packet) => JSON.stringify(packet, big)).mask, mask);
    deepStrictEqual(decideOn(key, (packet) => structuredClone({ ...packet })).mask, mask);
    deepStrictEqual(decideOn(key, (packet) => deep(packet)).mask, mask);
  }
});
let seen: object = {};
function decideOn(key: string, look: (packet: Packet) => unknown) {
  return decide((packet) => {
    const found = look(packet);
    if (typeof found === "object" && found !== null) seen = found;
    return drop();
  }, key);
}

Deno.test("a packet keeps nothing from one run to the next", () => {
  for (const part of [(p: Packet) => p, (p: Packet) => p.ethernet]) {
    throws(() =>
      decide((packet) => {
        Object.assign(part(packet) as object, { seen: 1 });
        return drop();
      }, packets.tcp), TypeError);
  }
});

Deno.test("names of Object are no leaves and no fields", () => {
  for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
    throws(() => decideOn(packets.tcp, (p) => p.has(name as never)), TypeError);
    throws(() => decideOn(packets.tcp, (p) => p.equals(name as never, 1)), TypeError);
    throws(() => decideOn(packets.tcp, (p) => p.bits(name as never, 1)), TypeError);
  }
});

Deno.test("a packet that was kept can be asked nothing behind its run", () => {
  const table = new RuleTable<Rule>({ name: "kept packet" });
  const map = new StateMap<string, number>({ name: "kept packet" });
  const counter = new Counter();
  let kept: Packet | undefined;
  decide((packet) => (kept = packet, drop()), packets.tcp);
  const packet = kept as unknown as Packet;
  for (
    const ask of [
      () => table.match(packet),
      () => map.lookup(packet, "inPort"),
      () => packet.ipv4,
      () => packet.now,
      () => packet.until(Infinity),
      () => packet.credit(counter),
      () => packet.learn(map, "a", 1),
      () => packet.bits("inPort", 1),
    ]
  ) throws(ask, /only while its policy runs/);
});

Deno.test("what computes its value for each who looks is no constant", () => {
  const to = new Cell(1, { name: "computed" });
  const computed = Object.freeze([
    Object.freeze({
      type: "output",
      get port() {
        return to.value;
      },
    }),
  ]);
  const policy: Policy = () => computed as never;
  deepStrictEqual(decide(policy, packets.tcp).dependencies, ["computed = 1"]);
  deepStrictEqual(decide(policy, packets.tcp).dependencies, ["computed = 1"]);
  to.value = 2;
  deepStrictEqual(decide(policy, packets.tcp).actions, forward(2));
  // Parts of a packet are such: what is carried and taught are copies.
  const next = stage<Carry>("computed", () => drop());
  const [first, second] = ["80", "81"].map((port) =>
    decide(
      ({ tcp }) => track({}, next, tcp as never),
      packets.tcp.replace("dst=80", `dst=${port}`),
    )
  );
  const carried = (one: typeof first) =>
    one?.decision.actions.map((action) => (action as { carry?: object }).carry)[1];
  deepStrictEqual([carried(first), carried(second)], [
    { src: 0, dst: 80 },
    { src: 0, dst: 81 },
  ]);
});

onFake(
  "an object that was changed and is written again is another value",
  async (bench) => {
    const list = [2];
    const lists = new Cell(list, { name: "lists" });
    const map = new StateMap<string, number[]>({ name: "lists" });
    const routes = new PrefixMap<number[]>({ name: "lists" });
    map.set("a", list);
    routes.set("::/0", list);
    await using run = await runPolicy(bench.dp, (packet) => {
      if (packet.equals("inPort", 1)) return forward(lists.value[0] ?? 0);
      if (packet.equals("inPort", 2)) return forward(map.get("a")?.[0] ?? 0);
      return drop();
    }, quiet);
    await bench.send(1, frame(1, 9));
    await bench.send(2, frame(1, 9));
    deepStrictEqual(bench.where(), { 2: 2 });
    list[0] = 3;
    lists.value = list;
    map.set("a", list);
    await run.settled();
    await bench.send(1, frame(1, 9));
    await bench.send(2, frame(1, 9));
    deepStrictEqual(bench.where(), { 3: 2 });
    strictEqual(run.stats.modified, 2);
    const frozen = Object.freeze([3]) as never;
    lists.value = frozen;
    await run.settled();
    const { reruns } = run.stats;
    lists.value = frozen; // Nothing of it can have changed.
    await run.settled();
    strictEqual(run.stats.reruns, reruns);
  },
);

Deno.test("what a map counted is not kept to be read in a run", () => {
  const map = new StateMap<string, number>({ name: "counted", max: 1 });
  const { counters } = map;
  map.set("a", 1).set("b", 2);
  strictEqual(counters.evicted, 0);
  strictEqual(map.counters.evicted, 1);
});

Deno.test("what is there for explanations gives its reader no flow", () => {
  const cell = new Cell(1);
  const table = new RuleTable<Rule>();
  const routes = new PrefixMap<number>();
  for (
    const look of [
      () => cell.describe(),
      () => table.at(0),
      () => table.describe("count"),
      () => routes.describe("count"),
      () => new PortsView().describe(),
    ]
  ) strictEqual(decideOn(packets.tcp, look).uncacheable, "described");
});

Deno.test("a run changes no state, by whatever name", () => {
  const map = new StateMap<string, number>({ name: "unchanged", idleMs: 1 });
  for (
    const change of [
      () => map.hear("a", 1, 0),
      () => map.setAt("a", 1, 0),
      () => map.age(),
      () => map.expire(Date.now() + 1e6),
      () => map.usedMs("a"),
    ]
  ) throws(() => decideOn(packets.tcp, change), /while a policy runs/);
});

Deno.test("bounds that are none are refused", () => {
  for (const max of [0, -1, NaN]) throws(() => new StateMap({ max }), RangeError);
  for (const idleMs of [0, NaN]) throws(() => new StateMap({ idleMs }), RangeError);
  throws(() => new StateMap({ holdMs: NaN }), RangeError);
  doesNotThrow(() => new StateMap({ max: Infinity, idleMs: Infinity, holdMs: 0 }));
  for (const said of [{ idleMs: 0 }, { idleMs: NaN }, { hardMs: -1 }, { hardMs: NaN }]) {
    throws(() => decide(() => ({ actions: [], ...said }), packets.tcp), RangeError);
  }
});

onFake("a key that is no address is told by the run that it stopped", async (bench) => {
  const stations = new StateMap<string, number>({ name: "spelled" });
  stations.set("nonsense", 1);
  await using run = await runPolicy(bench.dp, (packet) => {
    try {
      return forward(stations.lookup(packet, "ethernet.dst") ?? 2);
    } catch {
      return forward(3);
    }
  }, quiet);
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 3: 1 });
  stations.delete("nonsense");
  await run.settled();
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 2: 1 });
});

onFake("prefixes of another kind come to packets that have no address", async (bench) => {
  const routes = new PrefixMap<number>({ name: "no address" });
  await using run = await runPolicy(bench.dp, (packet) => {
    try {
      return forward(routes.lookup(packet, "ipv6.dst")?.value ?? 2);
    } catch {
      return forward(3);
    }
  }, quiet);
  await bench.send(1, frame(1, 9));
  routes.set("10.0.0.0/8", 1);
  await run.settled();
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 2: 1, 3: 1 });
});

/** What has no text, and what says so by throwing. */
const untold: readonly unknown[] = [
  Object.create(null),
  Symbol("unlucky"),
  {
    toString: () => {
      throw new Error("no text");
    },
  },
  Object.defineProperty(new Error(), "message", {
    get: () => {
      throw 1;
    },
  }),
  undefined,
];
onFake("what is thrown need not have a text", async (bench) => {
  const bad = new Cell<unknown>(0, { name: "bad" });
  const said: string[] = [];
  await using run = await runPolicy(bench.dp, (packet) => {
    const { value } = bad;
    if (value !== 0 && packet.equals("inPort", 1)) throw value;
    return forward(2);
  }, { ...quiet, onError: ({ message }) => void said.push(message) });
  for (const value of untold) {
    bad.value = 0;
    await bench.send(1, frame(1, 9));
    bad.value = value;
    await run.settled();
    await bench.send(1, frame(1, 9));
    throws(() => run.explain("nonsense"), SyntaxError);
    ok(`${run.explain(packets.tcp)}`.includes("threw"));
  }
  strictEqual(run.stats.failures.policy_error, 2 * untold.length);
  strictEqual(run.stats.failures.rerun_failed, undefined);
  ok(said.includes("the policy threw: a object that has no text"), said.join("\n"));
  const key = keyBytes(packets.tcp).toHex();
  const line = `{"event":"upcall","at":1,"key":"${key}","verdict":"2","mask":""}`;
  const { threw } = replay([line], () => {
    throw untold[0];
  });
  strictEqual(threw, 1);
});

onFake(
  "a policy that is async is refused, and what it does later ends nothing",
  async (bench) => {
    const said: string[] = [];
    const late = (async (packet: Packet) => {
      await Promise.resolve();
      return forward(packet.inPort);
    }) as unknown as Policy;
    await using run = await runPolicy(bench.dp, late, {
      ...quiet,
      onError: ({ message }) => void said.push(message),
    });
    await bench.send(1, frame(1, 9));
    await pause(0);
    strictEqual(run.stats.flows, 0);
    ok(said[0]?.includes("must not be async"), said[0]);
  },
);

onFake("what is no counter and no table is refused where it is said", async (bench) => {
  const isBad = new Cell(false, { name: "is bad" });
  const throwing = {
    name: "throwing",
    add: () => {
      throw new Error("cannot add");
    },
  };
  const bads: readonly ((packet: Packet) => void)[] = [
    (packet) => packet.credit({} as never),
    (packet) => packet.credit(undefined as never),
    (packet) => packet.learn(new Map() as never, 1, 2),
    (packet) => packet.learn(undefined as never, 1, 2),
  ];
  for (const bad of bads) throws(() => decideOn(packets.tcp, bad), TypeError);
  await using run = await runPolicy(bench.dp, (packet) => {
    if (isBad.value) packet.credit(throwing);
    return forward(2);
  }, { ...quiet, onError: () => {} });
  await bench.send(1, frame(1, 9));
  isBad.value = true;
  await run.settled();
  await bench.send(1, frame(1, 9), frame(1, 9));
  const { flows, failures } = await run.statistics();
  strictEqual(flows, 1);
  ok((failures.credit_failed ?? 0) > 0);
  deepStrictEqual(bench.where(), { 2: 3 });
});

Deno.test("a port that is text does not become another's verdict", () => {
  const text = forward("3000" as never);
  deepStrictEqual(forward(3000), [{ type: "output", port: 3000 }]);
  throws(() => decide(() => text, packets.tcp), TypeError);
});

Deno.test("rules of equal priority: the first that was added, in every order of changes", () => {
  const table = new RuleTable<Rule & { readonly to: number }>({ name: "equal" });
  const rules = [1, 2, 3].map((to) => ({ match: {}, priority: 5, to }));
  const best = () => {
    const { decision, dependencies } = decide((packet) => {
      const to = table.match(packet)?.to;
      return to === undefined ? drop() : forward(to);
    }, packets.tcp);
    strictEqual(dependencies.length, 1);
    return (decision as Decision).actions;
  };
  table.transact((t) => rules.forEach((rule) => t.add(rule)));
  deepStrictEqual(best(), forward(1));
  table.transact((t) => {
    const [first] = rules;
    if (first && t.delete(first)) t.add(first);
  });
  deepStrictEqual(best(), forward(2));
});
