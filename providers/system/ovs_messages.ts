// SPDX-License-Identifier: Apache-2.0
/**
 * Attributes of messages: the six generic netlink families of Open vSwitch.
 *
 * Nested keys, masks and actions, and packets, are bytes.  What `read` returns of them are
 * views of the message, not copies.
 *
 * Source of the format: `<linux/openvswitch.h>` of Linux 6.1, newer ids from Linux 6.17.
 *
 * @module
 */

import type { UnknownAttribute } from "../types.ts";
import { AttributeSet, line } from "../odp/attributes.ts";
import {
  type Codec,
  flag,
  one,
  StringCodec,
  StructCodec,
  ViewCodec,
} from "../codec/codec.ts";
import { u32, u64 } from "../codec/leaf.ts";
import type { Writer } from "../codec/writer.ts";

/** An array of payloads of the same size. */
export class ArrayCodec<T> implements Codec<readonly T[]> {
  readonly min = 0;
  readonly max = 0xfffb;

  constructor(readonly item: Codec<T>) {}

  read(bytes: Uint8Array, at: number, size: number): readonly T[] {
    const step = this.item.min;
    if (size % step !== 0) {
      throw new RangeError(`size ${size} is not a multiple of ${step}`);
    }
    const items: T[] = [];
    for (let i = 0; i < size; i += step) items.push(this.item.read(bytes, at + i, step));
    return items;
  }

  write(writer: Writer, value: readonly T[], what: string): void {
    for (const item of value) this.item.write(writer, item, what);
  }

  readMask(): never {
    throw new TypeError("an array has no mask");
  }

  writeMask(): never {
    throw new TypeError("an array has no mask");
  }
}

/** An array of nests, each an attribute of type 0; the kernel ignores the type. */
class NestArrayCodec<T extends object> implements Codec<readonly T[]> {
  readonly min = 0;
  readonly max = 0xfffb;
  readonly #list: AttributeSet<{ readonly unknown?: readonly UnknownAttribute[] }>;

  constructor(readonly item: AttributeSet<T>) {
    this.#list = new AttributeSet(item.name, {});
  }

  read(bytes: Uint8Array, at: number, size: number): readonly T[] {
    const { unknown = [] } = this.#list.read(bytes, at, size);
    return unknown.map((nest) => this.item.read(nest.bytes, 0, nest.bytes.length));
  }

  write(writer: Writer, value: readonly T[], what: string): void {
    for (const item of value) {
      const start = writer.begin(0);
      this.item.write(writer, item, what);
      writer.end(start, what);
    }
  }

  readMask(): never {
    throw new TypeError("an array has no mask");
  }

  writeMask(): never {
    throw new TypeError("an array has no mask");
  }
}

/** Attributes without a name here, in any message. */
export interface WithUnknown {
  readonly unknown?: readonly UnknownAttribute[];
}

const view = new ViewCodec();
const u32s = new ArrayCodec(one.u32);
/** Names of devices: IFNAMSIZ, with the NUL. */
const deviceName = new StringCodec(16);

/** `struct ovs_dp_stats` */
export interface DatapathStats {
  readonly hits: bigint;
  readonly misses: bigint;
  readonly lost: bigint;
  readonly flows: bigint;
}

/** `struct ovs_dp_megaflow_stats` */
export interface MegaflowStats {
  readonly maskHits: bigint;
  readonly masks: number;
  readonly cacheHits: bigint;
}

/** `OVS_DP_ATTR_*` */
export interface DatapathMessage extends WithUnknown {
  readonly name?: string;
  readonly upcallPid?: number;
  readonly stats?: DatapathStats;
  readonly megaflowStats?: MegaflowStats;
  readonly userFeatures?: number;
  readonly masksCacheSize?: number;
  readonly perCpuPids?: readonly number[];
  readonly ifindex?: number;
}

/** Codec of {@linkcode DatapathMessage}. */
export const datapathMessage: AttributeSet<DatapathMessage> = new AttributeSet(
  "datapath",
  {
    name: line(1, deviceName),
    upcallPid: line(2, one.u32),
    stats: line(
      3,
      new StructCodec<DatapathStats>("stats", 32, {
        hits: { at: 0, leaf: u64 },
        misses: { at: 8, leaf: u64 },
        lost: { at: 16, leaf: u64 },
        flows: { at: 24, leaf: u64 },
      }),
    ),
    megaflowStats: line(
      4,
      new StructCodec<MegaflowStats>("megaflowStats", 32, {
        maskHits: { at: 0, leaf: u64 },
        masks: { at: 8, leaf: u32 },
        cacheHits: { at: 16, leaf: u64 },
      }),
    ),
    userFeatures: line(5, one.u32),
    masksCacheSize: line(7, one.u32),
    perCpuPids: line(8, u32s),
    ifindex: line(9, one.u32),
  },
  [6],
);

/** `struct ovs_vport_stats` */
export interface VportStats {
  readonly rxPackets: bigint;
  readonly txPackets: bigint;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
  readonly rxErrors: bigint;
  readonly txErrors: bigint;
  readonly rxDropped: bigint;
  readonly txDropped: bigint;
}

/** `OVS_TUNNEL_ATTR_*`: options of a tunnel vport. */
export interface VportOptions extends WithUnknown {
  /** UDP port. */
  readonly dstPort?: number;
  /** Nest with flag 1: VXLAN group based policy. */
  readonly extension?: Uint8Array;
}

/** `OVS_VPORT_UPCALL_ATTR_*`, since Linux 6.2. */
export interface VportUpcallStats extends WithUnknown {
  readonly success?: bigint;
  readonly fail?: bigint;
}

/** `OVS_VPORT_ATTR_*` */
export interface VportMessage extends WithUnknown {
  readonly portNo?: number;
  readonly type?: number;
  readonly name?: string;
  readonly options?: VportOptions;
  readonly upcallPids?: readonly number[];
  readonly stats?: VportStats;
  readonly ifindex?: number;
  readonly netnsid?: number;
  readonly upcallStats?: VportUpcallStats;
}

/** Codec of {@linkcode VportUpcallStats}. */
export const vportUpcallStats: AttributeSet<VportUpcallStats> = new AttributeSet(
  "upcallStats",
  { success: line(0, one.u64), fail: line(1, one.u64) },
  [2],
);

/** Codec of {@linkcode VportMessage}. */
export const vportMessage: AttributeSet<VportMessage> = new AttributeSet("vport", {
  portNo: line(1, one.u32),
  type: line(2, one.u32),
  name: line(3, deviceName),
  options: line(
    4,
    new AttributeSet<VportOptions>("options", {
      dstPort: line(1, one.u16),
      extension: line(2, view),
    }),
  ),
  upcallPids: line(5, u32s),
  stats: line(
    6,
    new StructCodec<VportStats>("stats", 64, {
      rxPackets: { at: 0, leaf: u64 },
      txPackets: { at: 8, leaf: u64 },
      rxBytes: { at: 16, leaf: u64 },
      txBytes: { at: 24, leaf: u64 },
      rxErrors: { at: 32, leaf: u64 },
      txErrors: { at: 40, leaf: u64 },
      rxDropped: { at: 48, leaf: u64 },
      txDropped: { at: 56, leaf: u64 },
    }),
  ),
  ifindex: line(8, one.u32),
  netnsid: line(9, one.u32),
  upcallStats: line(10, vportUpcallStats),
}, [7]);

/** `struct ovs_flow_stats` */
export interface FlowCounters {
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** `OVS_FLOW_ATTR_*`, in the order in which Open vSwitch writes them. */
export interface FlowMessage extends WithUnknown {
  readonly ufid?: Uint8Array;
  readonly key?: Uint8Array;
  readonly mask?: Uint8Array;
  readonly actions?: Uint8Array;
  readonly stats?: FlowCounters;
  readonly tcpFlags?: number;
  /** Milliseconds of the kernel's monotonic clock. */
  readonly used?: bigint;
  readonly clear?: boolean;
  readonly probe?: boolean;
  /** 1 leaves the key out of the reply, 2 the mask, 4 the actions. */
  readonly ufidFlags?: number;
}

/** Codec of {@linkcode FlowMessage}. */
export const flowMessage: AttributeSet<FlowMessage> = new AttributeSet("flow", {
  ufid: line(9, view),
  key: line(1, view),
  mask: line(7, view),
  actions: line(2, view),
  stats: line(
    3,
    new StructCodec<FlowCounters>("stats", 16, {
      packets: { at: 0, leaf: u64 },
      bytes: { at: 8, leaf: u64 },
    }),
  ),
  tcpFlags: line(4, one.u8),
  used: line(5, one.u64),
  clear: line(6, flag),
  probe: line(8, flag),
  ufidFlags: line(10, one.u32),
}, [11]);

/** `OVS_PACKET_ATTR_*` */
export interface PacketMessage extends WithUnknown {
  readonly packet?: Uint8Array;
  readonly key?: Uint8Array;
  readonly actions?: Uint8Array;
  readonly userdata?: Uint8Array;
  readonly egressTunnelKey?: Uint8Array;
  readonly probe?: boolean;
  /** Largest fragment that a reassembled packet came in. */
  readonly mru?: number;
  /** Length before truncation. */
  readonly length?: number;
  /** Low 32 bits the hash, bit 32 "by software", bit 33 "of layer 4". */
  readonly hash?: bigint;
  readonly upcallPid?: number;
}

/** Codec of {@linkcode PacketMessage}. */
export const packetMessage: AttributeSet<PacketMessage> = new AttributeSet("packet", {
  packet: line(1, view),
  key: line(2, view),
  actions: line(3, view),
  userdata: line(4, view),
  egressTunnelKey: line(5, view),
  probe: line(8, flag),
  mru: line(9, one.u16),
  length: line(10, one.u32),
  hash: line(11, one.u64),
  upcallPid: line(12, one.u32),
});

/** `OVS_BAND_ATTR_*` */
export interface BandMessage extends WithUnknown {
  /** 1: drop. */
  readonly type?: number;
  /** kbit/s or packets/s. */
  readonly rate?: number;
  /** kbit or packets. */
  readonly burst?: number;
  readonly stats?: FlowCounters;
}

/** `OVS_METER_ATTR_*` */
export interface MeterMessage extends WithUnknown {
  readonly id?: number;
  readonly kbps?: boolean;
  readonly stats?: FlowCounters;
  readonly bands?: readonly BandMessage[];
  readonly used?: bigint;
  readonly clear?: boolean;
  readonly maxMeters?: number;
  readonly maxBands?: number;
}

const counters = new StructCodec<FlowCounters>("stats", 16, {
  packets: { at: 0, leaf: u64 },
  bytes: { at: 8, leaf: u64 },
});

/** Codec of {@linkcode BandMessage}. */
export const bandMessage: AttributeSet<BandMessage> = new AttributeSet("band", {
  type: line(1, one.u32),
  rate: line(2, one.u32),
  burst: line(3, one.u32),
  stats: line(4, counters),
});

/** Codec of {@linkcode MeterMessage}. */
export const meterMessage: AttributeSet<MeterMessage> = new AttributeSet("meter", {
  id: line(1, one.u32),
  kbps: line(2, flag),
  stats: line(3, counters),
  bands: line(4, new NestArrayCodec(bandMessage)),
  used: line(5, one.u64),
  clear: line(6, flag),
  maxMeters: line(7, one.u32),
  maxBands: line(8, one.u32),
}, [9]);

/** `struct ovs_zone_limit`: zone 0xffffffff (-1) is the default, limit 0 unlimited. */
export interface ZoneLimit {
  readonly zone: number;
  readonly limit: number;
  readonly count: number;
}

/** `OVS_CT_LIMIT_ATTR_*` */
export interface CtLimitMessage extends WithUnknown {
  readonly zones?: readonly ZoneLimit[];
}

/** Codec of {@linkcode CtLimitMessage}: a plain array of structures, not of attributes. */
export const ctLimitMessage: AttributeSet<CtLimitMessage> = new AttributeSet("ctLimit", {
  zones: line(
    1,
    new ArrayCodec(
      new StructCodec<ZoneLimit>("zone", 12, {
        zone: { at: 0, leaf: u32 },
        limit: { at: 4, leaf: u32 },
        count: { at: 8, leaf: u32 },
      }),
    ),
  ),
});

/** Codecs that other tables of messages use. */
