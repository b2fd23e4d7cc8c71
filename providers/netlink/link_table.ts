// SPDX-License-Identifier: Apache-2.0
/**
 * The network devices of a namespace, read again only after the kernel said that one has changed.
 *
 * @module
 */
import { Conversation } from "./conversation.ts";
import { NetlinkError } from "./errors.ts";
import { beginGenl, Genl, genlHeaderSize } from "./genl.ts";
import { type Link, listLinks, parseLink } from "./links.ts";
import { Attributes, type Message, parseMessages, u32, u8 } from "./message.ts";
import { RouteGroup, RouteMessage } from "./rtnetlink.ts";
import { NetlinkSocket, Protocol } from "./socket.ts";
import type { Waiter } from "../../ffi/waiter.ts";

const ETHTOOL_MSG_LINKMODES_GET = 4;
const ETHTOOL_A_LINKMODES_HEADER = 1;
const ETHTOOL_A_LINKMODES_SPEED = 5;
const ETHTOOL_A_LINKMODES_DUPLEX = 6;
const ETHTOOL_A_HEADER_DEV_INDEX = 1;
const ETHTOOL_A_HEADER_FLAGS = 3;
/** Sets of bits as words, not as lists of names. */
const ETHTOOL_FLAG_COMPACT_BITSETS = 1;
/** This family wants it in the type of every nest. */
const NLA_F_NESTED = 0x8000;
const SPEED_UNKNOWN = 0xffffffff;

/** Speed of a link in Mbit/s, and whether it sends and receives at once; absent: not known. */
export interface LinkMode {
  readonly speed?: number;
  readonly duplex?: "full" | "half";
}

/** What the kernel says of links changing. Belongs to one isolate. */
export class LinkEvents {
  /** The socket, for waiting on it. */
  readonly socket: NetlinkSocket = new NetlinkSocket(Protocol.route);

  /** Listens from now on. */
  constructor() {
    try {
      this.socket.join(RouteGroup.link);
    } catch (error) {
      this.socket.close();
      throw error;
    }
  }

  /**
   * Devices that have changed, or gone, since the last call; undefined for more than the queue
   * held. Never waits.
   */
  take(): Link[] | undefined {
    const links: Link[] = [];
    let lost = false;
    for (;;) {
      try {
        const datagram = this.socket.receive();
        if (!datagram) return lost ? undefined : links;
        for (const message of parseMessages(datagram)) {
          const { type, body } = message;
          const isLink = type === RouteMessage.newLink ||
            type === RouteMessage.deleteLink;
          // What bridges say of their ports comes by the same group, of family AF_BRIDGE.
          if (isLink && body[0] === 0) links.push(parseLink(message));
        }
      } catch (error) {
        if (!(error instanceof NetlinkError) || error.code !== "ENOBUFS") throw error;
        lost = true;
      }
    }
  }

  /** Waits for changes; to be closed before this. */
  waiter(): Waiter {
    return this.socket.waiter();
  }

  /** Gives the socket back. Idempotent. */
  close(): void {
    this.socket.close();
  }
}

/** Devices by name, with their speeds. Belongs to one isolate; opens its sockets when asked. */
export class LinkTable {
  #route: Conversation | undefined;
  #genl: Genl | undefined;
  #events: LinkEvents | undefined;
  #links: ReadonlyMap<string, Link & LinkMode> = new Map();
  #isStale = true;

  /** The device of a name; undefined: there is none in this namespace. */
  get(name: string): (Link & LinkMode) | undefined {
    const events = this.#events ??= new LinkEvents();
    const changes = events.take();
    this.#isStale ||= changes === undefined || changes.length > 0;
    if (this.#isStale) this.#read();
    return this.#links.get(name);
  }

  #read(): void {
    const route = this.#route ??= new Conversation(() =>
      new NetlinkSocket(Protocol.route)
    );
    const modes = this.#modes();
    this.#links = new Map(
      listLinks(route).map((link) => [link.name, { ...link, ...modes.get(link.index) }]),
    );
    this.#isStale = false;
  }

  /** By index. Linux before 5.6 has no such family: nothing is known then. */
  #modes(): ReadonlyMap<number, LinkMode> {
    const genl = this.#genl ??= new Genl(
      new Conversation(() => new NetlinkSocket(Protocol.generic)),
    );
    try {
      const family = genl.family("ethtool");
      const messages = genl.conversation.dump((writer) => {
        beginGenl(writer, family, ETHTOOL_MSG_LINKMODES_GET);
        writer.nested(
          ETHTOOL_A_LINKMODES_HEADER | NLA_F_NESTED,
          () =>
            writer.attribute(ETHTOOL_A_HEADER_FLAGS, u32, ETHTOOL_FLAG_COMPACT_BITSETS),
        );
        writer.end();
      });
      return new Map(messages.flatMap(parseMode));
    } catch (error) {
      if (error instanceof NetlinkError) return new Map();
      throw error;
    }
  }

  /** Gives the sockets back, until it is asked again. Idempotent. */
  close(): void {
    this.#events?.close();
    this.#route?.close();
    this.#genl?.close();
    this.#events = this.#route = this.#genl = undefined;
    this.#isStale = true;
  }
}

function parseMode({ body }: Message): [index: number, LinkMode][] {
  const attributes = new Attributes(body, genlHeaderSize);
  const index = attributes.nested(ETHTOOL_A_LINKMODES_HEADER)
    ?.get(ETHTOOL_A_HEADER_DEV_INDEX, u32);
  if (index === undefined) return [];
  const speed = attributes.get(ETHTOOL_A_LINKMODES_SPEED, u32) ?? SPEED_UNKNOWN;
  const duplex = attributes.get(ETHTOOL_A_LINKMODES_DUPLEX, u8);
  return [[index, {
    ...(speed !== SPEED_UNKNOWN && speed !== 0 && { speed }),
    ...(duplex === 1 && { duplex: "full" }),
    ...(duplex === 0 && { duplex: "half" }),
  }]];
}
