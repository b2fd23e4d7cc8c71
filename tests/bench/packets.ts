// SPDX-License-Identifier: Apache-2.0
/**
 * Packets of a scenario: UDP, TCP or ICMP in IPv4 or IPv6, with a VLAN tag or without, fields drawn
 * from pools of prefixes, the same bytes on every machine for the same seed; and the capture file
 * that they are played from.
 *
 * @module
 */
import {
  type FieldName,
  Frame,
  type PacketFields,
  type PacketKind,
} from "./packet_frame.ts";
import {
  expandPool,
  type FieldKind,
  maskWord,
  type PoolSpec,
  type Prefix,
  Random,
} from "./prefix.ts";
import { OuterFrame, type TunnelSpec } from "./tunnelled.ts";

/** The packets of a scenario, as its file has them. */
export interface PacketSpec {
  /** Headers. */
  readonly kind: PacketKind;
  /** VLAN that all are tagged with; untagged if absent. */
  readonly vlan?: number;
  /** How many different packets. */
  readonly count: number;
  /** Start of the random numbers. */
  readonly seed: number;
  /** Bytes of a frame without its check sequence; 60 when absent, never less than the headers. */
  readonly size?: number;
  /** Several sizes instead, each as often as it is listed, in random order. */
  readonly sizes?: readonly number[];
  readonly src?: PoolSpec;
  readonly dst: PoolSpec;
  readonly sport?: PoolSpec;
  readonly dport?: PoolSpec;
  /**
   * Addresses of IPv4 such that both together have the same CRC32C in every packet, whatever it
   * starts from.
   */
  readonly collide?: "crc32c";
  /** Each packet is followed by its answer, addresses and ports the other way round. */
  readonly answered?: true;
  /** The IPv4 address that answers go to, where the flows translate the source of packets to it. */
  readonly translated?: string;
  /** They come through the scenario's tunnel. */
  readonly tunnelled?: true;
}

/** One combination of prefixes: all its packets agree in them. */
export type PacketClass = Readonly<Record<FieldName, Prefix>>;

const FIELDS: readonly FieldName[] = ["src", "dst", "sport", "dport"];

/** The packets that a specification describes. */
export class PacketSource {
  /** Every combination of the pools' prefixes. */
  readonly classes: readonly PacketClass[];
  readonly spec: PacketSpec;
  readonly #outer: OuterFrame | undefined;

  /** `tunnel`: the scenario's, if it has one. */
  constructor(spec: PacketSpec, tunnel?: TunnelSpec) {
    this.spec = spec;
    if (spec.tunnelled && tunnel !== undefined) this.#outer = new OuterFrame(tunnel);
    const random = new Random(spec.seed);
    const address: FieldKind = spec.kind.endsWith("6") ? "ipv6" : "ipv4";
    const anyAddress = address === "ipv6" ? "2001:db8:ffff::/48" : "192.168.0.0/16";
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

  /** Bytes of a frame, on average. */
  get frameSize(): number {
    const sizes = this.#frames().map(({ bytes }) => bytes.length);
    const headers = this.#outer?.headerSize ?? 0;
    return headers + sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
  }

  /** A frame for each size that is listed. */
  #frames(): Frame[] {
    const { kind, size = 60, sizes = [size], vlan } = this.spec;
    return sizes.map((bytes) => new Frame(kind, bytes, vlan));
  }

  /**
   * The packets, classes evenly and in random order. What is yielded is overwritten by the next.
   */
  *packets(): Generator<PacketFields> {
    const random = new Random(this.spec.seed + 1);
    const words = this.spec.kind.endsWith("6") ? 4 : 1;
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
      yield fields;
    }
  }

  /** Their frames, each of which is overwritten by the next. */
  *frames(): Generator<Uint8Array> {
    const { answered, seed, translated } = this.spec;
    const random = new Random(seed + 2);
    const frames = this.#frames();
    const outside = translated === undefined
      ? undefined
      : expandPool("ipv4", translated, new Random(0))[0]?.words;
    let i = 0;
    for (const fields of this.packets()) {
      if (i % frames.length === 0) random.shuffle(frames);
      const frame = frames[i++ % frames.length];
      if (frame === undefined) return;
      frame.fill(fields);
      yield this.#outer?.around(frame.bytes, fields) ?? frame.bytes;
      if (!answered) continue;
      const { src: dst, dst: src, sport: dport, dport: sport } = fields;
      const answers = {
        src,
        dst: outside === undefined ? dst : Uint32Array.from(outside),
      };
      frame.fill({ ...answers, sport, dport }, true);
      yield frame.bytes;
    }
  }

  /**
   * Writes the packets, or the first `limit` of them with their answers, to a capture file; returns
   * their number.
   */
  async write(path: string, limit = Infinity): Promise<number> {
    return await writeFrames(path, this.frames(), this.spec.answered ? 2 * limit : limit);
  }
}

/** Frames of several sources, as many as all of them have, in random order. */
export function* mixed(
  sources: readonly PacketSource[],
  seed: number,
): Generator<Uint8Array> {
  const random = new Random(seed);
  const left = sources.map((source) => ({
    frames: source.frames(),
    count: source.spec.count * (source.spec.answered ? 2 : 1),
  }));
  for (let all = left.reduce((sum, { count }) => sum + count, 0); all > 0; all--) {
    let at = random.below(all);
    const next = left.find(({ count }) => (at -= count) < 0);
    if (next === undefined) return;
    next.count--;
    const { value } = next.frames.next();
    if (value !== undefined) yield value;
  }
}

/** Writes frames, `limit` at most, to a capture file; returns their number. */
export async function writeFrames(
  path: string,
  frames: Iterable<Uint8Array>,
  limit = Infinity,
): Promise<number> {
  return await writeCapture(path, (add) => {
    let count = 0;
    for (const frame of frames) {
      if (count++ >= limit) return;
      add(frame);
    }
  });
}

const CHUNK = 4 << 20;

/**
 * Writes the frames that `produce` hands to its argument to a capture file; returns their number.
 */
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
 * A basis of the values whose CRC32C is 0, by elimination: the CRC is linear, so every sum of them
 * has that CRC too, and a secret start value changes nothing.
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
