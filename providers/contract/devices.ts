// SPDX-License-Identifier: Apache-2.0
/**
 * Optional facets of a datapath that stand for devices and tables below it: queues, bonds, lookup
 * caches, hardware offload.
 *
 * @module
 */
import type { PortNo } from "../ids.ts";

/** Queues of packets. */
export interface QueueFacet {
  /** The skb_priority of a queue. dpif: `queue_to_priority`. */
  toPriority(queue: number): number;
}

/** Bonds: 256 hash buckets, each with a member port. */
export interface BondFacet {
  /** dpif: `bond_add`. */
  add(id: number, members: readonly PortNo[]): void;
  /** dpif: `bond_del`. */
  delete(id: number): void;
  /** Bytes of each bucket. dpif: `bond_stats_get`. */
  stats(id: number): readonly bigint[];
}

/** Lookup caches, by level. */
export interface CacheFacet {
  /** Names of the levels. dpif: `cache_get_supported_levels`, `cache_get_name`. */
  names(): readonly string[];
  /** Entries of a level. dpif: `cache_get_size`. */
  size(level: number): number;
  /** Sets the entries of a level. dpif: `cache_set_size`. */
  setSize(level: number, entries: number): void;
}

/** Hardware offload. */
export interface OffloadFacet {
  /** Counters by name. dpif: `offload_stats_get`. */
  stats(): Readonly<Record<string, bigint>>;
}
