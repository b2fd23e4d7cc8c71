// SPDX-License-Identifier: Apache-2.0
/**
 * The headers that frames are made of, as plain objects told apart by `type`.
 *
 * Fields that follow from others (lengths, checksums, the type of what comes next) are optional.
 * Where one is absent it is computed when the frame is built, and it is absent in what was parsed
 * unless the frame has another value than that.  Numbers are in host order; addresses are text.
 *
 * @module
 */
import type { DhcpLayer } from "./dhcp_message.ts";
import type { DnsLayer } from "./dns_message.ts";

/** An Ethernet header. Source of the format: IEEE 802.3. */
export interface EthernetLayer {
  /** Tells it from other layers. */
  readonly type: "ethernet";
  /** Receiver's MAC address. */
  readonly dst: string;
  /** Sender's MAC address. */
  readonly src: string;
  /** EtherType, or the length of an 802.2 frame. */
  readonly etherType?: number;
}

/** An 802.1Q tag. */
export interface VlanLayer {
  /** Tells it from other layers. */
  readonly type: "vlan";
  /** EtherType that says that this is a tag: 0x8100 or 0x88a8. */
  readonly tpid: number;
  /** Number of the VLAN. */
  readonly vid: number;
  /** Priority, 0 to 7. */
  readonly pcp: number;
  /** Drop eligible: bit 12. */
  readonly dei: number;
  /** What comes next. */
  readonly etherType?: number;
}

/** A label stack entry (RFC 3032). */
export interface MplsLayer {
  /** Tells it from other layers. */
  readonly type: "mpls";
  /** 20 bits. */
  readonly label: number;
  /** Traffic class, 3 bits. */
  readonly tc: number;
  /** Hops that are left. */
  readonly ttl: number;
  /** Bottom of stack; 1 for the last label unless said otherwise. */
  readonly bos?: number;
}

/** ARP for IPv4 on Ethernet (RFC 826). */
export interface ArpLayer {
  /** Tells it from other layers. */
  readonly type: "arp";
  /** 1 request, 2 reply. */
  readonly op: number;
  /** Sender's MAC address. */
  readonly sha: string;
  /** Sender's IPv4 address. */
  readonly sip: string;
  /** Target's MAC address. */
  readonly tha: string;
  /** Target's IPv4 address. */
  readonly tip: string;
  /** What follows up to the end of the frame. */
  readonly padding?: Uint8Array;
}

/** An IPv4 header (RFC 791). */
export interface Ipv4Layer {
  /** Tells it from other layers. */
  readonly type: "ipv4";
  /** Sender. */
  readonly src: string;
  /** Receiver. */
  readonly dst: string;
  /** Type of service, 8 bits. */
  readonly tos: number;
  /** Hops that are left. */
  readonly ttl: number;
  /** Identification of the datagram. */
  readonly id: number;
  /** Whether routers must not cut it. */
  readonly dontFragment: boolean;
  /** Whether other fragments follow. */
  readonly moreFragments: boolean;
  /** Offset of a fragment in bytes, a multiple of 8. */
  readonly offset: number;
  /** The bit that must be zero. */
  readonly reserved?: boolean;
  /** Protocol of what comes next. */
  readonly proto?: number;
  /** Bytes of options, a multiple of 4. */
  readonly options?: Uint8Array;
  /** Bytes of header and content. */
  readonly length?: number;
  /** Of what the protocol says. */
  readonly checksum?: number;
  /** What follows behind `length`, up to the end of the frame. */
  readonly padding?: Uint8Array;
}

/** An IPv6 header (RFC 8200). */
export interface Ipv6Layer {
  /** Tells it from other layers. */
  readonly type: "ipv6";
  /** Sender. */
  readonly src: string;
  /** Receiver. */
  readonly dst: string;
  /** Traffic class, 8 bits. */
  readonly tclass: number;
  /** 20 bits. */
  readonly label: number;
  /** Hops that are left. */
  readonly hlimit: number;
  /** Protocol of what comes next. */
  readonly next?: number;
  /** Bytes behind this header. */
  readonly length?: number;
  /** What follows behind `length`, up to the end of the frame. */
  readonly padding?: Uint8Array;
}

/** A fragment header of IPv6. */
export interface Ipv6FragmentLayer {
  /** Tells it from other layers. */
  readonly type: "ipv6Fragment";
  /** Offset in bytes, a multiple of 8. */
  readonly offset: number;
  /** Whether other fragments follow. */
  readonly moreFragments: boolean;
  /** The same in all fragments of a packet. */
  readonly id: number;
  /** Protocol of what comes next. */
  readonly next?: number;
}

/** Any other extension header of IPv6: hop-by-hop (0), routing (43), destination (60). */
export interface Ipv6ExtensionLayer {
  /** Tells it from other layers. */
  readonly type: "ipv6Extension";
  /** Number of the header. */
  readonly header: number;
  /** What follows the first two bytes: 6 bytes and a multiple of 8 more. */
  readonly data: Uint8Array;
  /** Protocol of what comes next. */
  readonly next?: number;
}

/** ICMP (RFC 792). */
export interface IcmpLayer {
  /** Tells it from other layers. */
  readonly type: "icmp";
  /** Type of the message. */
  readonly kind: number;
  /** Code of the message. */
  readonly code: number;
  /** First half of the word behind the checksum: the identifier of an echo. */
  readonly id: number;
  /** Second half of that word. */
  readonly sequence: number;
  /** Of what the protocol says. */
  readonly checksum?: number;
}

/** An option of neighbour discovery (RFC 4861). */
export interface NdOption {
  /** Type of the option. */
  readonly kind: number;
  /** What follows the first two bytes: 6 bytes and a multiple of 8 more. */
  readonly data: Uint8Array;
}

/** A neighbour solicitation or advertisement. */
export interface NeighbourDiscovery {
  /** The address that is asked for or told. */
  readonly target: string;
  /** Router, solicited and override are the highest three bits of the 32. */
  readonly flags: number;
  /** Source link-layer address; its option comes first. */
  readonly sll?: string;
  /** Target link-layer address; its option comes next. */
  readonly tll?: string;
  /** All other options. */
  readonly options?: readonly NdOption[];
}

/** ICMPv6 (RFC 4443); `nd` for kinds 135 and 136. */
export interface Icmpv6Layer {
  /** Tells it from other layers. */
  readonly type: "icmpv6";
  /** Type of the message. */
  readonly kind: number;
  /** Code of the message. */
  readonly code: number;
  /** Identification of the datagram. */
  readonly id: number;
  /** Sequence number, 32 bits. */
  readonly sequence: number;
  /** What it says of a neighbour. */
  readonly nd?: NeighbourDiscovery;
  /** Of what the protocol says. */
  readonly checksum?: number;
}

/** TCP (RFC 9293). */
export interface TcpLayer {
  /** Tells it from other layers. */
  readonly type: "tcp";
  /** Sender's port. */
  readonly src: number;
  /** Receiver's port. */
  readonly dst: number;
  /** Sequence number. */
  readonly seq: number;
  /** Acknowledgement number. */
  readonly ack: number;
  /** Bits from FIN (1) to CWR (0x80) and NS (0x100). */
  readonly flags: number;
  /** Bytes that the sender takes. */
  readonly window: number;
  /** Urgent pointer. */
  readonly urgent: number;
  /** Bytes of options, a multiple of 4. */
  readonly options?: Uint8Array;
  /** Of what the protocol says. */
  readonly checksum?: number;
}

/** UDP (RFC 768). Ports of 0 become those of what is inside, where that has some. */
export interface UdpLayer {
  /** Tells it from other layers. */
  readonly type: "udp";
  /** Sender's port. */
  readonly src: number;
  /** Receiver's port. */
  readonly dst: number;
  /** Bytes of header and content. */
  readonly length?: number;
  /** Of what the protocol says. */
  readonly checksum?: number;
}

/** SCTP (RFC 9260); chunks are payload. */
export interface SctpLayer {
  /** Tells it from other layers. */
  readonly type: "sctp";
  /** Sender's port. */
  readonly src: number;
  /** Receiver's port. */
  readonly dst: number;
  /** Verification tag. */
  readonly tag: number;
  /** CRC32c as the wire has it. */
  readonly checksum?: number;
}

/** VXLAN (RFC 7348); a frame follows. */
export interface VxlanLayer {
  /** Tells it from other layers. */
  readonly type: "vxlan";
  /** Number of the virtual network, 24 bits. */
  readonly vni: number;
  /** First byte: 8 says that there is a VNI. */
  readonly flags: number;
  /** The 24 bits behind it: a group policy has its id in the lower 16. */
  readonly group: number;
  /** The last byte. */
  readonly reserved?: number;
}

/** An option of Geneve. */
export interface GeneveOption {
  /** Who defines the option. */
  readonly class: number;
  /** Type of the option. */
  readonly kind: number;
  /** A multiple of 4 bytes, at most 124. */
  readonly data: Uint8Array;
}

/** Geneve (RFC 8926). */
export interface GeneveLayer {
  /** Tells it from other layers. */
  readonly type: "geneve";
  /** Number of the virtual network, 24 bits. */
  readonly vni: number;
  /** Whether it is for the endpoints themselves. */
  readonly oam: boolean;
  /** Whether options must be understood. */
  readonly critical: boolean;
  /** Options. */
  readonly options: readonly GeneveOption[];
  /** EtherType of what follows: 0x6558 for a frame. */
  readonly protocol?: number;
}

/** GRE (RFC 2784, 2890). */
export interface GreLayer {
  /** Tells it from other layers. */
  readonly type: "gre";
  /** Key, 32 bits. */
  readonly key?: number;
  /** Sequence number, 32 bits. */
  readonly sequence?: number;
  /** `true`: a right one. */
  readonly checksum?: true | number;
  /** EtherType of what follows: 0x6558 for a frame. */
  readonly protocol?: number;
}

/** Bytes that no header describes. */
export interface PayloadLayer {
  /** Tells it from other layers. */
  readonly type: "payload";
  /** The bytes. */
  readonly bytes: Uint8Array;
}

/** One header of a frame. */
export type Layer =
  | EthernetLayer
  | VlanLayer
  | MplsLayer
  | ArpLayer
  | Ipv4Layer
  | Ipv6Layer
  | Ipv6FragmentLayer
  | Ipv6ExtensionLayer
  | IcmpLayer
  | Icmpv6Layer
  | TcpLayer
  | UdpLayer
  | SctpLayer
  | VxlanLayer
  | GeneveLayer
  | GreLayer
  | DhcpLayer
  | DnsLayer
  | PayloadLayer;

/** Name of a header. */
export type LayerType = Layer["type"];

/** The header of this name. */
export type LayerOf<T extends LayerType> = Extract<Layer, { readonly type: T }>;

/** What a layer is made of: fields that have defaults, or are computed, may be absent. */
export type LayerInit<T extends LayerType> = Partial<Omit<LayerOf<T>, "type">>;
