// SPDX-License-Identifier: Apache-2.0
/**
 * Keys of flows, many in a buffer: a buffer of its own costs as much as all the rest of a flow.
 *
 * @module
 */

/** Buffer of many keys of one length. */
export interface KeyChunk {
  readonly bytes: Uint8Array;
  /** The same as words in host order. */
  readonly words: Uint32Array;
  /** Words that were given to keys, and first words of those that were given back. */
  used: number;
  readonly freed: number[];
  /** Keys in it. */
  keys: number;
  /** Where it is among those with room; -1 if it has none. */
  at: number;
}

/** Where a key is. */
export interface KeyPlace {
  chunk: KeyChunk;
  /** First of its words in the chunk. */
  keyAt: number;
}

/** Words of a chunk; a longer key has one of its own. */
const CHUNK = 1 << 13;

function chunkOf(count: number): KeyChunk {
  const words = new Uint32Array(count);
  const bytes = new Uint8Array(words.buffer);
  return { words, bytes, used: 0, freed: [], keys: 0, at: -1 };
}

/** What no key is in. */
export const NO_CHUNK: KeyChunk = chunkOf(0);

/**
 * Keeps keys. Room that is given back is for keys of the same length, until no key is left in its
 * chunk: of each length one chunk without keys stays at most.
 */
export class KeyStore {
  /** Chunks with room by the words that keys in them have. */
  readonly #open = new Map<number, KeyChunk[]>();

  /** Copies the key of `count` words that `words` begin with, and says where to. */
  keep(words: Uint32Array, count: number, place: KeyPlace): void {
    let open = this.#open.get(count);
    if (open === undefined) this.#open.set(count, open = []);
    let chunk = open[open.length - 1];
    if (chunk === undefined) {
      chunk = chunkOf(Math.max(CHUNK, count));
      chunk.at = open.push(chunk) - 1;
    }
    let at = chunk.freed.pop();
    if (at === undefined) {
      at = chunk.used;
      chunk.used += count;
    }
    chunk.keys++;
    if (chunk.freed.length === 0 && chunk.used + count > chunk.words.length) {
      chunk.at = -1;
      open.pop();
    }
    place.chunk = chunk;
    place.keyAt = at;
    const to = chunk.words;
    for (let i = 0; i < count; i++) to[at + i] = words[i] as number;
  }

  /** Gives the room of a key back. */
  release({ chunk, keyAt }: KeyPlace, count: number): void {
    const open = this.#open.get(count);
    if (open === undefined) return;
    chunk.freed.push(keyAt);
    if (chunk.at < 0) chunk.at = open.push(chunk) - 1;
    if (--chunk.keys > 0 || open.length === 1) return;
    const last = open.pop() as KeyChunk;
    if (last !== chunk) {
      last.at = chunk.at;
      open[last.at] = last;
    }
    chunk.at = -1;
  }

  /** Bytes of the chunks that have room. */
  get spare(): number {
    let bytes = 0;
    for (const open of this.#open.values()) {
      for (const chunk of open) bytes += chunk.bytes.length;
    }
    return bytes;
  }
}
