// SPDX-License-Identifier: Apache-2.0
/**
 * What the kernel's openvswitch families have in common: how they are found, and the header of
 * their messages.
 *
 * Format: `<linux/openvswitch.h>`.
 *
 * @module
 */
import {
  align,
  Attributes,
  beginGenl,
  Conversation,
  type ExchangeOptions,
  type Family,
  Genl,
  genlHeaderSize,
  littleEndian,
  type Message,
  type MessageWriter,
  NetlinkError,
  NetlinkSocket,
  Protocol,
  s32,
  type Transport,
  viewOf,
} from "../netlink/mod.ts";

/** Size of `struct ovs_header` in bytes. */
const ovsHeaderSize = 4;

/** Where the attributes of a message start in its body. */
export const attributesOffset: number = genlHeaderSize + ovsHeaderSize;

/** Commands that every family but packet and meter numbers alike. */
export const Command = { new: 1, delete: 2, get: 3, set: 4 } as const;

/** The openvswitch families of the kernel, over one conversation. Belongs to one isolate. */
export class Kernel {
  /** Generic netlink. */
  readonly genl: Genl;

  /** Connects to this kernel, or to what `connect` opens. */
  constructor(connect: () => Transport = () => new NetlinkSocket(Protocol.generic)) {
    this.genl = new Genl(new Conversation(connect));
  }

  /** A family that the module cannot be without. */
  #needed(name: string): Family {
    try {
      return this.genl.family(name);
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== "ENOENT") throw error;
      // Asking by name makes the kernel load the module, if there is one and we are root.
      throw new NetlinkError({
        code: "ENOENT",
        detail: `the kernel has no family ${name}: no openvswitch module`,
      });
    }
  }

  /** A family that a kernel may be without; undefined if it is. */
  #optional(name: string): Family | undefined {
    try {
      return this.genl.family(name);
    } catch (error) {
      if (error instanceof NetlinkError && error.code === "ENOENT") return undefined;
      throw error;
    }
  }

  /** Datapaths. */
  get datapath(): Family {
    return this.#needed("ovs_datapath");
  }

  /** Ports, which the kernel calls vports. */
  get vport(): Family {
    return this.#needed("ovs_vport");
  }

  /** Flows. */
  get flow(): Family {
    return this.#needed("ovs_flow");
  }

  /** Packets. */
  get packet(): Family {
    return this.#needed("ovs_packet");
  }

  /** Meters, from Linux 4.15 on. */
  get meter(): Family | undefined {
    return this.#optional("ovs_meter");
  }

  /** Limits of connections, from Linux 4.18 on, where it counts connections. */
  get ctLimit(): Family | undefined {
    return this.#optional("ovs_ct_limit");
  }

  /** Sends one request about datapath `ifindex`; gives the reply, if there is one. */
  request(
    family: Family,
    command: number,
    options: ExchangeOptions & { readonly ifindex: number; readonly flags?: number },
    write: (writer: MessageWriter) => void = () => {},
  ): Message | undefined {
    return this.genl.request(family, command, options, (writer) => {
      writer.put(s32, options.ifindex);
      write(writer);
    });
  }

  /** Everything that a dump about datapath `ifindex` lists. */
  dump(family: Family, command: number, ifindex: number): Message[] {
    return this.genl.dump(family, command, (writer) => writer.put(s32, ifindex));
  }

  /** Closes the sockets. Idempotent. */
  close(): void {
    this.genl.close();
  }
}

/** Starts a message about datapath `ifindex` (0: of this network namespace). */
export function beginOvs(
  writer: MessageWriter,
  family: Family,
  command: number,
  ifindex: number,
  flags = 0,
): void {
  beginGenl(writer, family, command, flags);
  writer.put(s32, ifindex);
}

/** The datapath that a message is about: the ifindex of its local port. */
export function messageIfindex(message: Message): number {
  return message.body.length < attributesOffset
    ? 0
    : viewOf(message.body).getInt32(genlHeaderSize, littleEndian);
}

/** The attributes of a message. */
export function messageAttributes(message: Message): Attributes {
  return new Attributes(message.body, attributesOffset);
}

/** `reply`, which the kernel owes. Throws {@linkcode NetlinkError} `EPROTO` without it. */
export function needReply(reply: Message | undefined): Message {
  if (reply) return reply;
  throw new NetlinkError({
    code: "EPROTO",
    detail: "the kernel acknowledged but did not reply",
  });
}

/** Offset of attribute `id` among the attributes in `bytes`; -1 if there is none. */
export function findAttribute(bytes: Uint8Array, id: number): number {
  for (let at = 0; at + 4 <= bytes.length;) {
    const size = attributeSize(bytes, at);
    if (attributeId(bytes, at) === id) return at;
    if (size < 4) return -1;
    at += align(size);
  }
  return -1;
}

/** Size of the attribute at `at`, header included. */
export function attributeSize(bytes: Uint8Array, at: number): number {
  const [low, high] = littleEndian ? [at, at + 1] : [at + 1, at];
  return (bytes[low] ?? 0) | (bytes[high] ?? 0) << 8;
}

function attributeId(bytes: Uint8Array, at: number): number {
  return attributeSize(bytes, at + 2) & 0x3fff;
}
