// SPDX-License-Identifier: Apache-2.0
/**
 * Bytes on their way to and from C: strings, and memory that C may keep or that a
 * nonblocking call may use.
 *
 * @module
 */
import type { Libc } from "./libc.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * `text` as a C string: UTF-8 with a terminating zero. Throws `TypeError` if it contains a
 * zero itself, because C would silently see a shorter string.
 */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) {
    throw new TypeError(
      `Cannot pass ${JSON.stringify(text)} to C: it contains a zero byte`,
    );
  }
  return encoder.encode(`${text}\0`);
}

/** The C string at the start of `bytes`, up to its zero or to the end of `bytes`. */
export function fromCString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/**
 * Memory from C's heap. It does not move and no collector frees it, so its address may be
 * given to a nonblocking call. `free()` must not be called while C still uses it; after it,
 * `bytes` is an empty array.
 */
export interface CMemory extends Disposable {
  /** The address, for a `usize` parameter. */
  readonly address: bigint;
  /** The pointer, for a `pointer` parameter. */
  readonly pointer: Deno.PointerObject;
  /** The same memory as seen from here. Made once: views of C memory are expensive to make. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Gives the memory back. May be called again. */
  free(): void;
}

/** Zeroed memory of `size` bytes. Throws `RangeError` when there is none or `size` is 0. */
export function allocate(libc: Libc, size: number): CMemory {
  const pointer = size > 0 ? libc.symbols.calloc(1n, BigInt(size)) : null;
  if (pointer === null) throw new RangeError(`Cannot allocate ${size} bytes of C memory`);
  const view = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, size));
  let freed = false;
  const free = (): void => {
    if (freed) return;
    freed = true;
    libc.symbols.free(pointer);
  };
  return {
    address: BigInt(Deno.UnsafePointer.value(pointer)),
    pointer,
    get bytes(): Uint8Array<ArrayBuffer> {
      return freed ? new Uint8Array(0) : view;
    },
    free,
    [Symbol.dispose]: free,
  };
}
