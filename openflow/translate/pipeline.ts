// SPDX-License-Identifier: Apache-2.0
/**
 * What a translation reads of its switch: tables, groups, meters, ports. All of it is tracked
 * state: a flow of the datapath rests on what it read.
 *
 * @module
 */
import { Cell, type StateMap, type Taught } from "../../policy/mod.ts";
import type { Action } from "../../providers/types_action.ts";
import type { MeterId } from "../../providers/ids.ts";
import type { FlowTable } from "../table/flow_table.ts";
import type { TlvTable } from "../table/tlv_table.ts";
import type { TunnelPort } from "./tunnel_port.ts";
import type { Rule, RuleCounter } from "../table/rule.ts";
import type { Counter } from "../table/tally.ts";
import type { Frozen } from "./frozen.ts";
import type { Bucket, GroupType, PortDesc, Selection } from "../wire/object.ts";

/** A bucket with what it counted. */
export interface CountedBucket extends Bucket {
  readonly counter: RuleCounter;
}

/** A group as it is. */
export interface Group {
  readonly id: number;
  readonly createdMs: number;
  readonly counter: RuleCounter;
  /** What a modification writes anew. */
  readonly content: Cell<{
    readonly type: GroupType;
    readonly buckets: readonly CountedBucket[];
    readonly selection: Selection | undefined;
  }>;
}

/** Names of what packets are handed to controllers for. */
export interface PacketInContext {
  /** The number of the switch. */
  readonly of: number;
  readonly table: number;
  readonly cookie: bigint;
  readonly reason: number;
  readonly maxLength: number;
  readonly controllerId: number;
  readonly userdata: Uint8Array | undefined;
  readonly meter: number | undefined;
  /** What a controller gives back to have the packet go on. */
  readonly continuation?: Uint8Array | undefined;
  /** Port, metadata, registers and what else was written, as words of a flow. */
  readonly words: readonly (readonly [word: number, value: number])[];
}

/** How NORMAL takes the VLANs of a port: that of Open vSwitch's column `vlan_mode`. */
export type VlanMode =
  | "access"
  | "trunk"
  | "native-tagged"
  | "native-untagged"
  | "dot1q-tunnel";

/** What a bond is at a time: ports are numbers. */
export interface BondNow {
  /** One port takes all packets, or each those of some addresses. */
  readonly mode: "active-backup" | "balance-slb" | "balance-tcp";
  /**
   * Whether the other end has agreed, by LACP, or nobody asks it; if it has not, nothing goes
   * unless one port takes all packets.
   */
  readonly lacp: "off" | "configured" | "negotiated";
  readonly fallsBack: boolean;
  /** Ports that packets may come by, where the other end has agreed. */
  readonly enabled: readonly number[];
  /** The one, and the only one that packets to many come by; undefined if none is up. */
  readonly active: number | undefined;
  /** The port of each value of the hash. */
  readonly table: readonly (number | undefined)[];
  readonly basis: number;
  /** Whether packets to many may come by each port. */
  readonly isAllActive: boolean;
}

/** Ports that are one. */
export interface Bond {
  readonly now: Cell<BondNow>;
  /** What count packets of each value of the hash. */
  readonly counters: readonly Counter[];
}

/** What NORMAL knows of ports that are one to it: a bond, or a port of its own. */
export interface Bundle {
  readonly name: string;
  readonly mode: VlanMode;
  /** The VLAN of packets without a tag; 0 is none. */
  readonly tag: number;
  /** VLANs that it carries; all of them if absent. */
  readonly trunks?: ReadonlySet<number> | undefined;
  /** Of a tunnel of 802.1Q, the VLANs of its customers; all of them if absent. */
  readonly customers?: ReadonlySet<number> | undefined;
  /** Whether nothing goes from here to another port like this. */
  readonly isProtected: boolean;
  /** Whether packets of no VLAN have a tag: those that have a priority in one, or all. */
  readonly priorityTags: "no" | "if-nonzero" | "always";
  /** Its ports: without a bond, packets go out of the first one whose link is up. */
  readonly ports: readonly number[];
  /** Whether the switch speaks LACP there. */
  readonly speaksLacp?: boolean | undefined;
  /** How it is bonded. */
  readonly bond?: Bond | undefined;
}

/** What NORMAL is told of a whole switch. */
export interface NormalSettings {
  /** Whether frames are forwarded that are for neighbours only. */
  readonly forwardBpdu: boolean;
  /** VLANs in which nothing is learned. */
  readonly floodVlans: ReadonlySet<number>;
}

/** Who gets copies of which packets. */
export interface Mirror {
  readonly name: string;
  /** Bundles of which it has what comes in, by name. */
  readonly sources: ReadonlySet<string> | "all";
  /** Bundles of which it has what goes out. */
  readonly targets: ReadonlySet<string> | "all";
  /** VLANs of the packets that it has; all of them if absent. */
  readonly vlans?: ReadonlySet<number> | undefined;
  /** Where copies go: out of a bundle, or into a VLAN. */
  readonly output:
    | { readonly bundle: string; readonly vlan?: undefined }
    | { readonly vlan: number; readonly bundle?: undefined };
  /** Bytes of each packet; 0 is all of them. */
  readonly cut: number;
  /** What it has had. */
  readonly counter: RuleCounter;
}

/** Where packets come out that are sent to a patch port: of another switch. */
export interface PatchPeer {
  readonly pipeline: Pipeline;
  readonly port: number;
}

/** A port of a switch. */
export interface SwitchPort extends PortDesc {
  /** Its number in the datapath; absent where it has none there. */
  readonly dp?: number | undefined;
  /** Of a tunnel's port what is fixed of the tunnel. */
  readonly tunnel?: TunnelPort | undefined;
  /** Where it leads to, of a patch port whose peer is there. */
  readonly patch?: PatchPeer | undefined;
  /** What NORMAL knows of it; without it, it carries all VLANs. */
  readonly bundle?: Bundle | undefined;
}

/** Flows that packets add, as text. */
export interface LearnedFlows extends Taught<string, number> {
  /** Whether a flow is there, or may be added to those of its cookie. */
  mayAdd(
    flow: string,
    limit: { readonly table: number; readonly cookie: bigint; readonly limit: number },
  ): boolean;
  /** Adds a flow. */
  hear(flow: string, limit: number, atMs: number): void;
}

/** What a translation reads. */
export interface Pipeline {
  /** Its number, among the switches of this program. */
  readonly id: number;
  /** The table with a number, if it has ever had a rule. */
  table(id: number): FlowTable;
  group(id: number): Group | undefined;
  /** The meter of the datapath that a meter is; undefined if there is none. */
  meter(id: number): MeterId | undefined;
  /** The action that has a packet looked up again, and go on as it was frozen. */
  recirculation(frozen: Frozen): Action;
  /** Flows that packets add. */
  readonly learned: LearnedFlows;
  /** Has a rule's timeouts be no longer than some, s; 0 leaves one. */
  reduceTimeouts(rule: Rule, idle: number, hard: number): void;
  /** Options of Geneve that are fields. */
  readonly tlv: TlvTable;
  /** Hashes that the datapath computes; none where it does not. */
  readonly hashes: ReadonlySet<"l4" | "symL4">;
  /** Ports by number; written anew when one changes. */
  readonly ports: Cell<ReadonlyMap<number, SwitchPort>>;
  /** Fragments: 0 normal, 1 dropped. */
  readonly fragments: Cell<number>;
  /** Whether a miss goes to controllers where a table says nothing else. */
  readonly missToController: Cell<boolean>;
  /** Whether all packets go by NORMAL, before any table: no controller answers. */
  readonly failOpen: Cell<boolean>;
  readonly normal: Cell<NormalSettings>;
  /** Mirrors, 32 at most. */
  readonly mirrors: Cell<readonly Mirror[]>;
  /** What NORMAL has learned: port by tag and address. */
  readonly stations: StateMap<string, number>;
  /** The priority of packets that a queue stands for; undefined where there is no such queue. */
  priorityOf(queue: number): number | undefined;
  /** Whether only what decides is masked, and not what Open vSwitch masks beside. */
  readonly tight: boolean;
}

/** Visible tables. */
export const TABLES = 254;

/** Makes the cell of a group's content. */
export function groupContent(content: Group["content"]["value"]): Group["content"] {
  return new Cell(content);
}
