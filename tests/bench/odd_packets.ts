// SPDX-License-Identifier: Apache-2.0
/**
 * Packets whose headers take long to read: deep label stacks, chains of extension headers,
 * fragments. What an attacker sends.
 *
 * @module
 */
import { writeCapture } from "./packets.ts";
import { Random } from "./prefix.ts";

/** Packets of other kinds than a comparison of speed needs. */
export interface OddSpec {
  readonly kind: OddKind;
  readonly count: number;
  readonly seed: number;
}

/**
 * - `mpls`: 1 to 20 labels, more than a key has room for, before an IPv4 packet;
 * - `chains`: up to 10 extension headers of IPv6 in any order, fragment headers among them, before
 *   UDP or nothing;
 * - `fragments`: first and later fragments of IPv4, a third each of first, middle and last ones.
 */
export type OddKind = "mpls" | "chains" | "fragments";

export const ODD_KINDS: readonly OddKind[] = ["mpls", "chains", "fragments"];

const MACS = [0x02, 0, 0, 0, 0, 0x02, 0x02, 0, 0, 0, 0, 0x01];
const UDP = 17;
const NO_NEXT = 59;
/** Hop-by-hop, destination options, routing, authentication, fragment. */
const EXTENSIONS = [0, 60, 43, 51, 44];
const MOST_EXTENSIONS = 10;
const MOST_LABELS = 20;

/** Writes the packets to a capture file and returns their number. */
export async function writeOddPackets(spec: OddSpec, path: string): Promise<number> {
  const random = new Random(spec.seed);
  return await writeCapture(path, (add) => {
    for (let i = 0; i < spec.count; i++) add(FRAMES[spec.kind](random));
  });
}

const FRAMES: Record<OddKind, (random: Random) => Uint8Array> = {
  mpls: (random) => {
    const depth = 1 + random.below(MOST_LABELS);
    const labels = Array.from({ length: depth }, (_, i) => {
      const label = random.below(1 << 20);
      const bottom = i === depth - 1 ? 1 : 0;
      return [label >> 12, label >> 4, (label & 15) << 4 | bottom, 64];
    });
    return frame(0x8847, [...labels.flat(), ...ipv4(random, 0)]);
  },
  chains: (random) => {
    const kinds = Array.from(
      { length: random.below(MOST_EXTENSIONS + 1) },
      () => EXTENSIONS[random.below(EXTENSIONS.length)] ?? 0,
    );
    const last = random.below(5) === 0 ? NO_NEXT : UDP;
    const next = [...kinds.slice(1), last];
    const chain = kinds.flatMap((kind, i) => [
      next[i] ?? last,
      0, // Eight bytes in all, of every kind.
      ...(kind === 44
        ? [0, 0, ...bytes(random, 4)] // The whole packet, so that the walk goes on.
        : [1, 4, 0, 0, 0, 0]),
    ]);
    const payload = [...chain, ...udp(random)];
    return frame(0x86dd, [
      ...[0x60, 0, 0, 0, payload.length >> 8, payload.length & 0xff],
      ...[kinds[0] ?? last, 64],
      ...[0x20, 0x01, 0x0d, 0xb8, ...bytes(random, 28)],
      ...payload,
    ]);
  },
  fragments: (random) => {
    const offset = 1 + random.below(8000);
    const field = [0x2000, 0x2000 | offset, offset][random.below(3)] ?? 0;
    return frame(0x0800, ipv4(random, field));
  },
};

function frame(type: number, payload: readonly number[]): Uint8Array {
  const all = [...MACS, type >> 8, type & 0xff, ...payload];
  const padded = new Uint8Array(Math.max(60, all.length));
  padded.set(all);
  return padded;
}

function ipv4(random: Random, fragment: number): number[] {
  const header = [0x45, 0, 0, 46, 0, 0, fragment >> 8, fragment & 0xff, 64, UDP, 0, 0]
    .concat([172, 16, ...bytes(random, 2), 10, ...bytes(random, 3)]);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) {
    sum += (header[at] ?? 0) << 8 | (header[at + 1] ?? 0);
  }
  sum = ~((sum & 0xffff) + (sum >>> 16));
  header[10] = sum >> 8 & 0xff;
  header[11] = sum & 0xff;
  return [...header, ...udp(random), ...new Array<number>(10).fill(0)];
}

/** A UDP header without a checksum, and eight bytes. */
function udp(random: Random): number[] {
  return [...bytes(random, 4), 0, 16, 0, 0, ...new Array<number>(8).fill(0)];
}

function bytes(random: Random, n: number): number[] {
  return Array.from({ length: n }, () => random.below(256));
}
