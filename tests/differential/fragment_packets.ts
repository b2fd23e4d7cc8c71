// SPDX-License-Identifier: Apache-2.0
/**
 * Datagrams of a client and a server, cut into fragments that are half right: in any order, twice,
 * too small, overlapping, without a part, behind the end.
 *
 * @module
 */
import { fragmentOf, fragmentsOf } from "../support/fragments.ts";
import { bytes, icmpFrame, tcpFrame, udpFrame } from "../support/frames.ts";
import type { Random } from "../support/random.ts";
import type { Version } from "./conntrack_packets.ts";

/** What a fragment carries. */
export interface Part {
  readonly id: number;
  readonly start: number;
  readonly end: number;
  readonly last: boolean;
}

/** One frame, the port that it arrives at, and what it is. */
export interface Arrival {
  readonly port: 1 | 2;
  readonly frame: Uint8Array;
  readonly what: string;
  /** Of a fragment. */
  readonly part?: Part;
}

const pick = <T>(next: Random, from: readonly T[]): T => from[next(from.length)] as T;

/** A datagram between a client and a server. */
function datagram(next: Random, version: Version, port: 1 | 2): Uint8Array {
  const client = version === 4 ? "10.1.1.1" : "fd00::1";
  const server = version === 4 ? "10.1.1.2" : "fd00::2";
  const [src, dst] = port === 1 ? [client, server] : [server, client];
  const [srcPort, dstPort] = port === 1 ? [1000, 53] : [53, 1000];
  const size = pick(next, [1300, 2400, 2801, 4000, 5555]);
  const payload = Uint8Array.from({ length: size }, (_, i) => i * 7 + size);
  const fields = { version, src, dst, srcPort, dstPort, payload };
  const kind = next(6);
  if (kind === 0) return tcpFrame({ ...fields, flags: 2 });
  if (kind === 1 && version === 4 && port === 1) return icmpFrame(fields);
  const frame = udpFrame(fields);
  if (next(8) === 0) frame[frame.length - 1] = (frame.at(-1) ?? 0) ^ 1; // A wrong checksum.
  return frame;
}

/** Fragments of one datagram, not all of them right, in some order. */
export function arrivals(next: Random, version: Version, id: number): Arrival[] {
  const port = pick(next, [1, 1, 2] as const);
  const frame = datagram(next, version, port);
  const longer = bytes(frame, new Uint8Array(16000));
  if (next(8) === 0 && frame.length < 1500) {
    return [{ port, frame, what: `whole ${frame.length}` }];
  }
  const size = pick(next, [
    1184,
    1240,
    1240,
    1400,
    1400,
    version === 4 ? 1480 : 1440,
    800,
  ]);
  const part = (start: number, length: number, more: boolean): Arrival => ({
    port,
    frame: fragmentOf(longer, start, length, { id, more }),
    what: `id ${id} ${start}+${length}${more ? "" : " last"}`,
    part: { id, start, end: start + length, last: !more },
  });
  const count = fragmentsOf(frame, size).length;
  const carried = frame.length - (version === 4 ? 34 : 54);
  const made = Array.from({ length: count }, (_, i) => {
    const start = i * size;
    return part(start, Math.min(size, carried - start), i < count - 1);
  });
  for (let odd = next(3); odd > 0; odd--) {
    const at = next(made.length + 1);
    switch (next(8)) {
      case 0:
      case 1:
        made.splice(at, 0, pick(next, made));
        break;
      case 2:
        if (made.length > 1) made.splice(next(made.length), 1);
        break;
      case 3:
        made.splice(made.length, 0, part(size / 2 & ~7, 1400, true));
        break;
      case 4:
        made.splice(made.length, 0, part((size / 2 & ~7) + size, 8, false));
        break;
      case 5: {
        const spoilt = made[at - 1]?.frame.slice();
        if (spoilt && version === 4) {
          spoilt[24] = (spoilt[24] ?? 0) ^ 1; // The header's checksum.
          made.splice(at, 0, { port, frame: spoilt, what: `id ${id} bad header` });
        }
        break;
      }
      case 6:
        if (made.length > 2 && size < 1424) {
          // The middle one is there; what comes covers it whole.
          const [first, middle, ...rest] = made as [Arrival, Arrival, ...Arrival[]];
          const larger = part(size - 8, size + 16, true);
          made.splice(0, made.length, middle, larger, first, ...rest);
        }
        break;
      default:
        made.unshift(part(8000, 8, false), part(9600, 1400, true));
        break;
    }
  }
  for (let i = made.length; next(2) === 0 && i > 1; i--) {
    const j = next(i);
    [made[i - 1], made[j]] = [made[j] as Arrival, made[i - 1] as Arrival];
  }
  return made;
}
