// SPDX-License-Identifier: Apache-2.0
/** Keys and masks of random flows come back from the kernel as they were put. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { encodeKey, encodeMask } from "../../providers/odp/mod.ts";
import { formatKey, type Op } from "../../mod.ts";
import { attributes, flow } from "../odp/arbitrary.ts";
import { makeDatapath, systemTest } from "./system.ts";

const FLOWS = 10_000;
/** Nearly every flow has a mask of its own, and the kernel stops at some 4,000 masks. */
const BATCH = 2500;

systemTest("random flows come back from a dump unchanged", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  const flows = fc.sample(flow, { seed: 20260101, numRuns: FLOWS });
  for (let from = 0; from < FLOWS; from += BATCH) {
    const texts = new Map<number, string>();
    const ops = flows.slice(from, from + BATCH).map((random, i): Op => {
      // Guests have no conntrack zones; what the field is for is tested elsewhere.
      const { ctZone: _, ...rest } = random.key;
      const { ctZone: __, ...mask } = random.mask;
      const key = { ...rest, recircId: i + 1 };
      texts.set(i + 1, formatKey({ key, mask }));
      return { op: "put", key: encodeKey(key), mask: encodeMask(mask, key), actions: [] };
    });
    for (const [i, result] of dp.operate(ops).entries()) {
      assert.ok(result.ok, `${texts.get(i + 1)}: ${result.ok || result.error}`);
    }
    let seen = 0;
    for (const { key, mask } of dp.flows.dump()) {
      assert.ok(key && mask);
      seen++;
      // Attributes of zeros and wider ports do not show where nothing of them is masked.
      // The kernel keeps 8 bits of an ARP opcode, in the mask too.
      const text = formatKey({ key, mask }).replace(/(op=\d+)\/0xff\b/, "$1");
      assert.deepEqual(attributes(text), attributes(texts.get(key.recircId ?? 0) ?? ""));
    }
    assert.equal(seen, ops.length);
    dp.flows.flush();
  }
});
