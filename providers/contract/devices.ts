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

/** Bonds, for the action `lb_output`: 256 buckets of a packet's hash, each with a member port. */
export interface BondFacet {
  /**
   * Makes a bond of 256 members, or sets them: buckets whose member stays go on counting. `EINVAL`
   * another number of members. dpif: `bond_add`.
   */
  add(id: number, members: readonly PortNo[]): void;
  /** `ENOENT` if there is none. dpif: `bond_del`. */
  delete(id: number): void;
  /** Bytes that each bucket has sent; `ENOENT`. dpif: `bond_stats_get`. */
  stats(id: number): readonly bigint[];
  /** All bonds, by id. For `dpif-netdev/bond-show`. */
  list(): readonly { readonly id: number; readonly members: readonly PortNo[] }[];
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
