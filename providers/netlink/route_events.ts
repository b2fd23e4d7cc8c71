// SPDX-License-Identifier: Apache-2.0
/**
 * What happens to devices, addresses, routes, rules and neighbours of this namespace: the kernel
 * reports it in the multicast groups of rtnetlink.
 *
 * @module
 */
import type { Waiter } from "../../ffi/waiter.ts";
import { NetlinkError } from "./errors.ts";
import { type Link, type LinkAddress, parseLink, parseLinkAddress } from "./links.ts";
import { type Message, parseMessages } from "./message.ts";
import { type Neighbour, parseNeighbour } from "./neighbours.ts";
import { parseRoute, parseRule, type Route, type RouteRule } from "./routes.ts";
import { RouteGroup, RouteMessage } from "./rtnetlink.ts";
import { NetlinkSocket, Protocol, type Transport } from "./socket.ts";

/**
 * One thing that happened; `isGone` when it is there no more.  `nextHop`: a next hop of its own
 * changed, which any route may use.  `lost`: there was more than the queue holds, anything may
 * have happened, and all has to be read again.
 */
export type RouteEvent =
  | { readonly kind: "link"; readonly isGone: boolean; readonly link: Link }
  | { readonly kind: "address"; readonly isGone: boolean; readonly address: LinkAddress }
  | { readonly kind: "route"; readonly isGone: boolean; readonly route: Route }
  | { readonly kind: "rule"; readonly isGone: boolean; readonly rule: RouteRule }
  | {
    readonly kind: "neighbour";
    readonly isGone: boolean;
    readonly neighbour: Neighbour;
  }
  | { readonly kind: "nextHop" | "lost" };

/** The event that a message reports; undefined for what is not about IP. */
function eventOf(message: Message): RouteEvent | undefined {
  switch (message.type) {
    case RouteMessage.newLink:
    case RouteMessage.deleteLink: {
      // What bridges say of their ports comes by the same group, of family AF_BRIDGE.
      if (message.body[0] !== 0) return undefined;
      const isGone = message.type === RouteMessage.deleteLink;
      return { kind: "link", isGone, link: parseLink(message) };
    }
    case RouteMessage.newAddress:
    case RouteMessage.deleteAddress: {
      const address = parseLinkAddress(message);
      const isGone = message.type === RouteMessage.deleteAddress;
      return address && { kind: "address", isGone, address };
    }
    case RouteMessage.newRoute:
    case RouteMessage.deleteRoute: {
      const route = parseRoute(message);
      const isGone = message.type === RouteMessage.deleteRoute;
      return route && { kind: "route", isGone, route };
    }
    case RouteMessage.newRule:
    case RouteMessage.deleteRule: {
      const rule = parseRule(message);
      const isGone = message.type === RouteMessage.deleteRule;
      return rule && { kind: "rule", isGone, rule };
    }
    case RouteMessage.newNeighbour:
    case RouteMessage.deleteNeighbour: {
      const neighbour = parseNeighbour(message);
      const isGone = message.type === RouteMessage.deleteNeighbour;
      return neighbour && { kind: "neighbour", isGone, neighbour };
    }
    case RouteMessage.newNextHop:
    case RouteMessage.deleteNextHop:
      return { kind: "nextHop" };
    default:
      return undefined;
  }
}

/** Notifications of rtnetlink. Belongs to one isolate. */
export class RouteEvents {
  readonly #transport: Transport;
  readonly #socket: NetlinkSocket | undefined;

  /**
   * Listens from now on: what is read of the kernel after this is as new as what is heard, or
   * newer.  `transport` stands in for the kernel in tests.
   */
  constructor(transport?: Transport) {
    if (transport !== undefined) {
      this.#transport = transport;
      return;
    }
    const socket = new NetlinkSocket(Protocol.route);
    this.#transport = this.#socket = socket;
    try {
      const { nextHop, ...groups } = RouteGroup;
      for (const group of Object.values(groups)) socket.join(group);
      try {
        socket.join(nextHop);
      } catch {
        // Linux before 5.3 has no next hops of their own.
      }
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** What happened since the last call, in order; never waits. Throws {@linkcode NetlinkError}. */
  take(): RouteEvent[] {
    const events: RouteEvent[] = [];
    for (;;) {
      try {
        const datagram = this.#transport.receive();
        if (!datagram) return events;
        for (const message of parseMessages(datagram)) {
          const event = eventOf(message);
          if (event) events.push(event);
        }
      } catch (error) {
        if (!(error instanceof NetlinkError) || error.code !== "ENOBUFS") throw error;
        events.push({ kind: "lost" });
      }
    }
  }

  /** Waits for events without holding up the isolate; to be closed before the socket. */
  waiter(): Waiter {
    if (this.#socket) return this.#socket.waiter();
    throw new NetlinkError({ code: "EOPNOTSUPP", detail: "no socket to wait for" });
  }

  /** Gives the socket back. Idempotent. */
  close(): void {
    this.#transport.close();
  }
}
