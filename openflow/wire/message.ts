// SPDX-License-Identifier: Apache-2.0
/**
 * Messages as objects: one shape for all versions of OpenFlow.
 *
 * Numbers of ports are those of OpenFlow 1.1 and later. Durations are seconds and nanoseconds as on
 * the wire, or seconds where their name says nothing else.
 *
 * @module
 */
import type { Instructions, OfAction } from "./action.ts";
import type { ErrorName, Version } from "./error.ts";
import type { OptionFields } from "./field.ts";
import type { Match } from "./flow.ts";
import type { MultipartReply, MultipartRequest } from "./multipart_types.ts";
import type { Band, Bucket, GroupType, PortDesc, Selection } from "./object.ts";

export * from "./object.ts";

/** No buffer: the packet comes with the message. */
export const NO_BUFFER = 0xffffffff;
/** Every table; in flow mods only where flows are deleted. */
export const ALL_TABLES = 0xff;

/** Flags of flow mods. */
export const FlowFlag = {
  sendFlowRemoved: 1,
  checkOverlap: 2,
  resetCounts: 4,
  noPacketCounts: 8,
  noByteCounts: 16,
} as const;

/** What a flow mod does. */
export type FlowCommand = "add" | "modify" | "modifyStrict" | "delete" | "deleteStrict";

/** A change of flows. */
export interface FlowMod {
  readonly kind: "flowMod";
  readonly command: FlowCommand;
  readonly table: number;
  readonly match: Match;
  readonly priority: number;
  /** Flows whose cookie differs from this in `cookieMask` are left alone. */
  readonly cookie: bigint;
  readonly cookieMask: bigint;
  /** The cookie that flows get; undefined leaves it. */
  readonly newCookie: bigint | undefined;
  /** Whether only those get it that are added: OpenFlow 1.1. */
  readonly keepsCookies?: boolean;
  /** Whether a modification that finds no flow adds one: OpenFlow 1.0 and 1.1. */
  readonly mayAdd: boolean;
  readonly idle: number;
  readonly hard: number;
  readonly importance: number;
  readonly flags: number;
  readonly bufferId: number;
  readonly outPort: number;
  readonly outGroup: number;
  readonly instructions: Instructions;
  /** Of a flow that a packet added, its text. */
  readonly learnedAs?: string;
}

/** Why a flow went. */
export const RemovedReason = {
  idle: 0,
  hard: 1,
  delete: 2,
  groupDelete: 3,
  meterDelete: 4,
  eviction: 5,
} as const;

/** A flow went. */
export interface FlowRemoved {
  readonly kind: "flowRemoved";
  readonly table: number;
  readonly match: Match;
  readonly priority: number;
  readonly cookie: bigint;
  readonly reason: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly idle: number;
  readonly hard: number;
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** Why a packet came. */
export const PacketInReason = {
  noMatch: 0,
  action: 1,
  invalidTtl: 2,
  actionSet: 3,
  group: 4,
  packetOut: 5,
  explicitMiss: 6,
} as const;

/** Ways in which packets are handed to controllers. */
export type PacketInFormat = "standard" | "nxt" | "nxt2";

/** A packet for the controller. */
export interface PacketIn {
  readonly kind: "packetIn";
  readonly format: PacketInFormat;
  readonly table: number;
  readonly cookie: bigint;
  readonly reason: number;
  readonly totalLength: number;
  /** What is known of the packet beside its bytes: its port, registers, metadata. */
  readonly metadata: Match;
  readonly packet: Uint8Array;
  readonly userdata?: Uint8Array;
  /** What the controller gives back to have the packet go on, where it stays with it. */
  readonly continuation?: Uint8Array;
}

/** A packet that stayed with a controller goes on, as that has changed it. */
export interface Resume {
  readonly kind: "resume";
  readonly packet: Uint8Array;
  readonly metadata: Match;
  readonly continuation: Uint8Array;
}

/** An end of a connection, as far as it is meant: addresses as numbers of 32 or 128 bits. */
export interface TupleFilter {
  readonly src?: bigint;
  readonly dst?: bigint;
  readonly srcPort?: number;
  readonly dstPort?: number;
  readonly icmpId?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
}

/** A field that stands for an option of Geneve. */
export interface TlvMap {
  readonly optionClass: number;
  readonly type: number;
  /** Bytes. */
  readonly length: number;
  /** Of `tun_metadata5` it is 5. */
  readonly index: number;
}

/** Options are mapped to fields, or no more. */
export interface TlvTableMod {
  readonly kind: "tlvTableMod";
  readonly command: "add" | "delete" | "clear";
  readonly maps: readonly TlvMap[];
}

/** Which options are mapped to fields. */
export interface TlvTableReply {
  readonly kind: "tlvTableReply";
  /** Bytes that there may be of them. */
  readonly maxSpace: number;
  readonly maxFields: number;
  readonly maps: readonly TlvMap[];
}

/** Connections are forgotten. */
export interface CtFlush {
  readonly kind: "ctFlush";
  readonly zone?: number;
  /** 0 for any. */
  readonly proto: number;
  /** Whether the addresses are of IPv6; undefined where there are none. */
  readonly family?: 4 | 6;
  readonly orig: TupleFilter;
  readonly reply: TupleFilter;
}

/** A packet from the controller. */
export interface PacketOut {
  readonly kind: "packetOut";
  readonly bufferId: number;
  readonly inPort: number;
  /** More than the port, in OpenFlow 1.5. */
  readonly metadata: Match;
  readonly actions: readonly OfAction[];
  readonly packet: Uint8Array;
}

/** What a group mod does. */
export type GroupCommand =
  | "add"
  | "modify"
  | "delete"
  | "insertBucket"
  | "removeBucket"
  | "addOrModify";

/** Places of buckets in commands. */
export const BucketPlace = {
  first: 0xfffffffd,
  last: 0xfffffffe,
  all: 0xffffffff,
} as const;

/** A change of groups. */
export interface GroupMod {
  readonly kind: "groupMod";
  readonly command: GroupCommand;
  readonly type: GroupType;
  readonly group: number;
  /** For commands of buckets. */
  readonly place: number;
  readonly buckets: readonly Bucket[];
  readonly selection: Selection | undefined;
}

/** A change of meters. */
export interface MeterMod {
  readonly kind: "meterMod";
  readonly command: "add" | "modify" | "delete";
  readonly flags: number;
  readonly meter: number;
  readonly bands: readonly Band[];
}

/** Roles of controllers. */
export type Role = "nochange" | "equal" | "primary" | "secondary";

/** What a controller wants to be told; reasons as bits. */
export interface Asynchronous {
  /** For each kind, the reasons for a secondary and for the others. */
  readonly packetIn: readonly [secondary: number, primary: number];
  readonly portStatus: readonly [secondary: number, primary: number];
  readonly flowRemoved: readonly [secondary: number, primary: number];
  readonly roleStatus: readonly [secondary: number, primary: number];
  readonly tableStatus: readonly [secondary: number, primary: number];
  readonly requestForward: readonly [secondary: number, primary: number];
}

/** Steps of a bundle. */
export type BundleStep =
  | "openRequest"
  | "openReply"
  | "closeRequest"
  | "closeReply"
  | "commitRequest"
  | "commitReply"
  | "discardRequest"
  | "discardReply";

/** A message. */
export type Message =
  | { readonly kind: "hello"; readonly versions: number | undefined }
  | {
    readonly kind: "error";
    /** Undefined for numbers that are not known. */
    readonly code: ErrorName | undefined;
    /** The request's first bytes; text for HELLO_FAILED. */
    readonly data: Uint8Array;
  }
  | { readonly kind: "echoRequest" | "echoReply"; readonly data: Uint8Array }
  | { readonly kind: "featuresRequest" | "configRequest" | "barrierRequest" }
  | { readonly kind: "barrierReply" | "asyncRequest" }
  | {
    readonly kind: "featuresReply";
    readonly datapathId: bigint;
    readonly tables: number;
    readonly auxiliary: number;
    readonly capabilities: number;
    /** Actions of OpenFlow 1.0 as bits. */
    readonly actions: number;
    /** OpenFlow 1.0 to 1.2 list them here. */
    readonly ports: readonly PortDesc[];
  }
  | {
    readonly kind: "configReply" | "setConfig";
    /** Fragments: 0 normal, 1 dropped, 2 put together, 3 Nicira's way. */
    readonly flags: number;
    readonly missLength: number;
  }
  | PacketIn
  | PacketOut
  | FlowMod
  | FlowRemoved
  | GroupMod
  | MeterMod
  | {
    readonly kind: "portStatus";
    readonly reason: "add" | "delete" | "modify";
    readonly desc: PortDesc;
  }
  | {
    readonly kind: "portMod";
    readonly port: number;
    readonly mac: bigint;
    readonly config: number;
    readonly mask: number;
    readonly advertise: number;
  }
  | {
    readonly kind: "tableMod";
    readonly table: number;
    readonly config: number;
    /** Bounds of vacancy, in percent; from OpenFlow 1.4 on. */
    readonly vacancy?: { readonly down: number; readonly up: number } | undefined;
  }
  | { readonly kind: "multipartRequest"; readonly request: MultipartRequest }
  | {
    readonly kind: "multipartReply";
    readonly reply: MultipartReply;
    readonly more: boolean;
  }
  | { readonly kind: "queueConfigRequest"; readonly port: number }
  | {
    readonly kind: "queueConfigReply";
    readonly port: number;
    /** Those whose queues are told: itself, or all. */
    readonly ports: readonly number[];
  }
  | {
    readonly kind: "roleRequest" | "roleReply";
    readonly role: Role;
    readonly generation: bigint | undefined;
  }
  | {
    readonly kind: "roleStatus";
    readonly role: Role;
    readonly reason: number;
    readonly generation: bigint | undefined;
  }
  | {
    readonly kind: "asyncReply" | "setAsync";
    readonly asynchronous: Partial<Asynchronous>;
  }
  | {
    readonly kind: "bundleControl";
    readonly bundle: number;
    readonly step: BundleStep;
    readonly flags: number;
  }
  | {
    readonly kind: "bundleAdd";
    readonly bundle: number;
    readonly flags: number;
    /** The message in it, with its header. */
    readonly inner: Uint8Array;
  }
  /** What another controller changed, by its message with a number. */
  | {
    readonly kind: "requestForward";
    readonly inner: GroupMod | MeterMod;
    readonly xid: number;
  }
  | { readonly kind: "monitorCancel"; readonly id: number }
  /** Before OpenFlow 1.4: a peer that does not read is told no more of flows, and again. */
  | { readonly kind: "monitorState"; readonly event: "paused" | "resumed" }
  | { readonly kind: "setFlowFormat"; readonly format: number }
  | { readonly kind: "flowModTableId"; readonly enabled: boolean }
  | { readonly kind: "setPacketInFormat"; readonly format: PacketInFormat }
  | { readonly kind: "setControllerId"; readonly id: number }
  | Resume
  | CtFlush
  | TlvTableMod
  | { readonly kind: "tlvTableRequest" }
  | TlvTableReply;

/** Kinds of messages. */
export type MessageKind = Message["kind"];
/** The message of a kind. */
export type MessageOf<K extends MessageKind> = Message & { readonly kind: K };

/** How a message is written. */
export interface EncodeOptions {
  readonly version: Version;
  readonly xid?: number;
  /** Fields of options that the switch has. */
  readonly options?: OptionFields | undefined;
}
