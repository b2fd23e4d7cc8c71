// SPDX-License-Identifier: Apache-2.0
/**
 * Keys and masks as plain objects: one field for each `OVS_KEY_ATTR_*`.
 *
 * Source of the format: `<linux/openvswitch.h>`, and Open vSwitch's own header for what only
 * its userspace datapath knows.
 *
 * @module
 */

import type {
  CtZone,
  Ipv4Address,
  Ipv6Address,
  MacAddress,
  PortNo,
  RecircId,
} from "./ids.ts";

/** An attribute that this version has no name for: kept, and given back unchanged. */
export interface UnknownAttribute {
  /** `nla_type`, with its nested and byte order flags if it had them. */
  readonly id: number;
  /** Payload, without header and padding. */
  readonly bytes: Uint8Array;
  /** In a key, how many VLAN tags precede it; 0 when absent. */
  readonly depth?: number;
}

/** Ethernet addresses (`eth`). A key without them is a packet without Ethernet header. */
export interface EthernetKey {
  /** Source address. */
  readonly src: MacAddress;
  /** Destination address. */
  readonly dst: MacAddress;
}

/** One VLAN tag (`vlan`). */
export interface VlanTag {
  /** Tag protocol: 0x8100 or 0x88a8. */
  readonly tpid: number;
  /** VLAN id, 12 bits. */
  readonly vid: number;
  /** Priority code point, 3 bits. */
  readonly pcp: number;
  /** 1 when the tag exists; 0 only for a frame that was cut off inside the tag. */
  readonly cfi: number;
}

/** Namespace and type of a packet that may lack an Ethernet header (`packet_type`). */
export interface PacketType {
  /** 0: Ethernet packets. 1: the type is an EtherType. */
  readonly ns: number;
  /** Type within the namespace. */
  readonly id: number;
}

/** One MPLS label stack entry (`mpls`). */
export interface MplsLabel {
  /** Label, 20 bits. */
  readonly label: number;
  /** Traffic class, 3 bits. */
  readonly tc: number;
  /** Time to live. */
  readonly ttl: number;
  /** 1 at the bottom of the stack. */
  readonly bos: number;
}

/** Whether a packet is an IP fragment: no, the first, or a later one (without ports). */
export type Fragment = "no" | "first" | "later";

/** Fields of an IPv4 header (`ipv4`). */
export interface Ipv4Key {
  /** Source address. */
  readonly src: Ipv4Address;
  /** Destination address. */
  readonly dst: Ipv4Address;
  /** Protocol number. */
  readonly proto: number;
  /** The whole TOS byte: DSCP and ECN. */
  readonly tos: number;
  /** Time to live. */
  readonly ttl: number;
  /** Fragment or not. */
  readonly frag: Fragment;
}

/** Fields of an IPv6 header (`ipv6`). */
export interface Ipv6Key {
  /** Source address. */
  readonly src: Ipv6Address;
  /** Destination address. */
  readonly dst: Ipv6Address;
  /** Flow label, 20 bits. */
  readonly label: number;
  /** Protocol number: the last next-header that was understood. */
  readonly proto: number;
  /** Traffic class byte. */
  readonly tclass: number;
  /** Hop limit. */
  readonly hlimit: number;
  /** Fragment or not. */
  readonly frag: Fragment;
}

/** Ports of TCP, UDP or SCTP. */
export interface PortsKey {
  /** Source port. */
  readonly src: number;
  /** Destination port. */
  readonly dst: number;
}

/** Type and code of ICMP or ICMPv6. */
export interface IcmpKey {
  /** Message type. */
  readonly type: number;
  /** Message code. */
  readonly code: number;
}

/** Fields of ARP and RARP over Ethernet (`arp`). */
export interface ArpKey {
  /** Sender's IPv4 address. */
  readonly sip: Ipv4Address;
  /** Target's IPv4 address. */
  readonly tip: Ipv4Address;
  /** Opcode; the userspace datapath keeps the low 8 bits only. */
  readonly op: number;
  /** Sender's Ethernet address. */
  readonly sha: MacAddress;
  /** Target's Ethernet address. */
  readonly tha: MacAddress;
}

/** Fields of neighbour solicitations and advertisements (`nd`). */
export interface NdKey {
  /** Target address. */
  readonly target: Ipv6Address;
  /** Source link-layer address option, all zero when absent. */
  readonly sll: MacAddress;
  /** Target link-layer address option, all zero when absent. */
  readonly tll: MacAddress;
}

/** Further fields of neighbour discovery (`nd_ext`); `netdev` only. */
export interface NdExtensions {
  /** The reserved word, which holds the flags of an advertisement. */
  readonly reserved: number;
  /** Type of the options field. */
  readonly optionsType: number;
}

/** Fields of a network service header, RFC 8300 (`nsh`). */
export interface NshKey {
  /** O bit and unassigned bits. */
  readonly flags: number;
  /** Time to live, 6 bits. */
  readonly ttl: number;
  /** Metadata type, 1 or 2. */
  readonly mdtype: number;
  /** Next protocol. */
  readonly np: number;
  /** Service path identifier, 24 bits. */
  readonly spi: number;
  /** Service index. */
  readonly si: number;
  /** The four context words of metadata type 1. */
  readonly contexts?: readonly number[];
  /** The TLVs of metadata type 2 as bytes; in `pushNsh` only. */
  readonly md2?: Uint8Array;
  /** Attributes of the nest that have no name here. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** Five-tuple of the original direction of a tracked IPv4 connection (`ct_tuple4`). */
export interface CtTuple4 {
  /** Source address. */
  readonly src: Ipv4Address;
  /** Destination address. */
  readonly dst: Ipv4Address;
  /** Protocol number. */
  readonly proto: number;
  /** Source port, or ICMP type. */
  readonly srcPort: number;
  /** Destination port, or ICMP code. */
  readonly dstPort: number;
}

/** Five-tuple of the original direction of a tracked IPv6 connection (`ct_tuple6`). */
export interface CtTuple6 {
  /** Source address. */
  readonly src: Ipv6Address;
  /** Destination address. */
  readonly dst: Ipv6Address;
  /** Protocol number. */
  readonly proto: number;
  /** Source port, or ICMPv6 type. */
  readonly srcPort: number;
  /** Destination port, or ICMPv6 code. */
  readonly dstPort: number;
}

/** One Geneve option, RFC 8926. */
export interface GeneveOption {
  /** Option class. */
  readonly class: number;
  /** Option type; bit 0x80 means critical. */
  readonly type: number;
  /** Option data, a multiple of 4 bytes up to 124. */
  readonly data: Uint8Array;
}

/** VXLAN group based policy (`vxlan(gbp(...))`). */
export interface VxlanGbp {
  /** Group policy id, 16 bits. */
  readonly id: number;
  /** Flags, 8 bits: 0x40 don't learn, 0x08 policy applied. */
  readonly flags: number;
}

/** ERSPAN metadata (`erspan`); version 1 has an index, version 2 direction and hardware id. */
export interface Erspan {
  /** 1 or 2. */
  readonly version: number;
  /** Port index of version 1, 20 bits. */
  readonly index?: number;
  /** Mirrored direction of version 2: 0 ingress, 1 egress. */
  readonly direction?: number;
  /** Hardware id of version 2, 6 bits. */
  readonly hardwareId?: number;
}

/** GTP-U header fields (`gtpu`); `netdev` only. */
export interface Gtpu {
  /** Flags byte of the header. */
  readonly flags: number;
  /** Message type. */
  readonly messageType: number;
}

/** Metadata of a tunnelled packet (`tunnel`): the outer header that it had or shall get. */
export interface TunnelKey {
  /** Tunnel id (VNI, GRE key), 64 bits. Its presence is the flag `key` of the text form. */
  readonly id?: bigint;
  /** Outer IPv4 source. */
  readonly src?: Ipv4Address;
  /** Outer IPv4 destination. */
  readonly dst?: Ipv4Address;
  /** Outer IPv6 source. */
  readonly ipv6Src?: Ipv6Address;
  /** Outer IPv6 destination. */
  readonly ipv6Dst?: Ipv6Address;
  /** Outer TOS or traffic class. */
  readonly tos?: number;
  /** Outer TTL or hop limit; the kernel insists on it. */
  readonly ttl?: number;
  /** Outer don't-fragment bit. */
  readonly dontFragment?: boolean;
  /** Outer UDP checksum or GRE checksum. */
  readonly checksum?: boolean;
  /** Geneve OAM bit. */
  readonly oam?: boolean;
  /** Outer source port. */
  readonly srcPort?: number;
  /** Outer destination port. */
  readonly dstPort?: number;
  /** Geneve options, in wire order. */
  readonly geneve?: readonly GeneveOption[];
  /** VXLAN group based policy. */
  readonly vxlanGbp?: VxlanGbp;
  /** ERSPAN metadata. */
  readonly erspan?: Erspan;
  /** GTP-U header fields. */
  readonly gtpu?: Gtpu;
  /** Kernel only: send as a bridge port would (`OVS_TUNNEL_KEY_ATTR_IPV4_INFO_BRIDGE`). */
  readonly infoBridge?: boolean;
  /** Attributes of the nest that have no name here. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** Every field that a key may have; see {@linkcode FlowKey}. */
export interface FlowKeyFields {
  /** Port the packet came in on. 0 is the local port. */
  readonly inPort?: PortNo;
  /** 0: not recirculated. */
  readonly recircId?: RecircId;
  /** Hash that a `hash` action computed, 0 when none did. */
  readonly dpHash?: number;
  /** Linux's `skb->priority`: QoS class. */
  readonly priority?: number;
  /** Linux's `skb->mark`. */
  readonly skbMark?: number;
  /** Connection state, bits of `CtState`. */
  readonly ctState?: number;
  /** Zone of the last `ct` action. */
  readonly ctZone?: CtZone;
  /** Mark of the connection. */
  readonly ctMark?: number;
  /** Labels of the connection, 128 bits. */
  readonly ctLabels?: bigint;
  /** Original tuple of the connection, IPv4. */
  readonly ctTuple4?: CtTuple4;
  /** Original tuple of the connection, IPv6. Excludes `nd`. */
  readonly ctTuple6?: CtTuple6;
  /** Tunnel metadata. */
  readonly tunnel?: TunnelKey;
  /** Packet type; `netdev` only. */
  readonly packetType?: PacketType;
  /** Ethernet addresses. */
  readonly ethernet?: EthernetKey;
  /** VLAN tags, outermost first. */
  readonly vlans?: readonly VlanTag[];
  /** EtherType of the innermost payload, behind all tags. Absent for LLC frames. */
  readonly etherType?: number;
  /** MPLS label stack, outermost first, up to 3. */
  readonly mpls?: readonly MplsLabel[];
  /** IPv4 header. */
  readonly ipv4?: Ipv4Key;
  /** IPv6 header. */
  readonly ipv6?: Ipv6Key;
  /** Bits of the IPv6 extension headers seen. Linux 5.18 and later; not known to `netdev`. */
  readonly ipv6Exthdrs?: number;
  /** ARP or RARP. */
  readonly arp?: ArpKey;
  /** Network service header. */
  readonly nsh?: NshKey;
  /** TCP ports. */
  readonly tcp?: PortsKey;
  /** TCP flags, 12 bits. */
  readonly tcpFlags?: number;
  /** UDP ports. */
  readonly udp?: PortsKey;
  /** SCTP ports. */
  readonly sctp?: PortsKey;
  /** ICMP type and code. */
  readonly icmp?: IcmpKey;
  /** ICMPv6 type and code. */
  readonly icmpv6?: IcmpKey;
  /** Neighbour discovery. */
  readonly nd?: NdKey;
  /** More of neighbour discovery; `netdev` only. */
  readonly ndExtensions?: NdExtensions;
  /** Attributes that have no name here. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** Name of a field of a key. */
export type FieldName = keyof FlowKeyFields;

/** Fields that only exist in a packet that has an IP header. */
export type TransportField =
  | "tcp"
  | "tcpFlags"
  | "udp"
  | "sctp"
  | "icmp"
  | "icmpv6"
  | "nd";

/** A key of layer 4 says by which protocol, so that a port without one does not compile. */
export type Transported<Key, Ip4, Ip6> =
  | (Key & { readonly [Field in TransportField]?: never })
  | (Key & { readonly ipv4: Ip4 })
  | (Key & { readonly ipv6: Ip6 });

/**
 * The key of a packet: what a datapath extracts from it, and what flows match.
 *
 * A field that is absent is not in the packet (or, in a key made by hand, not of interest).
 * Ports, flags and types of layer 4 need the IP header they belong to.
 */
export type FlowKey = Transported<FlowKeyFields, Ipv4Key, Ipv6Key>;

/** Fields of a structure, each of which may be left out. */
export type Partially<T> = T extends number | string | bigint | boolean | Uint8Array ? T
  : T extends readonly (infer Item)[] ? readonly Partially<Item>[]
  : { readonly [Field in keyof T]?: T[Field] };

/** The fields of a key with parts of structures left out, which count as zero. */
export type FlowKeyInitFields = {
  readonly [Field in FieldName]?: Partially<NonNullable<FlowKeyFields[Field]>>;
};

/** A key made by hand: like {@linkcode FlowKey}, but parts of a structure may be left out. */
export type FlowKeyInit = Transported<
  FlowKeyInitFields,
  Partially<Ipv4Key> & { readonly proto: number },
  Partially<Ipv6Key> & { readonly proto: number }
>;

/** The mask of a field: its own shape, bits for values; `true` says every bit. */
export type MaskOf<T> = T extends boolean ? boolean
  : T extends bigint ? bigint | true
  : T extends Fragment ? number | true
  : T extends number ? number | true
  : T extends Uint8Array ? Uint8Array | true
  : T extends string ? string | true
  : T extends readonly (infer Item)[] ? readonly MaskOf<Item>[] | true
  : { readonly [Field in keyof T]?: MaskOf<NonNullable<T[Field]>> } | true;

/**
 * The bits of a key that matter.
 *
 * It has the shape of {@linkcode FlowKey}; each value is a bit mask (of an address, a mask in
 * address form), or `true` for all bits: for all that the key names, where it names a field in
 * parts. What is absent does not matter.
 */
export type FlowMask =
  & {
    readonly [Field in Exclude<FieldName, "unknown">]?: MaskOf<
      NonNullable<FlowKeyFields[Field]>
    >;
  }
  & { readonly unknown?: readonly UnknownAttribute[] | true };
