// SPDX-License-Identifier: Apache-2.0
/**
 * Frames for tests: headers one upon another, lengths and checksums filled in.
 *
 * @module
 */

/** Bytes in network order, from numbers, hexadecimal text and other bytes. */
export function bytes(
  ...parts: readonly (number | string | Uint8Array)[]
): Uint8Array<ArrayBuffer> {
  const arrays = parts.map((part) =>
    typeof part === "number"
      ? Uint8Array.of(part)
      : typeof part === "string"
      ? Uint8Array.fromHex(part.replaceAll(/[ :]/g, ""))
      : part
  );
  const all = new Uint8Array(arrays.reduce((size, { length }) => size + length, 0));
  let at = 0;
  for (const array of arrays) {
    all.set(array, at);
    at += array.length;
  }
  return all;
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
  return Uint8Array.from(address.split("."), Number);
}

/** An IPv6 address, written out in full or with one `::`, as bytes. */
export function ip6(address: string): Uint8Array<ArrayBuffer> {
  const [head = "", tail = ""] = address.split("::");
  const words = (text: string): number[] =>
    text === "" ? [] : text.split(":").map((word) => Number.parseInt(word, 16));
  const front = words(head);
  const back = words(tail);
  const middle = new Array<number>(8 - front.length - back.length).fill(0);
  return bytes(...[...front, ...middle, ...back].map(be16));
}

/** The Internet checksum of some bytes. */
export function checksum(data: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) {
    sum += ((data[i] as number) << 8) + (data[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
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
  return bytes(dst, src, be16(etherType), payload);
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

/** An IPv4 packet. */
export function ipv4(
  proto: number,
  payload: Uint8Array,
  fields: Ipv4Fields = {},
): Uint8Array<ArrayBuffer> {
  const { src = defaults.ipSrc, dst = defaults.ipDst, tos = 0, ttl = 64, fragment = 0 } =
    fields;
  const options = fields.options ?? new Uint8Array();
  const header = bytes(
    0x45 + options.length / 4,
    tos,
    be16(20 + options.length + payload.length),
    be16(1),
    be16(fragment),
    ttl,
    proto,
    be16(0),
    ip4(src),
    ip4(dst),
    options,
  );
  header.set(be16(checksum(header)), 10);
  return bytes(header, payload);
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
  const {
    src = defaults.ip6Src,
    dst = defaults.ip6Dst,
    hlimit = 64,
    tclass = 0,
    label = 0,
  } = fields;
  return bytes(
    be32((6 << 28 | tclass << 20 | label) >>> 0),
    be16(payload.length),
    next,
    hlimit,
    ip6(src),
    ip6(dst),
    payload,
  );
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

/** Puts the checksum of layer 4 at `at` of `payload` and makes the whole IP packet. */
function completed(
  wrap: (payload: Uint8Array) => Uint8Array<ArrayBuffer>,
  proto: number,
  payload: Uint8Array,
  at: number,
): Uint8Array<ArrayBuffer> {
  const sum = checksum(pseudo(wrap(payload), proto, payload));
  payload.set(be16(sum === 0 && proto === 17 ? 0xffff : sum), at);
  return wrap(payload);
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

function ipWrap(proto: number, fields: TransportFields) {
  const { src, dst } = fields;
  return (payload: Uint8Array): Uint8Array<ArrayBuffer> =>
    fields.version === 6
      ? ipv6(proto, payload, { ...(src && { src }), ...(dst && { dst }) })
      : ipv4(proto, payload, fields);
}

function etherTypeOf(fields: TransportFields): number {
  return fields.version === 6 ? 0x86dd : 0x0800;
}

/** A UDP frame. */
export function udpFrame(fields: TransportFields = {}): Uint8Array<ArrayBuffer> {
  const { srcPort = 1000, dstPort = 2000, payload = new Uint8Array(18) } = fields;
  const segment = bytes(
    be16(srcPort),
    be16(dstPort),
    be16(8 + payload.length),
    be16(0),
    payload,
  );
  return ethernet(etherTypeOf(fields), completed(ipWrap(17, fields), 17, segment, 6));
}

/** A TCP frame. */
export function tcpFrame(fields: TransportFields = {}): Uint8Array<ArrayBuffer> {
  const { srcPort = 1000, dstPort = 2000, flags = 0x10, payload = new Uint8Array(6) } =
    fields;
  const segment = bytes(
    be16(srcPort),
    be16(dstPort),
    be32(1),
    be32(2),
    0x50,
    flags,
    be16(1024),
    be16(0),
    be16(0),
    payload,
  );
  return ethernet(etherTypeOf(fields), completed(ipWrap(6, fields), 6, segment, 16));
}

/** An ICMP echo request. */
export function icmpFrame(fields: TransportFields = {}): Uint8Array<ArrayBuffer> {
  const message = bytes(
    8,
    0,
    be16(0),
    be16(7),
    be16(1),
    fields.payload ?? new Uint8Array(16),
  );
  message.set(be16(checksum(message)), 2);
  return ethernet(0x0800, ipv4(1, message, fields));
}

/** An ARP request. */
export function arpFrame(
  fields: { sip?: string; tip?: string; op?: number } = {},
): Uint8Array<ArrayBuffer> {
  const { sip = defaults.ipSrc, tip = defaults.ipDst, op = 1 } = fields;
  return ethernet(
    0x0806,
    bytes(
      "0001 0800 06 04",
      be16(op),
      defaults.src,
      ip4(sip),
      "000000000000",
      ip4(tip),
      new Uint8Array(18),
    ),
    { dst: "ff:ff:ff:ff:ff:ff" },
  );
}

/** A neighbour solicitation with the option of the sender's address. */
export function neighbourFrame(): Uint8Array<ArrayBuffer> {
  const message = bytes(
    135,
    0,
    be16(0),
    be32(0),
    ip6(defaults.ip6Dst),
    1,
    1,
    defaults.src,
  );
  return ethernet(0x86dd, completed((payload) => ipv6(58, payload), 58, message, 2));
}
