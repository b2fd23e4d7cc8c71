// SPDX-License-Identifier: Apache-2.0
/**
 * Packets that `psample` actions see, for who collects samples of traffic.
 *
 * @module
 */
import type { PortNo } from "../ids.ts";

/** A packet that came to a `psample` action. */
export interface PacketSample {
  /** The action's group: who shall have the sample. */
  readonly group: number;
  /** The action's cookie, 16 bytes at most. */
  readonly cookie?: Uint8Array;
  /**
   * How many packets one stands for: 1 for an action that sees them all, more for one in the list
   * of a `sample` action, infinite for one that takes nearly none.
   */
  readonly rate: number;
  /** Port that it came in by, where that is known. */
  readonly inPort?: PortNo;
  /** When, nanoseconds since 1970. */
  readonly time: bigint;
  /** As it was at the action: its first bytes, 2,000 at most, fewer behind a `trunc`. */
  readonly packet: Uint8Array;
  /** Bytes that it had. */
  readonly originalLength: number;
}

/**
 * A look at sampled packets. In `netdev` the datapath keeps copies of 1,024 at most between two
 * calls; the kernel keeps what its socket's buffer holds, and tells this of ports of the datapath
 * only, also what others sample there.
 */
export interface SampleWatch extends Disposable {
  /** What was sampled since the last call, the oldest first, 1,024 at most. Never waits. */
  receive(): readonly PacketSample[];
  /** Samples that found no room since the watch began. */
  readonly lost: bigint;
}

/** Sampled packets. While nobody looks, a `psample` action costs next to nothing. */
export interface SampleFacet {
  /** Begins to look. `EBUSY`, in `netdev`: another object is looking. */
  watch(): SampleWatch;
}
