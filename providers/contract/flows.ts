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
  /** When the last packet hit, ms on the monotonic clock; absent if none did. */
  readonly usedMs?: bigint;
  /** TCP flags of all packets, or-ed together (low 12 bits). */
  readonly tcpFlags: number;
}

/** A flow as bytes. `key`, `mask` and `actions` may be missing from terse dumps. */
export interface RawFlow {
  /** Nested `OVS_KEY_ATTR_*`. */
  readonly key?: Uint8Array | undefined;
  /** Nested `OVS_KEY_ATTR_*`; absent if the provider left it out, or if the match is exact. */
  readonly mask?: Uint8Array | undefined;
  /** Nested `OVS_ACTION_ATTR_*`; empty: drop. */
  readonly actions?: Uint8Array | undefined;
  /** Identifier, if the flow has one. */
  readonly ufid?: Ufid | undefined;
  /** Counters. */
  readonly stats: FlowStats;
  /** The poll thread that owns the flow, if flows have owners. */
  readonly pmd?: PmdId | undefined;
  /** Layer that forwards its packets: `ovs`, `tc`, `dpdk`. */
  readonly layer?: string | undefined;
  /** Whether hardware forwards its packets. */
  readonly offloaded?: boolean | undefined;
  /** Text of the provider about the flow, for `-m` dumps. */
  readonly extraInfo?: string | undefined;
  /**
   * Writes the identifier as the four words that its bytes are, in host order, where that takes
   * less than its text.
   */
  writeUfid?(to: Uint32Array): void;
  /** Packets of `stats` as a number, where that takes less. */
  readonly packetCount?: number;
  /**
   * The flow as data of its own. Flows that are read when they are looked at have it; without it,
   * `structuredClone()` and messages to Workers refuse them (`DataCloneError`).
   */
  readonly plain?: () => RawFlow;
}

/**
 * Copies a flow: `plain` of those that are read when they are looked at. As a field of each flow it
 * has cloning refuse what would lose all that getters give.
 */
export function plainFlow(this: RawFlow): RawFlow {
  return {
    key: this.key?.slice(),
    mask: this.mask?.slice(),
    actions: this.actions?.slice(),
    ufid: this.ufid,
    stats: this.stats,
    pmd: this.pmd,
    layer: this.layer,
    offloaded: this.offloaded,
    extraInfo: this.extraInfo,
  };
}

/** Which flows to list, and how much of each. */
export interface FlowDumpOptions {
  /** Only identifiers and counters; of a flow without an identifier, its key. */
  readonly terse?: boolean;
}

/** A listing under way. dpif: `flow_dump_create` to `flow_dump_destroy`. */
export interface FlowDump {
  /**
   * Up to `max` further flows; empty at the end. Several readers may call it in turn: each flow is
   * returned once. Throws the first error of the dump. dpif: `flow_dump_next`.
   */
  next(max: number): RawFlow[];
  /** Ends the listing early. Idempotent. */
  close(): void;
}

/** The flow table of a datapath; single operations go through `operate`. */
export interface ProviderFlows {
  /** Deletes every flow. dpif: `flow_flush`. */
  flush(): void;
  /** Lists flows. A flow that exists throughout the listing appears exactly once. */
  dump(options: FlowDumpOptions): FlowDump;
  /** Whether a put with `modify` alone and a `ufid` needs no key: an empty one is none. */
  readonly changesByName?: boolean;
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
  /** Key of the flow: `OVS_KEY_ATTR_*` attributes; empty if the `ufid` is to say which it is. */
  readonly key: Uint8Array;
  /** Absent: exact match on everything in the key. */
  readonly mask?: Uint8Array;
  /** What is done to its packets, in order: `OVS_ACTION_ATTR_*`; none: drop. */
  readonly actions: Uint8Array;
  /**
   * Identifier by which the flow can be found from now on, as well as by its key: text, or its 16
   * bytes as `ufidBytes` of `./odp` makes them.
   */
  readonly ufid?: Ufid | Uint8Array;
  /** Add it when there is none. */
  readonly create: boolean;
  /** Change the actions of the one that is there. */
  readonly modify: boolean;
  /** Start counting anew (with `modify`). */
  readonly zeroStats?: boolean;
  /**
   * A trial: a refusal is not logged. A flow that is accepted is in the table; the prober deletes
   * it.
   */
  readonly probe?: boolean;
  /** Return the counters that the flow had before. */
  readonly wantStats?: boolean;
  /**
   * Packet to execute after the put, with the same key and actions, whether or not the put
   * succeeds. If both fail, the failure of the put is reported.
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
  readonly ufid?: Ufid | Uint8Array;
  /**
   * Return the counters that the flow had at the end. `"final"`: wait, for 100 ms at most, for what
   * still counts packets of it while it is taken out; `system` has no such wait, and does as for
   * `true`.
   */
  readonly wantStats?: boolean | "final";
}

/** Finds a flow by `ufid`, or else by `key`. `ENOENT` if there is none. */
export interface ProviderFlowGet {
  /** Which operation this is. */
  readonly op: "get";
  /** Key of the flow, `OVS_KEY_ATTR_*`; not looked at when there is a `ufid`. */
  readonly key?: Uint8Array;
  /** Identifier of the flow. */
  readonly ufid?: Ufid | Uint8Array;
}

/**
 * Runs actions on a packet. dpif: `DPIF_OP_EXECUTE`.
 *
 * Only the metadata of `key` counts (in_port, recirc_id, skb_mark, ct_*, tunnel …); headers are
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
  /** Only find out whether the packet and actions would be accepted. */
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
 * An operation that failed, as the provider reports it. `Datapath` makes the error when it is read:
 * several packets of a new flow often come up in one batch, so `EEXIST` is common and mostly
 * ignored.
 */
export interface OpFailure {
  /** It failed. */
  readonly ok: false;
  /** Errno, by name or by positive number. */
  readonly code: ErrnoName | number;
  /** What went wrong, if there is more to say than the errno. */
  readonly detail?: string | undefined;
  /** Of a put with `EEXIST`: the flow that is there, where the provider says it. */
  readonly there?: Ufid | undefined;
  /** The error that caused the failure, if there is one. */
  readonly cause?: unknown;
}
