// SPDX-License-Identifier: Apache-2.0
/**
 * The stack of a packet on its way.
 *
 * @module
 */

/** Bytes of all items together, each with one for its size: as in Open vSwitch. */
const MAX_BYTES = 1 << 16;

/** Bytes of an item: of registers, or of a longer field. */
function sizeOf(value: bigint): number {
  return value >> 64n === 0n ? 9 : value >> 128n === 0n ? 17 : 129;
}

/** Values that were put aside. */
export class Stack {
  readonly #items: bigint[];
  #bytes = 0;

  /** Begins with items, the top last. */
  constructor(items: readonly bigint[] = []) {
    this.#items = [...items];
    for (const item of items) this.#bytes += sizeOf(item);
  }

  /** The top comes last. */
  get items(): readonly bigint[] {
    return this.#items;
  }

  /** Puts a value on top; false if there is no room for more. */
  push(value: bigint): boolean {
    this.#bytes += sizeOf(value);
    this.#items.push(value);
    return this.#bytes <= MAX_BYTES;
  }

  /** Takes the value on top; undefined if there is none. */
  pop(): bigint | undefined {
    const value = this.#items.pop();
    if (value !== undefined) this.#bytes -= sizeOf(value);
    return value;
  }
}
