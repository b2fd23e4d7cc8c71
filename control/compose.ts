// SPDX-License-Identifier: Apache-2.0
/**
 * Makes a packet that has a given key: headers with right lengths and checksums, and a payload of
 * no meaning.
 *
 * @module
 */
import { parseIpv4, parseIpv6, parseMac } from "../providers/codec/address.ts";
import type { FlowKey, Ipv4Key, Ipv6Key } from "../providers/types.ts";

/** Bytes of payload of layer 4, as Open vSwitch's dummy ports make them. */
const payloadSize = 64;

// Flags of TCP (RFC 9293).
const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;

/** How a packet is made. */
export interface ComposeOptions {
  /** Bytes of the whole packet; longer than the headers and their payload. Absent: no padding. */
  readonly length?: number;
}

/** A packet with this key. Metadata of the key (port, marks, connection) is not in packets. */
export function composePacket(
  key: FlowKey,
  { length }: ComposeOptions = {},
): Uint8Array<ArrayBuffer> {
  const link = linkHeader(key);
  if (length === undefined) {
    return Uint8Array.from([...link, ...network(key, payloadSize)]);
  }
  const empty = link.length + network(key, 0).length;
  if (length < empty) {
    throw new RangeError(`a packet of ${length} bytes has no room for its headers`);
  }
  const frame = new Uint8Array(length); // ARP has no payload: what is left is zero.
  frame.set([...link, ...network(key, length - empty)]);
  return frame;
}

const be16 = (value: number): number[] => [value >> 8 & 0xff, value & 0xff];
const be32 = (value: number): number[] => [
  ...be16(value >>> 16),
  ...be16(value & 0xffff),
];

function mac(text: string | undefined): number[] {
  const bytes = new Uint8Array(6);
  if (text !== undefined) parseMac(text, 0, bytes, 0);
  return [...bytes];
}

function ip4(text: string | undefined): number[] {
  const bytes = new Uint8Array(4);
  if (text !== undefined) parseIpv4(text, 0, bytes, 0);
  return [...bytes];
}

function ip6(text: string | undefined): number[] {
  const bytes = new Uint8Array(16);
  if (text !== undefined) parseIpv6(text, 0, bytes, 0);
  return [...bytes];
}

function linkHeader(key: FlowKey): number[] {
  const { ethernet, vlans = [], etherType, mpls = [] } = key;
  const tags = vlans.flatMap(({ tpid, vid, pcp }) => [
    ...be16(tpid || 0x8100),
    ...be16(pcp << 13 | 1 << 12 | vid),
  ]);
  const labels = mpls.flatMap(({ label, tc, ttl, bos }, i) =>
    be32(
      (label << 12 | tc << 9 | (i === mpls.length - 1 ? 1 : bos) << 8 | ttl) >>> 0,
    )
  );
  return [
    ...mac(ethernet?.dst),
    ...mac(ethernet?.src),
    ...tags,
    ...be16(etherType ?? 0),
    ...labels,
  ];
}

function network(key: FlowKey, size: number): number[] {
  if (key.ipv4) return ipv4Packet(key.ipv4, key, size);
  if (key.ipv6) return ipv6Packet(key.ipv6, key, size);
  if (!key.arp) return [];
  const { op, sha, sip, tha, tip } = key.arp;
  const head = [...be16(1), ...be16(0x0800), 6, 4, ...be16(op)];
  return [...head, ...mac(sha), ...ip4(sip), ...mac(tha), ...ip4(tip)];
}

function ipv4Packet(ip: Ipv4Key, key: FlowKey, size: number): number[] {
  const src = ip4(ip.src);
  const dst = ip4(ip.dst);
  const rest = ip.frag === "later" ? payload(size) : transport(key, ip.proto, size);
  const pseudo = [...src, ...dst, 0, ip.proto, ...be16(rest.length)];
  fillChecksum(rest, ip.proto, ip.proto === 1 ? [] : pseudo, ip.frag);
  const offset = ip.frag === "no" ? 0x4000 : ip.frag === "first" ? 0x2000 : 100;
  const head = [
    0x45,
    ip.tos,
    ...be16(20 + rest.length),
    0,
    0,
    ...be16(offset),
    ip.ttl,
    ip.proto,
    0,
    0,
    ...src,
    ...dst,
  ];
  head.splice(10, 2, ...be16(checksum(head)));
  return [...head, ...rest];
}

/** Header of a fragment (RFC 8200, 4.5). */
const nextFragment = 44;

function ipv6Packet(ip: Ipv6Key, key: FlowKey, size: number): number[] {
  const src = ip6(ip.src);
  const dst = ip6(ip.dst);
  const rest = ip.frag === "later" ? payload(size) : transport(key, ip.proto, size);
  const pseudo = [...src, ...dst, ...be32(rest.length), 0, 0, 0, ip.proto];
  fillChecksum(rest, ip.proto, pseudo, ip.frag);
  const fragment = ip.frag === "no"
    ? []
    : [ip.proto, 0, ...be16(ip.frag === "first" ? 1 : 100 << 3), 0, 0, 0, 0];
  return [
    ...be32((6 << 28 | ip.tclass << 20 | ip.label) >>> 0),
    ...be16(fragment.length + rest.length),
    fragment.length > 0 ? nextFragment : ip.proto,
    ip.hlimit,
    ...src,
    ...dst,
    ...fragment,
    ...rest,
  ];
}

function payload(size: number): number[] {
  return Array.from({ length: size }, (_, i) => i & 0xff);
}

function transport(key: FlowKey, proto: number, size: number): number[] {
  const { tcp, udp, sctp, icmp, icmpv6, nd } = key;
  if (proto === 6 && tcp) {
    const flags = key.tcpFlags ?? 0;
    const ports = [...be16(tcp.src), ...be16(tcp.dst)];
    const sequence = [...be32(0), ...be32(0)];
    const rest = [...be16(5 << 12 | flags), 0, 0, 0, 0, 0, 0];
    // A connection that begins or ends carries nothing.
    const carried = flags & (FIN | SYN | RST) && size === payloadSize ? 0 : size;
    return [...ports, ...sequence, ...rest, ...payload(carried)];
  }
  if (proto === 17 && udp) {
    return [
      ...be16(udp.src),
      ...be16(udp.dst),
      ...be16(8 + size),
      0,
      0,
      ...payload(size),
    ];
  }
  if (proto === 132 && sctp) {
    return [
      ...be16(sctp.src),
      ...be16(sctp.dst),
      ...be32(0),
      ...be32(0),
      ...payload(size),
    ];
  }
  if (proto === 1 && icmp) {
    return [icmp.type, icmp.code, 0, 0, 0, 0, 0, 0, ...payload(size)];
  }
  if (proto === 58 && icmpv6) {
    const head = [icmpv6.type, icmpv6.code, 0, 0, 0, 0, 0, 0];
    if (!nd) return [...head, ...payload(size)];
    const option = (kind: number, address: string): number[] =>
      /^[0:]*$/.test(address) ? [] : [kind, 1, ...mac(address)];
    return [...head, ...ip6(nd.target), ...option(1, nd.sll), ...option(2, nd.tll)];
  }
  return payload(size);
}

/** Where the checksum is, by protocol. */
const checksumAt: Readonly<Record<number, number>> = { 1: 2, 6: 16, 17: 6, 58: 2 };

function fillChecksum(
  rest: number[],
  proto: number,
  pseudo: readonly number[],
  frag: string,
): void {
  const at = checksumAt[proto];
  // A fragment's checksum covers what other fragments carry.
  if (at === undefined || frag !== "no" || rest.length < at + 2) return;
  const sum = checksum([...pseudo, ...rest]);
  rest.splice(at, 2, ...be16(proto === 17 && sum === 0 ? 0xffff : sum));
}

function checksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] ?? 0) << 8 | (bytes[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
