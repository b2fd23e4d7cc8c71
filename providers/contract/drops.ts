// SPDX-License-Identifier: Apache-2.0
/**
 * Packets that a datapath dropped, for who looks for the reason.
 *
 * @module
 */
import type { PortNo } from "../ids.ts";

/** A packet that was dropped. */
export interface DroppedPacket {
  /** Why: the counter of `dp.stats().counters` that it is counted under, `drop_…`. */
  readonly reason: string;
  /** Port that it came in by, where that is known. */
  readonly inPort?: PortNo;
  /** Port that would not take it, where that is the reason. */
  readonly outPort?: PortNo;
  /** When, nanoseconds since 1970. */
  readonly time: bigint;
  /** As it was when it was dropped: its first bytes, 2,016 at most. */
  readonly packet: Uint8Array;
  /** Bytes that it had. */
  readonly originalLength: number;
}

/** A look at dropped packets. The datapath keeps copies of 1,024 at most between two calls. */
export interface DropWatch extends Disposable {
  /** What was dropped since the last call, the oldest first, 1,024 at most. Never waits. */
  receive(): readonly DroppedPacket[];
  /** Dropped packets that found no room since the watch began. */
  readonly lost: bigint;
}

/** Dropped packets. It costs nothing while nobody looks. */
export interface DropFacet {
  /** Begins to look. `EBUSY`: another object is looking. */
  watch(): DropWatch;
}
