// SPDX-License-Identifier: Apache-2.0
/**
 * Generic netlink: families and multicast groups by name, and the header of their messages.
 *
 * Format: `<linux/genetlink.h>`.
 *
 * @module
 */
import type { Conversation, ExchangeOptions } from "./conversation.ts";
import type { Dump } from "./dump.ts";
import { NetlinkError } from "./errors.ts";
import { Attributes, type Message, type MessageWriter, u16, u32, u8 } from "./message.ts";

/** Size of `struct genlmsghdr` in bytes. */
export const genlHeaderSize = 4;

const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;
const CTRL_ATTR_VERSION = 3;
const CTRL_ATTR_HDRSIZE = 4;
const CTRL_ATTR_MAXATTR = 5;
const CTRL_ATTR_MCAST_GROUPS = 7;
const CTRL_ATTR_MCAST_GRP_NAME = 1;
const CTRL_ATTR_MCAST_GRP_ID = 2;

/** A generic netlink family as the kernel registered it. */
export interface Family {
  /** Name that it is looked up by. */
  readonly name: string;
  /** Message type of its messages; another one after every boot. */
  readonly id: number;
  /** Version of its messages, for `genlmsghdr`. */
  readonly version: number;
  /** Size of the family's own header behind `genlmsghdr`, bytes. */
  readonly headerSize: number;
  /** Largest attribute id that it knows. */
  readonly maxAttribute: number;
  /** Numbers of its multicast groups, by name. */
  readonly groups: ReadonlyMap<string, number>;
}

/** Starts a message of a family: `nlmsghdr` and `genlmsghdr`. */
export function beginGenl(
  writer: MessageWriter,
  family: Pick<Family, "id" | "version">,
  command: number,
  flags = 0,
): void {
  writer.begin({ type: family.id, flags });
  writer.put(u8, command);
  writer.put(u8, family.version);
  writer.put(u16, 0);
}

/** The family that a reply of the controller describes. */
export function parseFamily(message: Message): Family {
  const attributes = new Attributes(message.body, genlHeaderSize);
  const groups = new Map<string, number>();
  const list = attributes.bytes(CTRL_ATTR_MCAST_GROUPS);
  if (list) {
    for (const [, bytes] of new Attributes(list).entries()) {
      const group = new Attributes(bytes);
      const name = group.text(CTRL_ATTR_MCAST_GRP_NAME);
      const id = group.get(CTRL_ATTR_MCAST_GRP_ID, u32);
      if (name !== undefined && id !== undefined) groups.set(name, id);
    }
  }
  return {
    name: attributes.text(CTRL_ATTR_FAMILY_NAME) ?? "",
    id: attributes.need(CTRL_ATTR_FAMILY_ID, u16),
    // 32 bits here, and 8 in the header of every message: genetlink.h.
    version: (attributes.get(CTRL_ATTR_VERSION, u32) ?? 1) & 0xff,
    headerSize: attributes.get(CTRL_ATTR_HDRSIZE, u32) ?? 0,
    maxAttribute: attributes.get(CTRL_ATTR_MAXATTR, u32) ?? 0,
    groups,
  };
}

/** Generic netlink over a conversation of protocol `Protocol.generic`. */
export class Genl {
  /** The conversation, for requests that this class has no word for. */
  readonly conversation: Conversation;
  readonly #families = new Map<string, Family>();

  /** Takes over `conversation`, which must be with `Protocol.generic`. */
  constructor(conversation: Conversation) {
    this.conversation = conversation;
  }

  /**
   * The family `name`, asked for once and remembered.
   * Throws {@linkcode NetlinkError} `ENOENT` when the kernel has none, as without its module.
   */
  family(name: string): Family {
    const known = this.#families.get(name);
    if (known) return known;
    const reply = this.conversation.request((writer) => {
      beginGenl(writer, { id: GENL_ID_CTRL, version: 2 }, CTRL_CMD_GETFAMILY);
      writer.attributeText(CTRL_ATTR_FAMILY_NAME, name);
      writer.end();
    }, { repeatable: true });
    if (reply?.type !== GENL_ID_CTRL) {
      throw new NetlinkError({
        code: "EPROTO",
        detail: `no answer about family ${name}`,
      });
    }
    const family = parseFamily(reply);
    this.#families.set(name, family);
    return family;
  }

  /** Every family that the kernel has. */
  families(): Family[] {
    return this.conversation.dump((writer) => {
      beginGenl(writer, { id: GENL_ID_CTRL, version: 2 }, CTRL_CMD_GETFAMILY);
      writer.end();
    }).map(parseFamily);
  }

  /** Number of multicast group `group` of family `name`. Throws `ENOENT` when there is none. */
  group(name: string, group: string): number {
    const id = this.family(name).groups.get(group);
    if (id !== undefined) return id;
    throw new NetlinkError({
      code: "ENOENT",
      detail: `family ${name} has no group ${group}`,
    });
  }

  /**
   * Sends one request of `family` and gives the reply; undefined when it was only acknowledged.
   * Throws {@linkcode NetlinkError}; `EPROTO` when the reply is of another family.
   */
  request(
    family: Family,
    command: number,
    options: ExchangeOptions & { readonly flags?: number },
    write: (writer: MessageWriter) => void,
  ): Message | undefined {
    const reply = this.conversation.request((writer) => {
      beginGenl(writer, family, command, options.flags);
      write(writer);
      writer.end();
    }, options);
    if (reply) checkReply(family, reply);
    return reply;
  }

  /** Starts a dump of `family`. */
  startDump(
    family: Family,
    command: number,
    write: (writer: MessageWriter) => void,
  ): Dump {
    return this.conversation.startDump((writer) => {
      beginGenl(writer, family, command);
      write(writer);
      writer.end();
    });
  }

  /** Everything that a dump of `family` lists; asked again when it was interrupted. */
  dump(
    family: Family,
    command: number,
    write: (writer: MessageWriter) => void,
  ): Message[] {
    const messages = this.conversation.dump((writer) => {
      beginGenl(writer, family, command);
      write(writer);
      writer.end();
    });
    for (const message of messages) checkReply(family, message);
    return messages;
  }

  /** Closes the conversation. Idempotent. */
  close(): void {
    this.conversation.close();
  }
}

/** Throws {@linkcode NetlinkError} `EPROTO` when `message` is not one of `family`. */
export function checkReply(family: Family, message: Message): void {
  const minimum = genlHeaderSize + family.headerSize;
  if (message.type === family.id && message.body.length >= minimum) return;
  throw new NetlinkError({
    code: "EPROTO",
    detail: `a message of type ${message.type} and ${message.body.length} bytes ` +
      `where ${family.name} was expected`,
  });
}
