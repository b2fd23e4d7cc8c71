// SPDX-License-Identifier: Apache-2.0
/** Meters: what exceeds a rate is dropped and counted, by number, wherever the action stands. */
import assert from "node:assert/strict";
import type { MeterFacet } from "../../providers/contract/meters.ts";
import { udpFrame } from "../support/frames.ts";
import type { Bench, Suite } from "./environment.ts";

const frame = udpFrame(); // 60 bytes, 480 bits.
const size = BigInt(frame.length);
const match = "eth(),eth_type(0x0800),ipv4(frag=no)";

/** A test of meters; there is nothing to hold a provider without them to. */
function metered(
  test: (bench: Bench, meters: MeterFacet) => void | Promise<void>,
): Suite[string] {
  return (bench) =>
    bench.dp.meters === undefined ? undefined : test(bench, bench.dp.meters);
}

/**
 * Sends frames through `actions`; gives how many left by the ports 2 and 3, and how many seconds it
 * took.
 */
async function send(
  { env, dp, ports: [one, two, three] }: Bench,
  count: number,
  actions: (two: number, three: number) => string,
): Promise<{ two: number; three: number; seconds: number }> {
  dp.flows.flush();
  dp.flows.put({ key: `in_port(${one}),${match}`, actions: actions(two, three) });
  const before = performance.now();
  for (let i = 0; i < count; i++) await env.inject(dp, one, frame);
  await env.settle(dp);
  const seconds = (performance.now() - before) / 1000;
  return {
    two: (await env.collect(dp, two)).length,
    three: (await env.collect(dp, three)).length,
    seconds,
  };
}

/** Whether as many passed as a full bucket and what came meanwhile give. */
function assertPassed(passed: number, burst: number, perSecond: number, seconds: number) {
  const most = burst + Math.ceil(seconds * perSecond) + 1;
  assert.ok(passed >= burst && passed <= most, `${passed} passed, ${burst} to ${most}`);
}

export const meterSuite: Suite = {
  "packets over the rate are dropped and counted": metered(async (bench, meters) => {
    meters.set(1, { unit: "pktps", bands: [{ rate: 1, burst: 5 }] });
    const { two, seconds } = await send(bench, 20, (two) => `meter(1),${two}`);
    assertPassed(two, 5, 1, seconds);
    const dropped = BigInt(20 - two);
    assert.deepEqual(meters.get(1), {
      packets: 20n,
      bytes: 20n * size,
      bands: [{ packets: dropped, bytes: dropped * size }],
    });
    const drops = bench.dp.stats().counters?.drop_meter;
    if (drops !== undefined) assert.equal(drops, dropped);
  }),
  "kilobits are 1000 bits": metered(async (bench, meters) => {
    meters.set(1, { unit: "kbps", bands: [{ rate: 1, burst: 1 }] });
    const { two, seconds } = await send(bench, 10, (two) => `meter(1),${two}`);
    assertPassed(two, 2, 1000 / 480, seconds);
    assert.equal(meters.get(1).bands[0]?.packets, BigInt(10 - two));
  }),
  "where there is no meter, everything passes": metered(async (bench) => {
    const { two } = await send(bench, 20, (two) => `meter(7),${two}`);
    assert.equal(two, 20);
  }),
  "a deleted meter gives its counters, and its flows let everything pass": metered(
    async (bench, meters) => {
      meters.set(1, { unit: "pktps", bands: [{ rate: 1, burst: 1 }] });
      await send(bench, 3, (two) => `meter(1),${two}`);
      assert.equal(meters.delete(1).packets, 3n);
      assert.throws(() => meters.get(1), { code: "ENOENT" });
      assert.throws(() => meters.delete(1), { code: "ENOENT" });
      const { two } = await send(bench, 20, (two) => `meter(1),${two}`);
      assert.equal(two, 20);
    },
  ),
  "a meter that is set anew is full, and counts from 0": metered(
    async (bench, meters) => {
      meters.set(1, { unit: "pktps", bands: [{ rate: 1, burst: 1 }] });
      await send(bench, 5, (two) => `meter(1),${two}`);
      meters.set(1, { unit: "pktps", bands: [{ rate: 1, burst: 4 }] });
      assert.equal(meters.get(1).packets, 0n);
      const { two, seconds } = await send(bench, 10, (two) => `meter(1),${two}`);
      assertPassed(two, 4, 1, seconds);
    },
  ),
  "in a clone a meter drops the copy only": metered(async (bench, meters) => {
    meters.set(1, { unit: "pktps", bands: [{ rate: 1, burst: 1 }] });
    const { two, three, seconds } = await send(
      bench,
      8,
      (two, three) => `clone(meter(1),${two}),${three}`,
    );
    assertPassed(two, 1, 1, seconds);
    assert.equal(three, 8);
  }),
  "a meter at the end of a list counts": metered(async (bench, meters) => {
    meters.set(1, { unit: "pktps", bands: [{ rate: 1, burst: 2 }] });
    const { two } = await send(bench, 6, (two) => `${two},meter(1)`);
    assert.equal(two, 6);
    assert.equal(meters.get(1).packets, 6n);
  }),
  "each band is a limit of its own": metered(async (bench, meters) => {
    const { maxBands } = meters.features();
    const bands = Array.from(
      { length: maxBands },
      (_, i) => ({ rate: 1 + i, burst: 3 + i }),
    );
    assert.throws(
      () => meters.set(1, { unit: "pktps", bands: [...bands, { rate: 1 }] }),
      { code: "EINVAL" },
    );
    meters.set(1, { unit: "pktps", bands });
    const { two, seconds } = await send(bench, 20, (two) => `meter(1),${two}`);
    assertPassed(two, 3, 1, seconds);
    const counts = meters.get(1).bands;
    assert.equal(counts.length, maxBands);
    const dropped = counts.reduce((sum, { packets }) => sum + packets, 0n);
    assert.equal(dropped, BigInt(20 - two));
  }),
  "a list tells every meter, with bursts in force": metered((_, meters) => {
    if (meters.list === undefined) return;
    assert.deepEqual(meters.list(), []);
    const last = meters.features().maxMeters - 1;
    meters.set(last, { unit: "kbps", bands: [{ rate: 9 }] });
    meters.set(0, {
      unit: "pktps",
      bands: [{ rate: 5, burst: 6 }, { rate: 7, burst: 0 }],
    });
    assert.throws(
      () => meters.set(last + 1, { unit: "kbps", bands: [{ rate: 9 }] }),
      { code: "EFBIG" },
    );
    assert.deepEqual(meters.list(), [
      { id: 0, unit: "pktps", bands: [{ rate: 5, burst: 6 }, { rate: 7, burst: 7 }] },
      { id: last, unit: "kbps", bands: [{ rate: 9, burst: 9 }] },
    ]);
  }),
};
