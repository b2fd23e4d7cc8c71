// SPDX-License-Identifier: Apache-2.0
/**
 * Netlink messages and attributes as bytes: written into one growing buffer, read without copying.
 *
 * ```text
 * nlmsghdr    0:4 length  4:2 type  6:2 flags  8:4 sequence  12:4 port id       (host order)
 * genlmsghdr  0:1 command  1:1 version  2:2 reserved
 * nlattr      0:2 length, header included, padding not  2:2 type               (host order)
 * ```
 *
 * Messages and attributes start at multiples of 4.  Formats: `<linux/netlink.h>`,
 * `<linux/genetlink.h>`.
 *
 * @module
 */
import { NetlinkError } from "./errors.ts";
import { littleEndian, type Scalar, viewOf } from "./scalar.ts";

export * from "./scalar.ts";

/** Bits of `nlmsg_flags`. Several meanings share a bit: which one holds depends on the message. */
export const NetlinkFlag = {
  /** Every request has it. */
  request: 0x1,
  /** Part of a reply of several messages, which ends with {@linkcode MessageType.done}. */
  multi: 0x2,
  /** Ask for an acknowledgement. */
  ack: 0x4,
  /** Ask for a copy of what came of it. */
  echo: 0x8,
  /** In a dump: the table changed meanwhile, the dump may have gaps. */
  dumpInterrupted: 0x10,
  /** Get: list everything. */
  dump: 0x300,
  /** New: replace what exists. */
  replace: 0x100,
  /** New: fail if it exists. */
  exclusive: 0x200,
  /** New: make it if it does not exist. */
  create: 0x400,
  /** In an acknowledgement: the request is not repeated in it. */
  capped: 0x100,
  /** In an acknowledgement: attributes follow that explain it. */
  ackAttributes: 0x200,
} as const;

/** Message types that every netlink protocol shares; families start at 16. */
export const MessageType = { noop: 1, error: 2, done: 3, overrun: 4 } as const;

/** Size of `struct nlmsghdr` in bytes. */
export const messageHeaderSize = 16;

const nestedBit = 0x8000;
const typeMask = 0x3fff;

/** `size` rounded up to a multiple of 4. */
export function align(size: number): number {
  return (size + 3) & ~3;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The head of a message. */
export interface MessageInit {
  /** Type: a family's number. */
  readonly type: number;
  /** Bits of {@linkcode NetlinkFlag}; `request` is added. */
  readonly flags?: number;
}

/**
 * Writes messages one behind the other.
 *
 * `begin`, then headers and attributes, then `end`.  The buffer grows as needed and is used again
 * after `reset`.
 */
export class MessageWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView<ArrayBuffer>;
  #length = 0;
  #start = 0;

  /** Makes a writer with room for `size` bytes before it must grow. */
  constructor(size = 4096) {
    this.#bytes = new Uint8Array(size);
    this.#view = viewOf(this.#bytes) as DataView<ArrayBuffer>;
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** What was written: a view, good until the next write. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Forgets everything written from byte `length` on. */
  reset(length = 0): void {
    this.#length = length;
  }

  /** Starts a message. */
  begin(init: MessageInit): void {
    const at = this.#reserve(messageHeaderSize);
    this.#start = at;
    this.#view.setUint32(at, 0);
    this.#view.setUint16(at + 4, init.type, littleEndian);
    this.#view.setUint16(
      at + 6,
      NetlinkFlag.request | (init.flags ?? 0),
      littleEndian,
    );
    this.#view.setUint32(at + 8, 0);
    this.#view.setUint32(at + 12, 0);
  }

  /** Ends the message that `begin` started. */
  end(): void {
    this.#view.setUint32(this.#start, this.#length - this.#start, littleEndian);
  }

  /** Appends a bare value, as of a family's own header. Nothing is padded. */
  put<T>(kind: Scalar<T>, value: T): void {
    const at = this.#reserve(kind.size);
    kind.write(this.#view, at, value);
  }

  /** Appends bare bytes. Nothing is padded. */
  putBytes(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Appends an attribute with one value. */
  attribute<T>(id: number, kind: Scalar<T>, value: T): void {
    const at = this.#attribute(id, kind.size);
    kind.write(this.#view, at, value);
  }

  /** Appends an attribute of bytes; without `bytes`, an empty one (a flag). */
  attributeBytes(id: number, bytes?: Uint8Array): void {
    const at = this.#attribute(id, bytes?.length ?? 0);
    if (bytes) this.#bytes.set(bytes, at);
  }

  /**
   * Appends an attribute that holds text and the zero behind it. Throws `TypeError` for text with
   * a zero.
   */
  attributeText(id: number, text: string): void {
    if (text.includes("\0")) {
      // The kernel would take what is in front of it for the whole.
      throw new TypeError(`${JSON.stringify(text)} must not contain a zero byte`);
    }
    this.attributeBytes(id, encoder.encode(`${text}\0`));
  }

  /** Starts an attribute that holds attributes; give the result to `endNested`. */
  beginNested(id: number): number {
    // Without NLA_F_NESTED: the openvswitch families do not set it either, and everything here
    // takes both.
    return this.#attribute(id, 0) - 4;
  }

  /** Ends the attribute that `beginNested` started. */
  endNested(mark: number): void {
    const size = this.#checkedSize(this.#length - mark);
    this.#view.setUint16(mark, size, littleEndian);
    const padding = this.#reserve(align(size) - size);
    this.#bytes.fill(0, padding, this.#length);
  }

  /** Appends an attribute that holds what `write` writes. */
  nested(id: number, write: () => void): void {
    const mark = this.beginNested(id);
    write();
    this.endNested(mark);
  }

  #checkedSize(size: number): number {
    if (size > 0xffff) {
      throw new NetlinkError({
        code: "ENOBUFS",
        detail: `an attribute of ${size} bytes does not fit into 65535`,
      });
    }
    return size;
  }

  #attribute(id: number, size: number): number {
    this.#checkedSize(size + 4);
    const at = this.#reserve(4 + align(size));
    this.#view.setUint16(at, size + 4, littleEndian);
    this.#view.setUint16(at + 2, id, littleEndian);
    this.#bytes.fill(0, at + 4 + size, this.#length);
    return at + 4;
  }

  /** Makes room for `size` more bytes and says where they are. */
  #reserve(size: number): number {
    const at = this.#length;
    const length = at + size;
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#bytes.length));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = viewOf(larger) as DataView<ArrayBuffer>;
    }
    this.#length = length;
    return at;
  }
}

/** A received message. `body` is a view into the datagram. */
export interface Message {
  /** Family, or one of {@linkcode MessageType}. */
  readonly type: number;
  /** Bits of {@linkcode NetlinkFlag}. */
  readonly flags: number;
  /** Number of the request that it answers; 0 for notifications. */
  readonly sequence: number;
  /** Port id of the request's socket; 0 for notifications. */
  readonly portId: number;
  /** What follows the header, without padding. */
  readonly body: Uint8Array;
}

/**
 * Where the messages of one datagram start. Throws {@linkcode NetlinkError} `EBADMSG` when a length
 * does not agree with what is there.
 */
export function messageStarts(datagram: DataView): number[] {
  const starts: number[] = [];
  const size = datagram.byteLength;
  for (let at = 0; at < size;) {
    const room = size - at;
    const length = room < messageHeaderSize ? 0 : datagram.getUint32(at, littleEndian);
    if (length < messageHeaderSize || length > room) {
      throw new NetlinkError({
        code: "EBADMSG",
        detail: `a message of ${length} bytes where ${room} are left`,
      });
    }
    starts.push(at);
    at += align(length);
  }
  return starts;
}

/** The message at one of {@linkcode messageStarts}. */
export function messageAt(datagram: DataView, at: number): Message {
  const { buffer, byteOffset } = datagram;
  const length = datagram.getUint32(at, littleEndian);
  return {
    type: datagram.getUint16(at + 4, littleEndian),
    flags: datagram.getUint16(at + 6, littleEndian),
    sequence: datagram.getUint32(at + 8, littleEndian),
    portId: datagram.getUint32(at + 12, littleEndian),
    body: new Uint8Array(
      buffer,
      byteOffset + at + messageHeaderSize,
      length - messageHeaderSize,
    ),
  };
}

/**
 * The messages of one datagram. Throws {@linkcode NetlinkError} `EBADMSG` when a length does not
 * agree with what is there.
 */
export function parseMessages(datagram: Uint8Array): Message[] {
  const view = viewOf(datagram);
  return messageStarts(view).map((at) => messageAt(view, at));
}

/**
 * The attributes of a message or of a nested attribute, found once and read by id.
 *
 * Unknown attributes are skipped.  When an id comes twice the last one counts, as in the kernel.
 */
export class Attributes {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** For each id: offset and size of the payload. */
  readonly #index = new Map<number, readonly [at: number, size: number]>();
  readonly #order: number[] = [];

  /**
   * Looks over `bytes` from `offset` on.  Throws {@linkcode NetlinkError} `EBADMSG` when a length
   * does not agree with what is there.
   */
  constructor(bytes: Uint8Array, offset = 0) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    if (offset > bytes.length) throw this.#malformed(offset);
    for (let at = offset; at < bytes.length;) {
      const room = bytes.length - at;
      // Fewer than 4 bytes are padding behind the last attribute, nothing else.
      if (room < 4) break;
      const size = this.#view.getUint16(at, littleEndian);
      if (size < 4 || size > room) throw this.#malformed(at);
      const id = this.#view.getUint16(at + 2, littleEndian) & typeMask;
      this.#index.set(id, [at + 4, size - 4]);
      this.#order.push(at);
      at += align(size);
    }
  }

  #malformed(at: number): NetlinkError {
    return new NetlinkError({
      code: "EBADMSG",
      detail: `malformed attribute at byte ${at} of ${this.#bytes.length}`,
    });
  }

  /** Whether there is an attribute `id`. */
  has(id: number): boolean {
    return this.#index.has(id);
  }

  /** The value of attribute `id`; undefined if there is none. Throws when it is too short. */
  get<T>(id: number, kind: Scalar<T>): T | undefined {
    const entry = this.#index.get(id);
    if (!entry) return undefined;
    if (entry[1] < kind.size) throw this.#malformed(entry[0] - 4);
    return kind.read(this.#view, entry[0]);
  }

  /** As `get`, but throws when there is no such attribute. */
  need<T>(id: number, kind: Scalar<T>): T {
    const value = this.get(id, kind);
    if (value !== undefined) return value;
    throw new NetlinkError({
      code: "EBADMSG",
      detail: `no attribute ${id} in a message`,
    });
  }

  /** The payload of attribute `id`, a view; undefined if there is none. */
  bytes(id: number): Uint8Array | undefined {
    const entry = this.#index.get(id);
    return entry && this.#bytes.subarray(entry[0], entry[0] + entry[1]);
  }

  /** The text in attribute `id`, up to its zero; undefined if there is none. */
  text(id: number): string | undefined {
    const bytes = this.bytes(id);
    if (!bytes) return undefined;
    const end = bytes.indexOf(0);
    return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
  }

  /** The attributes in attribute `id`; undefined if there is none. */
  nested(id: number): Attributes | undefined {
    const bytes = this.bytes(id);
    return bytes && new Attributes(bytes);
  }

  /** Every attribute in order, with payload; for lists, whose ids mean little. */
  *entries(): Generator<readonly [id: number, bytes: Uint8Array]> {
    for (const at of this.#order) {
      const size = this.#view.getUint16(at, littleEndian);
      const id = this.#view.getUint16(at + 2, littleEndian) & typeMask;
      yield [id, this.#bytes.subarray(at + 4, at + size)];
    }
  }
}

/** Marks an attribute id as holding attributes; the few families that insist on it say so. */
export function nestedId(id: number): number {
  return id | nestedBit;
}
