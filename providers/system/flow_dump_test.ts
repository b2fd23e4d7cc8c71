// SPDX-License-Identifier: Apache-2.0
import { strictEqual as equal } from "node:assert/strict";
import { SeenFlows } from "./flow_dump.ts";

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
