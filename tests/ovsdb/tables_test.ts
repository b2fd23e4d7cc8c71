// SPDX-License-Identifier: Apache-2.0
/** Limits of tables that the database says. */
import { deepStrictEqual, match, rejects } from "node:assert/strict";
import { skippable } from "../support/skip.ts";
import { lab, ofctl } from "./lab.ts";

const add = ["add-br", "br0", "--", "set", "Bridge", "br0", "fail_mode=secure"];
const limit = (...words: string[]) => [
  ...["--", "--id=@t", "create", "Flow_Table", "name=main", ...words],
  ...["--", "set", "Bridge", "br0", "flow_tables:0=@t"],
];

Deno.test(
  "tables: a full one refuses flows, or lets go of those of the largest group",
  skippable(() =>
    lab(async (server) => {
      await server.vs(...add, ...limit("flow_limit=3"));
      const of = (...args: string[]) => ofctl(server, ...args);
      const flows = async (): Promise<string[]> =>
        [...(await of("--no-stats", "dump-flows", "br0")).matchAll(/in_port=(\d+)/g)]
          .map(([, port = ""]) => port).sort();
      const put = (port: number, timeout: number) =>
        of("add-flow", "br0", `hard_timeout=${timeout},in_port=${port},actions=drop`);
      await put(1, 300);
      await put(2, 100);
      await put(3, 200);
      await rejects(put(4, 400), /TABLE_FULL/);
      match(await of("dump-tables", "br0"), /table 0 \("main"\):[^]*max_entries=3/);
      await server.vs("set", "Flow_Table", "main", "overflow_policy=evict");
      await put(4, 400);
      deepStrictEqual(await flows(), ["1", "3", "4"], "what ends first goes");
      await server.vs("set", "Flow_Table", "main", "flow_limit=2");
      deepStrictEqual(await flows(), ["1", "4"], "and at once, if there is less room");
      // Those without a timeout stay.
      await of("add-flow", "br0", "in_port=5,actions=drop");
      await of("add-flow", "br0", "in_port=6,actions=drop");
      await rejects(put(7, 10), /TABLE_FULL/);
      deepStrictEqual(await flows(), ["5", "6"]);
      // What says no part of a field is no group, and no flow is in two.
      const groups = 'groups=["NXM_OF_IN_PORT[]","nonsense"]';
      await server.vs("set", "Flow_Table", "main", groups, "flow_limit=5");
      const pair = (port: number, type: number, timeout: number) =>
        of(
          "add-flow",
          "br0",
          `hard_timeout=${timeout},in_port=${port},dl_type=${type},actions=drop`,
        );
      await pair(1, 0x1000, 50);
      await pair(2, 0x1000, 70);
      await pair(2, 0x1001, 60);
      await pair(3, 0x1000, 90);
      deepStrictEqual(await flows(), ["1", "2", "3", "5", "6"]);
      await server.vs("clear", "Bridge", "br0", "flow_tables");
      match(await of("dump-tables", "br0"), /table 0:[^]*max_entries=1000000/);
    })
  ),
);
