// SPDX-License-Identifier: Apache-2.0
/**
 * What Linux knows of the network, kept as new as its notifications: devices, addresses,
 * neighbours.  Routes are not kept: the kernel is asked, which follows its rules of policy routing.
 *
 * @module
 */
import {
  askForNeighbour,
  Conversation,
  type Link,
  type LinkAddress,
  listLinkAddresses,
  listLinks,
  listNeighbours,
  listRoutes,
  lookUpRoute,
  type Neighbour,
  NetlinkError,
  NetlinkSocket,
  Protocol,
  type Route,
  type RouteEvent,
  RouteEvents,
  type RouteQuery,
} from "../../netlink/mod.ts";
import type { Waiter } from "../../../ffi/waiter.ts";

function neighbourKey(ifindex: number, address: string): string {
  return `${ifindex} ${address}`;
}

/** The network as this host has it. Belongs to one isolate. */
export class Host {
  readonly #conversation: Conversation;
  readonly #events: RouteEvents;
  readonly #links = new Map<number, Link>();
  #addresses: LinkAddress[] = [];
  readonly #neighbours = new Map<string, Neighbour>();

  /** Listens, and reads what there is. */
  constructor() {
    this.#events = new RouteEvents();
    this.#conversation = new Conversation(() => new NetlinkSocket(Protocol.route));
    try {
      this.read();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Reads all again: for the start, and when notifications were lost. */
  read(): void {
    this.#links.clear();
    for (const link of listLinks(this.#conversation)) this.#links.set(link.index, link);
    this.#addresses = listLinkAddresses(this.#conversation);
    this.#neighbours.clear();
    for (const neighbour of listNeighbours(this.#conversation)) {
      this.#neighbours.set(neighbourKey(neighbour.ifindex, neighbour.address), neighbour);
    }
  }

  /** What happened since the last call; it is taken into account here already. Never waits. */
  take(): RouteEvent[] {
    const events = this.#events.take();
    for (const event of events) this.#apply(event);
    return events;
  }

  #apply(event: RouteEvent): void {
    switch (event.kind) {
      case "link":
        if (event.isGone) this.#links.delete(event.link.index);
        else this.#links.set(event.link.index, event.link);
        break;
      case "address": {
        const { ifindex, address } = event.address;
        this.#addresses = this.#addresses.filter((known) =>
          known.ifindex !== ifindex || known.address !== address
        );
        if (!event.isGone) this.#addresses.push(event.address);
        break;
      }
      case "neighbour": {
        const { ifindex, address } = event.neighbour;
        const key = neighbourKey(ifindex, address);
        if (event.isGone) this.#neighbours.delete(key);
        else this.#neighbours.set(key, event.neighbour);
        break;
      }
      case "lost":
        this.read();
        break;
      default:
        break;
    }
  }

  /** Devices. */
  links(): Iterable<Link> {
    return this.#links.values();
  }

  /** A device by its index. */
  link(index: number): Link | undefined {
    return this.#links.get(index);
  }

  /** Addresses of all devices. */
  addresses(): readonly LinkAddress[] {
    return this.#addresses;
  }

  /** Neighbours of all devices. */
  neighbours(): Iterable<Neighbour> {
    return this.#neighbours.values();
  }

  /** What is known of a neighbour. */
  neighbour(ifindex: number, address: string): Neighbour | undefined {
    return this.#neighbours.get(neighbourKey(ifindex, address));
  }

  /** Every route of every table. */
  routes(): Route[] {
    return listRoutes(this.#conversation);
  }

  /** The route to a destination; undefined where the kernel has none, or one that refuses. */
  lookUp(destination: string, query: RouteQuery): Route | undefined {
    try {
      return lookUpRoute(this.#conversation, destination, query);
    } catch (error) {
      if (error instanceof NetlinkError) return undefined;
      throw error;
    }
  }

  /** Has the kernel find out who a neighbour is. */
  ask(ifindex: number, address: string): void {
    try {
      askForNeighbour(this.#conversation, ifindex, address);
    } catch (error) {
      // The device may be gone by now, or this process not be privileged: then nobody is found,
      // unless somebody else asks.
      if (!(error instanceof NetlinkError)) throw error;
    }
  }

  /** Waits for notifications; to be closed before this. */
  waiter(): Waiter {
    return this.#events.waiter();
  }

  /** Gives the sockets back. Idempotent. */
  close(): void {
    this.#events.close();
    this.#conversation.close();
  }
}
