// SPDX-License-Identifier: Apache-2.0
/**
 * Tunnels whose headers Open vSwitch 3.1 reads from no text: it makes them itself, by ports with
 * options and rules of OpenFlow. Packets at random for them.
 *
 * @module
 */
import { type Random, random, randomBytes } from "../support/random.ts";
import { outerOf } from "./tunnel_cases.ts";

/** One far end, and what outer headers for it have. */
export interface Way {
  /** The type of port. */
  readonly kind: "gtpu" | "erspan" | "ip6erspan";
  readonly remote: string;
  /** TOS without ECN; 0 if nothing says another. */
  readonly tos?: number;
  readonly ttl?: number;
  /** IPv4's flag; it has it if nothing says that it has not. */
  readonly mayFragment?: boolean;
  /** TOS and TTL are those inside, and the key is the port's. */
  readonly inherits?: number;
}

/** The ways, of which each has a port in Open vSwitch. */
export const ways: readonly Way[] = [
  { kind: "gtpu", remote: "1.1.2.92" },
  { kind: "gtpu", remote: "1.1.2.93", tos: 0xb8, ttl: 7, mayFragment: true },
  { kind: "gtpu", remote: "1.1.2.94", inherits: 0x5eed },
  { kind: "gtpu", remote: "2001:cafe::92" },
  { kind: "gtpu", remote: "2001:cafe::93", tos: 0x48, ttl: 255 },
  { kind: "gtpu", remote: "2001:cafe::94", inherits: 0xffffffff },
  { kind: "erspan", remote: "1.1.2.95" },
  { kind: "erspan", remote: "1.1.2.96", tos: 0xfc, ttl: 1, mayFragment: true },
  { kind: "ip6erspan", remote: "2001:cafe::95" },
  { kind: "ip6erspan", remote: "2001:cafe::96", tos: 0x04, ttl: 2 },
];

/** Options of Open vSwitch's port of a way. */
export function optionsOf({ kind, remote, tos, ttl, ...way }: Way): string[] {
  const { inherits, mayFragment = false } = way;
  const options: Record<string, string | number> = {
    remote_ip: remote,
    key: inherits ?? "flow",
    ...(kind !== "gtpu" && { erspan_ver: "flow" }),
    ...(mayFragment && { df_default: "false" }),
    ...(tos !== undefined && { tos }),
    ...(ttl !== undefined && { ttl }),
    ...(inherits !== undefined && { tos: "inherit", ttl: "inherit" }),
  };
  return Object.entries(options).map(([name, value]) => `options:${name}=${value}`);
}

/** A packet that gets a header. */
export interface RuleCase {
  /** Which way. */
  readonly way: number;
  /** Its source address is of no other case. */
  readonly frame: Uint8Array;
  readonly key: number;
  /** What ERSPAN says beside the key. */
  readonly erspan?:
    | { readonly version: 1; readonly index: number }
    | { readonly version: 2; readonly direction: number; readonly hardware: number };
}

/** An IP packet whose header says what it is; the rest is random. */
function packetOf(next: Random, ttl: number, firstOfSource?: number): Uint8Array {
  const packet = randomBytes(next, 46 + next(1300));
  if (next(2) === 0) {
    const size = packet.length;
    packet.set([0x45, next(256), size >> 8, size & 0xff, 0, 1, 0, 0, ttl, 17]);
  } else {
    const [size, tos] = [packet.length - 40, next(256)];
    packet.set([0x60 | tos >> 4, tos << 4 & 0xf0, 0, 0, size >> 8, size & 0xff, 17, ttl]);
    if (firstOfSource !== undefined) packet[8] = firstOfSource;
  }
  return packet;
}

/** The cases of a seed: ways take turns. */
export function ruleCases(count: number, seed: number): RuleCase[] {
  const next = random(seed);
  return Array.from({ length: count }, (_, n): RuleCase => {
    const way = n % ways.length;
    const { kind, inherits } = ways[way] as Way;
    const packet = packetOf(next, 1 + next(255));
    const macs = [2, 0, 0, 0, 0, 1, 2, 1, 0, 0, n >> 8, n & 0xff];
    const type = (packet[0] ?? 0) >> 4 === 4 ? [8, 0] : [0x86, 0xdd];
    const frame = Uint8Array.from([...macs, ...type, ...packet]);
    if (kind === "gtpu") {
      return { way, frame, key: inherits ?? next(65536) * 65536 + next(65536) };
    }
    const erspan = next(2) === 0
      ? { version: 1 as const, index: next(1 << 20) }
      : { version: 2 as const, direction: next(2), hardware: next(16) };
    return { way, frame, key: next(1024), erspan };
  });
}

/** A packet of GTP-U as it comes. */
export interface GtpuCase {
  readonly outer: Uint8Array;
  /** The packet inside. */
  readonly inner: Uint8Array;
  readonly key: number;
}

/**
 * Of GTP-U over IPv4 from the first way's far end, to an Ethernet address. Open vSwitch 3.1 takes
 * the ninth byte of a packet for its first, so that of IPv4 only that is read whose TTL is 64 to
 * 79, and of IPv6 that whose source begins with 6; and beside a number it knows no extensions. ECN
 * would be its OpenFlow's to mend.
 */
export function gtpuCases(count: number, seed: number, mac: Uint8Array): GtpuCase[] {
  const next = random(seed);
  return Array.from({ length: count }, () => {
    const packet = packetOf(next, 0x40 + next(16), 0x60 + next(16));
    const [flags, number] = next(3) === 0
      ? [0x32, [...randomBytes(next, 2), 0, 0]]
      : [0x30, []];
    const key = next(65536) * 65536 + next(65536);
    const size = number.length + packet.length;
    const words = [size >> 8, size, key >>> 24, key >>> 16, key >>> 8, key];
    const gtpu = [flags, 255, ...words, ...number, ...packet];
    const length = 8 + gtpu.length;
    const port = 32768 + next(28000);
    const udp = [port >> 8, port, 2152 >> 8, 2152 & 255, length >> 8, length, 0, 0];
    const tos = 4 * next(64);
    const outer = Uint8Array.from(outerOf(17, next, [...udp, ...gtpu], tos));
    outer.set(mac);
    return { outer, inner: packet, key };
  });
}
