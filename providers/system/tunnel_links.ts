// SPDX-License-Identifier: Apache-2.0
/**
 * Tunnel devices of Linux, which become ports: one device carries every tunnel of its kind, and the
 * tunnel of a packet is in its metadata.
 *
 * Made and removed by rtnetlink.  Formats: `<linux/rtnetlink.h>`, `<linux/if_link.h>`,
 * `<linux/if_tunnel.h>`.
 *
 * @module
 */
import {
  Attributes,
  be16,
  Conversation,
  type Message,
  type MessageWriter,
  NetlinkError,
  NetlinkFlag,
  NetlinkSocket,
  Protocol,
  s32,
  type Transport,
  u16,
  u32,
  u8,
} from "./netlink/mod.ts";

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFF_UP = 1;
/** Size of `struct ifinfomsg` in bytes. */
const headerSize = 16;

/** What we write into a device that we made, so that we remove no other. */
const alias = "upcall tunnel port";

/** The largest that leaves room for the outer headers. */
const largestMtu = 65000;

type Options = Readonly<Record<string, string | number | boolean>>;

/** One kind of tunnel port. */
interface TunnelKind {
  /** `IFLA_INFO_KIND`. */
  readonly link: string;
  /** What Open vSwitch calls its device, without a port number. */
  readonly devicePrefix: string;
  /** Attribute that holds the UDP port, if there is one, and the port of IANA. */
  readonly udpPort?: { readonly attribute: number; readonly standard: number };
  /** Attributes without a value from the caller. */
  readonly fixed: readonly (readonly [id: number, value: number | "flag"])[];
  /** Further options, each a flag. */
  readonly flags?: Readonly<Record<string, number>>;
}

const kinds: Readonly<Record<string, TunnelKind>> = {
  vxlan: {
    link: "vxlan",
    devicePrefix: "vxlan_sys_",
    // LEARNING 0, COLLECT_METADATA 1, UDP_ZERO_CSUM6_RX 1
    fixed: [[7, 0], [25, 1], [20, 1]],
    udpPort: { attribute: 15, standard: 4789 },
    flags: { gbp: 23, gpe: 27 },
  },
  geneve: {
    link: "geneve",
    devicePrefix: "genev_sys_",
    // COLLECT_METADATA, UDP_ZERO_CSUM6_RX 1
    fixed: [[6, "flag"], [10, 1]],
    udpPort: { attribute: 5, standard: 6081 },
  },
  gre: { link: "gretap", devicePrefix: "gre_sys", fixed: [[18, "flag"]] },
  ip6gre: { link: "ip6gretap", devicePrefix: "ip6gre_sys", fixed: [[18, "flag"]] },
  erspan: { link: "erspan", devicePrefix: "erspan_sys", fixed: [[18, "flag"]] },
  ip6erspan: { link: "ip6erspan", devicePrefix: "ip6erspan_sys", fixed: [[18, "flag"]] },
};

/** Whether ports of `type` are tunnel devices. */
export function isTunnelType(type: string): boolean {
  return Object.hasOwn(kinds, type);
}

/** The tunnel type whose device is named like `name` by Open vSwitch's custom; else undefined. */
export function tunnelTypeOf(name: string): string | undefined {
  return Object.entries(kinds).find(([, { devicePrefix, udpPort }]) =>
    udpPort ? name.startsWith(devicePrefix) : name === devicePrefix
  )?.[0];
}

function invalid(detail: string): NetlinkError {
  return new NetlinkError({ code: "EINVAL", detail });
}

/** Checks the options of a tunnel port; gives its UDP port and the ids of its flags. */
function checkOptions(type: string, kind: TunnelKind, options: Options) {
  let udpPort = kind.udpPort?.standard;
  const flags: number[] = [];
  for (const [name, value] of Object.entries(options)) {
    const flag = kind.flags?.[name];
    if (name === "dst_port" && kind.udpPort) {
      udpPort = Number(value);
      if (!Number.isInteger(udpPort) || udpPort < 1 || udpPort > 0xffff) {
        throw invalid(`dst_port ${value} is not a UDP port`);
      }
    } else if (flag !== undefined) {
      if (value === true || value === "true") flags.push(flag);
    } else {
      throw invalid(`a port of type ${type} has no option ${name}`);
    }
  }
  return { udpPort, flags };
}

/** A device as rtnetlink describes it. */
interface LinkRecord {
  readonly kind: string | undefined;
  readonly alias: string | undefined;
  readonly data: Attributes | undefined;
}

function parseLink(message: Message): LinkRecord {
  const attributes = new Attributes(message.body, headerSize);
  const info = attributes.nested(IFLA_LINKINFO);
  return {
    kind: info?.text(IFLA_INFO_KIND),
    alias: attributes.text(IFLA_IFALIAS),
    data: info?.nested(IFLA_INFO_DATA),
  };
}

/** Tunnel devices of this network namespace. */
export class TunnelLinks {
  readonly #route: Conversation;

  /** Connects to this kernel, or to what `connect` opens. */
  constructor(connect: () => Transport = () => new NetlinkSocket(Protocol.route)) {
    this.#route = new Conversation(connect);
  }

  #request(
    type: number,
    flags: number,
    write: (writer: MessageWriter) => void,
    up = false,
  ): Message | undefined {
    return this.#route.request((writer) => {
      writer.begin({ type, flags });
      // struct ifinfomsg: family, padding, type, index, flags, change
      writer.put(u8, 0);
      writer.put(u8, 0);
      writer.put(u16, 0);
      writer.put(s32, 0);
      writer.put(u32, up ? IFF_UP : 0);
      writer.put(u32, up ? IFF_UP : 0);
      write(writer);
      writer.end();
    });
  }

  /**
   * Makes the device of a tunnel port, or finds it there with the same parameters.  True when it
   * was made.  Throws `EEXIST` when there is another device of that name, `EINVAL` for options.
   */
  ensure(name: string, type: string, options: Options): boolean {
    const kind = kinds[type];
    if (!kind) throw new NetlinkError({ code: "EAFNOSUPPORT" });
    const { udpPort, flags } = checkOptions(type, kind, options);
    try {
      this.#create(name, kind, udpPort, flags);
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== "EEXIST") throw error;
      if (!this.#matches(name, kind, udpPort, flags)) throw error;
      return false;
    }
    try {
      this.#mark(name);
    } catch (error) {
      this.delete(name);
      throw error;
    }
    if (!kind.udpPort) this.#setMtu(name);
    return true;
  }

  /** Writes our alias into a device; the kernel does not take it while it makes one. */
  #mark(name: string): void {
    this.#request(RTM_NEWLINK, 0, (writer) => {
      writer.attributeText(IFLA_IFNAME, name);
      writer.attributeBytes(IFLA_IFALIAS, new TextEncoder().encode(alias));
    });
  }

  #create(
    name: string,
    kind: TunnelKind,
    udpPort: number | undefined,
    flags: readonly number[],
  ): void {
    const { create, exclusive } = NetlinkFlag;
    this.#request(RTM_NEWLINK, create | exclusive, (writer) => {
      writer.attributeText(IFLA_IFNAME, name);
      // GRE refuses it here and takes it later.
      if (kind.udpPort) writer.attribute(IFLA_MTU, u32, largestMtu);
      writer.nested(IFLA_LINKINFO, () => {
        writer.attributeText(IFLA_INFO_KIND, kind.link);
        writer.nested(IFLA_INFO_DATA, () => {
          for (const [id, value] of kind.fixed) {
            if (value === "flag") writer.attributeBytes(id);
            else writer.attribute(id, u8, value);
          }
          for (const id of flags) writer.attributeBytes(id);
          if (kind.udpPort && udpPort !== undefined) {
            writer.attribute(kind.udpPort.attribute, be16, udpPort);
          }
        });
      });
    }, true);
  }

  #setMtu(name: string): void {
    for (const mtu of [largestMtu, 1450]) {
      try {
        this.#request(RTM_NEWLINK, 0, (writer) => {
          writer.attributeText(IFLA_IFNAME, name);
          writer.attribute(IFLA_MTU, u32, mtu);
        });
        return;
      } catch {
        // Too large for this kernel; what it has by itself works too.
      }
    }
  }

  #get(name: string): LinkRecord | undefined {
    try {
      const reply = this.#request(
        RTM_GETLINK,
        0,
        (writer) => writer.attributeText(IFLA_IFNAME, name),
      );
      return reply && parseLink(reply);
    } catch (error) {
      if (error instanceof NetlinkError && error.code === "ENODEV") return undefined;
      throw error;
    }
  }

  #matches(
    name: string,
    kind: TunnelKind,
    udpPort: number | undefined,
    flags: readonly number[],
  ): boolean {
    const link = this.#get(name);
    if (link?.kind !== kind.link || !link.data) return false;
    const { data } = link;
    const sameFixed = kind.fixed.every(([id, value]) =>
      value === "flag" ? data.has(id) : data.get(id, u8) === value
    );
    const sameFlags = Object.values(kind.flags ?? {}).every((id) =>
      data.has(id) === flags.includes(id)
    );
    const samePort = !kind.udpPort || data.get(kind.udpPort.attribute, be16) === udpPort;
    return sameFixed && sameFlags && samePort;
  }

  /** Removes a device. */
  delete(name: string): void {
    this.#request(RTM_DELLINK, 0, (writer) => writer.attributeText(IFLA_IFNAME, name));
  }

  /** Removes a device that we made, or that Open vSwitch would have made; leaves any other. */
  deleteOurs(name: string): void {
    const link = this.#get(name);
    if (!link) return;
    const type = tunnelTypeOf(name);
    const named = type !== undefined && kinds[type]?.link === link.kind;
    if (link.alias === alias || named) this.delete(name);
  }

  /** Closes the sockets. Idempotent. */
  close(): void {
    this.#route.close();
  }
}
