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
  type Scalar,
  type Transport,
  u16,
  u32,
  u8,
} from "../netlink/mod.ts";

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

/** An attribute of `IFLA_INFO_DATA`: with a value, or a flag that is there or not. */
type LinkAttribute =
  | { readonly id: number; readonly scalar: Scalar<number>; readonly value: number }
  | { readonly id: number; readonly isSet: boolean };

/** One kind of tunnel port. */
interface TunnelKind {
  /** `IFLA_INFO_KIND`. */
  readonly link: string;
  /**
   * `IFLA_INFO_KIND` for tunnels that carry packets without Ethernet header, where it is another
   * one.
   */
  readonly layer3Link?: string;
  /** What Open vSwitch calls its device, without a port number. */
  readonly devicePrefix: string;
  /** Attribute that holds the UDP port, if there is one, and the port of IANA. */
  readonly udpPort?: { readonly attribute: number; readonly standard: number };
  /** Attributes without a value from the caller. */
  readonly fixed: readonly LinkAttribute[];
  /** Further options, each a flag. */
  readonly flags?: Readonly<Record<string, number>>;
  /** Attribute that holds the Ethernet type of what it carries, if it must be said. */
  readonly payload?: number;
}

const on = (id: number): LinkAttribute => ({ id, scalar: u8, value: 1 });
/** `IFLA_GRE_COLLECT_METADATA`. */
const greMetadata: readonly LinkAttribute[] = [{ id: 18, isSet: true }];

const kinds: Readonly<Record<string, TunnelKind>> = {
  vxlan: {
    link: "vxlan",
    devicePrefix: "vxlan_sys_",
    // LEARNING 0, COLLECT_METADATA 1, UDP_ZERO_CSUM6_RX 1
    fixed: [{ id: 7, scalar: u8, value: 0 }, on(25), on(20)],
    udpPort: { attribute: 15, standard: 4789 },
    flags: { gbp: 23, gpe: 27 },
  },
  geneve: {
    link: "geneve",
    devicePrefix: "genev_sys_",
    // COLLECT_METADATA, UDP_ZERO_CSUM6_RX 1
    fixed: [{ id: 6, isSet: true }, on(10)],
    udpPort: { attribute: 5, standard: 6081 },
  },
  gre: {
    link: "gretap",
    layer3Link: "gre",
    devicePrefix: "gre_sys",
    fixed: greMetadata,
  },
  ip6gre: {
    link: "ip6gretap",
    layer3Link: "ip6gre",
    devicePrefix: "ip6gre_sys",
    fixed: greMetadata,
  },
  erspan: { link: "erspan", devicePrefix: "erspan_sys", fixed: greMetadata },
  ip6erspan: { link: "ip6erspan", devicePrefix: "ip6erspan_sys", fixed: greMetadata },
  bareudp: {
    link: "bareudp",
    devicePrefix: "udp_sys_",
    // SRCPORT_MIN, in host order
    fixed: [{ id: 3, scalar: u16, value: 49153 }],
    udpPort: { attribute: 1, standard: 6635 },
    payload: 2,
    flags: { multiproto: 4 },
  },
};

/** Ethernet types that `payload_type` has names for. */
const payloadTypes: Readonly<Record<string, number>> = { ip: 0x0800, mpls: 0x8847 };

/** Whether ports of `type` are tunnel devices. */
export function isTunnelType(type: string): boolean {
  return Object.hasOwn(kinds, type);
}

/** Options of each type of tunnel port. */
export function tunnelOptions(): Record<string, string[]> {
  const of = ({ udpPort, payload, layer3Link, flags = {} }: TunnelKind): string[] => [
    ...(udpPort ? ["dst_port"] : []),
    ...(payload === undefined ? [] : ["payload_type"]),
    ...(layer3Link === undefined ? [] : ["packet_type"]),
    ...Object.keys(flags),
  ];
  return Object.fromEntries(
    Object.entries(kinds).map(([type, kind]) => [type, of(kind)]),
  );
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

/** A number of 16 bits that an option gives. */
function optionNumber(name: string, value: string | number | boolean): number {
  const number = Number(value);
  if (Number.isInteger(number) && number >= 1 && number <= 0xffff) return number;
  throw invalid(`${name} must be a number from 1 to 65535: it is ${value}`);
}

/** A device that is to be made: its kind and what it is made with. */
interface LinkPlan {
  readonly link: string;
  readonly attributes: readonly LinkAttribute[];
}

/** Checks the options of a tunnel port; gives its device. */
function planLink(type: string, kind: TunnelKind, options: Options): LinkPlan {
  const { fixed, flags = {}, udpPort, payload } = kind;
  const set = new Set<string>();
  let { link } = kind;
  let port = udpPort?.standard ?? 0;
  let carried = 0x8847;
  for (const [name, value] of Object.entries(options)) {
    if (name === "dst_port" && udpPort) port = optionNumber(name, value);
    else if (name === "payload_type" && payload !== undefined) {
      carried = payloadTypes[String(value)] ?? optionNumber(name, value);
    } else if (name === "packet_type" && kind.layer3Link !== undefined) {
      if (value !== "legacy_l2" && value !== "legacy_l3") {
        throw invalid(`packet_type is legacy_l2 or legacy_l3 here: it is ${value}`);
      }
      link = value === "legacy_l3" ? kind.layer3Link : kind.link;
    } else if (Object.hasOwn(flags, name)) {
      if (value === true || value === "true") set.add(name);
    } else {
      const known = tunnelOptions()[type]?.join(" ") || "none";
      throw invalid(
        `ports of type ${type} have no option "${name}" (there are: ${known})`,
      );
    }
  }
  const attributes: LinkAttribute[] = [...fixed];
  for (const [name, id] of Object.entries(flags)) {
    attributes.push({ id, isSet: set.has(name) });
  }
  if (payload !== undefined) {
    attributes.push({ id: payload, scalar: be16, value: carried });
  }
  if (udpPort) attributes.push({ id: udpPort.attribute, scalar: be16, value: port });
  return { link, attributes };
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
    const plan = planLink(type, kind, options);
    try {
      this.#create(name, kind, plan);
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== "EEXIST") throw error;
      if (!this.#matches(name, plan)) throw error;
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

  #create(name: string, kind: TunnelKind, { link, attributes }: LinkPlan): void {
    const { create, exclusive } = NetlinkFlag;
    this.#request(RTM_NEWLINK, create | exclusive, (writer) => {
      writer.attributeText(IFLA_IFNAME, name);
      // GRE refuses it here and takes it later.
      if (kind.udpPort) writer.attribute(IFLA_MTU, u32, largestMtu);
      writer.nested(IFLA_LINKINFO, () => {
        writer.attributeText(IFLA_INFO_KIND, link);
        writer.nested(IFLA_INFO_DATA, () => {
          for (const each of attributes) {
            if ("scalar" in each) writer.attribute(each.id, each.scalar, each.value);
            else if (each.isSet) writer.attributeBytes(each.id);
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

  #matches(name: string, plan: LinkPlan): boolean {
    const link = this.#get(name);
    const data = link?.data;
    if (link?.kind !== plan.link || !data) return false;
    return plan.attributes.every((each) =>
      "scalar" in each
        ? data.get(each.id, each.scalar) === each.value
        : data.has(each.id) === each.isSet
    );
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
    const kind = type === undefined ? undefined : kinds[type];
    const named = link.kind !== undefined &&
      (link.kind === kind?.link || link.kind === kind?.layer3Link);
    if (link.alias === alias || named) this.delete(name);
  }

  /** Closes the sockets. Idempotent. */
  close(): void {
    this.#route.close();
  }
}
