// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { type Libc, openLibc } from "../../ffi/libc.ts";
import { driverCounters } from "./driver_counters.ts";

/**
 * Linux with a driver that has so many counters, one question after the other; it writes all of
 * them, as many versions do.
 */
function played(counts: readonly number[]): { libc: Libc; asked: () => number } {
  const real = openLibc();
  let at = 0;
  const encoder = new TextEncoder();
  const ioctl = (
    _fd: number,
    _request: bigint,
    request: Uint8Array<ArrayBuffer>,
  ): number => {
    const address = new DataView(request.buffer).getBigUint64(16, true);
    const count = counts[Math.min(at++, counts.length - 1)] ?? 0;
    const pointer = Deno.UnsafePointer.create(address) as Deno.PointerObject;
    const room = Deno.UnsafePointerView.getArrayBuffer(pointer, 20 + count * 32);
    const view = new DataView(room);
    const command = view.getUint32(0, true);
    if (command === 0x37) view.setUint32(16, count, true);
    if (command === 0x1b) {
      view.setUint32(8, count, true);
      for (let i = 0; i < count; i++) {
        encoder.encodeInto(`counter ${i}`, new Uint8Array(room, 12 + i * 32, 32));
      }
    }
    if (command === 0x1d) {
      view.setUint32(4, count, true);
      for (let i = 0; i < count; i++) view.setBigUint64(8 + i * 8, BigInt(i), true);
    }
    return 0;
  };
  return {
    libc: {
      symbols: { ...real.symbols, ioctl },
      errno: () => 0,
      close: () => real.close(),
    } as unknown as Libc,
    asked: () => at,
  };
}

Deno.test("driver counters: a device that has more of them from one question to the next is asked again", () => {
  const { libc, asked } = played([2, 60000, 2, 3, 3, 4, 4, 4, 4]);
  const counters = driverCounters("eth0", { libc });
  assert.deepEqual(
    counters,
    Object.fromEntries([0n, 1n, 2n, 3n].map((i) => [`counter ${i}`, i])),
  );
  assert.equal(asked(), 9);
});

Deno.test("driver counters: a device that changes all the time is told so", () => {
  const { libc } = played(Array.from({ length: 99 }, (_, i) => i + 1));
  assert.throws(() => driverCounters("eth0", { libc }), { code: "EAGAIN" });
});
