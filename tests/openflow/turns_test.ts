// SPDX-License-Identifier: Apache-2.0
/** Bundles of many flow mods: in turns of the event loop, and for lookups at once. */
import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { setImmediate } from "node:timers";
import { Connection } from "../../openflow/connection/connection.ts";
import { Bundles, makeBudget } from "../../openflow/switch/bundles.ts";
import { Handler } from "../../openflow/switch/handler.ts";
import { Peer } from "../../openflow/switch/peer.ts";
import { Switch } from "../../openflow/switch/switch.ts";
import { Turns } from "../../openflow/switch/turns.ts";
import { formatFlow, parseFlow } from "../../openflow/text/flow.ts";
import { decodeMessage, encodeMessage } from "../../openflow/wire/codec.ts";
import { fieldOfName } from "../../openflow/wire/field.ts";
import { flowWords, Word } from "../../openflow/wire/flow.ts";
import type { Message } from "../../openflow/wire/message.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { Splitter } from "./recorder.ts";

const dp = {
  name: "d",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
} as unknown as Datapath;

const VERSION = 5;

function make(): Switch {
  return new Switch(dp, { name: "d", datapathId: 1n, tight: false });
}

function bytesOf(message: Message, xid = 1): Uint8Array {
  return encodeMessage(message, { version: VERSION, xid });
}

/** The messages that fill a bundle with flows, and commit it. */
function* bundleOf(flows: Iterable<string>): IterableIterator<Uint8Array> {
  for (const flow of flows) {
    const inner = bytesOf(parseFlow(flow));
    yield bytesOf({ kind: "bundleAdd", bundle: 1, flags: 3, inner });
  }
  yield bytesOf({ kind: "bundleControl", bundle: 1, step: "commitRequest", flags: 3 }, 2);
}

function* flowsTo(port: number, count: number): IterableIterator<string> {
  for (let i = 0; i < count; i++) {
    yield `priority=9,ip,nw_dst=10.1.${i >> 8}.${i & 255},actions=output:${port}`;
  }
}

/** Where packets to 10.1.0.0 and to the last of `count` addresses go. */
function looks(of: Switch, count: number): string[] {
  return [0, count - 1].map((i) => {
    const flow = flowWords();
    flow[Word.dlType] = 0x800;
    flow[Word.nwDst] = 0x0a010000 + i;
    const fail = (): never => {
      throw new TypeError("nothing rests on this");
    };
    const { rule } = of.table(0).look(flow, { became: fail, becameKey: fail });
    return rule === undefined ? "none" : formatFlow(rule).replace(/^.*actions=/, "");
  });
}

function flowsOf(of: Switch): string[] {
  return [...of.flows.rules()].map((rule) => formatFlow(rule)).sort();
}

Deno.test("openflow turns: lookups see all flows of a bundle, or none, at any turn", async () => {
  const count = 20_000;
  const of = make();
  const heard: Message[] = [];
  const handler = new Handler(of, new Peer(VERSION, false, (said) => heard.push(said)));
  for (const [port, before] of [[2, "none"], [3, "output:2"]] as const) {
    let done: void | Promise<void> = undefined;
    for (const bytes of bundleOf(flowsTo(port, count))) done = handler.handle(bytes);
    ok(done !== undefined, "so many flows take more than one turn");
    let isDone = false;
    done = done.then(() => void (isDone = true));
    const seen = new Set<string>();
    let turns = 0;
    while (!isDone) {
      seen.add(looks(of, count).join(" "));
      await new Promise<void>((resolve) => void setImmediate(resolve));
      turns++;
    }
    seen.add(looks(of, count).join(" "));
    ok(turns > 2, `${turns} turns`);
    const after = `output:${port}`;
    deepStrictEqual([...seen], [`${before} ${before}`, `${after} ${after}`]);
    strictEqual(of.table(0).size, count);
    strictEqual([...of.flows.rules()].length, count, "those that were replaced are gone");
  }
  deepStrictEqual(heard.map(({ kind }) => kind), ["bundleControl", "bundleControl"]);
});

Deno.test("openflow turns: a bundle that fails at its end leaves all as it was", async () => {
  const of = make();
  of.flows.apply(parseFlow("priority=9,ip,nw_dst=10.1.0.7,actions=output:1"), {
    isOld: false,
  });
  of.flows.apply(parseFlow("priority=1,actions=drop"), { isOld: false });
  const before = flowsOf(of);
  const heard: Message[] = [];
  const handler = new Handler(of, new Peer(VERSION, false, (said) => heard.push(said)));
  const flows = [
    ...flowsTo(3, 5000),
    "priority=9,ip,nw_dst=10.1.0.9,actions=output:1",
    "priority=8,ip,nw_dst=10.1.0.9,actions=group:5",
  ];
  for (const bytes of bundleOf(flows)) await handler.handle(bytes);
  deepStrictEqual(
    heard.map((said) => said.kind === "error" ? said.code : said.kind),
    ["OFPBAC_BAD_OUT_GROUP", "OFPBFC_MSG_FAILED"],
  );
  deepStrictEqual(flowsOf(of), before);
  deepStrictEqual(looks(of, 8), ["drop", "output:1"]);
  // Nothing of it is left that a later change would meet.
  for (const bytes of bundleOf(flowsTo(2, 8))) await handler.handle(bytes);
  deepStrictEqual(looks(of, 8), ["output:2", "output:2"]);
  strictEqual(of.table(0).size, 9);
});

Deno.test("openflow turns: a change of the program holds at once, and what it cut off begins anew", async () => {
  const of = make();
  const handler = new Handler(of, new Peer(VERSION, false, () => {}));
  let done: void | Promise<void> = undefined;
  for (const bytes of bundleOf(flowsTo(2, 20_000))) done = handler.handle(bytes);
  const add = (flow: string): void => of.flows.apply(parseFlow(flow), { isOld: false });
  add("priority=9,ip,nw_dst=10.1.0.0,actions=output:1");
  add("priority=9,ip,nw_dst=10.2.0.0,actions=output:1");
  deepStrictEqual(looks(of, 20_000), ["output:1", "none"]);
  strictEqual(of.table(0).size, 2);
  await done;
  deepStrictEqual(looks(of, 20_000), ["output:2", "output:2"]);
  strictEqual(of.table(0).size, 20_001);
  strictEqual(of.table(0).planned, 20_001);
  strictEqual([...of.flows.rules()].length, 20_001);
});

Deno.test("openflow turns: versions begin anew before there are no more, and nothing is lost", async () => {
  const of = make();
  const last = 2 ** 30 - 1;
  const handler = new Handler(of, new Peer(VERSION, false, () => {}));
  const commit = async (flows: Iterable<string>): Promise<void> => {
    let done: void | Promise<void> = undefined;
    for (const bytes of bundleOf(flows)) done = handler.handle(bytes);
    await done;
  };
  const add = (flow: string): void => of.flows.apply(parseFlow(flow), { isOld: false });
  await commit(flowsTo(2, 3000));
  for (const from of [2 ** 29 - 2, last - 1]) {
    of.flows.clock.version = from;
    for (let i = 0; i < 4; i++) {
      add(`priority=${10 + i},ip,nw_dst=10.1.0.0,actions=output:${1 + i % 3}`);
      deepStrictEqual(looks(of, 3000), [`output:${1 + i % 3}`, "output:2"]);
      strictEqual(of.table(0).size, 3001);
      of.flows.apply(parseFlow("priority=0,ip,nw_dst=10.1.0.0", { command: "delete" }), {
        isOld: false,
      });
      deepStrictEqual(looks(of, 3000), ["none", "output:2"]);
      add("priority=9,ip,nw_dst=10.1.0.0,actions=output:2");
    }
    ok(of.flows.clock.version < 100, `${of.flows.clock.version}`);
  }
  // A change that is made at once while they begin anew.
  of.flows.clock.version = last - 1;
  const done = commit(flowsTo(3, 20_000));
  add("priority=20,ip,nw_dst=10.1.0.0,actions=output:1");
  deepStrictEqual(looks(of, 3000), ["output:1", "output:2"]);
  await done;
  deepStrictEqual(looks(of, 20_000), ["output:1", "output:3"]);
  strictEqual([...of.flows.rules()].length, 20_001);
  strictEqual(of.table(0).size, 20_001);
});

Deno.test("openflow turns: an echo is answered while a bundle is committed", async () => {
  const of = make();
  const all = [
    encodeMessage({ kind: "hello", versions: 1 << VERSION }, { version: VERSION }),
    ...bundleOf(flowsTo(2, 20_000)),
  ];
  const data = new TextEncoder().encode("there?");
  const parts = [...all, bytesOf({ kind: "echoRequest", data }, 3)];
  const { promise: ended, resolve: end } = Promise.withResolvers<null>();
  const splitter = new Splitter();
  const heard: string[] = [];
  const connection = new Connection(of, {
    read: (to) => {
      const next = parts.shift();
      if (next === undefined) return ended;
      to.set(next);
      return Promise.resolve(next.length);
    },
    write: (bytes) => {
      for (const one of splitter.push(bytes)) {
        const { message, xid } = decodeMessage(one);
        heard.push(`${message.kind} ${xid}`);
        if (message.kind === "bundleControl") end(null);
      }
      return Promise.resolve(bytes.length);
    },
    close: () => {},
  }, { versions: 1 << VERSION, isService: false, probeMs: 0 });
  await connection.run();
  deepStrictEqual(heard, ["hello 1", "echoReply 3", "bundleControl 2"]);
});

Deno.test("openflow turns: an echo is answered while a flow mod waits long for others", async () => {
  const of = make();
  let isReleased = false;
  // What another peer has begun: it ends when the echo is answered, or is given up on.
  const others = of.turns.run((function* () {
    while (!isReleased) yield;
  })());
  const given = setTimeout(() => isReleased = true, 30_000);
  const parts = [
    encodeMessage({ kind: "hello", versions: 1 << VERSION }, { version: VERSION }),
    bytesOf(parseFlow("in_port=1,actions=output:2"), 2),
    bytesOf({ kind: "echoRequest", data: new Uint8Array(3) }, 3),
    bytesOf({ kind: "barrierRequest" }, 4),
  ];
  const { promise: ended, resolve: end } = Promise.withResolvers<null>();
  const splitter = new Splitter();
  const heard: string[] = [];
  const connection = new Connection(of, {
    read: (to) => {
      const next = parts.shift();
      if (next === undefined) return ended;
      to.set(next);
      return Promise.resolve(next.length);
    },
    write: (bytes) => {
      for (const one of splitter.push(bytes)) {
        const { message: { kind }, xid } = decodeMessage(one);
        heard.push(`${kind} ${xid}${isReleased ? "" : ", they wait"}`);
        if (kind === "echoReply") isReleased = true;
        if (kind === "barrierReply") end(null);
      }
      return Promise.resolve(bytes.length);
    },
    close: () => {},
  }, { versions: 1 << VERSION, isService: false, probeMs: 0 });
  await connection.run();
  await others;
  clearTimeout(given);
  deepStrictEqual(heard, [
    "hello 1, they wait",
    "echoReply 3, they wait",
    "barrierReply 4",
  ]);
  strictEqual(of.table(0).size, 1);
});

Deno.test("openflow turns: bundles of all peers together take no more than their bound", () => {
  const all = makeBudget(1 << 22);
  const message = bytesOf({ kind: "echoRequest", data: new Uint8Array(1000) });
  const peers = [new Bundles(all), new Bundles(all)];
  const fill = (bundles: Bundles): number => {
    const bundle = bundles.get(1) ?? bundles.open(1, 0);
    const before = bundle.taken.messages;
    throws(() => {
      for (;;) bundles.add(bundle, message);
    }, { code: "OFPBFC_MSG_TOO_MANY" });
    return bundle.taken.messages - before;
  };
  const [first = 0, second = 0] = peers.map(fill);
  ok(first > 3000 && second < 300, `${first} and ${second} messages`);
  peers[0]?.clear();
  ok(fill(peers[1] as Bundles) > 3000, "what one lets go another may take");
  for (const peer of peers) peer.clear();
  deepStrictEqual(all, makeBudget(1 << 22));
});

Deno.test("openflow turns: work that throws is told, and the next one is done", async () => {
  const turns = new Turns();
  function* slow(ms: number, fails: boolean): IterableIterator<void, string> {
    const end = performance.now() + ms;
    while (performance.now() < end) yield;
    if (fails) throw new RangeError("slow");
    return "done";
  }
  strictEqual(turns.run(slow(0, false)), "done");
  throws(() => turns.run(slow(0, true)), RangeError);
  const first = turns.run(slow(100, true));
  const second = turns.run(slow(1, false));
  await rejects(async () => await first, RangeError);
  strictEqual(await second, "done");
  strictEqual(turns.isIdle, true);
});

Deno.test("openflow turns: a full table lets the least important flow go, where it may", () => {
  const of = make();
  const add = (text: string): void => of.flows.apply(parseFlow(text), { isOld: false });
  of.table(0).limits = { evicts: false, most: 3 };
  add("importance=5,hard_timeout=100,priority=1,actions=drop");
  add("importance=2,hard_timeout=90,priority=2,actions=drop");
  add("importance=2,hard_timeout=60,priority=3,actions=drop");
  throws(() => add("priority=4,actions=drop"), { code: "OFPFMFC_TABLE_FULL" });
  add("importance=2,hard_timeout=60,priority=3,actions=output:1");
  of.table(0).limits = { evicts: true, most: 3 };
  const left = (): number[] =>
    [...of.flows.rules()].map(({ priority }) => priority).sort();
  add("importance=9,priority=4,actions=drop");
  deepStrictEqual(left(), [1, 2, 4], "of two as important the one that ends first");
  add("importance=9,priority=5,actions=drop");
  deepStrictEqual(left(), [1, 4, 5]);
  add("importance=9,priority=6,actions=drop");
  deepStrictEqual(left(), [4, 5, 6]);
  throws(() => add("priority=7,actions=drop"), { code: "OFPFMFC_TABLE_FULL" });
  strictEqual(of.table(0).size, 3);
});

Deno.test("openflow turns: a change of many flows for a full table ranks the others once", () => {
  const of = make();
  const add = (importance: number) =>
    parseFlow(
      `in_port=${importance},importance=${importance},hard_timeout=100,actions=drop`,
    );
  of.table(0).limits = { evicts: true, most: 3000 };
  const all = (from: number, to: number): void =>
    of.flows.now(function* (change) {
      for (let i = from; i < to; i++) {
        yield* of.flows.stage(add(i), { isOld: false }, change);
      }
    });
  all(1000, 4000);
  all(4000, 6900);
  // These are less important than all others: each goes for that behind it.
  all(10, 500);
  const left = [...of.flows.rules()].map(({ importance }) => importance);
  deepStrictEqual([left.length, Math.max(...left)], [3000, 6899]);
  deepStrictEqual(left.toSorted((a, b) => a - b).slice(0, 2), [499, 3901]);
});

Deno.test("openflow turns: the largest group loses flows, those of the same change too", () => {
  const of = make();
  const field = fieldOfName("in_port");
  const groups = [{ field, offset: 0, bits: 32 }];
  of.table(0).limits = { evicts: false, keeps: { groups }, most: 6 };
  const add = (port: number, priority: number, more = "hard_timeout=100") =>
    parseFlow(`in_port=${port},priority=${priority},${more},actions=drop`);
  of.flows.now(function* (change) {
    for (
      const mod of [
        ...[add(1, 1), add(1, 2), add(1, 3), add(2, 1), add(2, 2), add(3, 1)],
        // Of port 1 two go; then of port 2, which has three, and again one of them.
        ...[add(3, 2), add(2, 3), add(2, 4, "hard_timeout=50"), add(4, 1)],
      ]
    ) yield* of.flows.stage(mod, { isOld: false }, change);
  });
  const ports = [...of.flows.rules()].map(({ match }) => match.value[Word.inPort]);
  deepStrictEqual(
    [1, 2, 3, 4].map((port) => ports.filter((one) => one === port).length),
    [1, 2, 2, 1],
  );
  const ends = [...of.flows.rules()].map(({ hard }) => hard);
  deepStrictEqual(ends.includes(50), false);
  // What was deleted since the rules were ranked goes for nobody.
  of.flows.now(function* (change) {
    const gone = { ...add(3, 1), command: "delete" } as const;
    for (const mod of [add(5, 1), gone, add(5, 2), add(5, 3), add(5, 4), add(5, 5)]) {
      yield* of.flows.stage(mod, { isOld: false }, change);
    }
  });
  const { size, planned } = of.table(0);
  deepStrictEqual([size, planned, [...of.flows.rules()].length], [6, 6, 6]);
});
