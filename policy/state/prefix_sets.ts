// SPDX-License-Identifier: Apache-2.0
/**
 * Which members of a set want a prefix of a value: members are small numbers, and each wants some
 * prefixes.
 *
 * Each node of a trie of all prefixes has two sets, as bits: the members that want just this
 * prefix, and those that want this one or a longer one within it. So one walk says of all
 * members together what the first bits of a value rule out, bit by bit.
 *
 * @module
 */
import type { Words } from "../packet/leaf.ts";
import type { Trie } from "./trie.ts";

const ROOT = 1;
/** Most steps of a walk: one for each bit of the widest value, and one before. */
const STEPS = 130;

function bitOf(bits: Words, at: number): number {
  return (bits[at >> 5] as number) >>> (31 - (at & 31)) & 1;
}

/** Members by the prefixes that they want. */
export class PrefixSets {
  /** Words of a set. */
  words = 1;
  /** Steps of the last walk. */
  steps = 0;
  /** Leading bits from which on a step holds. */
  readonly from: Uint8Array = new Uint8Array(STEPS);
  /** Where in `#left` those are that are left at each step. */
  readonly #leftAt: Int32Array = new Int32Array(STEPS);
  /**
   * Two sets for each node, of those with a prefix that may fit and those without any: of values
   * that go down to the node, and of those that part from all that is below it. Those of node 0 are
   * of all values. They follow from the sets of the nodes above, and are made when a walk comes by:
   * rules change seldom, and walks then only look.
   */
  #left: Int32Array = new Int32Array(32).fill(-1);
  /** The change of which the two sets of a node are; other ones are to be made anew. */
  #leftOf: Int32Array = new Int32Array(16);
  #changes = 1;
  /** Children of node n at 2n and 2n + 1; 0: none. */
  #next = new Int32Array(32);
  #length = new Uint8Array(16);
  /** Four words for each node: its prefix; bits behind that are any. */
  #bits = new Uint32Array(64);
  /** Members that want the prefix of a node, their number, and those that want one within. */
  #exact = new Int32Array(16);
  #wanted = new Int32Array(16);
  #within = new Int32Array(16);
  #nodes = ROOT + 1;
  readonly #free: number[] = [];

  /** Nodes in it; for tests that look for leaks. */
  get nodes(): number {
    return this.#nodes - 1 - this.#free.length;
  }

  /** A member wants a prefix that it did not want. */
  add(bits: Words, length: number, member: number): void {
    while (member >> 5 >= this.words) this.#widen();
    this.#changes++;
    const [word, bit] = [member >> 5, 1 << (member & 31)];
    let node = ROOT;
    for (;;) {
      this.#set(this.#within, node, word, bit);
      const at = this.#length[node] as number;
      if (at === length) break;
      const slot = 2 * node + bitOf(bits, at);
      const child = this.#next[slot] as number;
      if (child === 0) {
        node = this.#hang(slot, bits, length);
        continue;
      }
      const reach = this.#length[child] as number;
      const common = Math.min(this.#shared(bits, child), length);
      if (common >= reach) {
        node = child;
        continue;
      }
      // They part here, or the new prefix ends here: a node comes between.
      const between = this.#hang(slot, bits, common);
      const side = (this.#bits[4 * child + (common >> 5)] as number) >>>
        (31 - (common & 31));
      this.#next[2 * between + (side & 1)] = child;
      for (let w = 0; w < this.words; w++) {
        const below = this.#within[child * this.words + w] as number;
        this.#within[between * this.words + w] = below;
      }
      node = between;
    }
    this.#set(this.#exact, node, word, bit);
    this.#wanted[node] = (this.#wanted[node] as number) + 1;
  }

  /** A member wants a prefix no longer; `own` has those that it still wants. */
  remove(bits: Words, length: number, member: number, own: Trie<unknown>): void {
    this.#changes++;
    const [word, bit] = [member >> 5, 1 << (member & 31)];
    let above = 0;
    let before = 0;
    let node = ROOT;
    for (;;) {
      const at = this.#length[node] as number;
      if (!own.hasWithin(bits, at)) this.#clear(this.#within, node, word, bit);
      if (at >= length) break;
      above = before;
      before = 2 * node + bitOf(bits, at);
      node = this.#next[before] as number;
    }
    this.#clear(this.#exact, node, word, bit);
    this.#wanted[node] = (this.#wanted[node] as number) - 1;
    if (this.#wanted[node] !== 0 || node === ROOT) return;
    this.#tidy(node, before);
    // The node above may have been there only for this one to part from another.
    const parent = before >> 1;
    if (parent !== ROOT && this.#wanted[parent] === 0) this.#tidy(parent, above);
  }

  /**
   * Looks at a value: what is left at each step holds for all that share `from` leading bits with
   * it. At the last step those are left that want just a prefix of it, or none at all.
   */
  look(bits: Words): void {
    const [next, length] = [this.#next, this.#length];
    const { words } = this;
    this.from[0] = 0;
    this.#leftAt[0] = 0;
    this.steps = 1;
    if (this.#leftOf[ROOT] !== this.#changes) this.#settle(ROOT, 0);
    let node = ROOT;
    for (;;) {
      const at = length[node] as number;
      const side = bitOf(bits, at);
      const child = next[2 * node + side] as number;
      const parts = next[2 * node + 1 - side] !== 0;
      if (child === 0) {
        if (parts) this.#step(at + 1, (2 * node + 1) * words);
        return;
      }
      if (this.#leftOf[child] !== this.#changes) this.#settle(child, node);
      if (parts) this.#step(at + 1, 2 * child * words);
      const common = this.#shared(bits, child);
      if (common < (length[child] as number)) {
        this.#step(common + 1, (2 * node + 1) * words);
        return;
      }
      node = child;
      if (length[node] === 128) return;
    }
  }

  /** From so many bits on, the set at `left` is left. */
  #step(from: number, left: number): void {
    this.from[this.steps] = from;
    this.#leftAt[this.steps++] = left;
  }

  /** Makes the two sets of a node from those of its parent, 0 for the root. */
  #settle(node: number, parent: number): void {
    const { words } = this;
    const left = this.#left;
    const [to, above] = [2 * node * words, (2 * parent + 1) * words];
    for (let w = 0; w < words; w++) {
      const within = this.#within[node * words + w] as number;
      const exact = this.#exact[node * words + w] as number;
      // Those without any prefix stay whatever the value is.
      const before = parent === 0 ? ~within : left[above + w] as number;
      left[to + w] = before | within;
      left[to + words + w] = before | exact;
    }
    this.#leftOf[node] = this.#changes;
  }

  /** The last step that so many leading bits prove. */
  stepAt(masked: number): number {
    let step = this.steps - 1;
    while ((this.from[step] as number) > masked) step--;
    return step;
  }

  /** The first step at which a member is not left; as many as there are steps if it stays. */
  stepWithout(member: number): number {
    const word = member >> 5;
    if (word >= this.words) return this.steps;
    // A member that is gone at a step is gone at all later steps.
    let [low, high] = [1, this.steps];
    while (low < high) {
      const middle = low + high >> 1;
      const bits = this.#left[(this.#leftAt[middle] as number) + word] as number;
      if ((bits >>> (member & 31) & 1) === 0) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Takes those out of a set that are not left at a step. */
  keepLeft(set: Int32Array, step: number): void {
    const left = this.#left;
    const at = this.#leftAt[step] as number;
    const words = Math.min(this.words, set.length);
    for (let w = 0; w < words; w++) {
      set[w] = (set[w] as number) & (left[at + w] as number);
    }
  }

  #set(sets: Int32Array, node: number, word: number, bit: number): void {
    const at = node * this.words + word;
    sets[at] = (sets[at] as number) | bit;
  }

  #clear(sets: Int32Array, node: number, word: number, bit: number): void {
    const at = node * this.words + word;
    sets[at] = (sets[at] as number) & ~bit;
  }

  /** Leading bits that a value shares with the prefix of a node; 128 if all of them. */
  #shared(bits: Words, node: number): number {
    const at = 4 * node;
    for (let i = 0; i < 4; i++) {
      const differ = (bits[i] as number) ^ (this.#bits[at + i] as number);
      if (differ !== 0) return 32 * i + Math.clz32(differ);
    }
    return 128;
  }

  /** Makes a node that nobody wants, and hangs it into a slot. */
  #hang(slot: number, bits: Words, length: number): number {
    const made = this.#free.pop() ?? this.#nodes++;
    if (made >= this.#length.length) this.#grow();
    this.#length[made] = length;
    for (let i = 0; i < 4; i++) this.#bits[4 * made + i] = bits[i] as number;
    this.#next[slot] = made;
    return made;
  }

  #grow(): void {
    const room = 2 * this.#length.length;
    this.#next = copied(this.#next, new Int32Array(2 * room));
    this.#length = copied(this.#length, new Uint8Array(room));
    this.#bits = copied(this.#bits, new Uint32Array(4 * room));
    this.#wanted = copied(this.#wanted, new Int32Array(room));
    this.#exact = copied(this.#exact, new Int32Array(room * this.words));
    this.#within = copied(this.#within, new Int32Array(room * this.words));
    this.#left = copied(this.#left, new Int32Array(2 * room * this.words));
    this.#leftOf = copied(this.#leftOf, new Int32Array(room));
  }

  /** Sets get as many words more as they have. */
  #widen(): void {
    const words = 2 * this.words;
    const wide = (sets: Int32Array): Int32Array<ArrayBuffer> => {
      const made = new Int32Array(this.#length.length * words);
      for (let node = ROOT; node < this.#nodes; node++) {
        for (let w = 0; w < this.words; w++) {
          made[node * words + w] = sets[node * this.words + w] as number;
        }
      }
      return made;
    };
    this.#exact = wide(this.#exact);
    this.#within = wide(this.#within);
    this.#left = new Int32Array(2 * this.#length.length * words).fill(-1, 0, 2 * words);
    this.#changes++;
    this.words = words;
    this.steps = 0;
  }

  /** Takes a node that nobody wants out of its slot, unless prefixes part there. */
  #tidy(node: number, slot: number): void {
    const left = this.#next[2 * node] as number;
    const right = this.#next[2 * node + 1] as number;
    if (left !== 0 && right !== 0) return;
    this.#next[slot] = left || right;
    this.#next[2 * node] = 0;
    this.#next[2 * node + 1] = 0;
    for (let w = 0; w < this.words; w++) {
      this.#exact[node * this.words + w] = this.#within[node * this.words + w] = 0;
    }
    this.#free.push(node);
  }
}

function copied<A extends Int32Array | Uint8Array | Uint32Array>(from: A, to: A): A {
  to.set(from);
  return to;
}
