// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, notStrictEqual, strictEqual } from "node:assert/strict";
import { type FlowParts, Ledger } from "../../policy/run/ledger.ts";
import { Continuations } from "../../policy/stage.ts";
import { ActionTable } from "../../policy/verdicts.ts";
import { ufid } from "../../providers/ids.ts";
import { encodeKey } from "../../providers/odp/mod.ts";

const continuations = new Continuations();
const actions = new ActionTable(continuations).of([]);

function parts(port: number, more: Partial<FlowParts> = {}): FlowParts {
  const key = encodeKey({ inPort: port, etherType: 0x0806 });
  const mask = new Uint8Array(key.length).fill(0xff);
  const decision = { actions: [] };
  const at = undefined;
  return { key, mask, actions, decision, at, aligned: true, nowMs: 0, step: 1, ...more };
}

Deno.test("ledger: a flow is found by its name, and a name is never given twice", () => {
  const ledger = new Ledger(continuations);
  const names = new Set<string>();
  for (let i = 0; i < 5000; i++) {
    const flow = ledger.add(parts(i % 7));
    strictEqual(ufid(flow.ufid), flow.ufid);
    strictEqual(ledger.byUfid(flow.ufid), flow);
    names.add(flow.ufid);
    // Its number is used again, its name is not.
    ledger.remove(flow, 0);
    strictEqual(ledger.byUfid(flow.ufid), undefined);
  }
  strictEqual(names.size, 5000);
  strictEqual(ledger.size, 0);
  deepStrictEqual([...ledger.all()], []);
});

Deno.test("ledger: names that others gave are found, those that look like ours too", () => {
  const ledger = new Ledger(continuations);
  const ours = ledger.add(parts(1));
  const foreign = "00000000-0000-4000-a000-000000000001";
  const alike = ours.ufid.slice(0, 20) + "fff" + ours.ufid.slice(23);
  for (const name of [foreign, alike]) {
    strictEqual(ledger.byUfid(name), undefined);
    const flow = ledger.add(parts(2, { ufid: name }));
    strictEqual(ledger.byUfid(name), flow);
    ledger.remove(flow, 0);
    strictEqual(ledger.byUfid(name), undefined);
  }
  strictEqual(ledger.byUfid(ours.ufid), ours);
});

Deno.test("ledger: keys are copied, and found under their masks", () => {
  const ledger = new Ledger(continuations);
  const flows = Array.from({ length: 100 }, (_, port) => {
    const given = parts(port);
    strictEqual(ledger.find(given.key, given.mask, true), undefined);
    const flow = ledger.add(given);
    notStrictEqual(flow.key.buffer, given.key.buffer);
    given.key.fill(0);
    return flow;
  });
  for (const [port, flow] of flows.entries()) {
    const { key, mask } = parts(port);
    deepStrictEqual(flow.key, key);
    strictEqual(ledger.find(key, mask, true), flow);
    const wide = parts(port, { mask: new Uint8Array(key.length) });
    strictEqual(ledger.find(wide.key, wide.mask, true), undefined);
  }
  strictEqual(ledger.masks.size, 1);
});
