// SPDX-License-Identifier: Apache-2.0
/**
 * Routes and rules of policy routing, by rtnetlink: listed, and a destination looked up as the
 * kernel would for a packet of its own.
 *
 * Formats: `struct rtmsg` and `RTA_*` of `<linux/rtnetlink.h>`, `struct fib_rule_hdr` and `FRA_*`
 * of `<linux/fib_rules.h>`.
 *
 * @module
 */
import type { Conversation } from "./conversation.ts";
import { NetlinkError } from "./errors.ts";
import {
  Attributes,
  type Message,
  type MessageWriter,
  u16,
  u32,
  u8,
  viewOf,
} from "./message.ts";
import {
  addressBytes,
  addressText,
  anyAddress,
  Family,
  needHeader,
  type Prefix,
  RouteMessage,
} from "./rtnetlink.ts";
import { littleEndian } from "./scalar.ts";

const RTA_DST = 1;
const RTA_SRC = 2;
const RTA_IIF = 3;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_MARK = 16;
const RTA_VIA = 18;
const RTAX_MTU = 2;
const RTM_F_LOOKUP_TABLE = 0x1000;
/** Size of `struct rtmsg` and of `struct fib_rule_hdr` in bytes. */
const headerSize = 12;
/** Size of `struct rtnexthop` in bytes. */
const nextHopSize = 8;

const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_IIFNAME = 3;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FRA_OIFNAME = 17;

/** What a route does with packets: `RTN_*`. */
export type RouteType =
  | "unspec"
  | "unicast"
  | "local"
  | "broadcast"
  | "anycast"
  | "multicast"
  | "blackhole"
  | "unreachable"
  | "prohibit"
  | "throw"
  | "nat"
  | "xresolve";

/** In order of their numbers. */
const routeTypes: readonly RouteType[] = [
  "unspec",
  "unicast",
  "local",
  "broadcast",
  "anycast",
  "multicast",
  "blackhole",
  "unreachable",
  "prohibit",
  "throw",
  "nat",
  "xresolve",
];

/** Routing tables that have names: `RT_TABLE_*`. */
export const RouteTable = { default: 253, main: 254, local: 255 } as const;

/** One way that a route leads. */
export interface NextHop {
  /** Index of the device to send by. */
  readonly ifindex: number;
  /** Whom to send to; absent: the destination is on the link. Of IPv4 it may be an IPv6 address. */
  readonly gateway?: string;
}

/** A route. */
export interface Route {
  /** Version of IP. */
  readonly version: 4 | 6;
  /** Where it leads. */
  readonly destination: Prefix;
  /** What it does. */
  readonly type: RouteType;
  /** Its table. */
  readonly table: number;
  /** Its ways; more than one for a multipath route, none for one that leads nowhere. */
  readonly nextHops: readonly NextHop[];
  /** The source address that packets have which have none yet. */
  readonly source?: string;
  /** Lower is better, among routes to one prefix. */
  readonly metric?: number;
  /** Path MTU, if it has one of its own. */
  readonly mtu?: number;
}

/** What is asked about a packet whose way is looked up. */
export interface RouteQuery {
  /** Its source address; the kernel chooses when absent. */
  readonly source?: string;
  /** Its mark; 0 when absent. */
  readonly mark?: number;
  /** Its TOS byte or traffic class; 0 when absent. */
  readonly tos?: number;
  /** Index of the device that it came in by; one of this host's own when absent. */
  readonly inIfindex?: number;
  /** Index of the device that it must leave by; any when absent. */
  readonly outIfindex?: number;
}

/** A rule of policy routing. */
export interface RouteRule {
  /** Version of IP. */
  readonly version: 4 | 6;
  /** Lower ones are looked at first. */
  readonly priority: number;
  /** Table that it leads to; 0: none. */
  readonly table: number;
  /** Source addresses that it is for; all when absent. */
  readonly from?: Prefix;
  /** Destinations that it is for; all when absent. */
  readonly to?: Prefix;
  /** Marks that it is for; all when absent. */
  readonly mark?: { readonly value: number; readonly mask: number };
  /** Device that the packet came in by. */
  readonly inDevice?: string;
  /** Device that the packet's socket is bound to. */
  readonly outDevice?: string;
}

function nextHopOf(ifindex: number, attributes: Attributes): NextHop {
  const gateway = attributes.bytes(RTA_GATEWAY);
  // struct rtvia: 0:2 family, then the address, whose length says as much
  const via = gateway === undefined ? attributes.bytes(RTA_VIA)?.subarray(2) : undefined;
  const to = gateway ?? via;
  return { ifindex, ...(to !== undefined && { gateway: addressText(to) }) };
}

/** The ways of a multipath route: `struct rtnexthop`, each with its attributes. */
function multipath(bytes: Uint8Array): NextHop[] {
  const view = viewOf(bytes);
  const hops: NextHop[] = [];
  for (let at = 0; at + nextHopSize <= bytes.length;) {
    // 0:2 length, 2:1 flags, 3:1 hops, 4:4 index
    const length = view.getUint16(at, littleEndian);
    if (length < nextHopSize || at + length > bytes.length) {
      throw new NetlinkError({ code: "EBADMSG", detail: "a next hop cut short" });
    }
    const attributes = new Attributes(bytes.subarray(at + nextHopSize, at + length));
    hops.push(nextHopOf(view.getInt32(at + 4, littleEndian), attributes));
    at += length + 3 & ~3;
  }
  return hops;
}

/** The route that a message describes; undefined for other families. */
export function parseRoute({ body }: Message): Route | undefined {
  needHeader(body, headerSize);
  const family = body[0] ?? 0;
  if (family !== Family.ipv4 && family !== Family.ipv6) return undefined;
  const attributes = new Attributes(body, headerSize);
  const destination = attributes.bytes(RTA_DST);
  const source = attributes.bytes(RTA_PREFSRC);
  const metric = attributes.get(RTA_PRIORITY, u32);
  const mtu = attributes.nested(RTA_METRICS)?.get(RTAX_MTU, u32);
  const ways = attributes.bytes(RTA_MULTIPATH);
  const ifindex = attributes.get(RTA_OIF, u32);
  return {
    version: family === Family.ipv4 ? 4 : 6,
    destination: {
      address: destination ? addressText(destination) : anyAddress(family),
      length: body[1] ?? 0,
    },
    type: routeTypes[body[7] ?? 0] ?? "unspec",
    table: attributes.get(RTA_TABLE, u32) ?? body[4] ?? 0,
    nextHops: ways
      ? multipath(ways)
      : ifindex === undefined
      ? []
      : [nextHopOf(ifindex, attributes)],
    ...(source && { source: addressText(source) }),
    ...(metric !== undefined && { metric }),
    ...(mtu !== undefined && mtu > 0 && { mtu }),
  };
}

/** The rule that a message describes; undefined for other families. */
export function parseRule({ body }: Message): RouteRule | undefined {
  needHeader(body, headerSize);
  const family = body[0] ?? 0;
  if (family !== Family.ipv4 && family !== Family.ipv6) return undefined;
  const attributes = new Attributes(body, headerSize);
  const prefix = (id: number, length = 0): Prefix | undefined => {
    const bytes = attributes.bytes(id);
    return bytes && { address: addressText(bytes), length };
  };
  const [to, from] = [prefix(FRA_DST, body[1]), prefix(FRA_SRC, body[2])];
  const value = attributes.get(FRA_FWMARK, u32);
  const mask = attributes.get(FRA_FWMASK, u32);
  const [inDevice, outDevice] = [
    attributes.text(FRA_IIFNAME),
    attributes.text(FRA_OIFNAME),
  ];
  return {
    version: family === Family.ipv4 ? 4 : 6,
    priority: attributes.get(FRA_PRIORITY, u32) ?? 0,
    table: attributes.get(FRA_TABLE, u32) ?? body[4] ?? 0,
    ...(from && { from }),
    ...(to && { to }),
    ...(value !== undefined && { mark: { value, mask: mask ?? 0xffffffff } }),
    ...(inDevice !== undefined && { inDevice }),
    ...(outDevice !== undefined && { outDevice }),
  };
}

interface RouteHeader {
  readonly family?: number;
  readonly destinationLength?: number;
  readonly sourceLength?: number;
  readonly tos?: number;
  readonly flags?: number;
}

/** Appends a `struct rtmsg`, or the `struct fib_rule_hdr` that is laid out alike. */
function putHeader(writer: MessageWriter, header: RouteHeader = {}): void {
  writer.put(u8, header.family ?? 0);
  writer.put(u8, header.destinationLength ?? 0);
  writer.put(u8, header.sourceLength ?? 0);
  writer.put(u8, header.tos ?? 0);
  writer.put(u16, 0); // table, protocol
  writer.put(u16, 0); // scope, type
  writer.put(u32, header.flags ?? 0);
}

/** Every route of every table. */
export function listRoutes(conversation: Conversation): Route[] {
  return conversation.dump((writer) => {
    writer.begin({ type: RouteMessage.getRoute });
    putHeader(writer);
    writer.end();
  }).flatMap((message) => parseRoute(message) ?? []);
}

/** Every rule of policy routing, of both versions of IP. */
export function listRules(conversation: Conversation): RouteRule[] {
  return conversation.dump((writer) => {
    writer.begin({ type: RouteMessage.getRule });
    putHeader(writer);
    writer.end();
  }).flatMap((message) => parseRule(message) ?? []);
}

/**
 * The route that the kernel would send a packet to `destination` by, by all rules and tables, with
 * one way and the source address chosen.
 *
 * Throws {@linkcode NetlinkError}: `ENETUNREACH` and `EHOSTUNREACH` where there is none, `EACCES`
 * and `EINVAL` for routes of type `prohibit` and `blackhole`; `EINVAL`, or `ENETUNREACH` from
 * newer kernels, for a source that is not this host's.
 */
export function lookUpRoute(
  conversation: Conversation,
  destination: string,
  query: RouteQuery = {},
): Route {
  const to = addressBytes(destination);
  const from = query.source === undefined ? undefined : addressBytes(query.source);
  if (from !== undefined && from.length !== to.length) {
    const detail = `${query.source} and ${destination} are of different versions of IP`;
    throw new NetlinkError({ code: "EINVAL", detail });
  }
  const { mark = 0, tos = 0, inIfindex = 0, outIfindex = 0 } = query;
  const reply = conversation.request((writer) => {
    writer.begin({ type: RouteMessage.getRoute });
    putHeader(writer, {
      family: to.length === 4 ? Family.ipv4 : Family.ipv6,
      destinationLength: 8 * to.length,
      sourceLength: 8 * (from?.length ?? 0),
      tos,
      flags: RTM_F_LOOKUP_TABLE,
    });
    writer.attributeBytes(RTA_DST, to);
    if (from) writer.attributeBytes(RTA_SRC, from);
    if (inIfindex) writer.attribute(RTA_IIF, u32, inIfindex);
    if (outIfindex) writer.attribute(RTA_OIF, u32, outIfindex);
    if (mark) writer.attribute(RTA_MARK, u32, mark);
    writer.end();
  }, { repeatable: true });
  const route = reply && parseRoute(reply);
  if (route) return route;
  throw new NetlinkError({ code: "EBADMSG", detail: "no route in the kernel's answer" });
}
