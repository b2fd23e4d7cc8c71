// SPDX-License-Identifier: Apache-2.0
/**
 * Netlink over libmnl, useful on its own.
 *
 * ```ts
 * import { Conversation, Genl, NetlinkSocket, Protocol } from "./mod.ts";
 *
 * const genl = new Genl(new Conversation(() => new NetlinkSocket(Protocol.generic)));
 * for (const { name, id } of genl.families()) console.log(id, name);
 * genl.close();
 * ```
 *
 * {@linkcode MessageWriter} and {@linkcode Attributes} write and read messages, {@linkcode
 * NetlinkSocket} carries them, {@linkcode Conversation} matches answers to requests, {@linkcode
 * Genl} finds families.  Functions that take a conversation of `Protocol.route` list links,
 * addresses, routes, rules and neighbours and look up routes; {@linkcode RouteEvents} hears of
 * their changes.  {@linkcode FakePeer} stands in for the kernel in tests.
 *
 * @module
 */
export * from "./acknowledgement.ts";
export type { ErrnoName } from "../errno.ts";
export * from "./burst.ts";
export * from "./conversation.ts";
export * from "./dump.ts";
export { NetlinkError, type NetlinkErrorInit } from "./errors.ts";
export * from "./fake_peer.ts";
export * from "./genl.ts";
export * from "./links.ts";
export * from "./message.ts";
export * from "./neighbours.ts";
export * from "./psample.ts";
export * from "./route_events.ts";
export * from "./routes.ts";
export {
  addressBytes,
  addressText,
  areWithin,
  ipVersion,
  isWithin,
  type Prefix,
} from "./rtnetlink.ts";
export * from "./socket.ts";
export { Waiter } from "../../ffi/waiter.ts";
