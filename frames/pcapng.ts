// SPDX-License-Identifier: Apache-2.0
/**
 * Packets as a pcapng file, each with its port and a comment: for tcpdump and Wireshark.
 *
 * ```ts no-eval
 * import { PcapngWriter } from "./pcapng.ts";
 * const file = Deno.createSync("seen.pcapng");
 * const capture = new PcapngWriter((bytes) => file.writeSync(bytes));
 * capture.packet({ port: "p1", bytes: new Uint8Array(60), comment: "the first" });
 * ```
 *
 * Format: draft-ietf-opsawg-pcapng: blocks of 32-bit words, here in little-endian order.
 *
 * @module
 */

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const LINKTYPE_ETHERNET = 1;
const OPT_COMMENT = 1;
const SHB_USERAPPL = 4;
const IF_NAME = 2;
const IF_TSRESOL = 9;

const encoder = new TextEncoder();

/** One option: code, length, value, padding. */
function option(code: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + (value.length + 3 & ~3));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, value.length, true);
  bytes.set(value, 4);
  return bytes;
}

const endOfOptions = new Uint8Array(4);
/** Longest text of an option, bytes. */
const maxText = 0xffff;

function textOption(code: number, text: string): Uint8Array {
  return option(code, encoder.encode(text).subarray(0, maxText));
}

function block(type: number, parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const size = parts.reduce((sum, part) => sum + (part.length + 3 & ~3), 12);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, size, true);
  let at = 8;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length + 3 & ~3;
  }
  view.setUint32(at, size, true);
  return bytes;
}

/** The beginning of a file. */
export function sectionHeader(application: string): Uint8Array<ArrayBuffer> {
  const fixed = new Uint8Array(16);
  const view = new DataView(fixed.buffer);
  view.setUint32(0, BYTE_ORDER_MAGIC, true);
  view.setUint16(4, 1, true); // Version 1.0.
  view.setBigInt64(8, -1n, true); // Its length is not known in advance.
  return block(SECTION_HEADER, [
    fixed,
    textOption(SHB_USERAPPL, application),
    endOfOptions,
  ]);
}

/**
 * An interface; packets name it by how many came before it. Times of its packets are in
 * nanoseconds.
 */
export function interfaceDescription(name: string): Uint8Array<ArrayBuffer> {
  const fixed = new Uint8Array(8); // Link type, reserved, no limit of length.
  new DataView(fixed.buffer).setUint16(0, LINKTYPE_ETHERNET, true);
  return block(INTERFACE_DESCRIPTION, [
    fixed,
    textOption(IF_NAME, name),
    option(IF_TSRESOL, Uint8Array.of(9)),
    endOfOptions,
  ]);
}

/** A packet of a file. */
export interface CapturedPacket {
  /** Number of its interface in the file. */
  readonly interfaceId: number;
  /** Nanoseconds since 1970. */
  readonly time: bigint;
  /** From the Ethernet header on. */
  readonly bytes: Uint8Array;
  /** Bytes that it had before it was cut; absent: all are there. */
  readonly originalLength?: number | undefined;
  /** What is shown beside it; none if absent. */
  readonly comment?: string;
}

/** A packet. */
export function enhancedPacket(packet: CapturedPacket): Uint8Array<ArrayBuffer> {
  const fixed = new Uint8Array(20);
  const view = new DataView(fixed.buffer);
  view.setUint32(0, packet.interfaceId, true);
  view.setUint32(4, Number(packet.time >> 32n), true);
  view.setUint32(8, Number(packet.time & 0xffffffffn), true);
  view.setUint32(12, packet.bytes.length, true);
  view.setUint32(16, packet.originalLength ?? packet.bytes.length, true);
  return block(ENHANCED_PACKET, [
    fixed,
    packet.bytes,
    ...(packet.comment === undefined ? [] : [textOption(OPT_COMMENT, packet.comment)]),
    endOfOptions,
  ]);
}

/** A packet for {@linkcode PcapngWriter}. */
export interface PcapngPacket {
  /** Name of the port that it was seen at. */
  readonly port: string;
  /** From the Ethernet header on. */
  readonly bytes: Uint8Array;
  /** Nanoseconds since 1970; now if absent. */
  readonly time?: bigint;
  /** Bytes that it had before it was cut; absent: all are there. */
  readonly originalLength?: number;
  /** What Wireshark shows beside it. */
  readonly comment?: string;
}

/**
 * Writes a capture, a block at a time.  Ports become interfaces of the file when they are first
 * named.  What `write` throws comes out; the file then ends with the block before.
 */
export class PcapngWriter {
  readonly #write: (bytes: Uint8Array<ArrayBuffer>) => unknown;
  readonly #interfaces = new Map<string, number>();

  /**
   * Writes the beginning of the file. `write` is given whole blocks, and must write all of each.
   */
  constructor(
    write: (bytes: Uint8Array<ArrayBuffer>) => unknown,
    { application = "upcall" }: { readonly application?: string } = {},
  ) {
    this.#write = write;
    write(sectionHeader(application));
  }

  /** Adds a packet. */
  packet({ port, bytes, time, originalLength, comment }: PcapngPacket): void {
    let interfaceId = this.#interfaces.get(port);
    if (interfaceId === undefined) {
      interfaceId = this.#interfaces.size;
      this.#write(interfaceDescription(port));
      this.#interfaces.set(port, interfaceId);
    }
    this.#write(enhancedPacket({
      interfaceId,
      time: time ?? BigInt(Date.now()) * 1_000_000n,
      bytes,
      originalLength,
      ...(comment !== undefined && { comment }),
    }));
  }
}
