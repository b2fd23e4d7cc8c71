// SPDX-License-Identifier: Apache-2.0
/**
 * Optional facets of a datapath that are small: upcall control, callbacks and answers, poll threads,
 * queues, fragments, bonds, caches, hardware offload.
 *
 * @module
 */
import type { OpResult, RawUpcall } from "./provider.ts";
import type { PmdId, PortNo } from "../ids.ts";
import type { MaskInput } from "../types.ts";

/** Enabling upcalls. While disabled, packets that miss are dropped and counted lost. */
export interface UpcallControlFacet {
  /** dpif: `enable_upcall`. */
  enable(): void;
  /** Returns when no upcall is under way. dpif: `disable_upcall`. */
  disable(): void;
}

/** Answer of a direct upcall: what to do with the packet, and a flow to put or not. */
export interface DirectVerdict {
  /** Actions for the packet, nested `OVS_ACTION_ATTR_*`. */
  readonly actions: Uint8Array;
  /** Mask of the flow to put; absent: execute, but put no flow (dpif: `ENOSPC`). */
  readonly mask?: Uint8Array;
}

/**
 * Decides on misses in place of upcalls.
 *
 * A native function pointer (`int (*)(const struct dp_direct_upcall *, void *aux)`, see `c/dp.h`) runs on the
 * poll thread itself.  A TypeScript function is served by the upcall loop.
 */
export type DirectUpcall =
  | ((upcall: RawUpcall) => DirectVerdict | undefined)
  | { readonly native: NonNullable<Deno.PointerValue>; readonly aux?: Deno.PointerValue };

/** Callbacks into the program. */
export interface UpcallCallbackFacet {
  /** Called before the flows of a poll thread go, so that last counters can be read. dpif: `register_dp_purge_cb`. */
  onPurge(callback: ((pmd: PmdId) => void) | undefined): void;
  /** Takes misses directly. dpif: `register_upcall_cb`. */
  onUpcall(callback: DirectUpcall | undefined): void;
}

/** What becomes of an upcall: a flow for its key, and its packet on its way by the same actions. */
export interface RawAnswer {
  /** Which bits of the key matter; all that the key has when absent. */
  readonly mask?: MaskInput;
  /** Nested `OVS_ACTION_ATTR_*`; none: drop. */
  readonly actions: Uint8Array;
  /** Change the flow if there is one. */
  readonly modify?: boolean;
}

/** Answers upcalls by what the provider still has of them: neither key nor packet goes back to it. */
export interface AnswerFacet {
  /**
   * Puts the flows and executes the packets, as "put" with a packet does; one result for each answer. Undefined: nothing was done,
   * because these are not what was received last, or not all; then operations do it.
   */
  answer(
    upcalls: readonly RawUpcall[],
    answers: readonly (RawAnswer | undefined)[],
  ): (OpResult | undefined)[] | undefined;
}

/** A receive queue and the poll thread that polls it. */
export interface RxqAssignment {
  /** Port that the queue belongs to. */
  readonly port: PortNo;
  /** Number of the queue in its port, from 0. */
  readonly queue: number;
}

/** One poll thread. */
export interface PollThread {
  /** Its core, which is its name too. */
  readonly core: PmdId;
  /** Receive queues that it polls. */
  readonly rxqs: readonly RxqAssignment[];
  /** TSC cycles spent on packets, polling in vain, and asleep. */
  readonly cycles: {
    readonly busy: bigint;
    readonly idle: bigint;
    readonly sleep: bigint;
  };
  /** Counters by name: packets, hits, misses, batches, recirculations … */
  readonly counters: Readonly<Record<string, bigint>>;
}

/** How poll threads behave. */
export interface PollThreadOptions {
  /** Longest nap of an idle poll thread, microseconds; 0: never sleep. */
  readonly maxSleepUs?: number;
}

/** Poll threads of a datapath. */
export interface PollThreadFacet {
  /**
   * Runs poll threads on exactly the cores of a hexadecimal mask, `"0x2"`, and spreads receive queues over them;
   * traffic goes on meanwhile.  `"0"` or `""`: the default, one thread on the last core.
   * `EINVAL` no such core or no mask. dpif: `poll_threads_set`.
   */
  set(mask: string, options?: PollThreadOptions): Promise<void>;
  /** The poll threads, in order of core. */
  dump(): readonly PollThread[];
}

/** Queues of packets. */
export interface QueueFacet {
  /** The skb_priority of a queue. dpif: `queue_to_priority`. */
  toPriority(queue: number): number;
}

/** State of the fragment engine for one IP version. */
export interface FragmentCounters {
  /** Whether fragments of this version are put together. */
  readonly enabled: boolean;
  /** Smallest accepted fragment but the last, bytes. */
  readonly minSize: number;
  /** Fragments taken in. */
  readonly accepted: bigint;
  /** Fragments that became part of a whole packet. */
  readonly completed: bigint;
  /** Fragments whose packet did not become whole in time. */
  readonly expired: bigint;
  /** Fragments below `minSize` that were refused. */
  readonly tooSmall: bigint;
  /** Fragments that overlapped one already there. */
  readonly overlapping: bigint;
  /** Fragments given up to make room, or at the end. */
  readonly purged: bigint;
}

/** Reassembly before connection tracking. */
export interface FragmentFacet {
  /** dpif: `ipf_set_enabled`. */
  setEnabled(version: 4 | 6, enabled: boolean): void;
  /** Bytes; `EINVAL` below 400. dpif: `ipf_set_min_frag`. */
  setMinSize(version: 4 | 6, bytes: number): void;
  /** dpif: `ipf_set_max_nfrags`. */
  setMaxFragments(count: number): void;
  /** dpif: `ipf_get_status`. */
  status(): {
    readonly v4: FragmentCounters;
    readonly v6: FragmentCounters;
    readonly count: number;
    readonly max: number;
  };
  /** Fragment lists under way, as text. dpif: `ipf_dump_*`. */
  dump(): Iterable<string>;
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
