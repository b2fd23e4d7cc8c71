// SPDX-License-Identifier: Apache-2.0
/**
 * Family `ovs_vport`: ports as the kernel describes them, and the names that they may have.
 *
 * Format: `enum ovs_vport_attr` of `<linux/openvswitch.h>`.
 *
 * @module
 */
import { nameSize } from "../check.ts";
import { idsOf } from "../odp/attributes.ts";
import { vportMessage, vportUpcallStats } from "./ovs_messages.ts";
import { u32Array, u32Bytes, u64Array } from "./datapaths.ts";
import {
  type Message,
  type MessageWriter,
  NetlinkError,
  NetlinkFlag,
  u32,
} from "../netlink/mod.ts";
import { Command, Kernel, messageAttributes, messageIfindex, needReply } from "./ovs.ts";

const {
  portNo: OVS_VPORT_ATTR_PORT_NO,
  type: OVS_VPORT_ATTR_TYPE,
  name: OVS_VPORT_ATTR_NAME,
  upcallPids: OVS_VPORT_ATTR_UPCALL_PID,
  stats: OVS_VPORT_ATTR_STATS,
  netnsid: OVS_VPORT_ATTR_NETNSID,
  upcallStats: OVS_VPORT_ATTR_UPCALL_STATS,
} = idsOf(vportMessage.table);
const {
  success: OVS_VPORT_UPCALL_ATTR_SUCCESS,
  fail: OVS_VPORT_UPCALL_ATTR_FAIL,
} = idsOf(vportUpcallStats.table);

/** Longest name of a device, bytes: IFNAMSIZ of `<linux/if.h>` without the zero. */
export const maxNameSize = 15;

/**
 * Checks the name of a device, `isNew`: one that is to be made. Throws `ENAMETOOLONG`, and `EINVAL`
 * for a new device with `%`, in whose place the kernel would put a number.
 */
export function checkDeviceName(name: string, isNew: boolean): void {
  const size = nameSize(name);
  if (size > maxNameSize) {
    throw new NetlinkError({
      code: "ENAMETOOLONG",
      detail: `the name has ${size} bytes, a device's has ${maxNameSize} at most`,
    });
  }
  if (isNew && name.includes("%")) {
    throw new NetlinkError({
      code: "EINVAL",
      detail: "the kernel takes % in a name for the place of a number",
    });
  }
}

/** A port as the kernel describes it. */
export interface VportRecord {
  /** Ifindex of its datapath. */
  readonly datapath: number;
  readonly no: number;
  /** One of `VportType`, or a later one. */
  readonly type: number;
  readonly name: string;
  /** Whether its device is in another network namespace: here, its name may be another's. */
  readonly isElsewhere: boolean;
  /** Port ids that its upcalls go to, when they are not dispatched by CPU. */
  readonly upcallPids: readonly number[];
  /** The eight counters of `struct ovs_vport_stats`, in order. */
  readonly stats: readonly bigint[];
  /** Upcalls that were sent and that could not be, from Linux 6.2 on. */
  readonly upcalls?: { readonly success: bigint; readonly fail: bigint };
}

/** The port that a message describes. */
export function parseVport(message: Message): VportRecord {
  const attributes = messageAttributes(message);
  const name = attributes.text(OVS_VPORT_ATTR_NAME);
  if (name === undefined) {
    throw new NetlinkError({ code: "EBADMSG", detail: "a port without a name" });
  }
  const upcalls = attributes.nested(OVS_VPORT_ATTR_UPCALL_STATS);
  const count = (id: number) => u64Array(upcalls?.bytes(id), 1)[0] ?? 0n;
  return {
    datapath: messageIfindex(message),
    no: attributes.need(OVS_VPORT_ATTR_PORT_NO, u32),
    type: attributes.need(OVS_VPORT_ATTR_TYPE, u32),
    name,
    isElsewhere: attributes.bytes(OVS_VPORT_ATTR_NETNSID) !== undefined,
    upcallPids: u32Array(attributes.bytes(OVS_VPORT_ATTR_UPCALL_PID)),
    stats: u64Array(attributes.bytes(OVS_VPORT_ATTR_STATS), 8),
    ...(upcalls && {
      upcalls: {
        success: count(OVS_VPORT_UPCALL_ATTR_SUCCESS),
        fail: count(OVS_VPORT_UPCALL_ATTR_FAIL),
      },
    }),
  };
}

/** Every port of a datapath, in order of number. */
export function listVports(kernel: Kernel, ifindex: number): VportRecord[] {
  return kernel.dump(kernel.vport, Command.get, ifindex).map(parseVport)
    .sort((a, b) => a.no - b.no);
}

/** Numbers from here on no port can have: DP_MAX_PORTS. */
const maxPorts = 65535;

/** The kernel says EFBIG to a number that no port can have; what matters is that there is none. */
function checkNumber(no: number): void {
  if (no >= maxPorts) throw new NetlinkError({ code: "ENODEV" });
}

/** A port by number. Throws `ENODEV`. */
export function getVport(kernel: Kernel, ifindex: number, no: number): VportRecord {
  checkNumber(no);
  const reply = kernel.request(
    kernel.vport,
    Command.get,
    { ifindex, repeatable: true },
    (writer) => writer.attribute(OVS_VPORT_ATTR_PORT_NO, u32, no),
  );
  return parseVport(needReply(reply));
}

/** The port that a device is, of whichever datapath. Throws `ENODEV`. */
export function findVport(kernel: Kernel, name: string): VportRecord {
  const reply = kernel.request(
    kernel.vport,
    Command.get,
    { ifindex: 0, repeatable: true },
    (writer) => writer.attributeText(OVS_VPORT_ATTR_NAME, name),
  );
  return parseVport(needReply(reply));
}

/** What a new port is to be. */
export interface VportRequest {
  readonly type: number;
  readonly name: string;
  /** Number to have; the kernel chooses when absent. */
  readonly no?: number | undefined;
  /** Port ids for its upcalls; at least one. */
  readonly upcallPids: readonly number[];
}

/** Attaches a port. Throws `EBUSY`, `EEXIST`, `EFBIG`, `EINVAL`, `ENODEV`, `EAFNOSUPPORT`. */
export function createVport(
  kernel: Kernel,
  ifindex: number,
  request: VportRequest,
): VportRecord {
  const write = (writer: MessageWriter) => {
    if (request.no !== undefined) {
      writer.attribute(OVS_VPORT_ATTR_PORT_NO, u32, request.no);
    }
    writer.attribute(OVS_VPORT_ATTR_TYPE, u32, request.type);
    writer.attributeText(OVS_VPORT_ATTR_NAME, request.name);
    writer.attributeBytes(OVS_VPORT_ATTR_UPCALL_PID, u32Bytes(request.upcallPids));
  };
  const options = { ifindex, flags: NetlinkFlag.echo };
  return parseVport(
    needReply(kernel.request(kernel.vport, Command.new, options, write)),
  );
}

/** Sends the upcalls of a port to other port ids. Throws `ENODEV`. */
export function setVportPids(
  kernel: Kernel,
  ifindex: number,
  no: number,
  upcallPids: readonly number[],
): void {
  kernel.request(kernel.vport, Command.set, { ifindex }, (writer) => {
    writer.attribute(OVS_VPORT_ATTR_PORT_NO, u32, no);
    writer.attributeBytes(OVS_VPORT_ATTR_UPCALL_PID, u32Bytes(upcallPids));
  });
}

/** Detaches a port. Throws `EINVAL` for the local port, `ENODEV`. */
export function deleteVport(kernel: Kernel, ifindex: number, no: number): void {
  kernel.request(
    kernel.vport,
    Command.delete,
    { ifindex },
    (writer) => writer.attribute(OVS_VPORT_ATTR_PORT_NO, u32, no),
  );
}
