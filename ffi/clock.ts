// SPDX-License-Identifier: Apache-2.0
/**
 * The clock by which datapaths say when a flow was last hit.
 *
 * @module
 */
import { openLibc } from "./libc.ts";

const CLOCK_MONOTONIC = 1;

/** What `performance.now()` lacks: it reads the same clock, counted from another beginning. */
let offsetMs: number | undefined;

/** Milliseconds on Linux's monotonic clock. */
export function monotonicMs(): number {
  offsetMs ??= readMonotonic() - performance.now();
  return offsetMs + performance.now();
}

function readMonotonic(): number {
  const libc = openLibc();
  try {
    const time = new BigInt64Array(2); // struct timespec: seconds, nanoseconds
    libc.symbols.clock_gettime(CLOCK_MONOTONIC, new Uint8Array(time.buffer));
    return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
  } finally {
    libc.close();
  }
}
