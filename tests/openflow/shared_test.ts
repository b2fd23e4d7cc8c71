// SPDX-License-Identifier: Apache-2.0
/** What flows of the datapath have in common, so that each takes less. */
import { deepEqual, equal, notEqual } from "node:assert/strict";
import { Decisions } from "../../openflow/decisions.ts";
import { Crediting } from "../../openflow/translate/credits.ts";
import { PacketCounter } from "../../openflow/table/flow_table.ts";
import { output, set, userspace } from "../../providers/odp/constructors.ts";

const counters = ["a", "b", "c", "d"].map((name) => new PacketCounter(name));

function creditsOf(crediting: Crediting, ...places: number[]) {
  crediting.begin();
  for (const place of places) crediting.put(counters[place] as PacketCounter);
  return crediting.end();
}

Deno.test("packets for the same counters share what credits them, others do not", () => {
  const crediting = new Crediting();
  const first = creditsOf(crediting, 0, 1);
  equal(creditsOf(crediting, 0, 1), first);
  for (const places of [[0], [1, 0], [0, 1, 2], [0, 2]]) {
    notEqual(creditsOf(crediting, ...places), first);
  }
  equal(creditsOf(crediting), undefined);
  equal(creditsOf(crediting, 0, 1), first, "looked through others");
  first?.add(3n, 300n, 0, 0);
  deepEqual(counters.map(({ packets }) => packets), [3n, 3n, 0n, 0n]);
  // One that was begun and not ended, because something threw, leaves nothing behind.
  crediting.begin();
  crediting.put(counters[3] as PacketCounter);
  equal(creditsOf(crediting, 0, 1), first);
});

Deno.test("equal lists of actions are one decision, which nothing changes", () => {
  const decisions = new Decisions();
  const port = (no: number) => output(no as never);
  equal(decisions.of([port(2)]), decisions.of([port(2)]));
  notEqual(decisions.of([port(2)]), decisions.of([port(3)]));
  const rewritten = (dst: string) => [set({ ethernet: { dst } } as never), port(2)];
  const first = decisions.of(rewritten("02:00:00:00:00:01"));
  equal(decisions.of(rewritten("02:00:00:00:00:01")), first);
  notEqual(decisions.of(rewritten("02:00:00:00:00:02")), first);
  deepEqual(first.actions, rewritten("02:00:00:00:00:01"));
  equal(Object.isFrozen(first.actions), true);
  const bytes = Uint8Array.of(1);
  const handed = decisions.of([userspace({ userdata: bytes })]);
  notEqual(decisions.of([userspace({ userdata: bytes })]), handed, "bytes may change");
});
