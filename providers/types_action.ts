// SPDX-License-Identifier: Apache-2.0
/**
 * Actions as plain objects: one interface for each `OVS_ACTION_ATTR_*`, told apart by `type`.
 *
 * @module
 */

import type {
  CtZone,
  Ipv4Address,
  Ipv6Address,
  MeterId,
  PortNo,
  RecircId,
} from "./ids.ts";
import type {
  EthernetKey,
  FlowKeyInitFields,
  FlowMask,
  MplsLabel,
  NshKey,
  UnknownAttribute,
  VlanTag,
} from "./types_key.ts";

/** Sends the packet out of a port. */
export interface OutputAction {
  /** Tells it from other actions. */
  readonly type: "output";
  /** Port to send to. */
  readonly port: PortNo;
}

/** Sends the packet up as an upcall of kind "action". */
export interface UserspaceAction {
  /** Tells it from other actions. */
  readonly type: "userspace";
  /**
   * Netlink port id to send to. A kernel datapath in per-CPU mode takes any but 0; the
   * userspace datapath ignores it.
   */
  readonly portId: number;
  /** Bytes that come back with the upcall. */
  readonly userdata?: Uint8Array;
  /** Asks for the tunnel key that output to this port would have. */
  readonly tunnelOutPort?: PortNo;
  /** Asks for the action list that the packet was subject to. */
  readonly actions?: boolean;
}

/**
 * Overwrites one field of the packet, or the bits of it that `mask` has.  Without a mask it is what
 * `key` names that is overwritten: `{ tcp: { dst: 81 } }` leaves the source port alone.  A tunnel
 * is always set in whole.
 */
export interface SetAction {
  /** Tells it from other actions. */
  readonly type: "set";
  /** Exactly one field. */
  readonly key: FlowKeyInitFields;
  /** The same field, for a masked set. It has no bits of what `key` does not name. */
  readonly mask?: FlowMask;
}

/** Adds a VLAN tag. */
export interface PushVlanAction extends VlanTag {
  /** Tells it from other actions. */
  readonly type: "pushVlan";
}

/** Removes the outer VLAN tag; nothing if there is none. */
export interface PopVlanAction {
  /** Tells it from other actions. */
  readonly type: "popVlan";
}

/** Runs actions on a share of the packets. */
export interface SampleAction {
  /** Tells it from other actions. */
  readonly type: "sample";
  /** Share as a fraction of 2^32-1; 0xffffffff is always. */
  readonly probability: number;
  /** What to run, on a copy of the packet. */
  readonly actions: readonly Action[];
}

/** Looks the packet up again under another recirculation id. */
export interface RecircAction {
  /** Tells it from other actions. */
  readonly type: "recirc";
  /** The id that the second lookup matches. */
  readonly id: RecircId;
}

/** Computes a hash of the packet into `dpHash`. */
export interface HashAction {
  /** Tells it from other actions. */
  readonly type: "hash";
  /** "symL4" is known to `netdev` only; a number is an algorithm without a name here. */
  readonly algorithm: "l4" | "symL4" | number;
  /** Seed. */
  readonly basis: number;
}

/** Adds an MPLS label behind the Ethernet header. */
export interface PushMplsAction extends MplsLabel {
  /** Tells it from other actions. */
  readonly type: "pushMpls";
  /** 0x8847 or 0x8848. */
  readonly etherType: number;
}

/** Removes the outer MPLS label. */
export interface PopMplsAction {
  /** Tells it from other actions. */
  readonly type: "popMpls";
  /** EtherType of what is below. */
  readonly etherType: number;
}

/** Adds an MPLS label in front of the packet or behind its Ethernet header. */
export interface AddMplsAction extends MplsLabel {
  /** Tells it from other actions. */
  readonly type: "addMpls";
  /** 0x8847 or 0x8848. */
  readonly etherType: number;
  /** Bit 0: the label goes behind the Ethernet header. */
  readonly tunnelFlags: number;
}

/** Value and mask of a connection's mark. */
export interface CtMarkValue {
  /** Bits to set. */
  readonly value: number;
  /** Bits that change. */
  readonly mask: number;
}

/** Value and mask of a connection's labels. */
export interface CtLabelsValue {
  /** Bits to set, 128 bits. */
  readonly value: bigint;
  /** Bits that change, 128 bits. */
  readonly mask: bigint;
}

/** Translation of addresses and ports; without `kind`, that of the existing connection. */
export interface NatAction {
  /** Which side is translated. */
  readonly kind?: "src" | "dst";
  /** First address of the range. */
  readonly min?: Ipv4Address | Ipv6Address;
  /** Last address of the range; `min` when absent. */
  readonly max?: Ipv4Address | Ipv6Address;
  /** First port of the range. */
  readonly portMin?: number;
  /** Last port of the range; `portMin` when absent. */
  readonly portMax?: number;
  /** The same client gets the same address again. */
  readonly persistent?: boolean;
  /** Ports chosen by hash. */
  readonly hash?: boolean;
  /** Ports chosen at random. */
  readonly random?: boolean;
  /** Attributes of the nest that have no name here. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** Sends the packet through the connection tracker. */
export interface CtAction {
  /** Tells it from other actions. */
  readonly type: "ct";
  /** Makes the connection known. */
  readonly commit?: boolean;
  /** As `commit`, and replaces a connection whose direction is the opposite. */
  readonly forceCommit?: boolean;
  /** Zone; absent is zone 0. */
  readonly zone?: CtZone;
  /** Changes the connection's mark; needs a commit. */
  readonly mark?: CtMarkValue;
  /** Changes the connection's labels; needs a commit. */
  readonly labels?: CtLabelsValue;
  /** Application layer gateway: "ftp", "tftp", and what the kernel has. */
  readonly helper?: string;
  /** Timeout policy: the kernel's object name, or the number of one of `netdev`. */
  readonly timeout?: string;
  /** Translation. */
  readonly nat?: NatAction;
  /** Events of the connection that are told, bits of `IPCT_*`; with `commit`. */
  readonly eventMask?: number;
  /** Attributes of the nest that have no name here. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** Forgets the connection tracker's state of the packet. */
export interface CtClearAction {
  /** Tells it from other actions. */
  readonly type: "ctClear";
}

/** Runs actions on a copy of the packet. */
export interface CloneAction {
  /** Tells it from other actions. */
  readonly type: "clone";
  /** What to run; nothing that they change shows outside. */
  readonly actions: readonly Action[];
}

/** Cuts the packet for the next output or upcall. */
export interface TruncAction {
  /** Tells it from other actions. */
  readonly type: "trunc";
  /** Bytes to keep, 14 at least. */
  readonly size: number;
}

/** Puts an Ethernet header before a packet that has none. */
export interface PushEthAction extends EthernetKey {
  /** Tells it from other actions. */
  readonly type: "pushEth";
}

/** Removes the Ethernet header. */
export interface PopEthAction {
  /** Tells it from other actions. */
  readonly type: "popEth";
}

/** Puts a network service header before the packet. */
export interface PushNshAction {
  /** Tells it from other actions. */
  readonly type: "pushNsh";
  /** The header. */
  readonly nsh: NshKey;
}

/** Removes the network service header. */
export interface PopNshAction {
  /** Tells it from other actions. */
  readonly type: "popNsh";
}

/** Drops the packet if it exceeds a meter's rate. */
export interface MeterAction {
  /** Tells it from other actions. */
  readonly type: "meter";
  /** The meter. */
  readonly id: MeterId;
}

/** Runs one of two lists, by the packet's length. */
export interface CheckPktLenAction {
  /** Tells it from other actions. */
  readonly type: "checkPktLen";
  /** Bytes from the Ethernet header on, 1 to 65535. */
  readonly size: number;
  /** For packets longer than `size`. */
  readonly greater: readonly Action[];
  /** For the others. */
  readonly lessEqual: readonly Action[];
}

/** Decrements TTL or hop limit. */
export interface DecTtlAction {
  /** Tells it from other actions. */
  readonly type: "decTtl";
  /** For packets whose TTL ends. */
  readonly actions: readonly Action[];
}

/** Drops the packet, saying why. The portable drop is an empty list. */
export interface DropAction {
  /** Tells it from other actions. */
  readonly type: "drop";
  /** Reason, 0 when there is no error. */
  readonly reason: number;
}

/**
 * Shows a copy of the packet to who collects samples, by `samples` of the datapath. In the kernel
 * from Linux 6.11 on.
 */
export interface PsampleAction {
  /** Tells it from other actions. */
  readonly type: "psample";
  /** Sample group. */
  readonly group: number;
  /** 1 to 16 bytes that go with it. */
  readonly cookie?: Uint8Array;
}

/** Puts a ready-made tunnel header before the packet; `netdev` only. */
export interface TunnelPushAction {
  /** Tells it from other actions. */
  readonly type: "tunnelPush";
  /** Tunnel port. */
  readonly tunnelPort: PortNo;
  /** Port that the result is sent to. */
  readonly outPort: PortNo;
  /** Kind of tunnel: numbers of `OVS_VPORT_TYPE_*`. */
  readonly tunnelType: number;
  /** The headers, up to 512 bytes. */
  readonly header: Uint8Array;
}

/** Removes the tunnel header and looks the packet up again; `netdev` only. */
export interface TunnelPopAction {
  /** Tells it from other actions. */
  readonly type: "tunnelPop";
  /** Tunnel port, the new `inPort`. */
  readonly port: PortNo;
}

/** Sends the packet to a member of a bond, by `dpHash`; `netdev` only. */
export interface LbOutputAction {
  /** Tells it from other actions. */
  readonly type: "lbOutput";
  /** Bond. */
  readonly bond: number;
}

/** An action that has no name here. */
export interface UnknownAction extends UnknownAttribute {
  /** Tells it from other actions. */
  readonly type: "unknown";
}

/** One step of what a datapath does to a packet; a list without steps drops it. */
export type Action =
  | OutputAction
  | UserspaceAction
  | SetAction
  | PushVlanAction
  | PopVlanAction
  | SampleAction
  | RecircAction
  | HashAction
  | PushMplsAction
  | PopMplsAction
  | AddMplsAction
  | CtAction
  | CtClearAction
  | CloneAction
  | TruncAction
  | PushEthAction
  | PopEthAction
  | PushNshAction
  | PopNshAction
  | MeterAction
  | CheckPktLenAction
  | DecTtlAction
  | DropAction
  | PsampleAction
  | TunnelPushAction
  | TunnelPopAction
  | LbOutputAction
  | UnknownAction;
