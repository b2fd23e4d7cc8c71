// SPDX-License-Identifier: Apache-2.0
/**
 * Actions and instructions as objects: one shape for all versions of OpenFlow.
 *
 * @module
 */
import type { Field } from "./field.ts";

/** Bits of a field. */
export interface SubField {
  readonly field: Field;
  /** Bits of the field below it. */
  readonly offset: number;
  /** Its own bits. */
  readonly bits: number;
}

/** Headers that have an action of their own in OpenFlow 1.0 or 1.1. */
export type ModName =
  | "vlan_vid"
  | "vlan_pcp"
  | "dl_src"
  | "dl_dst"
  | "nw_src"
  | "nw_dst"
  | "nw_tos"
  | "nw_ecn"
  | "nw_ttl"
  | "tp_src"
  | "tp_dst"
  | "mpls_label"
  | "mpls_tc"
  | "mpls_ttl";

/** An action. */
export type OfAction =
  | {
    readonly type: "output";
    readonly port: number;
    /** Bytes that a controller gets; 0xffff is all. */
    readonly maxLength: number;
  }
  | {
    readonly type: "controller";
    readonly maxLength: number;
    readonly controllerId: number;
    readonly reason: number;
    readonly userdata?: Uint8Array;
    readonly meter?: number;
    /** The packet stays with the controller until that resumes it. */
    readonly pause?: boolean;
  }
  | { readonly type: "enqueue"; readonly port: number; readonly queue: number }
  | { readonly type: "outputReg"; readonly src: SubField; readonly maxLength: number }
  | { readonly type: "outputTrunc"; readonly port: number; readonly maxLength: number }
  | { readonly type: "group"; readonly group: number }
  | { readonly type: "setQueue"; readonly queue: number }
  | { readonly type: "popQueue" }
  | {
    readonly type: "setField";
    readonly field: Field;
    readonly value: bigint;
    readonly mask: bigint;
    /** `load` was said in Nicira's way. */
    readonly form: "set" | "load";
  }
  | {
    readonly type: "mod";
    readonly name: ModName;
    readonly value: bigint;
    /** For VLANs: a tag is added where there is none. */
    readonly pushes?: boolean;
    /** For VLANs: packets have a tag when it comes to this. */
    readonly hasTag?: boolean;
    /** For ports: the protocol that the flow has, 0 if it is any. */
    readonly proto?: number;
  }
  | { readonly type: "move"; readonly src: SubField; readonly dst: SubField }
  | { readonly type: "push" | "pop"; readonly of: SubField }
  | { readonly type: "pushVlan"; readonly etherType: number }
  | {
    readonly type: "popVlan";
    /** Said in the way of OpenFlow 1.0. */
    readonly strips?: boolean;
  }
  | { readonly type: "pushMpls"; readonly etherType: number }
  | { readonly type: "popMpls"; readonly etherType: number }
  | {
    readonly type: "decTtl";
    /** Controllers that are told; none where the plain action was used. */
    readonly ids?: readonly number[];
  }
  | { readonly type: "decMplsTtl" }
  | {
    readonly type: "resubmit";
    /** The port that the lookup sees; `Port.inPort` keeps it. */
    readonly port: number;
    /** The table; 255 is the current one. */
    readonly table: number;
    /** Whether the lookup sees the tuple that the packet's connection began with. */
    readonly isOfConnection?: boolean;
  }
  | { readonly type: "setTunnel"; readonly id: bigint; readonly is64: boolean }
  | { readonly type: "clone"; readonly actions: readonly OfAction[] }
  | { readonly type: "note"; readonly bytes: Uint8Array }
  | { readonly type: "exit" }
  | {
    readonly type: "finTimeout";
    /** Timeouts that the flow has at most once a connection of its ends, s; 0 leaves one. */
    readonly idle: number;
    readonly hard: number;
  }
  | { readonly type: "ctClear" }
  /** For tests: the packet is looked up again, or goes by the program. */
  | { readonly type: "debugRecirc" | "debugSlow" }
  | CtAction
  | NatAction
  | {
    readonly type: "conjunction";
    /** Which clause a flow belongs to, from 0 on, of how many. */
    readonly clause: number;
    readonly clauses: number;
    readonly id: number;
  }
  | LearnAction
  | {
    readonly type: "checkPktLarger";
    /** Bytes. */
    readonly length: number;
    /** The bit that says whether the packet is longer. */
    readonly dst: SubField;
  }
  | BundleAction
  | MultipathAction
  | SampleAction
  | { readonly type: "deleteField"; readonly field: Field }
  | { readonly type: "meter"; readonly meter: number };

/** Sends a packet through the connection tracker. */
export interface CtAction {
  readonly type: "ct";
  readonly commit: boolean;
  readonly force: boolean;
  /** Its number, or 16 bits that have it. */
  readonly zone: number | SubField;
  /** Where the packet is looked up with what is known of its connection; `NO_TABLE` for nowhere. */
  readonly table: number;
  /** Port of the protocol whose other connections are related ones: 21, 69; 0 for none. */
  readonly alg: number;
  /** Translation, and changes of mark and label. */
  readonly actions: readonly OfAction[];
}

/** Translation of addresses, in {@linkcode CtAction} only. */
export interface NatAction {
  readonly type: "nat";
  /** What is translated of new connections; undefined for what is known already. */
  readonly kind: "src" | "dst" | undefined;
  readonly persistent: boolean;
  readonly hash: boolean;
  readonly random: boolean;
  /** 4 for addresses of IPv4, 6 for those of IPv6. */
  readonly family: 4 | 6 | undefined;
  /** Addresses: the first, and the last if that was said. */
  readonly min?: bigint;
  readonly max?: bigint;
  readonly portMin?: number;
  readonly portMax?: number;
}

/** What a learned flow has of the packet that taught it, or always. */
export interface LearnSpec {
  readonly src: SubField | { readonly bits: number; readonly value: bigint };
  /** Where it goes: into the match, into an action that loads a field, or it is an output. */
  readonly to: "match" | "load" | "output";
  /** Of an output there is none. */
  readonly dst: SubField | undefined;
}

/** Adds a flow that is made of the packet. */
export interface LearnAction {
  readonly type: "learn";
  readonly idle: number;
  readonly hard: number;
  readonly finIdle: number;
  readonly finHard: number;
  readonly priority: number;
  readonly cookie: bigint;
  readonly sendFlowRemoved: boolean;
  /** The learned flows go with the flow that learned them. */
  readonly deleteLearned: boolean;
  readonly table: number;
  /** Flows that may be learned, in all; 0 for any number. */
  readonly limit: number;
  /** The bit that says whether the flow was learned, or was there. */
  readonly result?: SubField;
  readonly specs: readonly LearnSpec[];
}

/** What of a packet is hashed, by Nicira's numbers. */
export const HASH_FIELDS = [
  "eth_src",
  "symmetric_l4",
  "symmetric_l3l4",
  "symmetric_l3l4+udp",
  "nw_src",
  "nw_dst",
  "symmetric_l3",
] as const;

/** Name of a list of fields that are hashed. */
export type HashFields = typeof HASH_FIELDS[number];

/** Chooses one of some ports. */
export interface BundleAction {
  readonly type: "bundle";
  readonly fields: HashFields;
  readonly basis: number;
  readonly algorithm: "active_backup" | "hrw";
  readonly ports: readonly number[];
  /** Gets the port; the packet is sent out of it if absent. */
  readonly dst?: SubField;
}

/** How links are chosen, by Nicira's numbers. */
export const MULTIPATH_ALGORITHMS = [
  "modulo_n",
  "hash_threshold",
  "hrw",
  "iter_hash",
] as const;

/** Chooses one of some links by a hash. */
export interface MultipathAction {
  readonly type: "multipath";
  readonly fields: HashFields;
  readonly basis: number;
  readonly algorithm: typeof MULTIPATH_ALGORITHMS[number];
  /** Links there are. */
  readonly links: number;
  readonly argument: number;
  readonly dst: SubField;
}

/** Hands a share of the packets to collectors. */
export interface SampleAction {
  readonly type: "sample";
  /** Of 65,535. */
  readonly probability: number;
  readonly collectors: number;
  readonly domain: number;
  readonly point: number;
  /** A port that is said with the sample, in the second form of the action. */
  readonly port?: number;
  /** Said in the third form. */
  readonly direction?: "ingress" | "egress";
}

/** What a flow does. In OpenFlow 1.0 it is `apply`. */
export interface Instructions {
  readonly meter?: number;
  readonly apply?: readonly OfAction[];
  readonly clear?: boolean;
  readonly write?: readonly OfAction[];
  readonly metadata?: { readonly value: bigint; readonly mask: bigint };
  readonly goto?: number;
}

/** What Open vSwitch takes for the number of a table where none is meant. */
export const NO_TABLE = 0xff;

/** All actions of a flow, nested ones too. */
export function* allActions(list: readonly OfAction[]): IterableIterator<OfAction> {
  for (const action of list) {
    yield action;
    if (action.type === "clone" || action.type === "ct") {
      yield* allActions(action.actions);
    }
  }
}

/** The actions that instructions have. */
export function actionsOf({ apply = [], write = [] }: Instructions): OfAction[] {
  return [...allActions(apply), ...allActions(write)];
}

/** The field that an action writes; undefined if it writes none. */
export function fieldSetBy(action: OfAction): Field | undefined {
  switch (action.type) {
    case "setField":
      return action.field;
    case "move":
    case "checkPktLarger":
    case "multipath":
      return action.dst.field;
    case "pop":
      return action.of.field;
    case "bundle":
      return action.dst?.field;
    default:
      return undefined;
  }
}
