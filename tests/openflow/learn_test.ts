// SPDX-License-Identifier: Apache-2.0
/** Flows that packets teach: which may be there, and what they end with. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Switch } from "../../openflow/switch/switch.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import { Translation } from "../../openflow/translate/translation.ts";
import { flowWords, Word } from "../../openflow/wire/flow.ts";
import type { Datapath } from "../../providers/datapath.ts";

const dp = {
  name: "d",
  ports: { dump: () => [1, 2, 3].map((no) => ({ no, name: `p${no}` })) },
} as unknown as Datapath;

function make(...flows: string[]): Switch {
  const of = new Switch(dp, { name: "d", datapathId: 1n, tight: false });
  for (const flow of flows) of.flows.apply(parseFlow(flow), { isOld: false });
  return of;
}

/** What becomes of a TCP packet by port 1, and what it is credited to. */
function run(of: Switch): { way: Translation; credited: string[] } {
  const flow = flowWords();
  flow[Word.inPort] = 1;
  flow[Word.dlSrc + 1] = 6;
  flow[Word.dlType] = 0x800;
  flow[Word.nw] = 6 << 24 | 64 << 8;
  const credited: string[] = [];
  const way = new Translation(of, { flow, tags: [] }, ({ name }) => credited.push(name));
  way.run();
  return { way, credited };
}

/** Has a switch learn what a packet teaches. */
function teach(of: Switch): void {
  const { way } = run(of);
  strictEqual(way.lessons.length, 1);
  for (const { table, key, value } of way.lessons) {
    if ("mayAdd" in table) table.hear(key, value, 1);
  }
}

const spec = "NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]";

Deno.test("openflow learn: a flow that ends with connections need not be one of TCP", () => {
  const of = make(`actions=learn(table=1,fin_idle_timeout=5,${spec}),output:2`);
  teach(of);
  const [rule] = of.flows.table(1).rules();
  deepStrictEqual(rule?.instructions.apply, [
    { type: "finTimeout", idle: 5, hard: 0 },
    { type: "output", port: 1, maxLength: 0 },
  ]);
});

Deno.test("openflow learn: a lesson for a full table is nothing that the packet suffers from", () => {
  const of = make(
    "table=1,priority=1,actions=drop",
    `actions=learn(table=1,${spec}),output:2`,
  );
  of.table(1).limits = { evicts: false, most: 1 };
  teach(of);
  deepStrictEqual([...of.flows.table(1).rules()].map(({ priority }) => priority), [1]);
});

Deno.test("openflow learn: both branches of a length are of the flow that ends", () => {
  const ends = (list: string): number =>
    run(make(`tcp,actions=${list}fin_timeout(idle_timeout=5),output:2`)).credited
      .filter((name) => name.startsWith("the end of connections")).length;
  strictEqual(ends(""), 1);
  strictEqual(ends("check_pkt_larger(1000)->NXM_NX_REG0[0],"), 2);
});
