// SPDX-License-Identifier: Apache-2.0
/**
 * Random numbers from a seed, and addresses as bytes.
 *
 * @module
 */
import { extractKey } from "../../providers/odp/extract.ts";

/** Gives numbers from 0 to one less than it is asked for. */
export type Random = (below: number) => number;

/** A sequence of its own for each seed. */
export function seeded(seed: number): Random {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Bytes of an IPv6 address. */
export function ipv6Bytes(text: string): Uint8Array {
  const frame = new Uint8Array(16);
  const [head = "", tail = ""] = text.split("::");
  const word = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((digits) => Number.parseInt(digits, 16));
  const front = word(head);
  const back = word(tail);
  const all = [
    ...front,
    ...new Array<number>(8 - front.length - back.length).fill(0),
    ...back,
  ];
  all.forEach((value, i) => frame.set([value >> 8, value & 0xff], 2 * i));
  return frame;
}

/** Text of an address, as keys have it: that of a packet with it. */
export function ipv6Text(address: Uint8Array): string {
  const frame = new Uint8Array(54);
  frame.set([0x86, 0xdd, 0x60], 12);
  frame[20] = 59;
  frame.set(address, 22);
  return extractKey(frame).ipv6?.src ?? "::";
}
