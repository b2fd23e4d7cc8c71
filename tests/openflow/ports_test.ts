// SPDX-License-Identifier: Apache-2.0
/** Ports of many switches over one datapath. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import {
  compare,
  isSeen,
  type PlannedPort,
  portOf,
} from "../../openflow/switch/ports.ts";
import { Switch } from "../../openflow/switch/switch.ts";
import { Switches } from "../../openflow/switches.ts";
import type { Port } from "../../providers/contract/ports.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { portNo } from "../../providers/ids.ts";

Deno.test("switches: ports of all of them are read in one pass", () => {
  let lists = 0;
  let asked = 0;
  let planned = 0;
  const names = Array.from({ length: 40 }, (_, i) => `p${i}`);
  const ports = {
    *dump(): IterableIterator<Port> {
      lists++;
      for (const [i, name] of names.entries()) {
        yield { no: portNo(i + 1), name, type: "dummy" };
      }
    },
    get: () => void asked++,
  };
  const dp = { name: "d", ports } as unknown as Datapath;
  const all = new Switches(dp);
  const some = Array.from({ length: 20 }, (_, i) =>
    new Switch(dp, {
      name: `s${i}`,
      datapathId: 1n,
      tight: false,
      ports: function* (there): IterableIterator<PlannedPort> {
        planned++;
        for (const no of lists === 0 ? [] : [2 * i + 1, 2 * i + 2]) {
          const { name = "" } = there().get(no) ?? {};
          yield { port: no, name, dp: no };
        }
      },
    }));
  deepStrictEqual([lists, planned], [0, 20]);
  [lists, planned] = [0, 0];
  all.add(...some);
  deepStrictEqual([lists, planned, asked], [1, 20, 0]);
  all.add(...some);
  strictEqual(lists, 2);
  deepStrictEqual([...some[3]?.ports.value.keys() ?? []], [7, 8]);
  strictEqual(some[3]?.ports.value.get(8)?.name, "p7");
});

Deno.test("switches: a port is added first and live then, and OpenFlow 1.0 has no live ports", () => {
  const [up, down] = [true, false].map((isUp) =>
    portOf({ port: 1, name: "p", dp: 1, link: { up: isUp, speed: 10 } }, undefined, 0)
  );
  if (up === undefined || down === undefined) throw new Error("no port");
  const told = (
    before: Parameters<typeof compare>[0],
    now: Parameters<typeof compare>[0],
    version: 1 | 4,
  ): [string, number][] =>
    compare(before, now).changes.filter((change) => isSeen(version, change))
      .map(({ reason, desc }) => [reason, desc.state]);
  const [none, live, dead] = [new Map(), new Map([[1, up]]), new Map([[1, down]])];
  deepStrictEqual(told(none, live, 4), [["add", 0], ["modify", 4]]);
  deepStrictEqual(told(none, live, 1), [["add", 0]]);
  deepStrictEqual(told(none, dead, 4), [["add", 1]]);
  deepStrictEqual(told(dead, live, 4), [["modify", 4]]);
  deepStrictEqual(told(dead, live, 1), [["modify", 4]]);
  deepStrictEqual(told(live, none, 4), [["delete", 4]]);
  deepStrictEqual(told(live, live, 4), []);
});
