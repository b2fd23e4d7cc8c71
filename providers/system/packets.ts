// SPDX-License-Identifier: Apache-2.0
/**
 * Family `ovs_packet`: packets handed down to be acted on, and packets handed up.
 *
 * Format: `enum ovs_packet_attr` of `<linux/openvswitch.h>`.
 *
 * @module
 */
import { actionTable } from "../odp/action.ts";
import { idsOf } from "../odp/attributes.ts";
import { keyTable } from "../odp/key.ts";
import { packetMessage } from "./ovs_messages.ts";
import type { ProviderExecute } from "../contract/flows.ts";
import type { RawUpcall } from "../contract/upcalls.ts";
import {
  align,
  littleEndian,
  type Message,
  type MessageWriter,
  NetlinkError,
  u16,
  u64,
  viewOf,
} from "../netlink/mod.ts";
import { checkAttributes, kernelKey } from "./flows.ts";
import {
  attributeSize,
  attributesOffset,
  beginOvs,
  findAttribute,
  Kernel,
} from "./ovs.ts";

const OVS_PACKET_CMD_MISS = 1;
const OVS_PACKET_CMD_ACTION = 2;
const OVS_PACKET_CMD_EXECUTE = 3;

const {
  packet: OVS_PACKET_ATTR_PACKET,
  key: OVS_PACKET_ATTR_KEY,
  actions: OVS_PACKET_ATTR_ACTIONS,
  userdata: OVS_PACKET_ATTR_USERDATA,
  egressTunnelKey: OVS_PACKET_ATTR_EGRESS_TUN_KEY,
  probe: OVS_PACKET_ATTR_PROBE,
  mru: OVS_PACKET_ATTR_MRU,
  length: OVS_PACKET_ATTR_LEN,
  hash: OVS_PACKET_ATTR_HASH,
} = idsOf(packetMessage.table);

const {
  tunnel: OVS_KEY_ATTR_TUNNEL,
} = idsOf(keyTable);
const { id: OVS_ACTION_ATTR_SET } = actionTable.set;

const noKey = new Uint8Array();
/** Bytes of a packet: an Ethernet header at least. The kernel says ERANGE to less. */
const minPacket = 14;
const maxPacket = 65535;

/**
 * Writes the request to execute. Throws {@linkcode NetlinkError} `ENOBUFS` for what is too long.
 */
export function writeExecute(
  writer: MessageWriter,
  kernel: Kernel,
  ifindex: number,
  op: ProviderExecute,
): void {
  const { length } = op.packet;
  if (length < minPacket || length > maxPacket) {
    throw new NetlinkError({
      code: "EINVAL",
      detail: `a packet of ${length} bytes, not of ${minPacket} to ${maxPacket}`,
    });
  }
  checkAttributes(op.actions, "action list");
  const key = kernelKey(op.key ?? noKey);
  beginOvs(writer, kernel.packet, OVS_PACKET_CMD_EXECUTE, ifindex);
  writer.attributeBytes(OVS_PACKET_ATTR_PACKET, op.packet);
  writer.attributeBytes(OVS_PACKET_ATTR_KEY, key);
  const actions = writer.beginNested(OVS_PACKET_ATTR_ACTIONS);
  // The kernel passes over the tunnel in the key of a packet to execute; a set action does what
  // the caller means.
  const tunnel = findAttribute(key, OVS_KEY_ATTR_TUNNEL);
  if (tunnel >= 0) {
    const size = attributeSize(key, tunnel);
    writer.attributeBytes(OVS_ACTION_ATTR_SET, key.subarray(tunnel, tunnel + size));
  }
  writer.putBytes(op.actions);
  writer.endNested(actions);
  if (op.probe) writer.attributeBytes(OVS_PACKET_ATTR_PROBE);
  if (op.mru) writer.attribute(OVS_PACKET_ATTR_MRU, u16, op.mru);
  if (op.hash) writer.attribute(OVS_PACKET_ATTR_HASH, u64, op.hash);
  writer.end();
}

/**
 * The upcall that a message is; its bytes are views into the message.
 *
 * The packet comes last and unpadded.  Throws {@linkcode NetlinkError} `EBADMSG`.
 */
export function parseUpcall(message: Message): RawUpcall {
  const { body } = message;
  const command = body[0];
  const view = viewOf(body);
  const upcall: { -readonly [K in keyof RawUpcall]?: RawUpcall[K] } = {};
  for (let at = attributesOffset; at + 4 <= body.length;) {
    const size = view.getUint16(at, littleEndian);
    if (size < 4 || at + size > body.length) throw malformed(`attribute at byte ${at}`);
    const payload = at + 4;
    const end = at + size;
    switch (view.getUint16(at + 2, littleEndian) & 0x3fff) {
      case OVS_PACKET_ATTR_PACKET:
        upcall.packet = body.subarray(payload, end);
        break;
      case OVS_PACKET_ATTR_KEY:
        upcall.key = body.subarray(payload, end);
        break;
      case OVS_PACKET_ATTR_ACTIONS:
        upcall.actions = body.subarray(payload, end);
        break;
      case OVS_PACKET_ATTR_USERDATA:
        upcall.userdata = body.subarray(payload, end);
        break;
      case OVS_PACKET_ATTR_EGRESS_TUN_KEY:
        upcall.egressTunnelKey = body.subarray(payload, end);
        break;
      case OVS_PACKET_ATTR_MRU:
        if (size >= 6) upcall.mru = view.getUint16(payload, littleEndian);
        break;
      case OVS_PACKET_ATTR_LEN:
        if (size >= 8) upcall.originalLength = view.getUint32(payload, littleEndian);
        break;
      case OVS_PACKET_ATTR_HASH:
        if (size >= 12) upcall.hash = view.getBigUint64(payload, littleEndian);
        break;
    }
    at += align(size);
  }
  const { key, packet } = upcall;
  if (!key || !packet) throw malformed("no key or no packet");
  if (command !== OVS_PACKET_CMD_MISS && command !== OVS_PACKET_CMD_ACTION) {
    throw malformed(`command ${command}`);
  }
  const kind = command === OVS_PACKET_CMD_MISS ? "miss" : "action";
  return { ...upcall, kind, key, packet };
}

function malformed(what: string): NetlinkError {
  return new NetlinkError({ code: "EBADMSG", detail: `malformed upcall: ${what}` });
}
