// SPDX-License-Identifier: Apache-2.0
/**
 * The clock by which datapaths say when a flow was last hit.
 *
 * @module
 */
import { type Libc, openLibc } from "../ffi/libc.ts";

const CLOCK_MONOTONIC = 1;
let libc: Libc | undefined;

/** Milliseconds on the monotonic clock, which `performance.now()` counts from another beginning. */
export function monotonicMs(): number {
  libc ??= openLibc(); // Kept: the C library is never unloaded.
  const time = new BigInt64Array(2); // struct timespec: seconds, nanoseconds
  libc.symbols.clock_gettime(CLOCK_MONOTONIC, new Uint8Array(time.buffer));
  return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
}
