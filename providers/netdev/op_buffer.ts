// SPDX-License-Identifier: Apache-2.0
/**
 * Operations as the library reads them, and room for what it says of each.
 *
 * A batch is packed into one buffer that is used again. Packing is half of what a decision of a
 * program costs, so it is written for speed: no object stands between an operation and its bytes.
 *
 * @module
 */
import { constants, dpOp } from "../../ffi/layout.ts";

const empty: Uint8Array = new Uint8Array(0);

/** Bytes that a part of `size` bytes takes in the buffer. */
export function padded(size: number): number {
  return size + 7 & ~7;
}

/** Copies `source`. A loop is faster than `set` up to some words. */
function copy(source: Uint8Array, target: Uint8Array, at: number): void {
  const size = source.length;
  if (size > 24) target.set(source, at);
  else for (let i = 0; i < size; i++) target[at + i] = source[i] as number;
}

/**
 * A batch of operations, each a `struct dp_op` with its key, mask, actions and packet behind it.
 */
export class OpBuffer {
  /** The buffer; only the bytes before `at` count. It is replaced when it grows. */
  bytes: Uint8Array<ArrayBuffer>;
  /** The same as words in host order. */
  words: Uint32Array<ArrayBuffer>;
  /** Bytes in use. */
  at = 0;
  /** Operations in the buffer. */
  count = 0;
  /** Key and mask of the operation before: a part that comes again is not copied again. */
  #key: Uint8Array | undefined;
  #mask: Uint8Array | undefined;

  /** Makes an empty buffer of `size` bytes, a multiple of 8. */
  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.words = new Uint32Array(this.bytes.buffer);
  }

  /** Makes it empty. */
  clear(): void {
    this.at = 0;
    this.count = 0;
    this.#key = undefined;
    this.#mask = undefined;
  }

  /**
   * Appends an operation of `type`, `DP_OP_*`, and returns where its header is, bytes. `hash` and
   * `upcall` of the header are zero then; the caller sets them, and `ufid` with its flag. Parts
   * that are the very arrays of the operation before are left out.
   */
  append(
    type: number,
    flags: number,
    key: Uint8Array | undefined,
    mask: Uint8Array | undefined,
    actions: Uint8Array,
    packet: Uint8Array,
  ): number {
    let keyPart = key ?? empty;
    if (key !== undefined && key === this.#key && key.length > 0) {
      keyPart = empty;
      flags |= constants.DP_OPF_SAME_KEY;
    } else {
      this.#key = key;
    }
    let maskPart = empty;
    if (type === constants.DP_OP_PUT) {
      if (mask !== undefined) {
        flags |= constants.DP_OPF_MASK;
        if (mask === this.#mask) flags |= constants.DP_OPF_SAME_MASK;
        else maskPart = mask;
      }
      this.#mask = mask;
    }
    const start = this.at;
    const keySize = keyPart.length;
    const maskSize = maskPart.length;
    const actionsSize = actions.length;
    const packetSize = packet.length;
    const maskAt = start + dpOp.structSize + padded(keySize);
    const actionsAt = maskAt + padded(maskSize);
    const packetAt = actionsAt + padded(actionsSize);
    const size = packetAt + padded(packetSize) - start;
    if (start + size > this.bytes.length) this.#grow(start + size);

    const words = this.words;
    const word = start >> 2;
    words[word + (dpOp.size >> 2)] = size;
    words[word + (dpOp.type >> 2)] = type;
    words[word + (dpOp.flags >> 2)] = flags;
    words[word + (dpOp.keySize >> 2)] = keySize;
    words[word + (dpOp.maskSize >> 2)] = maskSize;
    words[word + (dpOp.actionsSize >> 2)] = actionsSize;
    words[word + (dpOp.packetSize >> 2)] = packetSize;
    words[word + (dpOp.upcall >> 2)] = 0;
    words[word + (dpOp.hash >> 2)] = 0;
    words[word + (dpOp.hash >> 2) + 1] = 0;

    const bytes = this.bytes;
    copy(keyPart, bytes, start + dpOp.structSize);
    copy(maskPart, bytes, maskAt);
    copy(actions, bytes, actionsAt);
    copy(packet, bytes, packetAt);
    this.at = start + size;
    this.count++;
    return start;
  }

  /** Adds the upcall at byte `upcall` of the arena to the list of the operation at `start`. */
  list(start: number, upcall: number): void {
    if (this.at + 8 > this.bytes.length) this.#grow(this.at + 8);
    this.words[this.at >> 2] = upcall;
    this.at += 4;
    (this.words[(start + dpOp.upcall) >> 2] as number)++;
  }

  /** Ends the list of the operation at `start`. */
  endList(start: number): void {
    if ((this.at & 4) !== 0) {
      this.words[this.at >> 2] = 0;
      this.at += 4;
    }
    this.words[(start + dpOp.size) >> 2] = this.at - start;
  }

  #grow(size: number): void {
    const bytes = new Uint8Array(padded(2 * size));
    bytes.set(this.bytes.subarray(0, this.at));
    this.bytes = bytes;
    this.words = new Uint32Array(bytes.buffer);
  }
}

/** Room for results, `struct dp_result` and what "get" gives behind it. Used again. */
export class ResultBuffer {
  /** The buffer. It is replaced when it grows. */
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** The same as words in host order. */
  words: Uint32Array<ArrayBuffer> = new Uint32Array(this.bytes.buffer);
  /** The same as numbers of any size. */
  view: DataView<ArrayBuffer> = new DataView(this.bytes.buffer);

  /** Makes room for `size` bytes; what the buffer held may be gone. */
  reserve(size: number): void {
    if (this.bytes.length >= size) return;
    this.bytes = new Uint8Array(padded(2 * size));
    this.words = new Uint32Array(this.bytes.buffer);
    this.view = new DataView(this.bytes.buffer);
  }
}
