// SPDX-License-Identifier: Apache-2.0
/**
 * Numbers as they lie in messages. Writing checks: what a field cannot hold is a `RangeError`.
 *
 * @module
 */

/** Whether this machine stores the low byte first. */
export const littleEndian: boolean = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** A `DataView` of exactly the bytes of an array. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** How one value lies in bytes. */
export interface Scalar<T> {
  /** Its size in bytes. */
  readonly size: number;
  /** Reads it. */
  read(view: DataView, at: number): T;
  /** Writes it. */
  write(view: DataView, at: number, value: T): void;
}

/**
 * A number of which every value from `min` to `max` can be written: a `DataView` takes what is
 * outside modulo 2^n and NaN as 0, and a request would be about something else.
 */
function checked<T extends number | bigint>(
  min: T,
  max: T,
  scalar: Scalar<T>,
): Scalar<T> {
  return {
    ...scalar,
    write: (view, at, value) => {
      const isWhole = typeof value === "bigint" || Number.isInteger(value);
      if (!isWhole || value < min || value > max) {
        throw new RangeError(
          `number must be an integer from ${min} to ${max}: current value is ${value}`,
        );
      }
      scalar.write(view, at, value);
    },
  };
}

const max16 = 2 ** 16 - 1;
const max32 = 2 ** 32 - 1;
const max64 = 2n ** 64n - 1n;

/** Unsigned, 8 bits. */
export const u8: Scalar<number> = checked(0, 255, {
  size: 1,
  read: (view, at) => view.getUint8(at),
  write: (view, at, value) => view.setUint8(at, value),
});
/** Unsigned, 16 bits, host order. */
export const u16: Scalar<number> = checked(0, max16, {
  size: 2,
  read: (view, at) => view.getUint16(at, littleEndian),
  write: (view, at, value) => view.setUint16(at, value, littleEndian),
});
/** Unsigned, 32 bits, host order. */
export const u32: Scalar<number> = checked(0, max32, {
  size: 4,
  read: (view, at) => view.getUint32(at, littleEndian),
  write: (view, at, value) => view.setUint32(at, value, littleEndian),
});
/** Signed, 32 bits, host order. */
export const s32: Scalar<number> = checked(-(2 ** 31), 2 ** 31 - 1, {
  size: 4,
  read: (view, at) => view.getInt32(at, littleEndian),
  write: (view, at, value) => view.setInt32(at, value, littleEndian),
});
/** Unsigned, 64 bits, host order. */
export const u64: Scalar<bigint> = checked(0n, max64, {
  size: 8,
  read: (view, at) => view.getBigUint64(at, littleEndian),
  write: (view, at, value) => view.setBigUint64(at, value, littleEndian),
});
/** Unsigned, 16 bits, network order. */
export const be16: Scalar<number> = checked(0, max16, {
  size: 2,
  read: (view, at) => view.getUint16(at),
  write: (view, at, value) => view.setUint16(at, value),
});
/** Unsigned, 32 bits, network order. */
export const be32: Scalar<number> = checked(0, max32, {
  size: 4,
  read: (view, at) => view.getUint32(at),
  write: (view, at, value) => view.setUint32(at, value),
});
/** Unsigned, 64 bits, network order. */
export const be64: Scalar<bigint> = checked(0n, max64, {
  size: 8,
  read: (view, at) => view.getBigUint64(at),
  write: (view, at, value) => view.setBigUint64(at, value),
});
