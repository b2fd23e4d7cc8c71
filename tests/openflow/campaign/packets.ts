// SPDX-License-Identifier: Apache-2.0
/**
 * Random packets, each with its number in its last bytes.
 *
 * @module
 */
import { build, ethernet, ipv4, payload, tcp, udp, vlan } from "../../../frames/mod.ts";
import type { Random } from "../../support/random.ts";

export const addresses = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.1.0.1"];
export const addresses6 = ["fd00::1", "fd00::2", "fd00:1::1", "fe80::1"];
export const macs = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"];
export const transport = ["80", "81", "8080"];

/** What ends a packet: a number that is found again. */
const MARK = 0xc0de0000;

/** One of a list. */
export function pick<T>(next: Random, list: readonly T[]): T {
  return list[next(list.length)] as T;
}

function u16(value: number): number[] {
  return [value >> 8 & 0xff, value & 0xff];
}

function address6(text: string): number[] {
  const [head = "", tail = ""] = text.split("::");
  const words = (part: string): number[] =>
    part === "" ? [] : part.split(":").flatMap((word) => u16(parseInt(word, 16)));
  const [first, last] = [words(head), words(tail)];
  return [...first, ...Array<number>(16 - first.length - last.length).fill(0), ...last];
}

const address4 = (text: string): number[] => text.split(".").map(Number);
const mac = (text: string): number[] => text.split(":").map((word) => parseInt(word, 16));

/** The sum that ends headers of the Internet. */
function checksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] as number) << 8 | (bytes[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

function withSum(bytes: number[], at: number, before: readonly number[] = []): number[] {
  const [high, low] = u16(checksum([...before, ...bytes]));
  bytes[at] = high as number;
  bytes[at + 1] = low as number;
  return bytes;
}

/** A packet of IPv6, with its EtherType. */
function ip6(next: Random, end: readonly number[]): number[] {
  const src = address6(pick(next, addresses6));
  const dst = address6(pick(next, addresses6));
  const ports = [...u16(1000), ...u16(Number(pick(next, transport)))];
  const kind = next(4);
  const proto = [6, 17, 58, 58][kind] as number;
  const body = kind === 0
    ? [...ports, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0, ...end]
    : kind === 1
    ? [...ports, ...u16(8 + end.length), 0, 0, ...end]
    : kind === 2
    ? [128, 0, 0, 0, 0, 1, 0, 1, ...end]
    : [
      ...[135 + next(2), 0, 0, 0, 0, 0, 0, 0],
      ...address6(pick(next, addresses6)),
      ...[1 + next(2), 1, ...mac(pick(next, macs))],
    ];
  const pseudo = [...src, ...dst, 0, 0, ...u16(body.length), 0, 0, 0, proto];
  const sumAt = [16, 6, 2, 2][kind] as number;
  withSum(body, sumAt, pseudo);
  const hops = kind === 3 ? 255 : pick(next, [1, 2, 64]);
  const label = pick(next, [0, 0, 5]);
  const dscp = pick(next, [0, 32]);
  const first = [0x60 | dscp >> 4, dscp << 4 & 0xf0, 0, label];
  return [...first, ...u16(body.length), proto, hops, ...src, ...dst, ...body];
}

function ip4(next: Random, end: readonly number[]): number[] {
  const isSctp = next(2) === 0;
  const body = isSctp
    ? [...u16(1000), ...u16(Number(pick(next, transport))), 0, 0, 0, 0, ...end]
    : withSum([pick(next, [0, 3, 8]), next(2), 0, 0, 0, 1, 0, 1, ...end], 2);
  // Not the whole packet, a first and a later fragment.
  const fragment = pick(next, [0x4000, 0x4000, 0x2000, 0x0010]);
  const head = [
    ...[0x45, 0, ...u16(20 + body.length), 0, 1, ...u16(fragment)],
    ...[pick(next, [1, 64]), isSctp ? 132 : 1, 0, 0],
    ...address4(pick(next, addresses)),
    ...address4(pick(next, addresses)),
  ];
  return [...withSum(head, 10), ...body];
}

function arp(next: Random, end: readonly number[]): number[] {
  return [
    ...[0, 1, 8, 0, 6, 4, 0, 1 + next(2)],
    ...[...mac(pick(next, macs)), ...address4(pick(next, addresses))],
    ...[...mac(pick(next, macs)), ...address4(pick(next, addresses))],
    ...[...Array<number>(14).fill(0), ...end],
  ];
}

function mpls(next: Random, end: readonly number[]): number[] {
  const label = (bottom: number): number[] => [
    ...[0, pick(next, [6, 7]), (next(2) << 1 | bottom) & 0xff, pick(next, [1, 2, 64])],
  ];
  const stack = next(2) === 0 ? label(1) : [...label(0), ...label(1)];
  return [...stack, ...ip4(next, end)];
}

/** A packet of TCP or UDP over IPv4, the most usual kind. */
function usual(next: Random, end: readonly number[]): Uint8Array {
  const ports = { src: 1000, dst: Number(pick(next, transport)) };
  return build([
    ethernet({ src: pick(next, macs), dst: pick(next, macs) }),
    ...(next(3) === 0 ? [vlan({ vid: pick(next, [5, 6]) })] : []),
    ipv4({
      src: pick(next, addresses),
      dst: pick(next, addresses),
      ttl: pick(next, [1, 2, 64]),
      tos: pick(next, [0, 32, 1]),
    }),
    next(2) === 0 ? udp(ports) : tcp(ports),
    payload(Uint8Array.from(end)),
  ]);
}

/** A random packet of a number below 65,536. */
export function packetOf(next: Random, id: number): Uint8Array {
  const end = [...Array<number>(12).fill(0x2e), ...u16(MARK >>> 16), ...u16(id)];
  const kind = next(10);
  if (kind < 4) return usual(next, end);
  const [type, body] = kind < 6
    ? [0x86dd, ip6(next, end)]
    : kind === 6
    ? [0x0806, arp(next, end)]
    : kind === 7
    ? [pick(next, [0x8847, 0x8848]), mpls(next, end)]
    : kind === 8
    ? [0x0800, ip4(next, end)]
    : [pick(next, [0x88cc, 0x1234]), [...Array<number>(30).fill(1), ...end]];
  const tags = Array.from({ length: pick(next, [0, 0, 1, 2]) }, (_, i) => [
    ...u16(i === 0 && next(3) === 0 ? 0x88a8 : 0x8100),
    ...u16(pick(next, [0, 3 << 13]) | pick(next, [5, 6, 0])),
  ]);
  return Uint8Array.from([
    ...mac(pick(next, macs)),
    ...mac(pick(next, macs)),
    ...tags.flat(),
    ...u16(type),
    ...body,
  ]);
}

/** The number of a packet by its last bytes; -1 where they are not there any more. */
export function numberOf(frame: Uint8Array): number {
  const { length } = frame;
  if (length < 4) return -1;
  const mark =
    ((frame[length - 4] as number) << 8 | (frame[length - 3] as number)) === 0xc0de;
  return mark ? (frame[length - 2] as number) << 8 | (frame[length - 1] as number) : -1;
}
