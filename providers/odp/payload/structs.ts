// SPDX-License-Identifier: Apache-2.0
/**
 * Payloads of `OVS_KEY_ATTR_*` that are structures: where each field lies.
 *
 * @module
 */

import type {
  ArpKey,
  CtTuple4,
  CtTuple6,
  EthernetKey,
  IcmpKey,
  Ipv4Key,
  Ipv6Key,
  NdExtensions,
  NdKey,
  PacketType,
  PortsKey,
} from "../../types.ts";
import { LeafCodec, StructCodec } from "../../codec/codec.ts";
import {
  be16,
  be16x,
  be32x0,
  bits,
  fragment,
  ipv4,
  ipv6,
  mac,
  u8,
  u8x,
} from "../../codec/leaf.ts";

/** Ports of TCP, UDP or SCTP; `name` is for errors. */
export const ports = (name: string): StructCodec<PortsKey> =>
  new StructCodec<PortsKey>(name, 4, {
    src: { at: 0, leaf: be16 },
    dst: { at: 2, leaf: be16 },
  });

/** Type and code of ICMP or ICMPv6; `name` is for errors. */
export const icmp = (name: string): StructCodec<IcmpKey> =>
  new StructCodec<IcmpKey>(name, 2, {
    type: { at: 0, leaf: u8 },
    code: { at: 1, leaf: u8 },
  });

/** `struct ovs_key_ethernet` */
export const ethernet: StructCodec<EthernetKey> = new StructCodec("ethernet", 12, {
  src: { at: 0, leaf: mac },
  dst: { at: 6, leaf: mac },
});

/** `struct ovs_key_ipv4` */
export const ipv4Key: StructCodec<Ipv4Key> = new StructCodec("ipv4", 12, {
  src: { at: 0, leaf: ipv4 },
  dst: { at: 4, leaf: ipv4 },
  proto: { at: 8, leaf: u8 },
  tos: { at: 9, leaf: u8x },
  ttl: { at: 10, leaf: u8 },
  frag: { at: 11, leaf: fragment },
});

/** `struct ovs_key_ipv6` */
export const ipv6Key: StructCodec<Ipv6Key> = new StructCodec("ipv6", 40, {
  src: { at: 0, leaf: ipv6 },
  dst: { at: 16, leaf: ipv6 },
  label: { at: 32, leaf: bits(4, 0, 20, "hex") },
  proto: { at: 36, leaf: u8 },
  tclass: { at: 37, leaf: u8x },
  hlimit: { at: 38, leaf: u8 },
  frag: { at: 39, leaf: fragment },
});

/** `struct ovs_key_arp` */
export const arp: StructCodec<ArpKey> = new StructCodec("arp", 24, {
  sip: { at: 0, leaf: ipv4 },
  tip: { at: 4, leaf: ipv4 },
  op: { at: 8, leaf: be16 },
  sha: { at: 10, leaf: mac },
  tha: { at: 16, leaf: mac },
});

/** `struct ovs_key_nd` */
export const nd: StructCodec<NdKey> = new StructCodec("nd", 28, {
  target: { at: 0, leaf: ipv6 },
  sll: { at: 16, leaf: mac },
  tll: { at: 22, leaf: mac },
});

/** `struct ovs_key_nd_extensions`, of Open vSwitch */
export const ndExtensions: StructCodec<NdExtensions> = new StructCodec(
  "ndExtensions",
  8,
  {
    reserved: { at: 0, leaf: be32x0, text: "nd_reserved" },
    optionsType: { at: 4, leaf: u8, text: "nd_options_type" },
  },
);

/** Packet type: name space and type, of Open vSwitch */
export const packetType: StructCodec<PacketType> = new StructCodec("packetType", 4, {
  ns: { at: 0, leaf: be16 },
  id: { at: 2, leaf: be16x },
});

/** `struct ovs_key_ct_tuple_ipv4` */
export const ctTuple4: StructCodec<CtTuple4> = new StructCodec("ctTuple4", 16, {
  src: { at: 0, leaf: ipv4 },
  dst: { at: 4, leaf: ipv4 },
  proto: { at: 12, leaf: u8 },
  srcPort: { at: 8, leaf: be16, text: "tp_src" },
  dstPort: { at: 10, leaf: be16, text: "tp_dst" },
});

// Open vSwitch prints src_port= and dst_port= here, but reads only tp_src= and tp_dst=
// (3.1 and 3.7); both are read here.
/** `struct ovs_key_ct_tuple_ipv6` */
export const ctTuple6: StructCodec<CtTuple6> = new StructCodec("ctTuple6", 40, {
  src: { at: 0, leaf: ipv6 },
  dst: { at: 16, leaf: ipv6 },
  proto: { at: 36, leaf: u8 },
  srcPort: { at: 32, leaf: be16, text: "src_port" },
  dstPort: { at: 34, leaf: be16, text: "dst_port" },
});

/** The low 12 bits of the flags' 16. */
export const tcpFlags = new LeafCodec(bits(2, 0, 12));
