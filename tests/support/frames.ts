// SPDX-License-Identifier: Apache-2.0
/**
 * Frames for tests: headers one upon another, lengths and checksums filled in.
 *
 * @module
 */
import {
  checksum as sumOf,
  concat,
  putIpv4,
  putIpv6,
  sum16,
} from "../../frames/bytes.ts";
import * as frames from "../../frames/mod.ts";

/** Bytes in network order, from numbers, hexadecimal text and other bytes. */
export function bytes(
  ...parts: readonly (number | string | Uint8Array)[]
): Uint8Array<ArrayBuffer> {
  return concat(
    ...parts.map((part) =>
      typeof part === "number"
        ? Uint8Array.of(part)
        : typeof part === "string"
        ? Uint8Array.fromHex(part.replaceAll(/[ :]/g, ""))
        : part
    ),
  );
}

/** A number as 16 bits in network order. */
export function be16(value: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(value >>> 8, value);
}

/** A number as 32 bits in network order. */
export function be32(value: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** An IPv4 address as bytes. */
export function ip4(address: string): Uint8Array<ArrayBuffer> {
  const made = new Uint8Array(4);
  putIpv4(made, 0, address, "address");
  return made;
}

/** An IPv6 address as bytes. */
export function ip6(address: string): Uint8Array<ArrayBuffer> {
  const made = new Uint8Array(16);
  putIpv6(made, 0, address, "address");
  return made;
}

/** The Internet checksum of some bytes. */
export function checksum(data: Uint8Array): number {
  return sumOf(sum16(data));
}

/** Addresses that the tests' frames have, if they do not say otherwise. */
export const defaults = {
  src: "02:00:00:00:00:01",
  dst: "02:00:00:00:00:02",
  ipSrc: "10.0.0.1",
  ipDst: "10.0.0.2",
  ip6Src: "fd00::1",
  ip6Dst: "fd00::2",
} as const;

/** An Ethernet header in front of `payload`. */
export function ethernet(
  etherType: number,
  payload: Uint8Array,
  { src = defaults.src, dst = defaults.dst }: { src?: string; dst?: string } = {},
): Uint8Array<ArrayBuffer> {
  return frames.build([
    frames.ethernet({ src, dst, etherType }),
    frames.payload(payload),
  ]);
}

/** A VLAN tag behind the Ethernet header's addresses. */
export function tagged(
  frame: Uint8Array,
  tci: number,
  tpid = 0x8100,
): Uint8Array<ArrayBuffer> {
  return bytes(frame.subarray(0, 12), be16(tpid), be16(tci), frame.subarray(12));
}

/** What may be said of an IPv4 header. */
export interface Ipv4Fields {
  src?: string;
  dst?: string;
  tos?: number;
  ttl?: number;
  /** Flags and offset, as the header has them. */
  fragment?: number;
  options?: Uint8Array;
}

function ipv4Header(fields: Ipv4Fields, proto?: number): frames.Layer {
  const { src = defaults.ipSrc, dst = defaults.ipDst, tos = 0, ttl = 64, fragment = 0 } =
    fields;
  return frames.ipv4({
    src,
    dst,
    tos,
    ttl,
    id: 1,
    reserved: (fragment & 0x8000) !== 0,
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    offset: (fragment & 0x1fff) * 8,
    ...(fields.options && { options: fields.options }),
    ...(proto !== undefined && { proto }),
  });
}

/** An IPv4 packet. */
export function ipv4(
  proto: number,
  payload: Uint8Array,
  fields: Ipv4Fields = {},
): Uint8Array<ArrayBuffer> {
  return frames.build([ipv4Header(fields, proto), frames.payload(payload)]);
}

/** An IPv6 packet. */
export function ipv6(
  next: number,
  payload: Uint8Array,
  fields: {
    src?: string;
    dst?: string;
    hlimit?: number;
    tclass?: number;
    label?: number;
  } = {},
): Uint8Array<ArrayBuffer> {
  const addresses = { src: defaults.ip6Src, dst: defaults.ip6Dst };
  return frames.build([
    frames.ipv6({ ...addresses, ...fields, next }),
    frames.payload(payload),
  ]);
}

/** The pseudo header of layer 4 in front of an IP packet's payload. */
function pseudo(packet: Uint8Array, proto: number, payload: Uint8Array): Uint8Array {
  const addresses = (packet[0] as number) >> 4 === 4
    ? packet.subarray(12, 20)
    : packet.subarray(8, 40);
  return bytes(addresses, be32(payload.length), be32(proto), payload);
}

/** Whether the layer 4 checksum of an IPv4 or IPv6 packet without options is right. */
export function transportChecksumIsRight(packet: Uint8Array): boolean {
  const v4 = (packet[0] as number) >> 4 === 4;
  const proto = packet[v4 ? 9 : 6] as number;
  const size = v4
    ? ((packet[2] as number) << 8 | (packet[3] as number)) - 20
    : (packet[4] as number) << 8 | (packet[5] as number);
  const start = v4 ? 20 : 40;
  const payload = packet.subarray(start, start + size);
  if (proto === 1) return checksum(payload) === 0;
  return checksum(pseudo(packet, proto, payload)) === 0;
}

/** What may be said of a UDP or TCP packet. */
export interface TransportFields extends Ipv4Fields {
  srcPort?: number;
  dstPort?: number;
  payload?: Uint8Array;
  /** TCP flags. */
  flags?: number;
  version?: 4 | 6;
}

/** Ethernet and IP headers of a packet. */
function headers(fields: TransportFields): frames.Layer[] {
  const link = frames.ethernet({ src: defaults.src, dst: defaults.dst });
  if (fields.version !== 6) return [link, ipv4Header(fields)];
  const { src = defaults.ip6Src, dst = defaults.ip6Dst } = fields;
  return [link, frames.ipv6({ src, dst })];
}

/** A UDP frame. */
export function udpFrame(fields: TransportFields = {}): Uint8Array<ArrayBuffer> {
  const { srcPort = 1000, dstPort = 2000, payload = new Uint8Array(18) } = fields;
  const header = frames.udp({ src: srcPort, dst: dstPort });
  return frames.build([...headers(fields), header, frames.payload(payload)]);
}

/** A TCP frame. */
export function tcpFrame(fields: TransportFields = {}): Uint8Array<ArrayBuffer> {
  const { srcPort = 1000, dstPort = 2000, flags = 0x10, payload = new Uint8Array(6) } =
    fields;
  const numbers = { seq: 1, ack: 2, window: 1024 };
  const header = frames.tcp({ src: srcPort, dst: dstPort, flags, ...numbers });
  return frames.build([...headers(fields), header, frames.payload(payload)]);
}

/** An ICMP echo request. */
export function icmpFrame(fields: TransportFields = {}): Uint8Array<ArrayBuffer> {
  const { payload = new Uint8Array(16) } = fields;
  const header = frames.icmp({ id: 7, sequence: 1 });
  return frames.build([...headers(fields), header, frames.payload(payload)]);
}

/** An ARP request. */
export function arpFrame(
  fields: { sip?: string; tip?: string; op?: number } = {},
): Uint8Array<ArrayBuffer> {
  const { sip = defaults.ipSrc, tip = defaults.ipDst, op = 1 } = fields;
  const padding = new Uint8Array(18);
  return frames.build([
    frames.ethernet({ src: defaults.src, dst: "ff:ff:ff:ff:ff:ff" }),
    frames.arp({ op, sha: defaults.src, sip, tip, padding }),
  ]);
}

/** A neighbour solicitation with the option of the sender's address. */
export function neighbourFrame(): Uint8Array<ArrayBuffer> {
  return frames.build([
    ...headers({ version: 6 }),
    frames.neighbour({ target: defaults.ip6Dst, sll: defaults.src }),
  ]);
}
