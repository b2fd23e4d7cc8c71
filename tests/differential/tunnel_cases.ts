// SPDX-License-Identifier: Apache-2.0
/**
 * Outer headers and packets at random, for tests beside Open vSwitch.
 *
 * @module
 */
import { checksum } from "../support/frames.ts";
import { type Random, random, randomBytes } from "../support/random.ts";

/** The kinds whose headers Open vSwitch 3.1 reads from text. */
export type TunnelKind = "vxlan" | "geneve" | "gre";

/** One packet, and the header that it gets. */
export interface TunnelCase {
  readonly kind: TunnelKind;
  /** Its source address is of no other case. */
  readonly frame: Uint8Array;
  /** The key of its EtherType, in text. */
  readonly type: string;
  /** What `tnl_push` brings, in text. */
  readonly header: string;
}

/** EtherTypes inside, and what a key has beside them. */
const types = [[0x0800, ",ipv4()"], [0x86dd, ",ipv6()"], [0x0806, ",arp()"], [
  0x88b5,
  "",
]] as const;

const hex = (value: number) => `0x${value.toString(16)}`;

/**
 * The header of Ethernet and the beginning of the next one are what they say; the rest is random.
 */
function frameOf(n: number, next: Random): { frame: Uint8Array; type: string } {
  const frame = randomBytes(next, 14 + 46 + next(1300));
  const [type, layer] = types[next(types.length)] ?? types[0];
  frame.set([2, 0, 0, 0, 0, 1, 2, 1, 0, 0, n >> 8, n & 0xff, type >> 8, type & 0xff]);
  if (type === 0x0800) {
    const size = frame.length - 14;
    frame.set([0x45, next(256), size >> 8, size & 0xff, 0, 1, 0, 0, 64, 17], 14);
  }
  if (type === 0x86dd) {
    const size = frame.length - 54;
    frame.set([0x60, 0, 0, 0, size >> 8, size & 0xff, 17, 64], 14);
  }
  return { frame, type: `eth_type(${hex(type)})${layer}` };
}

function geneveOptions(next: Random): { text: string; size: number; critical: boolean } {
  let [text, size, critical] = ["", 0, false];
  for (let left = next(5); left > 0; left--) {
    const [words, type] = [next(8), next(256)];
    size += 4 + 4 * words;
    critical ||= type >= 0x80;
    const data = words > 0 ? `,0x${randomBytes(next, 4 * words).toHex()}` : "";
    text += `{class=${hex(next(65536))},type=${hex(type)},len=${4 * words}${data}}`;
  }
  return { text: text && `,options(${text})`, size, critical };
}

/** A kind's own header: its text, its size, its number in Open vSwitch. */
function ownHeader(kind: TunnelKind, next: Random, isIpv6: boolean) {
  const udp = (port: number) =>
    `udp(src=0,dst=${port},csum=${next(2) === 0 ? "0x0" : "0xffff"}),`;
  const vni = `vni=${hex(next(1 << 24))}`;
  if (kind === "vxlan") {
    const text = `${udp(4789)}vxlan(flags=0x8000000,${vni})`;
    return { text, size: 16, type: 4 };
  }
  if (kind === "geneve") {
    const options = geneveOptions(next);
    const flags = `${next(4) === 0 ? "oam," : ""}${options.critical ? "crit," : ""}`;
    const text = `${udp(6081)}geneve(${flags}${vni}${options.text})`;
    return { text, size: 16 + options.size, type: 5 };
  }
  // A checksum beside a number is wrong in Open vSwitch from the second packet on.
  const [hasSum, hasKey] = [next(2) === 0, next(2) === 0];
  const flags = (hasSum ? 0x8000 : 0) | (hasKey ? 0x2000 : 0);
  const parts = [
    `(flags=${hex(flags)},proto=0x6558)`,
    ...(hasSum ? ["csum=0x0"] : []),
    ...(hasKey ? [`key=${hex(next(65536) * 65536 + next(65536))}`] : []),
  ];
  return {
    text: `gre(${parts.join(",")})`,
    size: 4 * parts.length,
    type: isIpv6 ? 109 : 3,
  };
}

/** A packet of ERSPAN, whose headers Open vSwitch 3.1 prints and does not read. */
export interface ErspanCase {
  /** As it comes. */
  readonly outer: Uint8Array;
  /** What is inside. */
  readonly inner: Uint8Array;
}

const word = (value: number) => [
  value >>> 24,
  value >>> 16 & 255,
  value >>> 8 & 255,
  value & 255,
];

/** Ethernet and IPv4 from 1.1.2.92 to 1.1.2.88, with a good checksum. */
export function outerOf(
  protocol: number,
  next: Random,
  rest: readonly number[],
  tos = next(256),
): number[] {
  const size = 20 + rest.length;
  const ip = [0x45, tos, size >> 8, size & 255, next(256), next(256), 0x40, 0];
  ip.push(1 + next(255), protocol, 0, 0, 1, 1, 2, 92, 1, 1, 2, 88);
  const sum = checksum(Uint8Array.from(ip));
  ip[10] = sum >> 8;
  ip[11] = sum & 255;
  const macs = [0xaa, 0x55, 0xaa, 0x55, 0, 0, 0xf8, 0xbc, 0x12, 0x44, 0x34, 0xb6];
  return [...macs, 8, 0, ...ip, ...rest];
}

/** Of both versions, of whose hardware number text shows four bits. */
export function erspanCases(count: number, seed: number): ErspanCase[] {
  const next = random(seed);
  return Array.from({ length: count }, (_, n) => {
    const { frame } = frameOf(n, next);
    const version = 1 + n % 2;
    const session = version << 28 | next(1 << 14) << 10 | next(1024);
    const gre = [0x10, 0, ...(version === 1 ? [0x88, 0xbe] : [0x22, 0xeb])];
    const own = version === 1
      ? word(next(1 << 20))
      : [...randomBytes(next, 4), 0, 0, 0, next(16) << 4 | next(2) << 3];
    const header = [...gre, ...randomBytes(next, 4), ...word(session), ...own];
    return {
      outer: Uint8Array.from(outerOf(47, next, [...header, ...frame])),
      inner: frame,
    };
  });
}

/** The cases of a seed. */
export function tunnelCases(count: number, seed: number): TunnelCase[] {
  const next = random(seed);
  return Array.from({ length: count }, (_, n) => {
    const kind = (["vxlan", "geneve", "gre"] as const)[n % 3] ?? "vxlan";
    const isIpv6 = next(2) === 0;
    const own = ownHeader(kind, next, isIpv6);
    const protocol = kind === "gre" ? 47 : 17;
    const ip = isIpv6
      ? `ipv6(src=2001:cafe::88,dst=2001:cafe::${
        (next(65535) + 1).toString(16)
      },label=0,` +
        `proto=${protocol},tclass=${hex(next(256))},hlimit=${1 + next(255)})`
      : `ipv4(src=1.1.2.88,dst=1.1.${next(256)}.${next(256)},proto=${protocol},` +
        `tos=${hex(next(256))},ttl=${1 + next(255)},frag=${
          next(2) === 0 ? "0x4000" : "0x0"
        })`;
    const size = 14 + (isIpv6 ? 40 : 20) + own.size;
    return {
      kind,
      ...frameOf(n, next),
      header: `header(size=${size},type=${own.type},eth(dst=f8:bc:12:44:34:b6,` +
        `src=aa:55:aa:55:00:00,dl_type=${
          isIpv6 ? "0x86dd" : "0x0800"
        }),${ip},${own.text})`,
    };
  });
}
