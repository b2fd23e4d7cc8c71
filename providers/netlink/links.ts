// SPDX-License-Identifier: Apache-2.0
/**
 * Network devices of this namespace and their addresses, by rtnetlink.
 *
 * Formats: `struct ifinfomsg` and `IFLA_*` of `<linux/if_link.h>`, `struct ifaddrmsg` and `IFA_*`
 * of `<linux/if_addr.h>`.
 *
 * @module
 */
import { formatMac } from "../codec/address.ts";
import type { Conversation } from "./conversation.ts";
import { Attributes, be16, type Message, u16, u32, u8, viewOf } from "./message.ts";
import {
  addressText,
  Family,
  needHeader,
  putLinkHeader,
  RouteMessage,
} from "./rtnetlink.ts";
import { littleEndian } from "./scalar.ts";

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_VLAN_ID = 1;
const IFLA_VLAN_PROTOCOL = 5;
const IFF_UP = 1;
const IFF_LOOPBACK = 8;
const IFF_RUNNING = 0x40;
const IFF_NOARP = 0x80;
/** Size of `struct ifinfomsg` in bytes. */
const linkHeaderSize = 16;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
const IFA_F_TENTATIVE = 0x40;
const IFA_F_DADFAILED = 8;
/** Size of `struct ifaddrmsg` in bytes. */
const addressHeaderSize = 8;

/** A network device. */
export interface Link {
  /** Its index, which it keeps when it is renamed. */
  readonly index: number;
  /** Its name. */
  readonly name: string;
  /** Ethernet address; absent where addresses have another length. */
  readonly mac?: string;
  /** Largest packet, bytes without link header. */
  readonly mtu: number;
  /** Whether it is set up. */
  readonly isUp: boolean;
  /** Whether it has a carrier as well. */
  readonly isRunning: boolean;
  /** Whether it loops back. */
  readonly isLoopback: boolean;
  /** Whether it has no neighbours to ask for. */
  readonly hasNoNeighbours: boolean;
  /** What it is a device of, `vlan`, `vxlan`; absent for most hardware. */
  readonly kind?: string;
  /** Index of the device that it stands on, as a VLAN's does. */
  readonly lower?: number;
  /** Of a VLAN's device: the tag of its packets. */
  readonly vlan?: { readonly id: number; readonly tpid: number };
  /** Index of the bridge or bond that it belongs to. */
  readonly master?: number;
}

/** An address of a device. */
export interface LinkAddress {
  /** Index of its device. */
  readonly ifindex: number;
  /** Version of IP. */
  readonly version: 4 | 6;
  /** The address. */
  readonly address: string;
  /** Bits of its prefix. */
  readonly prefixLength: number;
  /** The far end's address, of a point-to-point address. */
  readonly peer?: string;
  /** Not to be used as a source yet, or at all: it may be another host's. */
  readonly isTentative: boolean;
}

/** The device that a message of `RTM_NEWLINK` or `RTM_DELLINK` describes. */
export function parseLink({ body }: Message): Link {
  needHeader(body, linkHeaderSize);
  const view = viewOf(body);
  const flags = view.getUint32(8, littleEndian);
  const attributes = new Attributes(body, linkHeaderSize);
  const mac = attributes.bytes(IFLA_ADDRESS);
  const info = attributes.nested(IFLA_LINKINFO);
  const kind = info?.text(IFLA_INFO_KIND);
  const data = kind === "vlan" ? info?.nested(IFLA_INFO_DATA) : undefined;
  const id = data?.get(IFLA_VLAN_ID, u16);
  const lower = attributes.get(IFLA_LINK, u32);
  const master = attributes.get(IFLA_MASTER, u32);
  return {
    index: view.getInt32(4, littleEndian),
    name: attributes.text(IFLA_IFNAME) ?? "",
    ...(mac?.length === 6 && { mac: formatMac(mac, 0) }),
    mtu: attributes.get(IFLA_MTU, u32) ?? 0,
    isUp: (flags & IFF_UP) !== 0,
    isRunning: (flags & IFF_RUNNING) !== 0,
    isLoopback: (flags & IFF_LOOPBACK) !== 0,
    hasNoNeighbours: (flags & IFF_NOARP) !== 0,
    ...(kind !== undefined && { kind }),
    ...(lower !== undefined && { lower }),
    ...(id !== undefined && {
      vlan: { id, tpid: data?.get(IFLA_VLAN_PROTOCOL, be16) ?? 0x8100 },
    }),
    ...(master !== undefined && { master }),
  };
}

/** The address that a message of `RTM_NEWADDR` or `RTM_DELADDR` describes; other families: none. */
export function parseLinkAddress({ body }: Message): LinkAddress | undefined {
  needHeader(body, addressHeaderSize);
  const view = viewOf(body);
  const family = body[0];
  if (family !== Family.ipv4 && family !== Family.ipv6) return undefined;
  const attributes = new Attributes(body, addressHeaderSize);
  // Of a point-to-point address, IFA_ADDRESS is the far end's; otherwise both are the same, and
  // IPv6 leaves IFA_LOCAL out.
  const [local, far] = [attributes.bytes(IFA_LOCAL), attributes.bytes(IFA_ADDRESS)];
  const own = local ?? far;
  if (own === undefined) return undefined;
  const [address, peer] = [addressText(own), addressText(far ?? own)];
  const flags = attributes.get(IFA_FLAGS, u32) ?? view.getUint8(2);
  return {
    ifindex: view.getUint32(4, littleEndian),
    version: family === Family.ipv4 ? 4 : 6,
    address,
    prefixLength: body[1] ?? 0,
    ...(peer !== address && { peer }),
    isTentative: (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) !== 0,
  };
}

/** Every device of the namespace. */
export function listLinks(conversation: Conversation): Link[] {
  return conversation.dump((writer) => {
    writer.begin({ type: RouteMessage.getLink });
    putLinkHeader(writer);
    writer.end();
  }).map(parseLink);
}

/** Every address of the namespace's devices. */
export function listLinkAddresses(conversation: Conversation): LinkAddress[] {
  return conversation.dump((writer) => {
    writer.begin({ type: RouteMessage.getAddress });
    // struct ifaddrmsg: family, prefix length, flags, scope, index
    for (let i = 0; i < 4; i++) writer.put(u8, 0);
    writer.put(u32, 0);
    writer.end();
  }).flatMap((message) => parseLinkAddress(message) ?? []);
}
