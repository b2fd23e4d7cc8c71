// SPDX-License-Identifier: Apache-2.0
import { strictEqual as equal } from "node:assert/strict";
import { Passes, SeenFlows } from "./flow_dump.ts";

Deno.test("flows are told apart and known again, however many and however alike", () => {
  const seen = new SeenFlows();
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  const count = 100_000;
  const add = (i: number): boolean => {
    // Keys differ in a few bits, as those of neighbours do; and in their length.
    view.setUint32(8, i >>> 1);
    return seen.add(view, 0, i & 1 ? 24 : 16);
  };
  for (let i = 0; i < count; i++) equal(add(i), true, `${i}`);
  for (let i = 0; i < count; i++) equal(add(i), false, `${i}`);
  // Of 18 bytes: what lies behind is no part of it.
  equal(seen.add(view, 0, 18), true);
  bytes[19] = 9;
  equal(seen.add(view, 0, 18), false);
  bytes[17] = 9;
  equal(seen.add(view, 0, 18), true);
  bytes[16] = 9;
  equal(seen.add(view, 0, 18), true);
});

Deno.test("a table at its limit in which flows come and go is dumped in three passes", () => {
  const churn = { before: 4096, additions: 100, found: 100, isBroken: false };
  const passes = new Passes();
  equal(passes.end(churn), false);
  equal(passes.end(churn), false);
  equal(passes.end(churn), true, "it was dealt out anew in two of them at most");
  equal(passes.count, 3);
});

Deno.test("a table that really grows is dumped until a pass was left alone", () => {
  const passes = new Passes();
  let before = 1000;
  for (let i = 0; i < 5; i++, before *= 2) {
    equal(
      passes.end({ before, additions: before, found: before, isBroken: false }),
      false,
    );
  }
  equal(passes.end({ before, additions: 1, found: 1, isBroken: false }), true);
});

Deno.test("a pass that lost something proves nothing", () => {
  const passes = new Passes();
  for (let i = 0; i < 8; i++) {
    equal(passes.end({ before: 10, additions: 0, found: 1, isBroken: true }), false);
    equal(
      passes.end({ before: 10, additions: Infinity, found: 1, isBroken: false }),
      false,
    );
  }
  equal(passes.end({ before: 10, additions: 0, found: 0, isBroken: false }), true);
});
