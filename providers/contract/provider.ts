// SPDX-License-Identifier: Apache-2.0
/**
 * What a provider of datapaths must do: the required part of `struct dpif_class` of Open vSwitch.
 *
 * The contract speaks ODP attribute bytes (`OVS_KEY_ATTR_*`, `OVS_ACTION_ATTR_*`, as in
 * `<linux/openvswitch.h>`); `Datapath` puts objects and text on top of it.  Optional members are
 * facets, a file of this folder each: an absent facet is dpif's null pointer.
 *
 * Rules for every member:
 *
 * - Failure is a `DatapathError` with the errno that dpif gives; nothing returns -1 or null.
 * - Members that only touch tables are synchronous.  Members that wait for devices or threads
 *   return promises.  None may fail with `EAGAIN`.
 * - A byte array that a provider returns belongs to the caller. A provider keeps no byte array that
 *   it is given after the call.
 * - One datapath may be opened many times, also from several Workers.
 *
 * @module
 */
import type { ConntrackFacet } from "./conntrack.ts";
import type { BondFacet, CacheFacet, OffloadFacet, QueueFacet } from "./devices.ts";
import type { DropFacet } from "./drops.ts";
import type { SampleFacet } from "./samples.ts";
import type { OpResult, ProviderFlows, ProviderOp } from "./flows.ts";
import type { FragmentFacet } from "./fragments.ts";
import type { MeterFacet } from "./meters.ts";
import type { PollThreadFacet } from "./poll_threads.ts";
import type { ProviderPorts } from "./ports.ts";
import type { TunnelFacet } from "./tunnels.ts";
import type {
  ProviderUpcalls,
  UpcallCallbackFacet,
  UpcallControlFacet,
  VerdictFacet,
} from "./upcalls.ts";

/** A kind of datapath. dpif: `struct dpif_class` itself. */
export interface Provider {
  /** Unique name of the kind, the part before `@`: `system`, `netdev`. */
  readonly type: string;
  /**
   * Whether ports and datapath must be torn down when the program ends. A datapath in the kernel
   * goes on forwarding (`false`), a datapath in userspace cannot (`true`).  dpif:
   * `cleanup_required`.
   */
  readonly cleanupRequired: boolean;
  /** Runs once, when the provider is registered; failure disables it. dpif: `init`. */
  init?(): void;
  /**
   * Names of all datapaths of this kind that exist. Absent: none can be listed. dpif: `enumerate`.
   */
  enumerate?(): Promise<string[]>;
  /**
   * The type of device that is opened for a type of port. Absent: the same type. dpif:
   * `port_open_type`.
   */
  portOpenType?(type: string): string;
  /**
   * Opens the datapath `name`. dpif: `open`.
   *
   * With `create` unset: `ENODEV` if it does not exist.  With `create: true` it is made if it does
   * not exist, and opened if it does.  With `create: "exclusive"`: `EEXIST` if it exists.
   */
  open(name: string, options: OpenOptions): Promise<ProviderDatapath>;
}

/** How to open a datapath. */
export interface OpenOptions {
  /** Make the datapath: `true` if it does not exist, `"exclusive"` only if it does not. */
  readonly create?: boolean | "exclusive";
  /** Settings of the provider, by name; unknown names are an error (`EINVAL`). */
  readonly config?: Readonly<Record<string, string | number | boolean>>;
  /**
   * Called with messages for people, such as that a fallback is in use. If absent they go to
   * stderr, once.
   */
  readonly onNotice?: (message: string) => void;
}

/** An open datapath, as its provider sees it. */
export interface ProviderDatapath {
  /** Kind, `netdev`. */
  readonly type: string;
  /** Name without the kind, `br0`. */
  readonly name: string;

  /** Drops this reference; a datapath in the kernel stays. Idempotent. dpif: `close`. */
  close(): Promise<void>;
  /**
   * Removes the datapath and its ports; then only `close` may be called. Idempotent. dpif:
   * `destroy`.
   */
  destroy(): Promise<void>;
  /**
   * Does periodic work that no thread of the provider does. True: flows should be revalidated.
   * Absent: there is no such work. dpif: `run`.
   */
  run?(): boolean;
  /** Resolves when `run` has work. Absent: never. dpif: `wait`. */
  wait?(options: { readonly signal?: AbortSignal }): Promise<void>;
  /** Counters of the datapath. dpif: `get_stats`. */
  stats(): DatapathStats;
  /** Version of the datapath's code; undefined when not known. dpif: `get_datapath_version`. */
  version(): string | undefined;
  /** Other configuration (`other_config` keys). Absent: none. dpif: `set_config`. */
  setConfig?(config: Readonly<Record<string, string>>): Promise<void>;

  /** Ports. */
  readonly ports: ProviderPorts;
  /** Flow table. */
  readonly flows: ProviderFlows;
  /**
   * Runs all of `ops` in order, and returns a result for each, in order. A failed operation does
   * not throw: the failure is in its result. dpif: `operate`.
   */
  operate(ops: readonly ProviderOp[]): OpResult[];
  /**
   * Whether a "put" may have a packet. If absent the packet is passed as an "execute" of its own.
   */
  readonly putsPackets?: boolean;
  /** Upcalls. */
  readonly upcalls: ProviderUpcalls;
  /** Verdicts on upcalls that were received last, carried out without copying them back. */
  readonly verdicts?: VerdictFacet;
  /** Feature bits (`OVS_DP_F_*`). dpif: `set_features`, `get_features`. */
  readonly features?: FeatureFacet;
  /** Enabling and disabling upcalls. dpif: `enable_upcall`, `disable_upcall`. */
  readonly upcallControl?: UpcallControlFacet;
  /** Purge and direct-upcall callbacks. dpif: `register_dp_purge_cb`, `register_upcall_cb`. */
  readonly callbacks?: UpcallCallbackFacet;
  /** Poll threads. dpif: `poll_threads_set` (and `set_config`'s `pmd-*`). */
  readonly pollThreads?: PollThreadFacet;
  /** Queues. dpif: `queue_to_priority`. */
  readonly queues?: QueueFacet;
  /** Connection tracking. dpif: `ct_*`. */
  readonly conntrack?: ConntrackFacet;
  /** Meters. dpif: `meter_*`. */
  readonly meters?: MeterFacet;
  /** Fragments. dpif: `ipf_*`. */
  readonly fragments?: FragmentFacet;
  /** Bonds. dpif: `bond_*`. */
  readonly bonds?: BondFacet;
  /** Routing of tunnels. Absent: the kernel's, by itself. */
  readonly tunnels?: TunnelFacet;
  /** Dropped packets. Open vSwitch has no such member. */
  readonly drops?: DropFacet;
  /** What `psample` actions see. Absent: the kernel has no family `psample`. */
  readonly samples?: SampleFacet | undefined;
  /** Lookup caches. dpif: `cache_*`. */
  readonly caches?: CacheFacet;
  /** Hardware offload. dpif: `offload_stats_get`. */
  readonly offload?: OffloadFacet;
}

/** Counters of a datapath. dpif: `struct dpif_dp_stats`. */
export interface DatapathStats {
  /** Packets that hit a flow. */
  readonly hit: bigint;
  /** Packets that missed and were handed up. */
  readonly missed: bigint;
  /** Upcalls that were dropped before a program saw them. */
  readonly lost: bigint;
  /** Flows in the table. */
  readonly flows: number;
  /** Masks in the table; absent if the datapath does not report it. */
  readonly masks?: number;
  /** Masks that were probed, summed over all packets; absent if the datapath does not report it. */
  readonly maskHit?: bigint;
  /** Hits of the mask cache; absent if the datapath does not report it. */
  readonly cacheHit?: bigint;
  /** Further counters by name: dropped packets by reason (`drop_…`), cache levels. */
  readonly counters?: Readonly<Record<string, bigint>>;
}

/** Feature bits of a datapath. */
export interface FeatureFacet {
  /** Bits in force. dpif: `get_features`. */
  get(): number;
  /** Sets further bits. `EOPNOTSUPP`: not all were granted. dpif: `set_features`. */
  set(bits: number): void;
}
