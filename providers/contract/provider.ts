// SPDX-License-Identifier: Apache-2.0
/**
 * What a provider of datapaths must do: Open vSwitch's `struct dpif_class`, required part.
 *
 * The contract speaks ODP attribute bytes (`OVS_KEY_ATTR_*`, `OVS_ACTION_ATTR_*`, as in
 * `<linux/openvswitch.h>`); `Datapath` puts objects and text on top of it.  Optional members are
 * facets: an absent facet is dpif's null pointer.  See also `contract_conntrack.ts`,
 * `contract_meter.ts` and `contract_more.ts`.
 *
 * Rules for every member:
 *
 * - Failure is a `DatapathError` with the errno that dpif gives; nothing returns -1 or null.
 * - Members that only touch tables are synchronous.  Members that wait for devices or threads
 *   return promises.  None may answer `EAGAIN`.
 * - Byte arrays that a provider returns belong to the caller; byte arrays that it is given are
 *   not kept after the call.
 * - One datapath may be opened many times, also from several Workers.
 *
 * @module
 */
import type { ConntrackFacet } from "./conntrack.ts";
import type { MeterFacet } from "./meters.ts";
import type {
  AnswerFacet,
  BondFacet,
  CacheFacet,
  FragmentFacet,
  OffloadFacet,
  PollThreadFacet,
  QueueFacet,
  UpcallCallbackFacet,
  UpcallControlFacet,
} from "./more.ts";
import type { PmdId, PortNo, Ufid } from "../ids.ts";

/** A kind of datapath. dpif: `struct dpif_class` itself. */
export interface Provider {
  /** Unique name of the kind, the part before `@`: `system`, `netdev`. */
  readonly type: string;
  /**
   * Whether ports and datapath must be torn down when the program ends.  A kernel datapath goes
   * on forwarding (`false`), one in userspace cannot (`true`).  dpif: `cleanup_required`.
   */
  readonly cleanupRequired: boolean;
  /** Runs once, when the provider is registered; failure disables it. dpif: `init`. */
  init?(): void;
  /** Names of all datapaths of this kind that exist. Absent: none can be listed. dpif: `enumerate`. */
  enumerate?(): Promise<string[]>;
  /** The device type opened for a port type. Absent: the same. dpif: `port_open_type`. */
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
  /** Told what people should know, such as a fallback; written to stderr, once, if absent. */
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
  /** Removes the datapath and its ports; then only `close` may be called. Idempotent. dpif: `destroy`. */
  destroy(): Promise<void>;
  /**
   * Does periodic work that no thread of the provider does; true means that flows should be
   * revalidated. Absent: nothing to do. dpif: `run`.
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
   * Runs `ops` in order, all of them, and answers one result for each, in order.  Failures are in
   * the results; nothing is thrown for them. dpif: `operate`.
   */
  operate(ops: readonly ProviderOp[]): OpResult[];
  /** Whether a "put" may bring a packet. Absent: it is given as an operation of its own. */
  readonly putsPackets?: boolean;
  /** Upcalls. */
  readonly upcalls: ProviderUpcalls;
  /** A short way to answer them. */
  readonly answers?: AnswerFacet;
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
  /** Masks in the table; absent when the datapath does not say. */
  readonly masks?: number;
  /** Masks looked at for all packets; absent when the datapath does not say. */
  readonly maskHit?: bigint;
  /** Hits of the mask cache; absent when the datapath does not say. */
  readonly cacheHit?: bigint;
  /** Further counters by name: dropped packets by reason (`drop_…`), cache levels. */
  readonly counters?: Readonly<Record<string, bigint>>;
}

/** Feature bits of a datapath. */
export interface FeatureFacet {
  /** Bits in force. dpif: `get_features`. */
  get(): number;
  /** Sets further bits; `EOPNOTSUPP` if not all were granted. dpif: `set_features`. */
  set(bits: number): void;
}

/** What a port is to be. */
export interface PortRequest {
  /** Name of the port: of a Linux device, or one of its own. */
  readonly name: string;
  /** Kind of port; the provider's usual kind when absent (`netdev` for system, `system` for netdev). */
  readonly type?: string;
  /** Number wanted; the lowest free one from 1 when absent. 0 is the local port. */
  readonly no?: PortNo;
  /** Options of the kind of port, by name. */
  readonly options?: Readonly<Record<string, string | number | boolean>>;
}

/** A port of a datapath. dpif: `struct dpif_port`. */
export interface Port {
  /** Its number. */
  readonly no: PortNo;
  /** Its name. */
  readonly name: string;
  /** Kind of port: `system`, `internal`, `vxlan`, `dpdk`, … */
  readonly type: string;
  /** Options in force, where the provider can tell. */
  readonly options?: Readonly<Record<string, string>>;
}

/** Counters of a port, as in `struct ovs_vport_stats`; absent ones are not known. */
export interface PortStats {
  /** Packets that came in at the port. */
  readonly rxPackets: bigint;
  /** Packets that went out of it. */
  readonly txPackets: bigint;
  /** Bytes of the packets that came in. */
  readonly rxBytes: bigint;
  /** Bytes of the packets that went out. */
  readonly txBytes: bigint;
  /** Packets that could not be received whole. */
  readonly rxErrors: bigint;
  /** Packets that could not be sent. */
  readonly txErrors: bigint;
  /** Packets that were dropped before any flow saw them. */
  readonly rxDropped: bigint;
  /** Packets that were dropped on their way out. */
  readonly txDropped: bigint;
  /** Further counters by name. */
  readonly counters?: Readonly<Record<string, bigint>>;
}

/** What became of a port. `rescan`: the set of ports may have changed in any way; list it again. */
export type PortChange =
  | { readonly kind: "rescan" }
  | { readonly kind: "changed"; readonly name: string };

/** Ports of a datapath. */
export interface ProviderPorts {
  /**
   * Attaches a port. dpif: `port_add`.
   *
   * `EBUSY` number in use; `EEXIST` the device is a port already; `EFBIG` no number free or number
   * out of range; `ENODEV` no such device; `EAFNOSUPPORT` no such type; `EINVAL` bad option.
   */
  add(request: PortRequest): Promise<Port>;
  /** Detaches a port. `ENODEV` unknown number, `EINVAL` the local port. dpif: `port_del`. */
  delete(no: PortNo): Promise<void>;
  /** Changes options of a port. Absent: none can be changed. dpif: `port_set_config`. */
  setConfig?(no: PortNo, config: Readonly<Record<string, string>>): Promise<void>;
  /** The port with a number or name; undefined if there is none. dpif: `port_query_by_*`. */
  get(port: PortNo | string): Port | undefined;
  /** Every port, in order of number. dpif: `port_dump_*`. */
  dump(): Iterable<Port>;
  /** Counters of a port; `ENODEV` if there is none. */
  stats(no: PortNo): PortStats;
  /**
   * The value for `OVS_USERSPACE_ATTR_PID` in actions of flows of a port. Absent: 0.
   * dpif: `port_get_pid`.
   */
  upcallPortId?(no: PortNo): number;
  /** Changes, the first being `rescan`; ends when the signal aborts. dpif: `port_poll`. */
  changes(options: { readonly signal?: AbortSignal }): AsyncIterable<PortChange>;
  /**
   * Puts a frame into a port of type `dummy`, as if it had been received; `ENOBUFS` its queue is full, `EOPNOTSUPP` a
   * port of another type. Absent: there are no such ports.
   */
  inject?(no: PortNo, frame: Uint8Array): void;
  /** Takes the oldest frame that was sent to a port of type `dummy`. */
  collect?(no: PortNo): Uint8Array | undefined;
}

/** Counters of a flow. dpif: `struct dpif_flow_stats`. */
export interface FlowStats {
  /** Packets that hit it. */
  readonly packets: bigint;
  /** Their bytes, from the Ethernet header on. */
  readonly bytes: bigint;
  /** When the last one hit, in ms on the monotonic clock; absent: never. */
  readonly usedMs?: bigint;
  /** TCP flags of all of them, or-ed (low 12 bits). */
  readonly tcpFlags: number;
}

/** A flow as bytes. `key`, `mask` and `actions` may be missing from terse dumps. */
export interface RawFlow {
  /** Nested `OVS_KEY_ATTR_*`. */
  readonly key?: Uint8Array | undefined;
  /** Nested `OVS_KEY_ATTR_*`; absent: as the provider left it out, or exact. */
  readonly mask?: Uint8Array | undefined;
  /** Nested `OVS_ACTION_ATTR_*`; empty: drop. */
  readonly actions?: Uint8Array | undefined;
  /** Identifier, where the flow has one. */
  readonly ufid?: Ufid | undefined;
  /** Counters. */
  readonly stats: FlowStats;
  /** The poll thread that owns it, where flows have owners. */
  readonly pmd?: PmdId | undefined;
  /** Layer that forwards it: `ovs`, `tc`, `dpdk`. */
  readonly layer?: string | undefined;
  /** Whether hardware forwards it. */
  readonly offloaded?: boolean | undefined;
  /** What the provider has to say of it, for `-m` dumps. */
  readonly extraInfo?: string | undefined;
}

/** Which flows to list, and how much of each. */
export interface FlowDumpOptions {
  /** Only identifiers and counters. */
  readonly terse?: boolean;
}

/** A listing under way. dpif: `flow_dump_create` to `flow_dump_destroy`. */
export interface FlowDump {
  /**
   * Up to `max` further flows; empty at the end.  May be called by several readers in turn: each
   * flow is given once. Throws the first error of the dump. dpif: `flow_dump_next`.
   */
  next(max: number): RawFlow[];
  /** Ends the listing early. Idempotent. */
  close(): void;
}

/** The flow table of a datapath; single operations go through `operate`. */
export interface ProviderFlows {
  /** Deletes every flow. dpif: `flow_flush`. */
  flush(): void;
  /** Lists flows; a flow that stays through the listing is in it exactly once. */
  dump(options: FlowDumpOptions): FlowDump;
}

/** One of a batch of operations, on bytes. dpif: `struct dpif_op`. */
export type ProviderOp =
  | ProviderFlowPut
  | ProviderFlowDelete
  | ProviderFlowGet
  | ProviderExecute;

/**
 * Adds or changes a flow. dpif: `DPIF_OP_FLOW_PUT`.
 *
 * `create` alone: `EEXIST` if an equal or overlapping flow exists. `modify` alone: `ENOENT` if none
 * does. Both: either.
 */
export interface ProviderFlowPut {
  /** Which operation this is. */
  readonly op: "put";
  /** Key of the flow: `OVS_KEY_ATTR_*` attributes. */
  readonly key: Uint8Array;
  /** Absent: exact match on everything in the key. */
  readonly mask?: Uint8Array;
  /** What is done to its packets, in order: `OVS_ACTION_ATTR_*`; none: drop. */
  readonly actions: Uint8Array;
  /** Identifier that it is found by from now on, besides its key. */
  readonly ufid?: Ufid;
  /** Add it when there is none. */
  readonly create: boolean;
  /** Change the actions of the one that is there. */
  readonly modify: boolean;
  /** Start counting anew (with `modify`). */
  readonly zeroStats?: boolean;
  /** Only asks: a refusal is not logged. An accepted flow is in the table, to be deleted again by who probes. */
  readonly probe?: boolean;
  /** Answer the counters that the flow had before. */
  readonly wantStats?: boolean;
  /** Packet to be executed behind it, whatever came of it, with the same key and actions; its failure is told second. */
  readonly packet?: Uint8Array;
}

/** Deletes a flow by `ufid`, or else by `key`. `ENOENT` if there is none. */
export interface ProviderFlowDelete {
  /** Which operation this is. */
  readonly op: "delete";
  /** Key of the flow, `OVS_KEY_ATTR_*`; not looked at when there is a `ufid`. */
  readonly key?: Uint8Array;
  /** Identifier of the flow. */
  readonly ufid?: Ufid;
  /** Answer the counters that the flow had at the end. */
  readonly wantStats?: boolean;
}

/** Finds a flow by `ufid`, or else by `key`. `ENOENT` if there is none. */
export interface ProviderFlowGet {
  /** Which operation this is. */
  readonly op: "get";
  /** Key of the flow, `OVS_KEY_ATTR_*`; not looked at when there is a `ufid`. */
  readonly key?: Uint8Array;
  /** Identifier of the flow. */
  readonly ufid?: Ufid;
}

/**
 * Runs actions on a packet. dpif: `DPIF_OP_EXECUTE`.
 *
 * Of `key` only the metadata counts (in_port, recirc_id, skb_mark, ct_*, tunnel …): headers are read from
 * the packet.
 */
export interface ProviderExecute {
  /** Which operation this is. */
  readonly op: "execute";
  /** From the Ethernet header on; at least 14 bytes, or `EINVAL`/`ERANGE`. */
  readonly packet: Uint8Array;
  /** Metadata of the packet, `OVS_KEY_ATTR_*`; all of it zero when absent. */
  readonly key?: Uint8Array;
  /** What is done to the packet, in order: `OVS_ACTION_ATTR_*`. */
  readonly actions: Uint8Array;
  /** Only find out whether it would be accepted. */
  readonly probe?: boolean;
  /** Largest fragment of a packet that was put together, bytes. */
  readonly mru?: number;
  /** Hash as the upcall gave it. */
  readonly hash?: bigint;
}

/** What came of one operation of a batch. */
export type OpResult =
  | { readonly ok: true; readonly stats?: FlowStats; readonly flow?: RawFlow }
  | { readonly ok: false; readonly error: Error };

/** A packet handed up, as bytes. dpif: `struct dpif_upcall`. */
export interface RawUpcall {
  /** `miss`: no flow matched. `action`: a `userspace` action of a flow. */
  readonly kind: "miss" | "action";
  /** Nested `OVS_KEY_ATTR_*` of the packet. */
  readonly key: Uint8Array;
  /** The port of the key, where the provider has it at hand. */
  readonly inPort?: PortNo | undefined;
  /** The packet from the Ethernet header on. */
  readonly packet: Uint8Array;
  /** `OVS_USERSPACE_ATTR_USERDATA` of the action. */
  readonly userdata?: Uint8Array | undefined;
  /** The complete action list, if the action asked for it. */
  readonly actions?: Uint8Array | undefined;
  /** Tunnel that it would have left by, if the action asked for it. */
  readonly egressTunnelKey?: Uint8Array | undefined;
  /** Largest fragment, when the packet was put together from fragments; bytes. */
  readonly mru?: number | undefined;
  /** Hash of the packet, to be given back on execute. */
  readonly hash?: bigint | undefined;
  /** Length before truncation, when the packet was truncated; bytes. */
  readonly originalLength?: number | undefined;
}

/** Upcalls of a datapath. */
export interface ProviderUpcalls {
  /** Number of handlers that the datapath wants; undefined: as many as you like. dpif: `number_handlers_required`. */
  required?(): number | undefined;
  /** Spreads upcalls over `count` handlers from now on. dpif: `handlers_set`. */
  setHandlers(count: number): void;
  /** Turns reception on or off. dpif: `recv_set`. */
  setReceive(enable: boolean): void;
  /** Opens handler `id`, 0 to count-1, for this isolate; `EBUSY` if another program or Worker has it. */
  handler(id: number): UpcallHandler;
  /** Drops upcalls that wait. dpif: `recv_purge`. */
  purge(): void;
}

/**
 * One receiver of upcalls.  Used by one isolate at a time.  `receive` never waits; `wait` has at most one call
 * outstanding, and none after `close`.
 */
export interface UpcallHandler {
  /** Up to `max` waiting upcalls, at once; empty when none waits. dpif: `recv`. */
  receive(max: number): RawUpcall[];
  /** Resolves when an upcall waits, or `wake` or `close` was called. dpif: `recv_wait`. */
  wait(): Promise<void>;
  /** Ends a `wait` under way. */
  wake(): void;
  /** Upcalls of this handler that were dropped so far, because it was slow. */
  lost(): bigint;
  /** Ends a `wait` under way, drops what waits, gives the handler back. Idempotent. */
  close(): Promise<void>;
}
