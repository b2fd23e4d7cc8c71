// SPDX-License-Identifier: Apache-2.0
/**
 * Receives many datagrams with one system call.
 *
 * @module
 */
import { allocate, type CMemory } from "../../ffi/memory.ts";
import { NetlinkError } from "./errors.ts";
import { littleEndian } from "./message.ts";
import type { NetlinkSocket } from "./socket.ts";

// struct mmsghdr of 64-bit Linux: msg_iov at 16, msg_iovlen at 24, msg_flags at 48, msg_len at 56.
const headerSize = 64;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;

/**
 * Memory that `recvmmsg` fills for one socket.
 *
 * Each datagram has a slot of its own.  Slots are sparse: memory that no datagram reached is not
 * resident.
 */
export class Burst {
  readonly #socket: NetlinkSocket;
  readonly #headers: CMemory;
  readonly #slots: CMemory;
  readonly #slotSize: number;
  readonly #view: DataView;
  /** Most datagrams of one call. */
  readonly size: number;

  /** Makes slots for `size` datagrams of up to `slotSize` bytes. */
  constructor(socket: NetlinkSocket, size: number, slotSize: number) {
    this.#socket = socket;
    this.size = size;
    this.#slotSize = slotSize;
    this.#headers = allocate(socket.libc, size * (headerSize + 16));
    this.#slots = allocate(socket.libc, size * slotSize);
    this.#view = new DataView(this.#headers.bytes.buffer);
    const vectors = size * headerSize;
    for (let i = 0; i < size; i++) {
      const vector = vectors + 16 * i;
      const slot = this.#slots.address + BigInt(i * slotSize);
      this.#view.setBigUint64(vector, slot, littleEndian);
      this.#view.setBigUint64(vector + 8, BigInt(slotSize), littleEndian);
      const header = i * headerSize;
      const address = this.#headers.address + BigInt(vector);
      this.#view.setBigUint64(header + 16, address, littleEndian);
      this.#view.setBigUint64(header + 24, 1n, littleEndian);
    }
  }

  /**
   * Receives up to `max` datagrams that wait, and says how many came.
   *
   * Throws {@linkcode NetlinkError} `ENOBUFS` when datagrams were lost; those that were not can
   * be received by the next call.
   */
  receive(max: number): number {
    const { recvmmsg } = this.#socket.libc.symbols;
    const count = Math.min(max, this.size);
    for (;;) {
      const got = recvmmsg(
        this.#socket.fd,
        this.#headers.address,
        count,
        MSG_DONTWAIT,
        null,
      );
      if (got >= 0) return got;
      const failure = new NetlinkError({ code: this.#socket.libc.errno() || "EIO" });
      if (failure.code === "EAGAIN") return 0;
      if (failure.code !== "EINTR") throw failure;
    }
  }

  /**
   * A copy of datagram `index` of the last call.
   * Throws {@linkcode NetlinkError} `EMSGSIZE` when it was longer than a slot.
   */
  datagram(index: number): Uint8Array {
    const header = index * headerSize;
    if (this.#view.getInt32(header + 48, littleEndian) & MSG_TRUNC) {
      throw new NetlinkError({ code: "EMSGSIZE" });
    }
    const start = index * this.#slotSize;
    const length = this.#view.getUint32(header + 56, littleEndian);
    return this.#slots.bytes.slice(start, start + length);
  }

  /** Gives the memory back. Idempotent. */
  close(): void {
    this.#headers.free();
    this.#slots.free();
  }
}
