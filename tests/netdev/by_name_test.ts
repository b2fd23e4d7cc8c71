// SPDX-License-Identifier: Apache-2.0
/** Flows that are changed by their names, and the names of flows in the way of others. */
import { deepStrictEqual, strictEqual as equal } from "node:assert/strict";
import { codeOf, type Op } from "../../providers/operations.ts";
import { formatActions } from "../../providers/odp/mod.ts";
import { tcpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";

Deno.test(
  "netdev: a flow is changed by its name alone, and says its name to what meets it",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    equal(dp.flows.changeByName, true);
    const none = new Uint8Array();
    const named = (n: number): Uint8Array => new Uint8Array(16).fill(n);
    const change = (n: number, more: object = {}): Op => ({
      ...{ op: "put", ufid: named(n), key: none, mask: none, actions: "7" },
      ...{ create: false, modify: true },
      ...more,
    });
    const all: Op[] = [1, 2].map((n) => ({
      ...{ op: "put", ufid: named(n), actions: "5" },
      key: `in_port(${n}),eth_type(0x0800)`,
    }));
    deepStrictEqual(dp.operate(all), [{ ok: true }, { ok: true }]);
    const results = dp.operate([
      change(1),
      change(9),
      change(2, { packet: tcpFrame() }),
      change(2, { create: true }),
      change(2, { actions: "6" }),
    ]);
    deepStrictEqual(results.map(codeOf), [
      undefined,
      "ENOENT",
      "EINVAL",
      "ENOENT", // With a key, though an empty one, it names another flow.
      undefined,
    ]);
    const actions = [...dp.flows.dump()].map((flow) => formatActions(flow.actions ?? []));
    deepStrictEqual(actions.sort(), ["6", "7"]);
    const same: Op = { op: "put", key: "in_port(1),eth_type(0x0800)", actions: "" };
    const [met] = dp.operate([same]);
    equal(codeOf(met), "EEXIST");
    const [first] = dp.operate([{ op: "get", ufid: named(1) }]);
    equal(met?.ok === false && met.there, first?.ok === true && first.flow?.ufid);
  }),
);
