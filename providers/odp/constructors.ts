// SPDX-License-Identifier: Apache-2.0
/**
 * Actions by name: `output(2)`, `ct({ commit: true })`, `recirc(1)` …
 *
 * They check nothing: values are checked when the list is encoded.
 *
 * @module
 */

import type { CtZone, MeterId, PortNo, RecircId } from "../ids.ts";
import type {
  AddMplsAction,
  CheckPktLenAction,
  CloneAction,
  CtAction,
  CtClearAction,
  CtLabelsValue,
  CtMarkValue,
  DecTtlAction,
  DropAction,
  EthernetKey,
  FlowMask,
  HashAction,
  LbOutputAction,
  MeterAction,
  MplsLabel,
  NatAction,
  NshKey,
  OutputAction,
  PopEthAction,
  PopMplsAction,
  PopNshAction,
  PopVlanAction,
  PsampleAction,
  PushEthAction,
  PushMplsAction,
  PushNshAction,
  PushVlanAction,
  RecircAction,
  SampleAction,
  SetAction,
  TruncAction,
  TunnelPopAction,
  TunnelPushAction,
  UserspaceAction,
} from "../types.ts";
import type { Action } from "../types_action.ts";

/** Bits of a key's `ctState`. Every packet that the tracker has seen has `Tracked`. */
export const CtState = {
  /** First packet of a connection that is not committed. */
  New: 0x01,
  /** Packet of a committed connection. */
  Established: 0x02,
  /** Related to another connection: data of a helper's protocol, or an ICMP error. */
  Related: 0x04,
  /** In the reply direction. */
  Reply: 0x08,
  /** The tracker could make nothing of it; no other bit but `Tracked` means anything. */
  Invalid: 0x10,
  /** The packet went through the tracker. */
  Tracked: 0x20,
  /** Source address or port was translated. */
  SourceNat: 0x40,
  /** Destination address or port was translated. */
  DestinationNat: 0x80,
} as const;

const U32_MAX = 0xffffffff;
const U128_MAX = (1n << 128n) - 1n;

/** Sends the packet out of `port`. 0 is the local port. */
export function output(port: PortNo): OutputAction {
  return { type: "output", port };
}

/** What to ask for with an upcall. */
export interface UserspaceOptions {
  /** Bytes that come back as `upcall.userdata`. */
  readonly userdata?: Uint8Array;
  /** Netlink port id; by default the placeholder that per-CPU dispatch wants. */
  readonly portId?: number;
  /** Asks for the tunnel key that output to this port would have. */
  readonly tunnelOutPort?: PortNo;
  /** Asks for the action list. */
  readonly actions?: boolean;
}

/** Sends the packet up as an upcall. */
export function userspace(options: UserspaceOptions = {}): UserspaceAction {
  return { type: "userspace", portId: U32_MAX, ...options };
}

/**
 * Overwrites one field, or the bits of it that `mask` has; without a mask, what `key` names:
 * `set({ tcp: { dst: 81 } })` leaves the source port alone.
 */
export function set(key: SetAction["key"], mask?: FlowMask): SetAction {
  return mask === undefined ? { type: "set", key } : { type: "set", key, mask };
}

/** Adds a VLAN tag: 802.1Q of priority 0 unless said otherwise. */
export function pushVlan(
  tag: { readonly vid: number; readonly pcp?: number; readonly tpid?: number },
): PushVlanAction {
  return { type: "pushVlan", tpid: 0x8100, pcp: 0, cfi: 1, ...tag };
}

/** Removes the outer VLAN tag. */
export function popVlan(): PopVlanAction {
  return { type: "popVlan" };
}

/** Runs actions on a share of the packets, from 0 (none) to 1 (all). */
export function sample(share: number, actions: readonly Action[]): SampleAction {
  if (!(share >= 0 && share <= 1)) {
    throw new RangeError(`share must be from 0 to 1: current value is ${share}`);
  }
  return { type: "sample", probability: Math.round(share * U32_MAX), actions };
}

/** Looks the packet up again under `id`. */
export function recirc(id: RecircId): RecircAction {
  return { type: "recirc", id };
}

/** Computes a hash into `dpHash`. */
export function hash(
  algorithm: HashAction["algorithm"] = "l4",
  options: { readonly basis?: number } = {},
): HashAction {
  return { type: "hash", algorithm, basis: options.basis ?? 0 };
}

/** Adds an MPLS label behind the Ethernet header. */
export function pushMpls(
  label: Partial<MplsLabel> & { readonly label: number; readonly etherType?: number },
): PushMplsAction {
  return { type: "pushMpls", tc: 0, ttl: 64, bos: 1, etherType: 0x8847, ...label };
}

/** Removes the outer MPLS label; `etherType` is that of what is below. */
export function popMpls(etherType: number): PopMplsAction {
  return { type: "popMpls", etherType };
}

/** Adds an MPLS label before the Ethernet header; with `layer3` behind it. */
export function addMpls(
  { layer3 = false, ...label }: Partial<MplsLabel> & {
    readonly label: number;
    readonly etherType?: number;
    readonly layer3?: boolean;
  },
): AddMplsAction {
  return {
    type: "addMpls",
    tc: 0,
    ttl: 64,
    bos: 1,
    etherType: 0x8847,
    tunnelFlags: layer3 ? 1 : 0,
    ...label,
  };
}

/** What the connection tracker is to do. */
export interface CtOptions {
  /** Makes the connection known. */
  readonly commit?: boolean;
  /** As `commit`, and replaces a connection whose direction is the opposite. */
  readonly forceCommit?: boolean;
  /** Zone, 0 by default. */
  readonly zone?: CtZone;
  /** Mark to set: a number for all bits. */
  readonly mark?: number | CtMarkValue;
  /** Labels to set: a number for all bits. */
  readonly labels?: bigint | CtLabelsValue;
  /** Application layer gateway. */
  readonly helper?: string;
  /** Timeout policy. */
  readonly timeout?: string;
  /** Translation; `true` for that of the existing connection. */
  readonly nat?: NatAction | true;
  /** Kernel only: events to report. */
  readonly eventMask?: number;
}

/** Sends the packet through the connection tracker. */
export function ct(options: CtOptions = {}): CtAction {
  const { mark, labels, nat, ...rest } = options;
  return {
    type: "ct",
    ...rest,
    ...(mark !== undefined &&
      { mark: typeof mark === "number" ? { value: mark, mask: U32_MAX } : mark }),
    ...(labels !== undefined &&
      {
        labels: typeof labels === "bigint" ? { value: labels, mask: U128_MAX } : labels,
      }),
    ...(nat !== undefined && { nat: nat === true ? {} : nat }),
  };
}

/** Forgets the connection tracker's state of the packet. */
export function ctClear(): CtClearAction {
  return { type: "ctClear" };
}

/** Runs actions on a copy of the packet. */
export function clone(actions: readonly Action[]): CloneAction {
  return { type: "clone", actions };
}

/** Cuts the packet to `size` bytes for the next output or upcall. */
export function trunc(size: number): TruncAction {
  return { type: "trunc", size };
}

/** Puts an Ethernet header before the packet. */
export function pushEth(addresses: EthernetKey): PushEthAction {
  return { type: "pushEth", src: addresses.src, dst: addresses.dst };
}

/** Removes the Ethernet header. */
export function popEth(): PopEthAction {
  return { type: "popEth" };
}

/** Puts a network service header before the packet. */
export function pushNsh(nsh: NshKey): PushNshAction {
  return { type: "pushNsh", nsh };
}

/** Removes the network service header. */
export function popNsh(): PopNshAction {
  return { type: "popNsh" };
}

/** Drops the packet if it exceeds the rate of meter `id`. */
export function meter(id: MeterId): MeterAction {
  return { type: "meter", id };
}

/** Runs one of two lists: `greater` for packets longer than `size` bytes. */
export function checkPktLen(
  size: number,
  lists: Pick<CheckPktLenAction, "greater" | "lessEqual">,
): CheckPktLenAction {
  return { type: "checkPktLen", size, ...lists };
}

/** Decrements TTL or hop limit; runs `actions` on packets whose TTL ends. */
export function decTtl(actions: readonly Action[] = []): DecTtlAction {
  return { type: "decTtl", actions };
}

/** Drops the packet with a reason; needs Linux 6.6. The portable drop is an empty list. */
export function drop(reason = 0): DropAction {
  return { type: "drop", reason };
}

/** Sends a copy of the packet to a psample group. */
export function psample(
  group: number,
  options: { readonly cookie?: Uint8Array } = {},
): PsampleAction {
  return { type: "psample", group, ...options };
}

/** Puts ready-made headers before the packet. */
export function tunnelPush(options: Omit<TunnelPushAction, "type">): TunnelPushAction {
  return { type: "tunnelPush", ...options };
}

/** Removes the tunnel header and looks the packet up again with `port` as its port. */
export function tunnelPop(port: PortNo): TunnelPopAction {
  return { type: "tunnelPop", port };
}

/** Sends the packet to a member of a bond. */
export function lbOutput(bond: number): LbOutputAction {
  return { type: "lbOutput", bond };
}
