// SPDX-License-Identifier: Apache-2.0
/** Faults of programs and datapaths: flows stay true, and packets get their flows afterwards. */
import {
  deepStrictEqual,
  notDeepStrictEqual,
  ok,
  strictEqual,
  throws,
} from "node:assert/strict";
import {
  again,
  Cell,
  decide,
  forward,
  PrefixMap,
  Recorder,
  runPolicy,
  stage,
  toProgram,
  track,
} from "../../policy/mod.ts";
import { Continuations } from "../../policy/stage.ts";
import { ActionTable } from "../../policy/verdicts.ts";
import type { Datapath } from "../../providers/datapath.ts";
import type { Op } from "../../providers/operations.ts";
import { onEach } from "./bench.ts";
import { frame, mac } from "./stations.ts";

/** A datapath whose `operate` is another one. */
function withOperate(dp: Datapath, operate: Datapath["operate"]): Datapath {
  return new Proxy(dp, {
    get(target, name) {
      if (name === "operate") return operate;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

onEach("a write that cannot be recorded changes nothing", async (bench) => {
  const { dp } = bench;
  const to = new Cell(2, { name: "to" });
  let isFull = false;
  const onLine = (line: string): void => {
    if (isFull && line.includes('"state"')) throw new Error("the disk is full");
  };
  await using run = await runPolicy(dp, () => forward(to.value), {
    record: new Recorder({ onLine }),
  });
  await bench.send(1, frame(1, 2));
  isFull = true;
  throws(() => to.value = 3, /the disk is full/);
  isFull = false;
  await run.settled();
  strictEqual(to.value, 2);
  await bench.send(1, frame(1, 2));
  deepStrictEqual(bench.where(), { 2: 2 });
});

onEach("a listener of faults may make one, and the policy goes on", async (bench) => {
  const { dp } = bench;
  await using run = await runPolicy(dp, (packet) => {
    if (packet.equals("ethernet.src", mac(13))) throw new Error("unlucky");
    return forward(2);
  }, {
    onError: () => {
      throw new Error("nobody listens");
    },
  });
  await bench.send(1, frame(13, 2), frame(1, 2));
  deepStrictEqual(bench.where(), { 2: 1 });
  strictEqual(run.stats.failures.on_error_threw, 1);
  strictEqual(run.stats.failures.upcall_failed, undefined);
});

onEach(
  "a flow that found no room because the datapath failed is put later",
  async (bench) => {
    let isBroken = true;
    const broken = withOperate(bench.dp, (ops: readonly Op[]) => {
      if (isBroken && ops.some(({ op }) => op === "delete")) throw new Error("broken");
      return bench.dp.operate(ops);
    });
    await using run = await runPolicy(broken, (packet) => {
      void packet.ethernet?.src;
      return forward(2);
    }, { idleMs: 600_000, flows: { max: 2 }, onError: () => {} });
    for (let i = 1; i <= 4; i++) await bench.send(1, frame(i, 9), frame(i, 9));
    ok((run.stats.failures.upcall_failed ?? 0) > 0);
    isBroken = false;
    await bench.send(1, frame(4, 9), frame(4, 9));
    const { upcalls } = run.stats;
    await bench.send(1, frame(4, 9));
    strictEqual(run.stats.upcalls, upcalls, "it has a flow");
  },
  3,
  ["fake"],
);

onEach(
  "flows that the datapath failed to change are changed later",
  async ({ dp, send, where }) => {
    let fails = 0;
    const to = new Cell(2, { name: "failing" });
    const isOpen = new Cell(true, { name: "open" });
    const failing = withOperate(dp, (ops: readonly Op[]) => {
      const isChange = ops.some((op) =>
        op.op === "delete" || op.op === "put" && op.modify
      );
      if (isChange && fails-- > 0) throw new Error("no buffer space");
      return dp.operate(ops);
    });
    const codes: string[] = [];
    await using run = await runPolicy(failing, (packet) => {
      if (packet.equals("ethernet.src", mac(1))) return forward(to.value);
      return isOpen.value ? forward(2) : { actions: [], cache: false };
    }, { audit: { perSecond: 0 }, onError: ({ code }) => void codes.push(code) });
    await send(1, frame(1, 9), frame(2, 9));
    where();
    fails = 2;
    to.value = 3;
    isOpen.value = false;
    await run.settled();
    await send(1, frame(1, 9), frame(2, 9));
    deepStrictEqual(where(), { 3: 1 });
    ok(codes.includes("refused") && (run.stats.failures.rerun_failed ?? 0) > 0);
  },
  3,
  ["fake"],
);

onEach("replace: stages of one name are those of the policy that runs", async (bench) => {
  const [mine, theirs] = [new Cell(1, { name: "mine" }), new Cell(2, { name: "theirs" })];
  const isStaged = new Cell(false, { name: "staged" });
  const policy = (to: number, carry: () => number | undefined) => {
    const next = stage<number>("next", () => forward(to));
    return () => {
      const carried = carry();
      return carried === undefined ? forward(1) : again([], next, carried);
    };
  };
  await using run = await runPolicy(bench.dp, policy(2, () => mine.value));
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 2: 1 });
  // What the other carries has been seen now, and must not lead to where it would go.
  await run.replace(policy(3, () => theirs.value), { dryRun: true });
  mine.value = 2;
  await run.settled();
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 2: 1 });
  // The next has such a stage, too, to which no flow leads yet.
  await run.replace(policy(3, () => isStaged.value ? 2 : undefined));
  isStaged.value = true;
  await run.settled();
  await bench.send(1, frame(1, 9));
  deepStrictEqual(bench.where(), { 3: 1 });
  strictEqual(run.stats.failures.policy_error, undefined);
});

Deno.test("actions: a list that is frozen and has what can change is looked at again", () => {
  const table = new ActionTable(new Continuations());
  const out = { type: "output" as const, port: 2 };
  const list = Object.freeze([out]);
  const before = table.of(list);
  deepStrictEqual(table.of(list), before);
  out.port = 3;
  notDeepStrictEqual(table.of(list).bytes, before.bytes);
  // What this runtime makes cannot change, and is looked at once.
  const next = stage<string>("next", () => []);
  for (const one of [forward(2), track({ zone: 1 }, next, "there")]) {
    const known = table.said(one);
    strictEqual(table.said(one), known);
    throws(() => (one[0] as { type: string }).type = "other", TypeError);
  }
});

Deno.test("prefixes: bad text does not say of which kind a map's addresses are", () => {
  const routes = new PrefixMap<number>();
  throws(() => routes.set("nonsense", 1));
  routes.set("2001:db8::/32", 2);
  strictEqual(routes.size, 1);
});

onEach(
  "a policy that only decides changes no rate of one that runs",
  async (bench) => {
    const rate = { perSecond: 0.001, burst: 2 };
    let handed = 0;
    await using run = await runPolicy(bench.dp, () => toProgram("rare", rate), {
      onPacket: () => void handed++,
    });
    await bench.send(1, frame(1, 2));
    const often = () => toProgram("rare", { perSecond: 1e6 });
    decide(often, { inPort: 1 });
    await run.replace(often, { dryRun: true });
    for (let i = 0; i < 4; i++) await bench.send(1, frame(1, 2));
    strictEqual(handed, 2);
    await run.replace(often);
    for (let i = 0; i < 4; i++) await bench.send(1, frame(1, 2));
    strictEqual(handed, 6);
  },
  3,
  ["fake"],
);
