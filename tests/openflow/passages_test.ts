// SPDX-License-Identifier: Apache-2.0
/**
 * Tables that packets go through as one: the same comes of it as by each table by itself, for as
 * long as no flow on the way changes.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Switch } from "../../openflow/switch/switch.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import {
  dependencyCount,
  describeDependency,
  holdDependency,
  listen,
  releaseDependency,
} from "../../policy/state/dependency.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { encodeKey } from "../../providers/odp/mod.ts";
import { figure } from "../support/figure.ts";
import { type Random, random } from "../support/random.ts";
import { plain, runOf } from "./tracked.ts";

const dp = {
  name: "d",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
} as unknown as Datapath;
const TABLES = 8;

function make(): Switch {
  return new Switch(dp, { name: "d", datapathId: 1n, tight: false });
}

function keyOf(dst: number, port: number, source: number): Uint8Array {
  return encodeKey(
    {
      inPort: 1 + (dst & 1),
      ethernet: { src: "02:00:00:00:00:01", dst: `02:00:00:00:00:0${dst & 7}` },
      etherType: 0x800,
      ipv4: {
        src: "10.0.0.1",
        dst: `10.0.${dst}.1`,
        proto: 17,
        tos: 0,
        ttl: 64,
        frag: "no",
      },
      udp: { src: source, dst: port },
    } as Parameters<typeof encodeKey>[0],
  );
}

function randomFlow(next: Random, table: number): string {
  const pick = (...of: string[]): string => of[next(of.length)] as string;
  const match = pick(
    "",
    "in_port=1,",
    "udp,",
    `udp,tp_dst=${next(3)},`,
    `ip,nw_dst=10.0.${next(8)}.0/24,`,
    `ip,nw_dst=10.0.0.0/${8 + next(16)},`,
    "dl_dst=02:00:00:00:00:03,",
    `ip,nw_src=10.9.${next(9)}.1,`,
    "reg0=1,",
  );
  const last = table === TABLES - 1;
  const to = table + 1 + next(Math.max(1, TABLES - table - 1));
  const actions = last
    ? pick("output:2", "move:NXM_OF_UDP_SRC[]->NXM_NX_REG1[0..15],output:3", "drop")
    : pick(
      `goto_table:${to}`,
      `goto_table:${to}`,
      `goto_table:${to}`,
      `resubmit(,${to})`,
      `resubmit(,${to})`,
      `load:${next(2)}->NXM_NX_REG0[],resubmit(,${to})`,
      `write_actions(output:3),goto_table:${to}`,
      `resubmit(,${to}),output:1`,
      "output:2",
    );
  const about = actions.includes("UDP") ? "udp," : match;
  return `table=${table},priority=${next(6)},${about}actions=${actions}`;
}

Deno.test("openflow passages: the same comes of packets as table by table, whatever changes", () => {
  const next = random(11);
  const before = dependencyCount();
  let [short, runs] = [0, 0];
  for (let round = 0; round < 60; round++) {
    const of = make();
    const add = (text: string): void => of.flows.apply(parseFlow(text), { isOld: false });
    for (let i = 0; i < 40; i++) add(randomFlow(next, next(TABLES)));
    const held: number[] = [];
    for (let i = 0; i < 120; i++) {
      if (i % 30 === 29) add(randomFlow(next, next(TABLES)));
      if (i % 40 === 39) {
        const gone = parseFlow(`table=${next(TABLES)},ip`, { command: "delete" });
        of.flows.apply(gone, { isOld: false });
      }
      const key = keyOf(next(4), next(3), 1000 + i);
      const ours = runOf(of, key, true);
      const theirs = runOf(of, key, false);
      const { isShort, dependencies } = ours;
      deepStrictEqual(plain(ours), plain(theirs));
      deepStrictEqual(theirs.dependencies, []);
      for (const id of dependencies) holdDependency(id);
      held.push(...dependencies);
      runs++;
      if (isShort) short++;
    }
    for (const id of held) releaseDependency(id);
  }
  ok(short > runs / 3, `${short} of ${runs}`);
  strictEqual(dependencyCount(), before, "nothing is left that anything rests on");
  figure(`${short} of ${runs} packets went through tables as one`);
});

Deno.test("openflow passages: a flow rests on all tables of its way, and runs again for each", () => {
  const of = make();
  const add = (text: string): void => of.flows.apply(parseFlow(text), { isOld: false });
  for (let table = 0; table < TABLES; table++) {
    const actions = table < TABLES - 1 ? `goto_table:${table + 1}` : "output:2";
    add(`table=${table},priority=5,udp,actions=${actions}`);
  }
  const outcome = [1, 2, 3].map((source) => runOf(of, keyOf(1, 9, source), true))[2];
  const ids = outcome?.dependencies ?? [];
  const of8 = ids.filter((id) =>
    describeDependency(id).some((one) => /^table/.test(one))
  );
  strictEqual(of8.length, 1, "eight tables are one dependency");
  for (const id of ids) holdDependency(id);
  const told = ids.flatMap((id) => describeDependency(id)).filter((one) =>
    /^table/.test(one)
  );
  deepStrictEqual(
    told,
    Array.from({ length: TABLES }, (_, i) => `table ${i}: cookie=0x0, priority=5,udp`),
  );
  let again = 0;
  const listening = listen({ changed: (id) => void (again += ids.includes(id) ? 1 : 0) });
  add("table=4,priority=9,udp,tp_dst=9,actions=drop");
  strictEqual(again, 1, "one that comes");
  add("table=6,priority=5,udp,actions=drop");
  strictEqual(again, 2, "one that changes");
  add("table=3,priority=4,udp,actions=drop");
  strictEqual(again, 2, "one that stands below");
  listening[Symbol.dispose]();
  strictEqual(runOf(of, keyOf(1, 9, 4), true).actions, "[]");
  for (const id of ids) releaseDependency(id);
});
