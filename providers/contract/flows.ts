// SPDX-License-Identifier: Apache-2.0
/**
 * The flow table of a datapath and operations on it, as bytes. dpif: `flow_*`, `operate`.
 *
 * @module
 */
import type { ErrnoName } from "../errno.ts";
import type { PmdId, Ufid } from "../ids.ts";

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
  /**
   * Only asks: a refusal is not logged. An accepted flow is in the table, to be deleted again by
   * who probes.
   */
  readonly probe?: boolean;
  /** Answer the counters that the flow had before. */
  readonly wantStats?: boolean;
  /**
   * Packet to be executed behind it, whatever came of it, with the same key and actions; its
   * failure is told second.
   */
  readonly packet?: Uint8Array;
  /** With `packet`: its largest fragment, as the upcall gave it; bytes. */
  readonly mru?: number;
  /** With `packet`: its hash, as the upcall gave it. */
  readonly hash?: bigint;
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
 * Of `key` only the metadata counts (in_port, recirc_id, skb_mark, ct_*, tunnel …): headers are
 * read from the packet.
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
  | OpFailure;

/**
 * An operation that failed, as the provider knows it. `Datapath` makes an error of it when somebody
 * looks: several packets of one new flow come up in a batch, so that `EEXIST` is common and
 * ignored.
 */
export interface OpFailure {
  /** It failed. */
  readonly ok: false;
  /** Errno, by name or by positive number. */
  readonly code: ErrnoName | number;
  /** What went wrong, where that says more than the errno. */
  readonly detail?: string | undefined;
  /** The error behind it, where there is one. */
  readonly cause?: unknown;
}
