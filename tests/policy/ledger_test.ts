// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { Layout } from "../../policy/packet/layout.ts";
import { NO_EFFECTS } from "../../policy/packet/effect.ts";
import type { FlowParts, FlowRecord } from "../../policy/run/flow_record.ts";
import { Ledger } from "../../policy/run/ledger.ts";
import { type Mask, wordsOf } from "../../policy/run/mask_table.ts";
import { Continuations } from "../../policy/stage.ts";
import { ActionTable } from "../../policy/verdicts.ts";
import { ufid } from "../../providers/ids.ts";
import { encodeKey, ufidBytes } from "../../providers/odp/mod.ts";

const continuations = new Continuations();
const actions = new ActionTable(continuations).of([]);

const keyOf = (port: number) => encodeKey({ inPort: port, etherType: 0x0806 });
const layout = new Layout(keyOf(0));

/** A mask of all bits, or of none. */
function maskOf(ledger: Ledger, bits = 0xff): Mask {
  const bytes = new Uint8Array(layout.size).fill(bits);
  return ledger.masks.of(wordsOf(bytes), bytes.length);
}

function parts(ledger: Ledger, port: number, ufid?: string): FlowParts {
  const keyWords = wordsOf(keyOf(port));
  const mask = maskOf(ledger);
  return {
    ...(ufid !== undefined && { ufid }),
    ...{ keyWords, layout, mask, hash: ledger.hashOf(keyWords, layout, mask) },
    ...{ actions, decision: { actions: [] }, at: undefined, effects: NO_EFFECTS },
    ...{ nowMs: 1_000_000, step: 1 },
  };
}

function find(ledger: Ledger, port: number, mask: Mask): FlowRecord | undefined {
  const words = wordsOf(keyOf(port));
  return ledger.find(words, layout, mask, ledger.hashOf(words, layout, mask));
}

Deno.test("ledger: a flow is found by its name, and a name is never given twice", () => {
  const ledger = new Ledger(continuations);
  const names = new Set<string>();
  for (let i = 0; i < 5000; i++) {
    const flow = ledger.add(parts(ledger, i % 7));
    strictEqual(ufid(flow.ufid), flow.ufid);
    deepStrictEqual(flow.id, ufidBytes(flow.ufid));
    strictEqual(ledger.byUfid(flow.ufid), flow);
    const words = wordsOf(ufidBytes(flow.ufid));
    strictEqual(ledger.byWords(words), flow);
    for (let n = 0; n < 4; n++) {
      strictEqual(
        ledger.byWords(words.map((word, w) => w === n ? ~word : word)),
        undefined,
      );
    }
    names.add(flow.ufid);
    // Its number is used again, its name is not.
    ledger.remove(flow, 0);
    strictEqual(ledger.byUfid(flow.ufid), undefined);
    strictEqual(ledger.byWords(words), undefined);
  }
  strictEqual(names.size, 5000);
  strictEqual(ledger.size, 0);
  deepStrictEqual([...ledger.all()], []);
});

Deno.test("ledger: names that others gave are found, those that look like ours too", () => {
  const ledger = new Ledger(continuations);
  const ours = ledger.add(parts(ledger, 1));
  const foreign = "00000000-0000-4000-a000-000000000001";
  const alike = ours.ufid.slice(0, 20) + "fff" + ours.ufid.slice(23);
  for (const name of [foreign, alike]) {
    strictEqual(ledger.byUfid(name), undefined);
    const flow = ledger.add(parts(ledger, 2, name));
    strictEqual(ledger.byUfid(name), flow);
    ledger.remove(flow, 0);
    strictEqual(ledger.byUfid(name), undefined);
  }
  strictEqual(ledger.byUfid(ours.ufid), ours);
});

Deno.test("ledger: keys are copied, and found under their masks", () => {
  const ledger = new Ledger(continuations);
  const flows = Array.from({ length: 1000 }, (_, port) => {
    strictEqual(find(ledger, port, maskOf(ledger)), undefined);
    const given = parts(ledger, port);
    const flow = ledger.add(given);
    given.keyWords.fill(0);
    return flow;
  });
  for (const [port, flow] of flows.entries()) {
    deepStrictEqual(flow.key, keyOf(port));
    strictEqual(find(ledger, port, maskOf(ledger)), flow);
    strictEqual(find(ledger, port, maskOf(ledger, 0)), undefined);
  }
  strictEqual(ledger.masks.size, 1);
});

Deno.test("ledger: the room of a key that goes is for the next", () => {
  const ledger = new Ledger(continuations);
  const flows = Array.from({ length: 100 }, (_, i) => ledger.add(parts(ledger, i)));
  const places = new Set(flows.map(({ keyAt }) => keyAt));
  for (const flow of flows) ledger.remove(flow, 0);
  strictEqual(flows[0]?.key.length, 0);
  for (let i = 0; i < 100; i++) {
    const flow = ledger.add(parts(ledger, 500 + i));
    strictEqual(places.delete(flow.keyAt), true);
    deepStrictEqual(flow.key, keyOf(500 + i));
  }
});

Deno.test("ledger: times of flows, in ms, now and in the past", () => {
  const ledger = new Ledger(continuations);
  const flow = ledger.add(parts(ledger, 1));
  strictEqual(flow.createdMs, 1_000_000);
  strictEqual(flow.deadline, Infinity);
  const now = Date.now();
  flow.usedMs = now;
  flow.lookedMs = now + 1;
  flow.deadline = now + 40 * 365 * 86_400_000;
  deepStrictEqual([flow.usedMs, flow.lookedMs], [now, now + 1]);
  strictEqual(flow.deadline, now + 40 * 365 * 86_400_000);
});
