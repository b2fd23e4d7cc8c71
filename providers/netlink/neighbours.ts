// SPDX-License-Identifier: Apache-2.0
/**
 * Neighbours of this host, by rtnetlink: which Ethernet address an IP address of a link has, and
 * having the kernel ask for it.
 *
 * Formats: `struct ndmsg` and `NDA_*` of `<linux/neighbour.h>`.
 *
 * @module
 */
import { formatMac } from "../codec/address.ts";
import type { Conversation } from "./conversation.ts";
import {
  Attributes,
  type Message,
  type MessageWriter,
  NetlinkFlag,
  s32,
  u16,
  u8,
  viewOf,
} from "./message.ts";
import {
  addressBytes,
  addressText,
  Family,
  needHeader,
  RouteMessage,
} from "./rtnetlink.ts";
import { littleEndian } from "./scalar.ts";

const NDA_DST = 1;
const NDA_LLADDR = 2;
const NTF_USE = 1;
const NTF_PROXY = 8;
/** Size of `struct ndmsg` in bytes. */
const headerSize = 12;

/** What the kernel knows of a neighbour: `NUD_*`. */
export type NeighbourState =
  | "none"
  | "incomplete"
  | "reachable"
  | "stale"
  | "delay"
  | "probe"
  | "failed"
  | "noarp"
  | "permanent";

/** Bits of `NUD_*`, and what they are called. */
const states: readonly (readonly [bit: number, state: NeighbourState])[] = [
  [1, "incomplete"],
  [2, "reachable"],
  [4, "stale"],
  [8, "delay"],
  [0x10, "probe"],
  [0x20, "failed"],
  [0x40, "noarp"],
  [0x80, "permanent"],
];

/** States in which a neighbour's address is one to send to. */
const usable: ReadonlySet<NeighbourState> = new Set<NeighbourState>([
  "reachable",
  "stale",
  "delay",
  "probe",
  "noarp",
  "permanent",
]);

/** A neighbour. */
export interface Neighbour {
  /** Index of the device that it is behind. */
  readonly ifindex: number;
  /** Version of IP. */
  readonly version: 4 | 6;
  /** Its IP address. */
  readonly address: string;
  /** Its Ethernet address; absent while it is not known, and on links that have others. */
  readonly mac?: string;
  /** What is known of it. */
  readonly state: NeighbourState;
}

/** Whether packets can be sent to a neighbour now. */
export function isUsable(neighbour: Neighbour): boolean {
  return neighbour.mac !== undefined && usable.has(neighbour.state);
}

/** The neighbour that a message describes; undefined for other families, and for proxies. */
export function parseNeighbour({ body }: Message): Neighbour | undefined {
  needHeader(body, headerSize);
  const view = viewOf(body);
  const family = body[0];
  if (family !== Family.ipv4 && family !== Family.ipv6) return undefined;
  if ((body[10] ?? 0) & NTF_PROXY) return undefined;
  const attributes = new Attributes(body, headerSize);
  const address = attributes.bytes(NDA_DST);
  if (address === undefined) return undefined;
  const bits = view.getUint16(8, littleEndian);
  const mac = attributes.bytes(NDA_LLADDR);
  const state = states.find(([bit]) => bits & bit)?.[1] ?? "none";
  return {
    ifindex: view.getInt32(4, littleEndian),
    version: family === Family.ipv4 ? 4 : 6,
    address: addressText(address),
    ...(mac?.length === 6 && { mac: formatMac(mac, 0) }),
    state,
  };
}

function putHeader(
  writer: MessageWriter,
  { family = 0, ifindex = 0, flags = 0 } = {},
): void {
  writer.put(u8, family);
  writer.put(u8, 0);
  writer.put(u16, 0);
  writer.put(s32, ifindex);
  writer.put(u16, 0); // state
  writer.put(u8, flags);
  writer.put(u8, 0); // type
}

/** Every neighbour that the kernel knows of. */
export function listNeighbours(conversation: Conversation): Neighbour[] {
  return conversation.dump((writer) => {
    writer.begin({ type: RouteMessage.getNeighbour });
    putHeader(writer);
    writer.end();
  }).flatMap((message) => parseNeighbour(message) ?? []);
}

/**
 * Has the kernel ask who has `address` on a device, as if it had a packet to send there: it makes
 * the neighbour if need be, and confirms one that has not been heard of for a while.  What comes
 * of it is a notification.  Throws {@linkcode NetlinkError}: `ENODEV`, `EPERM`.
 */
export function askForNeighbour(
  conversation: Conversation,
  ifindex: number,
  address: string,
): void {
  const bytes = addressBytes(address);
  conversation.request((writer) => {
    const flags = NetlinkFlag.create | NetlinkFlag.replace;
    writer.begin({ type: RouteMessage.newNeighbour, flags });
    const family = bytes.length === 4 ? Family.ipv4 : Family.ipv6;
    putHeader(writer, { family, ifindex, flags: NTF_USE });
    writer.attributeBytes(NDA_DST, bytes);
    writer.end();
  });
}
