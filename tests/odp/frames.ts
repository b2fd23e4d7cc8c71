// SPDX-License-Identifier: Apache-2.0
/**
 * Frames of every kind, whole, cut at every byte, and with bytes changed.
 *
 * @module
 */

import {
  arpFrame,
  be16,
  be32,
  bytes,
  ethernet,
  icmpFrame,
  ip6,
  ipv4,
  ipv6,
  neighbourFrame,
  tagged,
  tcpFrame,
  udpFrame,
} from "../support/frames.ts";
import { random } from "../support/random.ts";

export { extractKey } from "../../providers/odp/mod.ts";

const udp = bytes(be16(1), be16(2), be16(8), be16(0));
const mac = "02:00:00:00:00:09";
/** Neighbour discovery with options. */
const nd = (type: number, ...options: Uint8Array[]) =>
  ethernet(
    0x86dd,
    ipv6(58, bytes(type, 0, be16(0), be32(0x60000000), ip6("fd00::9"), ...options)),
  );
const option = (type: number, size = 1) =>
  bytes(type, size, mac, new Uint8Array(8 * Math.max(size - 1, 0)));

/** One whole frame of each kind. */
export const wholeFrames: readonly Uint8Array[] = [
  udpFrame(),
  tcpFrame({ flags: 0xff }),
  icmpFrame(),
  arpFrame(),
  arpFrame({ op: 0x100 }),
  neighbourFrame(),
  tagged(udpFrame(), 0x6005),
  tagged(tagged(tcpFrame(), 7), 0xefff, 0x88a8),
  tagged(tagged(tagged(udpFrame(), 1), 2), 3),
  ethernet(0x0800, ipv4(17, udp, { options: new Uint8Array(12) })),
  ethernet(0x0800, ipv4(17, udp, { fragment: 0x2000, tos: 0xff })),
  ethernet(0x0800, ipv4(17, udp, { fragment: 0x2001 })),
  ethernet(0x0800, ipv4(17, udp, { fragment: 0x4000 })),
  ethernet(0x0800, ipv4(132, bytes(udp, be32(0)))),
  ethernet(0x0800, ipv4(2, bytes(0x16, 0, be16(0), be32(0xe0000001)))),
  ethernet(0x0800, ipv4(47, udp)),
  // Padding behind the packet does not count.
  bytes(ethernet(0x0800, ipv4(17, be16(5))), new Uint8Array(20)),
  bytes(ethernet(0x0800, ipv4(6, new Uint8Array(20))), new Uint8Array(8)),
  // Extension headers: hop-by-hop, destination, routing, authentication.
  ethernet(
    0x86dd,
    ipv6(
      0,
      bytes(
        60,
        0,
        new Uint8Array(6),
        43,
        1,
        new Uint8Array(14),
        17,
        0,
        new Uint8Array(6),
        udp,
      ),
    ),
  ),
  ethernet(0x86dd, ipv6(51, bytes(17, 1, new Uint8Array(10), udp))),
  // Fragments: atomic, first, later.
  ...[0, 1, 8, 0xfff8, 0xfff9].map((fragment) =>
    ethernet(0x86dd, ipv6(44, bytes(17, 0, be16(fragment), be32(1), udp)))
  ),
  ethernet(0x86dd, ipv6(59, new Uint8Array())),
  ethernet(0x86dd, ipv6(58, bytes(128, 0, be16(0), be32(7)))),
  nd(135, option(1)),
  nd(136, option(2), option(1)),
  nd(136, option(2), option(2)),
  nd(135, option(14), option(1, 2), option(1)),
  nd(135, option(1, 0)),
  nd(135, option(1, 9)),
  ethernet(0x8847, bytes(be32(0x00064140))),
  ethernet(0x8848, bytes(be32(0x00064040), be32(0x00065140))),
  ethernet(0x8847, new Uint8Array(40)),
  ethernet(
    0x894f,
    bytes(be16(0x0fc6), 1, 3, be32(0x1ff), be32(1), be32(2), be32(3), be32(4)),
  ),
  ethernet(0x894f, bytes(be16(0x2fc2), 2, 1, be32(0xffffff01))),
  ethernet(0x894f, bytes(be16(0x4fc2), 2, 1, be32(1))),
  // 802.2: plain, SNAP with OUI 0, with another one, with a length for a type.
  ethernet(0x0026, bytes("42 42 03", new Uint8Array(35))),
  ethernet(0x0026, bytes("aa aa 03 00 00 00 08 00", ipv4(17, udp))),
  ethernet(0x0026, bytes("aa aa 03 00 00 0c 20 00", new Uint8Array(30))),
  ethernet(0x0026, bytes("aa aa 03 00 00 00 05 00", new Uint8Array(30))),
  tagged(ethernet(0x0026, bytes("42 42 03", new Uint8Array(35))), 5),
  ethernet(0x1234, new Uint8Array(46)),
  ethernet(0x8035, arpFrame().subarray(14)),
];

/** Whole frames, every cut of each that has an Ethernet header, and thousands of changed ones. */
export function hostileFrames(seed = 20260101): Uint8Array[] {
  const next = random(seed);
  const frames = [...wholeFrames];
  for (const frame of wholeFrames) {
    for (let size = 14; size < frame.length; size++) frames.push(frame.slice(0, size));
  }
  for (let i = 0; i < 5000; i++) {
    const frame = (wholeFrames[next(wholeFrames.length)] as Uint8Array).slice();
    for (let n = next(3); n >= 0; n--) frame[12 + next(frame.length - 12)] = next(256);
    frames.push(frame);
  }
  return frames;
}
