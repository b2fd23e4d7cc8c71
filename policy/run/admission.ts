// SPDX-License-Identifier: Apache-2.0
/**
 * Who gets a flow when room is short.
 *
 * @module
 */
import type { PortNo } from "../../providers/ids.ts";

const SLOTS = 1 << 16;
const WITHIN_MS = 1000;

/**
 * Admits a flow at the second packet of its key within a second: a scan of addresses, one packet
 * each, then evicts nobody. Memory is fixed; two keys that share a slot make each other wait for
 * one packet more, and an equal hash admits one packet early.
 */
export class Admission {
  readonly #tags = new Int32Array(SLOTS);
  readonly #times = new Float64Array(SLOTS);

  /** Whether a key with this hash has been seen lately; if not, it is remembered. */
  admits(hash: number, nowMs: number): boolean {
    const slot = (hash ^ hash >>> 16) & (SLOTS - 1);
    const isKnown = this.#tags[slot] === hash &&
      nowMs - (this.#times[slot] as number) < WITHIN_MS;
    this.#tags[slot] = hash;
    this.#times[slot] = nowMs;
    return isKnown;
  }
}

/** What a batch must have for shares to matter. */
const FULL = 64;

/**
 * Shares of a full batch: each port may set up its part of it, and what others leave. Undefined
 * where no port crowds out another. Upcalls whose port has had its share are executed without a
 * flow.
 */
export function portShare(
  upcalls: readonly { readonly inPort: PortNo | undefined }[],
): ((port: PortNo | undefined) => boolean) | undefined {
  if (upcalls.length < FULL) return undefined;
  const wanted = new Map<PortNo | undefined, number>();
  for (const { inPort } of upcalls) wanted.set(inPort, (wanted.get(inPort) ?? 0) + 1);
  if (wanted.size < 2) return undefined;
  // A port that has most of the batch leaves half of what it would have to the others' next
  // packets.
  const share = Math.ceil(upcalls.length / wanted.size);
  const least = Math.max(share, Math.ceil(upcalls.length / 2));
  const used = new Map<PortNo | undefined, number>();
  return (port) => {
    const mine = (used.get(port) ?? 0) + 1;
    used.set(port, mine);
    return mine <= least;
  };
}
