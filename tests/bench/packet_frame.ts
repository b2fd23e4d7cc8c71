// SPDX-License-Identifier: Apache-2.0
/**
 * The frame of a kind of packets, of which only what varies is written anew.
 *
 * @module
 */
import {
  build,
  ethernet,
  icmp,
  ipv4,
  ipv6,
  payload,
  tcp,
  udp,
  vlan,
} from "../../frames/mod.ts";

/** Headers of a packet; `syn4` begins a connection, `icmp4` is a request for an echo. */
export type PacketKind = "udp4" | "udp6" | "tcp4" | "tcp6" | "syn4" | "icmp4";

/** The fields that vary. */
export type FieldName = "src" | "dst" | "sport" | "dport";

/** Fields of one packet; overwritten by the next. */
export type PacketFields = Readonly<Record<FieldName, Uint32Array>>;

const ETHERNET = 14;
const TAG = 4;
const UDP = 8;
const SOURCE_MAC = "02:00:00:00:00:01";
const DESTINATION_MAC = "02:00:00:00:00:02";
const TTL = 64;
/** Bytes of a frame without its check sequence. */
const SMALLEST = 60;

/** Numbers of both sides of a TCP connection that stays where it is. */
const SEQUENCE = 1000;
const ANSWERS_SEQUENCE = 5000;
const WINDOW = 60_000;
const TCP = 20;

/** One frame, of which only addresses, ports and checksums are written anew. */
export class Frame {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #kind: PacketKind;
  readonly #ip: 4 | 6;
  readonly #tcp: boolean;
  readonly #l3: number;
  readonly #l4: number;
  readonly #l4Size: number;

  /**
   * A frame of `size` bytes without its check sequence, of as many as its headers take at least.
   */
  constructor(kind: PacketKind, size: number, vid?: number) {
    this.#kind = kind;
    this.#ip = kind === "udp6" || kind === "tcp6" ? 6 : 4;
    this.#tcp = kind === "tcp4" || kind === "tcp6" || kind === "syn4";
    this.#l3 = ETHERNET + (vid === undefined ? 0 : TAG);
    this.#l4 = this.#l3 + (this.#ip === 4 ? 20 : 40);
    const header = this.#tcp ? TCP : UDP; // ICMP's is as long as UDP's.
    size = Math.max(size, this.#l4 + header);
    // The smallest segment has no payload, only padding: its window does not move.
    this.#l4Size = this.#tcp && size <= SMALLEST ? TCP : size - this.#l4;
    const frame = build([
      ethernet({ src: SOURCE_MAC, dst: DESTINATION_MAC }),
      ...vid === undefined ? [] : [vlan({ vid })],
      this.#ip === 4 ? ipv4({ ttl: TTL }) : ipv6({ hlimit: TTL }),
      this.#tcp
        ? tcp({ flags: kind === "syn4" ? 0x02 : 0x10, window: WINDOW })
        : kind === "icmp4"
        ? icmp()
        : udp(),
      payload(this.#l4Size - header),
    ]);
    this.bytes = new Uint8Array(size);
    this.bytes.set(frame);
    this.#view = new DataView(this.bytes.buffer);
  }

  fill(fields: PacketFields, answer = false): void {
    const view = this.#view;
    const source = this.#l3 + (this.#ip === 4 ? 12 : 8);
    const words = fields.src.length;
    for (let w = 0; w < words; w++) {
      view.setUint32(source + 4 * w, fields.src[w] ?? 0);
      view.setUint32(source + 4 * (words + w), fields.dst[w] ?? 0);
    }
    if (this.#ip === 4) {
      view.setUint16(this.#l3 + 10, 0);
      view.setUint16(this.#l3 + 10, checksum(this.#sum(this.#l3, this.#l4)));
    }
    if (this.#kind === "icmp4") return this.#fillEcho(fields);
    view.setUint16(this.#l4, (fields.sport[0] ?? 0) >>> 16);
    view.setUint16(this.#l4 + 2, (fields.dport[0] ?? 0) >>> 16);
    if (this.#tcp) {
      view.setUint32(this.#l4 + 4, answer ? ANSWERS_SEQUENCE : SEQUENCE);
      view.setUint32(this.#l4 + 8, answer ? SEQUENCE : ANSWERS_SEQUENCE);
    }
    const field = this.#l4 + (this.#tcp ? 16 : 6);
    view.setUint16(field, 0);
    // Addresses, header and length are the whole of pseudo-header and payload that is not zero.
    const sum = this.#sum(source, this.#l4 + (this.#tcp ? TCP : UDP)) +
      (this.#tcp ? 6 : 17) + this.#l4Size;
    view.setUint16(field, this.#tcp ? checksum(sum) : checksum(sum) || 0xffff);
  }

  /** Its identifier and number stand where the ports would. */
  #fillEcho({ sport, dport }: PacketFields): void {
    const view = this.#view;
    view.setUint16(this.#l4 + 4, (sport[0] ?? 0) >>> 16);
    view.setUint16(this.#l4 + 6, (dport[0] ?? 0) >>> 16);
    view.setUint16(this.#l4 + 2, 0);
    view.setUint16(this.#l4 + 2, checksum(this.#sum(this.#l4, this.#l4 + UDP)));
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
