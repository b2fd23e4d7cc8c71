// SPDX-License-Identifier: Apache-2.0
/**
 * Cuts a stream of bytes into JSON values that follow each other with nothing, or white space,
 * between them: the framing of JSON-RPC on Open vSwitch's control sockets.
 *
 * @module
 */

const quote = 0x22;
const backslash = 0x5c;
const opening = new Set([0x7b, 0x5b]);
const closing = new Set([0x7d, 0x5d]);
const blank = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** Deepest nesting that is accepted; Open vSwitch stops at 1000. */
const maxDepth = 1000;

/** Collects bytes until they are a whole object or array. */
export class JsonStream {
  readonly #maxSize: number;
  #bytes = new Uint8Array(4096);
  /** Where the value that is being read begins, how far it was looked at, and the end. */
  #start = 0;
  #scanned = 0;
  #end = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;

  /** Values larger than `maxSize` bytes are refused. */
  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  /**
   * Adds bytes and returns the texts of the values that are whole now. Throws `SyntaxError` when
   * what comes cannot be a value, nests too deeply or is too large; the stream cannot go on after
   * that. It takes time by the number of bytes, whatever they are.
   */
  push(chunk: Uint8Array): string[] {
    this.#append(chunk);
    const values: string[] = [];
    while (this.#scanned < this.#end) {
      const byte = this.#bytes[this.#scanned++] ?? 0;
      if (this.#depth === 0) this.#begin(byte);
      else if (this.#step(byte)) values.push(this.#take());
    }
    if (this.#end - this.#start > this.#maxSize) {
      throw new SyntaxError(`message is larger than ${this.#maxSize} bytes`);
    }
    return values;
  }

  #begin(byte: number): void {
    if (opening.has(byte)) this.#depth = 1;
    else if (blank.has(byte)) this.#start = this.#scanned;
    else {
      throw new SyntaxError(
        `message begins with byte 0x${byte.toString(16)}, not with { or [`,
      );
    }
  }

  /** Looks at one byte inside a value; true when it is the last one. */
  #step(byte: number): boolean {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (byte === backslash) this.#escaped = true;
      else if (byte === quote) this.#inString = false;
      return false;
    }
    if (byte === quote) this.#inString = true;
    else if (opening.has(byte)) {
      if (++this.#depth > maxDepth) throw new SyntaxError("message nests too deeply");
    } else if (closing.has(byte)) this.#depth--;
    return this.#depth === 0;
  }

  /** Adds bytes behind those that are left of before, which are moved to the front once. */
  #append(chunk: Uint8Array): void {
    const left = this.#bytes.subarray(this.#start, this.#end);
    const needed = left.length + chunk.length;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
      larger.set(left);
      this.#bytes = larger;
    } else if (this.#start > 0) {
      this.#bytes.copyWithin(0, this.#start, this.#end);
    }
    this.#scanned -= this.#start;
    this.#start = 0;
    this.#bytes.set(chunk, left.length);
    this.#end = needed;
  }

  #take(): string {
    const text = new TextDecoder().decode(
      this.#bytes.subarray(this.#start, this.#scanned),
    );
    this.#start = this.#scanned;
    return text;
  }
}
