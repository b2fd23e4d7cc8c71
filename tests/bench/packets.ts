// SPDX-License-Identifier: Apache-2.0
/**
 * Packets of a scenario: UDP in IPv4 or IPv6, TCP in IPv4, fields drawn from pools of prefixes, the same
 * bytes on every machine for the same seed; and the capture file that they are played from.
 *
 * @module
 */
import { build, ethernet, ipv4, ipv6, payload, tcp, udp } from "../../frames/mod.ts";
import {
  expandPool,
  type FieldKind,
  maskWord,
  type PoolSpec,
  type Prefix,
  Random,
} from "./prefix.ts";

/** The packets of a scenario, as its file has them. */
export interface PacketSpec {
  /** Headers. */
  readonly kind: "udp4" | "udp6" | "tcp4" | "syn4";
  /** How many different packets. */
  readonly count: number;
  /** Start of the random numbers. */
  readonly seed: number;
  /** Bytes of a frame without its check sequence; 60 when absent, never less than the headers. */
  readonly size?: number;
  readonly src?: PoolSpec;
  readonly dst: PoolSpec;
  readonly sport?: PoolSpec;
  readonly dport?: PoolSpec;
  /** Addresses of IPv4 such that both together have the same CRC32C in every packet, whatever it starts from. */
  readonly collide?: "crc32c";
  /** Each packet is followed by its answer, addresses and ports the other way round. */
  readonly answered?: true;
  /** The IPv4 address that answers go to, where the flows translate the source of packets to it. */
  readonly translated?: string;
}

/** The fields that vary. */
export type FieldName = "src" | "dst" | "sport" | "dport";

/** One combination of prefixes: all its packets agree in them. */
export type PacketClass = Readonly<Record<FieldName, Prefix>>;

/** Fields of one packet; overwritten by the next. */
export type PacketFields = Readonly<Record<FieldName, Uint32Array>>;

const FIELDS: readonly FieldName[] = ["src", "dst", "sport", "dport"];
const ETHERNET = 14;
const UDP = 8;
const SOURCE_MAC = "02:00:00:00:00:01";
const DESTINATION_MAC = "02:00:00:00:00:02";
const TTL = 64;

/** The packets that a specification describes. */
export class PacketSource {
  /** Every combination of the pools' prefixes. */
  readonly classes: readonly PacketClass[];
  readonly spec: PacketSpec;

  constructor(spec: PacketSpec) {
    this.spec = spec;
    const random = new Random(spec.seed);
    const address: FieldKind = spec.kind === "udp6" ? "ipv6" : "ipv4";
    const anyAddress = spec.kind === "udp6" ? "2001:db8:ffff::/48" : "192.168.0.0/16";
    const src = expandPool(address, spec.src ?? anyAddress, random);
    const dst = expandPool(address, spec.dst, random);
    const sport = expandPool("port", spec.sport ?? "0/0", random);
    const dport = expandPool("port", spec.dport ?? "0/0", random);
    const classes: PacketClass[] = [];
    for (const s of src) {
      for (const d of dst) {
        for (const sp of sport) {
          for (const dp of dport) {
            classes.push({ src: s, dst: d, sport: sp, dport: dp });
          }
        }
      }
    }
    if (classes.length > spec.count) {
      throw new RangeError(
        `${spec.count} packets cannot cover ${classes.length} combinations of prefixes`,
      );
    }
    this.classes = classes;
  }

  /** Bytes of every frame. */
  get frameSize(): number {
    return new Frame(this.spec).bytes.length;
  }

  /** Calls `visit` for each packet, classes evenly and in random order. */
  forEach(visit: (fields: PacketFields) => void): void {
    const random = new Random(this.spec.seed + 1);
    const words = this.spec.kind === "udp6" ? 4 : 1;
    const fields = {
      src: new Uint32Array(words),
      dst: new Uint32Array(words),
      sport: new Uint32Array(1),
      dport: new Uint32Array(1),
    };
    const colliding = this.spec.collide === undefined ? [] : kernelOfCrc32c();
    const order = Uint32Array.from(this.classes, (_, i) => i);
    for (let i = 0; i < this.spec.count; i++) {
      const turn = i % order.length;
      if (turn === 0) random.shuffle(order);
      const drawn = this.classes[order[turn] ?? 0];
      if (drawn === undefined) continue;
      for (const name of FIELDS) {
        const prefix = drawn[name];
        const field = fields[name];
        for (let w = 0; w < field.length; w++) {
          field[w] = (prefix.words[w] ?? 0) |
            (random.next() & ~maskWord(prefix.length, w));
        }
      }
      if (colliding.length > 0) collide(fields, colliding, i + 1);
      visit(fields);
    }
  }

  /** Writes the packets, or the first `limit` of them, to a capture file and returns their number. */
  async write(path: string, limit = Infinity): Promise<number> {
    const frame = new Frame(this.spec);
    const { translated } = this.spec;
    const outside = translated === undefined
      ? undefined
      : expandPool("ipv4", translated, new Random(0))[0]?.words;
    return await writeCapture(path, (add) => {
      let count = 0;
      this.forEach((fields) => {
        if (count++ >= limit) return;
        frame.fill(fields);
        add(frame.bytes);
        if (!this.spec.answered) return;
        const { src: dst, dst: src, sport: dport, dport: sport } = fields;
        frame.fill({
          src,
          dst: outside === undefined ? dst : Uint32Array.from(outside),
          sport,
          dport,
        }, true);
        add(frame.bytes);
      });
    });
  }
}

const CHUNK = 4 << 20;

/** Writes the frames that `produce` hands to its argument to a capture file; returns their number. */
export async function writeCapture(
  path: string,
  produce: (add: (frame: Uint8Array) => void) => void,
): Promise<number> {
  const file = await Deno.open(path, { write: true, create: true, truncate: true });
  const chunk = new Uint8Array(CHUNK);
  const header = new Uint32Array(4);
  let at = 0;
  let count = 0;
  const flush = (): void => {
    for (let done = 0; done < at;) done += file.writeSync(chunk.subarray(done, at));
    at = 0;
  };
  try {
    file.writeSync(captureHeader());
    produce((frame) => {
      if (at + 16 + frame.length > chunk.length) flush();
      header[2] = header[3] = frame.length;
      chunk.set(new Uint8Array(header.buffer), at);
      chunk.set(frame, at + 16);
      at += 16 + frame.length;
      count++;
    });
    flush();
  } finally {
    file.close();
  }
  return count;
}

/** Header of a classic pcap file: microseconds, this machine's byte order, Ethernet. */
function captureHeader(): Uint8Array<ArrayBuffer> {
  const words = Uint32Array.of(0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1);
  return new Uint8Array(words.buffer);
}

/** CRC32C of 64 bits, from 0. */
export function crc32c(words: readonly [number, number]): number {
  let crc = 0;
  for (let bit = 0; bit < 64; bit++) {
    crc ^= (words[bit >> 5] ?? 0) >>> (bit & 31) & 1;
    crc = crc >>> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return crc >>> 0;
}

/**
 * A basis of the values whose CRC32C is 0, by elimination: the CRC is linear, so every sum of them has that CRC too, and
 * a secret start value changes nothing.
 */
function kernelOfCrc32c(): [number, number][] {
  const rows: { image: number; row: [number, number] }[] = [];
  const kernel: [number, number][] = [];
  for (let bit = 0; bit < 64; bit++) {
    let row: [number, number] = bit < 32 ? [1 << bit, 0] : [0, 1 << (bit - 32)];
    let image = crc32c(row);
    for (const other of rows) {
      if (Math.clz32(image) !== Math.clz32(other.image)) continue;
      image = (image ^ other.image) >>> 0;
      row = [row[0] ^ other.row[0], row[1] ^ other.row[1]];
    }
    if (image === 0) {
      kernel.push(row);
    } else {
      rows.push({ image, row });
      rows.sort((a, b) => Math.clz32(a.image) - Math.clz32(b.image));
    }
  }
  return kernel;
}

/** Makes the addresses of packet `i` the sum of those of the basis that its bits name. */
function collide(
  fields: PacketFields,
  basis: readonly [number, number][],
  i: number,
): void {
  let [first, second] = [0, 0];
  basis.forEach(([a, b], bit) => {
    if (i >>> bit & 1) [first, second] = [first ^ a, second ^ b];
  });
  // The CRC reads bytes as they stand in the packet.
  fields.src[0] = swapBytes(first);
  fields.dst[0] = swapBytes(second);
}

function swapBytes(word: number): number {
  return (word << 24 | (word & 0xff00) << 8 | word >>> 8 & 0xff00 | word >>> 24) >>> 0;
}

/** Numbers of both sides of a TCP connection that stays where it is. */
const SEQUENCE = 1000;
const ANSWERS_SEQUENCE = 5000;
const WINDOW = 60_000;
const TCP = 20;

/** One frame, of which only addresses, ports and checksums are written anew. */
class Frame {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #ip: 4 | 6;
  readonly #tcp: boolean;
  readonly #l4: number;
  readonly #l4Size: number;

  constructor(spec: PacketSpec) {
    this.#ip = spec.kind === "udp6" ? 6 : 4;
    this.#tcp = spec.kind === "tcp4" || spec.kind === "syn4";
    this.#l4 = ETHERNET + (this.#ip === 4 ? 20 : 40);
    const header = this.#tcp ? TCP : UDP;
    const size = Math.max(spec.size ?? 60, this.#l4 + header);
    // A segment without payload: its window does not move.
    this.#l4Size = this.#tcp ? TCP : size - this.#l4;
    const frame = build([
      ethernet({ src: SOURCE_MAC, dst: DESTINATION_MAC }),
      this.#ip === 4 ? ipv4({ ttl: TTL }) : ipv6({ hlimit: TTL }),
      this.#tcp
        ? tcp({ flags: spec.kind === "syn4" ? 0x02 : 0x10, window: WINDOW })
        : udp(),
      payload(this.#l4Size - header),
    ]);
    this.bytes = new Uint8Array(size);
    this.bytes.set(frame);
    this.#view = new DataView(this.bytes.buffer);
  }

  fill(fields: PacketFields, answer = false): void {
    const view = this.#view;
    const source = ETHERNET + (this.#ip === 4 ? 12 : 8);
    const words = fields.src.length;
    for (let w = 0; w < words; w++) {
      view.setUint32(source + 4 * w, fields.src[w] ?? 0);
      view.setUint32(source + 4 * (words + w), fields.dst[w] ?? 0);
    }
    view.setUint16(this.#l4, (fields.sport[0] ?? 0) >>> 16);
    view.setUint16(this.#l4 + 2, (fields.dport[0] ?? 0) >>> 16);
    if (this.#tcp) {
      view.setUint32(this.#l4 + 4, answer ? ANSWERS_SEQUENCE : SEQUENCE);
      view.setUint32(this.#l4 + 8, answer ? SEQUENCE : ANSWERS_SEQUENCE);
    }
    if (this.#ip === 4) {
      view.setUint16(ETHERNET + 10, 0);
      view.setUint16(ETHERNET + 10, checksum(this.#sum(ETHERNET, this.#l4)));
    }
    const field = this.#l4 + (this.#tcp ? 16 : 6);
    view.setUint16(field, 0);
    // Addresses, header and length are the whole of pseudo-header and payload that is not zero.
    const sum = this.#sum(source, this.#l4 + (this.#tcp ? TCP : UDP)) +
      (this.#tcp ? 6 : 17) + this.#l4Size;
    view.setUint16(field, this.#tcp ? checksum(sum) : checksum(sum) || 0xffff);
  }

  #sum(from: number, to: number): number {
    let sum = 0;
    for (let at = from; at < to; at += 2) sum += this.#view.getUint16(at);
    return sum;
  }
}

function checksum(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
