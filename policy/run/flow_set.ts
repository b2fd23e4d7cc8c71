// SPDX-License-Identifier: Apache-2.0
/**
 * Which flows packets need: what their keys are under a mask, each once.
 *
 * @module
 */
import { wordsFor } from "./mask_table.ts";

/** A mask that a record or a run has. */
export interface NumberedMask {
  /** Equal masks have the same. */
  readonly number: number;
  readonly bytes: Uint8Array;
  /** The same as words in host order, zeros behind them. */
  readonly words: Uint32Array;
  /** Which of them have any bits. */
  readonly some: readonly number[];
}

/** Gives masks their numbers. */
export class MaskNumbers {
  readonly #known = new Map<string, NumberedMask>();
  #last: NumberedMask | undefined;
  #lastText = "";

  /** The mask that hexadecimal digits are. Throws `SyntaxError` for others. */
  ofText(text: string): NumberedMask {
    if (this.#last !== undefined && text === this.#lastText) return this.#last;
    let known = this.#known.get(text);
    if (known === undefined) {
      const words = new Uint32Array(wordsFor(text.length >> 1));
      const bytes = new Uint8Array(words.buffer, 0, text.length >> 1);
      bytes.set(Uint8Array.fromHex(text));
      const some = [...words.keys()].filter((at) => words[at] !== 0);
      known = { number: this.#known.size, bytes, words, some };
      this.#known.set(text, known);
    }
    this.#lastText = text;
    return this.#last = known;
  }

  /** The mask that these bytes are. */
  ofBytes(bytes: Uint8Array): NumberedMask {
    const last = this.#last;
    if (last !== undefined && areEqual(last.bytes, bytes)) return last;
    return this.ofText(bytes.toHex());
  }
}

function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * Words before those of a key: how many they are; number of the mask, twice, and 1 where the key
 * was masked.
 */
const HEAD = 2;

/** Flows, one behind the other in one array, and a table of where they are. */
export class FlowSet {
  #words = new Uint32Array(1 << 14);
  #used = 0;
  /** Where an entry is, and 1; 0: none. A power of two of them, twice as many as entries. */
  #slots = new Int32Array(1 << 10);
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /**
   * Adds what the key of `size` bytes that `words` begin with, zeros behind it, is under a mask;
   * of a key of another length than the mask all counts.
   */
  add(words: Uint32Array, size: number, mask: NumberedMask): void {
    const isAligned = size === mask.bytes.length;
    const { some } = mask;
    const count = isAligned ? some.length : wordsFor(size);
    const room = this.#used + HEAD + count;
    if (room > this.#words.length) {
      const more = new Uint32Array(2 * room);
      more.set(this.#words);
      this.#words = more;
    }
    const all = this.#words;
    const at = this.#used;
    all[at] = count;
    let hash = 2 * mask.number + (isAligned ? 1 : 0);
    all[at + 1] = hash;
    for (let i = 0; i < count; i++) {
      const from = isAligned ? some[i] as number : i;
      const bits = isAligned ? mask.words[from] as number : ~0;
      const word = (words[from] as number) & bits;
      all[at + HEAD + i] = word;
      hash = Math.imul(hash ^ word, 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    if (!this.#claim(hash, at)) return;
    this.#used = room;
    this.#size++;
    if (2 * this.#size > this.#slots.length) this.#grow();
  }

  /** Takes the slot of the entry at `at`; false if an equal one has it. */
  #claim(hash: number, at: number): boolean {
    const slots = this.#slots;
    const last = slots.length - 1;
    for (let slot = hash & last;; slot = slot + 1 & last) {
      const other = slots[slot] as number;
      if (other === 0) {
        slots[slot] = at + 1;
        return true;
      }
      if (this.#isSame(other - 1, at)) return false;
    }
  }

  #isSame(a: number, b: number): boolean {
    const words = this.#words;
    const count = HEAD + (words[b] as number);
    for (let i = 0; i < count; i++) if (words[a + i] !== words[b + i]) return false;
    return true;
  }

  #grow(): void {
    this.#slots = new Int32Array(2 * this.#slots.length);
    const words = this.#words;
    for (let at = 0; at < this.#used; at += HEAD + (words[at] as number)) {
      let hash = words[at + 1] as number;
      const end = at + HEAD + (words[at] as number);
      for (let i = at + HEAD; i < end; i++) {
        hash = Math.imul(hash ^ (words[i] as number), 0x9e3779b1);
        hash ^= hash >>> 15;
      }
      this.#claim(hash, at);
    }
  }
}
