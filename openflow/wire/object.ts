// SPDX-License-Identifier: Apache-2.0
/**
 * Ports, groups and meters as OpenFlow describes them.
 *
 * @module
 */
import type { OfAction } from "./action.ts";
import type { Field } from "./field.ts";

/** Every group. */
export const ALL_GROUPS = 0xfffffffc;
/** No group; any where a request filters. */
export const ANY_GROUP = 0xffffffff;
/** Highest number of a group. */
export const MAX_GROUP = 0xffffff00;

/** Configuration of a port; bits of OpenFlow. */
export const PortConfig = {
  down: 1,
  noStp: 2,
  noReceive: 4,
  noReceiveStp: 8,
  noFlood: 16,
  noForward: 32,
  noPacketIn: 64,
} as const;
/** State of a port. */
export const PortState = { linkDown: 1, blocked: 2, live: 4 } as const;

/** A port as OpenFlow describes it. Features are the bits of OpenFlow 1.1 and later. */
export interface PortDesc {
  readonly port: number;
  readonly mac: bigint;
  readonly name: string;
  readonly config: number;
  readonly state: number;
  readonly current: number;
  readonly advertised: number;
  readonly supported: number;
  readonly peer: number;
  /** kbit/s. */
  readonly currentSpeed: number;
  readonly maxSpeed: number;
}

/** Kinds of groups. */
export type GroupType = "all" | "select" | "indirect" | "fast_failover";

/** A bucket of a group. */
export interface Bucket {
  /** Its number in OpenFlow 1.5; its place before. */
  readonly id: number;
  readonly weight: number;
  /** `Port.none` watches none. */
  readonly watchPort: number;
  /** `ANY_GROUP` watches none. */
  readonly watchGroup: number;
  readonly actions: readonly OfAction[];
}

/** A field that is hashed, as far as its mask goes. */
export interface HashedField {
  readonly field: Field;
  readonly mask: bigint;
}

/** How a select group selects, in words of Nicira's property. */
export interface Selection {
  /** `""` is the switch's choice; `hash` or `dp_hash`. */
  readonly method: string;
  readonly parameter: bigint;
  /** Fields that are hashed. */
  readonly fields: readonly HashedField[] | undefined;
}

/** Flags of meters. */
export const MeterFlag = { kbps: 1, pktps: 2, burst: 4, stats: 8 } as const;
/** Every meter. */
export const ALL_METERS = 0xffffffff;
/** Highest number of a meter. */
export const MAX_METER = 0xffff0000;

/** A rate of a meter; packets above it are dropped. */
export interface Band {
  /** 1 is drop; others are not known here. */
  readonly type: number;
  readonly rate: number;
  readonly burst: number;
}
