// SPDX-License-Identifier: Apache-2.0
/**
 * Multipart requests and replies (statistics, in OpenFlow 1.0) as objects.
 *
 * @module
 */
import type { Instructions } from "./action.ts";
import type { Match } from "./flow.ts";
import type { Band, Bucket, GroupType, PortDesc, Selection } from "./object.ts";

/** Which flows a request is about. */
export interface FlowFilter {
  readonly table: number;
  readonly match: Match;
  readonly cookie: bigint;
  readonly cookieMask: bigint;
  readonly outPort: number;
  readonly outGroup: number;
}

/** What is done with a monitor. */
export interface MonitorRequest {
  readonly id: number;
  readonly command: "add" | "modify" | "delete";
  readonly flags: number;
  readonly outPort: number;
  readonly outGroup: number;
  readonly table: number;
  readonly match: Match;
}

/** What happened to a flow, or to what is told of flows. */
export type FlowUpdate =
  | {
    readonly event: "initial" | "added" | "removed" | "modified";
    /** Why it went. */
    readonly reason: number;
    readonly table: number;
    readonly idle: number;
    readonly hard: number;
    readonly priority: number;
    readonly cookie: bigint;
    readonly match: Match;
    readonly instructions: Instructions;
  }
  | {
    /** The peer's own change did it, by its message with this number. */
    readonly event: "abbreviated";
    readonly xid: number;
  }
  /** From OpenFlow 1.4 on. */
  | { readonly event: "paused" | "resumed" };

/** A request. */
export type MultipartRequest =
  | { readonly type: "desc" | "table" | "groupFeatures" }
  | { readonly type: "meterFeatures" | "tableDesc" }
  | {
    readonly type: "flow" | "aggregate";
    readonly filter: FlowFilter;
    /** Asked in Nicira's way, and answered so. */
    readonly isNicira: boolean;
  }
  | { readonly type: "port" | "portDesc"; readonly port: number }
  | {
    readonly type: "queue" | "queueDesc";
    readonly port: number;
    readonly queue: number;
  }
  | { readonly type: "group" | "groupDesc"; readonly group: number }
  | { readonly type: "meter" | "meterConfig"; readonly meter: number }
  | {
    readonly type: "tableFeatures";
    /** Names that tables are to have, by number. */
    readonly names: readonly (readonly [table: number, name: string])[];
    /** Whether another part of the request follows. */
    readonly more: boolean;
  }
  | { readonly type: "flowMonitor"; readonly monitors: readonly MonitorRequest[] };

/** What became of a flow so far. */
export interface FlowStats {
  readonly table: number;
  readonly match: Match;
  readonly priority: number;
  readonly cookie: bigint;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly idle: number;
  readonly hard: number;
  readonly flags: number;
  readonly importance: number;
  /** Seconds since the last packet, and since the last change. */
  readonly idleAge: number;
  readonly hardAge: number;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly instructions: Instructions;
}

/** A table's statistics and what it can do. */
export interface TableStats {
  readonly table: number;
  readonly name: string;
  readonly maxEntries: number;
  readonly active: number;
  readonly lookups: bigint;
  readonly matched: bigint;
  /**
   * Low bits of what a miss does: 0 controller, 1 continue, 2 drop. From OpenFlow 1.4 on 4 is
   * eviction, 8 events of vacancy.
   */
  readonly config: number;
  /** Where events of vacancy are on: bounds, and how much is free, in percent. */
  readonly vacancy?: {
    readonly down: number;
    readonly up: number;
    readonly now: number;
  } | undefined;
}

/** A port's counters. */
export interface PortStatsEntry {
  readonly port: number;
  readonly rxPackets: bigint;
  readonly txPackets: bigint;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
  readonly rxDropped: bigint;
  readonly txDropped: bigint;
  readonly rxErrors: bigint;
  readonly txErrors: bigint;
  readonly seconds: number;
  readonly nanoseconds: number;
  /** Counters of this kind of port, by name; told from OpenFlow 1.4 on. */
  readonly custom?: readonly (readonly [name: string, count: bigint])[] | undefined;
}

/** A group's counters. */
export interface GroupStats {
  readonly group: number;
  readonly references: number;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly buckets: readonly { readonly packets: bigint; readonly bytes: bigint }[];
}

/** A group as it is. */
export interface GroupDesc {
  readonly group: number;
  readonly type: GroupType;
  readonly buckets: readonly Bucket[];
  readonly selection: Selection | undefined;
}

/** A meter's counters. */
export interface MeterStatsEntry {
  readonly meter: number;
  readonly flows: number;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly bands: readonly { readonly packets: bigint; readonly bytes: bigint }[];
}

/** A reply, or a part of one. */
export type MultipartReply =
  | {
    readonly type: "desc";
    readonly manufacturer: string;
    readonly hardware: string;
    readonly software: string;
    readonly serial: string;
    readonly datapath: string;
  }
  | {
    readonly type: "flow";
    readonly flows: readonly FlowStats[];
    readonly isNicira: boolean;
  }
  | {
    readonly type: "aggregate";
    readonly packets: bigint;
    readonly bytes: bigint;
    readonly flows: number;
    readonly isNicira: boolean;
  }
  | { readonly type: "flowMonitor"; readonly updates: readonly FlowUpdate[] }
  | { readonly type: "table"; readonly tables: readonly TableStats[] }
  | { readonly type: "tableDesc"; readonly tables: readonly TableStats[] }
  | { readonly type: "tableFeatures"; readonly tables: readonly TableStats[] }
  | { readonly type: "port"; readonly ports: readonly PortStatsEntry[] }
  | { readonly type: "portDesc"; readonly ports: readonly PortDesc[] }
  /** Ports, whose queues they are: 0 of each. */
  | { readonly type: "queue" | "queueDesc"; readonly ports: readonly number[] }
  | { readonly type: "group"; readonly groups: readonly GroupStats[] }
  | { readonly type: "groupDesc"; readonly groups: readonly GroupDesc[] }
  | {
    readonly type: "groupFeatures";
    readonly types: number;
    readonly capabilities: number;
    readonly maxGroups: number;
    readonly actions: number;
  }
  | { readonly type: "meter"; readonly meters: readonly MeterStatsEntry[] }
  | {
    readonly type: "meterConfig";
    readonly meters: readonly {
      readonly meter: number;
      readonly flags: number;
      readonly bands: readonly Band[];
    }[];
  }
  | {
    readonly type: "meterFeatures";
    readonly maxMeters: number;
    readonly bandTypes: number;
    readonly capabilities: number;
    readonly maxBands: number;
  };
