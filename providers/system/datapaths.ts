// SPDX-License-Identifier: Apache-2.0
/**
 * Family `ovs_datapath`: datapaths as the kernel describes them.
 *
 * Format: `enum ovs_datapath_attr` of `<linux/openvswitch.h>`.
 *
 * @module
 */
import { idsOf } from "../odp/attributes.ts";
import { datapathMessage } from "./ovs_messages.ts";
import {
  type Message,
  type MessageWriter,
  NetlinkError,
  NetlinkFlag,
  u32,
  u64,
  viewOf,
} from "../netlink/mod.ts";
import { littleEndian } from "../netlink/mod.ts";
import { Command, Kernel, messageAttributes, messageIfindex, needReply } from "./ovs.ts";

const {
  name: OVS_DP_ATTR_NAME,
  upcallPid: OVS_DP_ATTR_UPCALL_PID,
  stats: OVS_DP_ATTR_STATS,
  megaflowStats: OVS_DP_ATTR_MEGAFLOW_STATS,
  userFeatures: OVS_DP_ATTR_USER_FEATURES,
  masksCacheSize: OVS_DP_ATTR_MASKS_CACHE_SIZE,
  perCpuPids: OVS_DP_ATTR_PER_CPU_PIDS,
} = idsOf(datapathMessage.table);

/** Bits of a datapath's features, `OVS_DP_F_*`. */
export const Feature = {
  /** The packet of an upcall may be unpadded. */
  unaligned: 1 << 0,
  /** A port may have several port ids for upcalls. */
  vportPids: 1 << 1,
  /** Recirculation ids are shared with chains of tc. */
  tcRecircSharing: 1 << 2,
  /** Upcalls go to a port id by the CPU that they happen on. */
  perCpuDispatch: 1 << 3,
} as const;

/** A datapath as the kernel describes it. */
export interface DatapathRecord {
  /** Ifindex of its local port, which stands for it in every message. */
  readonly ifindex: number;
  readonly name: string;
  /** `struct ovs_dp_stats`. */
  readonly stats: { hit: bigint; missed: bigint; lost: bigint; flows: bigint };
  /** `struct ovs_dp_megaflow_stats`; absent before Linux 3.16. */
  readonly megaflows?: { maskHit: bigint; masks: number; cacheHit: bigint };
  /** Bits of {@linkcode Feature}. */
  readonly features: number;
  /** Entries of the mask cache; absent before Linux 5.10. */
  readonly masksCacheSize?: number;
  /** Port ids by CPU; absent unless dispatch is by CPU. */
  readonly perCpuPids?: readonly number[];
}

/** Numbers of an attribute that is an array of u32. */
export function u32Array(bytes: Uint8Array | undefined): number[] {
  if (!bytes) return [];
  const view = viewOf(bytes);
  const count = bytes.length >> 2;
  return Array.from({ length: count }, (_, i) => view.getUint32(4 * i, littleEndian));
}

/** `numbers` as an array of u32 in host order. */
export function u32Bytes(numbers: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(numbers).buffer);
}

/** Reads `count` u64 from an attribute; zeros where it is shorter. */
export function u64Array(bytes: Uint8Array | undefined, count: number): bigint[] {
  const view = viewOf(bytes ?? new Uint8Array());
  return Array.from(
    { length: count },
    (_, i) => 8 * i + 8 <= view.byteLength ? u64.read(view, 8 * i) : 0n,
  );
}

/** The datapath that a message describes. */
export function parseDatapath(message: Message): DatapathRecord {
  const attributes = messageAttributes(message);
  const stats = u64Array(attributes.bytes(OVS_DP_ATTR_STATS), 4);
  const [hit = 0n, missed = 0n, lost = 0n, flows = 0n] = stats;
  const megaflow = attributes.bytes(OVS_DP_ATTR_MEGAFLOW_STATS);
  const pids = attributes.bytes(OVS_DP_ATTR_PER_CPU_PIDS);
  const masksCacheSize = attributes.get(OVS_DP_ATTR_MASKS_CACHE_SIZE, u32);
  const name = attributes.text(OVS_DP_ATTR_NAME);
  if (name === undefined) {
    throw new NetlinkError({ code: "EBADMSG", detail: "a datapath without a name" });
  }
  return {
    ifindex: messageIfindex(message),
    name,
    stats: { hit, missed, lost, flows },
    features: attributes.get(OVS_DP_ATTR_USER_FEATURES, u32) ?? 0,
    ...(megaflow && megaflow.length >= 24 && { megaflows: parseMegaflows(megaflow) }),
    ...(masksCacheSize !== undefined && { masksCacheSize }),
    ...(pids && { perCpuPids: u32Array(pids) }),
  };
}

function parseMegaflows(bytes: Uint8Array) {
  const view = viewOf(bytes);
  return {
    maskHit: u64.read(view, 0),
    masks: u32.read(view, 8),
    cacheHit: u64.read(view, 16),
  };
}

/** Every datapath of this network namespace. */
export function listDatapaths(kernel: Kernel): DatapathRecord[] {
  return kernel.dump(kernel.datapath, Command.get, 0).map(parseDatapath);
}

/** A datapath by name or ifindex. Throws `ENODEV`. */
export function getDatapath(kernel: Kernel, which: string | number): DatapathRecord {
  const ifindex = typeof which === "number" ? which : 0;
  const options = { ifindex, repeatable: true };
  const reply = kernel.request(kernel.datapath, Command.get, options, (writer) => {
    if (typeof which === "string") writer.attributeText(OVS_DP_ATTR_NAME, which);
  });
  return parseDatapath(needReply(reply));
}

/** Makes a datapath. Throws `EEXIST`, and `EOPNOTSUPP` for features that it cannot have. */
export function createDatapath(
  kernel: Kernel,
  name: string,
  features: number,
): DatapathRecord {
  const options = { ifindex: 0, flags: NetlinkFlag.echo };
  const reply = kernel.request(kernel.datapath, Command.new, options, (writer) => {
    writer.attributeText(OVS_DP_ATTR_NAME, name);
    writer.attribute(OVS_DP_ATTR_UPCALL_PID, u32, 0);
    writer.attribute(OVS_DP_ATTR_USER_FEATURES, u32, features >>> 0);
  });
  return parseDatapath(needReply(reply));
}

/** What can be changed of a datapath. */
export interface DatapathSettings {
  /** All the features that it is to have: a change that left them out would clear them. */
  readonly features: number;
  readonly masksCacheSize?: number;
  readonly perCpuPids?: readonly number[];
}

/** Changes a datapath and gives what it is then. */
export function setDatapath(
  kernel: Kernel,
  ifindex: number,
  settings: DatapathSettings,
): DatapathRecord {
  const options = { ifindex, flags: NetlinkFlag.echo };
  const write = (writer: MessageWriter) => {
    writer.attribute(OVS_DP_ATTR_USER_FEATURES, u32, settings.features >>> 0);
    if (settings.masksCacheSize !== undefined) {
      writer.attribute(OVS_DP_ATTR_MASKS_CACHE_SIZE, u32, settings.masksCacheSize);
    }
    if (settings.perCpuPids) {
      writer.attributeBytes(OVS_DP_ATTR_PER_CPU_PIDS, u32Bytes(settings.perCpuPids));
    }
  };
  const reply = kernel.request(kernel.datapath, Command.set, options, write);
  return parseDatapath(needReply(reply));
}

/** Removes a datapath. Throws `ENODEV`. */
export function deleteDatapath(kernel: Kernel, ifindex: number): void {
  kernel.request(kernel.datapath, Command.delete, { ifindex });
}

/** How upcalls find their handler. */
export type Dispatch = "per-cpu" | "per-vport";

/** Makes a datapath with the best features that this kernel grants. Throws `EEXIST`. */
export function negotiateDatapath(
  kernel: Kernel,
  name: string,
  dispatch: Dispatch = "per-cpu",
): DatapathRecord {
  const perVport = Feature.unaligned | Feature.vportPids;
  if (dispatch === "per-cpu") {
    const perCpu = Feature.unaligned | Feature.perCpuDispatch;
    try {
      // Linux before 5.4 takes any bit and says that it has it.  So ask first for one that no
      // kernel has: who grants that one is not to be believed about the others.
      const record = createDatapath(kernel, name, perCpu | 0x80000000);
      return setDatapath(kernel, record.ifindex, { features: perVport });
    } catch (error) {
      if (!isUnsupported(error)) throw error;
    }
    try {
      return createDatapath(kernel, name, perCpu);
    } catch (error) {
      if (!isUnsupported(error)) throw error;
    }
  }
  return createDatapath(kernel, name, perVport);
}

function isUnsupported(error: unknown): boolean {
  return error instanceof NetlinkError && error.code === "EOPNOTSUPP";
}
