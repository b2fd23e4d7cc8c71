// SPDX-License-Identifier: Apache-2.0
/**
 * Layers by name: `ethernet({ src, dst })`, `ipv4({ dst })`, `udp({ dst: 53 })` ...
 *
 * They check nothing: values are checked when the frame is built.
 *
 * @module
 */
import type {
  ArpLayer,
  EthernetLayer,
  GeneveLayer,
  GreLayer,
  IcmpLayer,
  Icmpv6Layer,
  Ipv4Layer,
  Ipv6ExtensionLayer,
  Ipv6FragmentLayer,
  Ipv6Layer,
  LayerInit,
  MplsLayer,
  NeighbourDiscovery,
  PayloadLayer,
  SctpLayer,
  TcpLayer,
  UdpLayer,
  VlanLayer,
  VxlanLayer,
} from "./layers.ts";

const noMac = "00:00:00:00:00:00";

/** An Ethernet header; addresses are zero unless given. */
export function ethernet(fields: LayerInit<"ethernet"> = {}): EthernetLayer {
  return { type: "ethernet", dst: noMac, src: noMac, ...fields };
}

/** An 802.1Q tag of VLAN 0. */
export function vlan(fields: LayerInit<"vlan"> = {}): VlanLayer {
  return { type: "vlan", tpid: 0x8100, vid: 0, pcp: 0, dei: 0, ...fields };
}

/** A label stack entry with a TTL of 64. */
export function mpls(fields: LayerInit<"mpls"> = {}): MplsLayer {
  return { type: "mpls", label: 0, tc: 0, ttl: 64, ...fields };
}

/** An ARP request. */
export function arp(fields: LayerInit<"arp"> = {}): ArpLayer {
  const empty = { sha: noMac, sip: "0.0.0.0", tha: noMac, tip: "0.0.0.0" };
  return { type: "arp", op: 1, ...empty, ...fields };
}

/** An IPv4 header with a TTL of 64. */
export function ipv4(fields: LayerInit<"ipv4"> = {}): Ipv4Layer {
  return {
    type: "ipv4",
    src: "0.0.0.0",
    dst: "0.0.0.0",
    tos: 0,
    ttl: 64,
    id: 0,
    dontFragment: false,
    moreFragments: false,
    offset: 0,
    ...fields,
  };
}

/** An IPv6 header with a hop limit of 64. */
export function ipv6(fields: LayerInit<"ipv6"> = {}): Ipv6Layer {
  return {
    type: "ipv6",
    src: "::",
    dst: "::",
    tclass: 0,
    label: 0,
    hlimit: 64,
    ...fields,
  };
}

/** A fragment header of IPv6. */
export function ipv6Fragment(fields: LayerInit<"ipv6Fragment"> = {}): Ipv6FragmentLayer {
  return { type: "ipv6Fragment", offset: 0, moreFragments: false, id: 0, ...fields };
}

/** An extension header of IPv6, destination options that say nothing unless said otherwise. */
export function ipv6Extension(
  fields: LayerInit<"ipv6Extension"> = {},
): Ipv6ExtensionLayer {
  // PadN over the four bytes that are left.
  return {
    type: "ipv6Extension",
    header: 60,
    data: Uint8Array.of(1, 4, 0, 0, 0, 0),
    ...fields,
  };
}

/** An ICMP message, an echo request unless said otherwise. */
export function icmp(fields: LayerInit<"icmp"> = {}): IcmpLayer {
  return { type: "icmp", kind: 8, code: 0, id: 0, sequence: 0, ...fields };
}

/** An ICMPv6 message, an echo request unless said otherwise. */
export function icmpv6(fields: LayerInit<"icmpv6"> = {}): Icmpv6Layer {
  return { type: "icmpv6", kind: 128, code: 0, id: 0, sequence: 0, ...fields };
}

/** A solicitation of `target`, or with `kind: 136` an advertisement. */
export function neighbour(
  nd: Partial<NeighbourDiscovery> & {
    readonly target: string;
    readonly kind?: 135 | 136;
  },
): Icmpv6Layer {
  const { kind = 135, ...fields } = nd;
  return icmpv6({ kind, nd: { flags: 0, ...fields } });
}

/** A TCP header with ACK set. */
export function tcp(fields: LayerInit<"tcp"> = {}): TcpLayer {
  const numbers = {
    src: 0,
    dst: 0,
    seq: 0,
    ack: 0,
    flags: 0x10,
    window: 65535,
    urgent: 0,
  };
  return { type: "tcp", ...numbers, ...fields };
}

/** A UDP header. */
export function udp(fields: LayerInit<"udp"> = {}): UdpLayer {
  return { type: "udp", src: 0, dst: 0, ...fields };
}

/** An SCTP header. */
export function sctp(fields: LayerInit<"sctp"> = {}): SctpLayer {
  return { type: "sctp", src: 0, dst: 0, tag: 0, ...fields };
}

/** A VXLAN header. */
export function vxlan(fields: LayerInit<"vxlan"> = {}): VxlanLayer {
  return { type: "vxlan", vni: 0, flags: 8, group: 0, ...fields };
}

/** A Geneve header. */
export function geneve(fields: LayerInit<"geneve"> = {}): GeneveLayer {
  return { type: "geneve", vni: 0, oam: false, critical: false, options: [], ...fields };
}

/** A GRE header. */
export function gre(fields: LayerInit<"gre"> = {}): GreLayer {
  return { type: "gre", ...fields };
}

/** Bytes: themselves, text in UTF-8, or so many zeros. */
export function payload(content: Uint8Array | string | number = 0): PayloadLayer {
  const bytes = typeof content === "number"
    ? new Uint8Array(content)
    : typeof content === "string"
    ? new TextEncoder().encode(content)
    : content;
  return { type: "payload", bytes };
}
