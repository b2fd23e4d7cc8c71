// SPDX-License-Identifier: Apache-2.0
/**
 * Defects of the runtime, one a line: each takes away a rule that the soundness of masks or the
 * completeness of dependencies rests on. The oracle must find every one (`defects_test.ts`).
 *
 * @module
 */

/** A defect: `find` is in the file exactly once, and becomes `replace`. */
export interface Defect {
  /** What it takes away. */
  readonly what: string;
  /** File of `policy/`. */
  readonly file: string;
  /** Text of the source. */
  readonly find: string;
  /** What it becomes. */
  readonly replace: string;
  /** A seed whose policies find it; another is looked for where it does not. */
  readonly seed?: number;
  /** Other packets that are tried for each; 24 if absent. */
  readonly mutants?: number;
  /** Policies that find it; those of `random_policy.ts` if absent. */
  readonly policies?: "hostile";
}

export const defects: readonly Defect[] = [
  {
    what: "fragment type is not always matched",
    seed: 60,
    file: "packet/layout.ts",
    find: "if (fragment !== undefined) bits[fragment] = 0xff;",
    replace: "",
  },
  {
    what: "presence of layer 4 does not mask the protocol",
    seed: 98,
    file: "packet/tracker.ts",
    find: "    if (isThere) {\n      this.#layAll(place);\n      return true;",
    replace: "    if (isThere) {\n      return true;",
  },
  {
    what: "absence of layer 4 masks nothing",
    seed: 38,
    file: "packet/tracker.ts",
    find: "    this.#differs(place, this.#bits);\n    return false;",
    replace: "    return false;",
  },
  {
    what: "neighbour discovery is not told by the type",
    seed: 134,
    file: "packet/tracker.ts",
    find: "    this.#layAll(icmpType);\n    this.#layAll(icmpCode);",
    replace: "    this.#layAll(icmpCode);",
  },
  {
    what: "neighbour discovery is not told by the code",
    seed: 240,
    file: "packet/tracker.ts",
    find: "    this.#layAll(icmpType);\n    this.#layAll(icmpCode);",
    replace: "    this.#layAll(icmpType);",
  },
  {
    what: "neighbour discovery is not told by the state of the connection",
    seed: 239,
    mutants: 48,
    file: "packet/tracker.ts",
    find: "this.key[at + 1] === 0) this.#layAll(ctState);",
    replace: "this.key[at + 1] === 0) void 0;",
  },
  {
    what: "a deeper label is not told by those above it",
    seed: 94,
    file: "packet/tracker.ts",
    find: "this.mask[at] = (this.mask[at] as number) | 1;",
    replace: "",
  },
  {
    what: "the number of labels is not told by the bottom of the stack",
    seed: 22,
    file: "packet/packet.ts",
    find: "if (last !== undefined) tracker.read(last.bos);",
    replace: "",
  },
  {
    what: "a tracked tuple is not told by the state",
    seed: 44,
    file: "packet/tracker.ts",
    find: "    this.#layAll(ctState);\n    if (this.#family() === 6)",
    replace: "    if (this.#family() === 6)",
  },
  {
    what: "a value that is read is not masked",
    seed: 3,
    file: "packet/tracker.ts",
    find: "    else this.#layAll(place);\n    const at = this.layout.key",
    replace: "    const at = this.layout.key",
  },
  {
    what: "a read of the state masks nothing",
    seed: 36,
    file: "packet/tracker.ts",
    find:
      "if (place.slot === ctState.slot) this.layBits(ctState, prefixMask(8));\n    else ",
    replace: "if (place.slot !== ctState.slot) ",
  },
  {
    what: "equality masks one bit too few for no",
    seed: 2,
    file: "packet/tracker.ts",
    find: "      this.layPrefix(place, first + 1);",
    replace: "      this.layPrefix(place, first);",
  },
  {
    what: "equality masks nothing for yes",
    seed: 2,
    file: "packet/tracker.ts",
    find: "    if (first < 0) {\n      this.layBits(place, all);",
    replace: "    if (first < 0) {",
  },
  {
    what: "equality under a mask proves no by too few bits",
    seed: 20,
    file: "packet/tracker.ts",
    find: "const leading = prefixMask(first + 1);",
    replace: "const leading = prefixMask(first);",
  },
  {
    what: "a prefix that fits is masked one bit short",
    seed: 34,
    file: "packet/tracker.ts",
    find: "      this.layPrefix(place, length);\n      return true;",
    replace: "      this.layPrefix(place, Math.max(0, length - 1));\n      return true;",
  },
  {
    what: "a prefix that does not fit masks one bit too few",
    seed: 38,
    file: "packet/tracker.ts",
    find: "    this.layPrefix(place, common + 1);\n    return false;",
    replace: "    this.layPrefix(place, common);\n    return false;",
  },
  {
    what: "what is masked proves an answer though the bits are equal",
    seed: 9,
    file: "packet/tracker.ts",
    find:
      "if ((differ & (masked[i] as number)) !== 0) return false;\n      if (first < 0)",
    replace: "if ((masked[i] as number) !== 0) return false;\n      if (first < 0)",
  },
  {
    what: "a range is decided one bit early",
    seed: 45,
    file: "packet/tracker.ts",
    find: "length, low, high, inside)) length++;\n    this.layPrefix(place, length);",
    replace:
      "length, low, high, inside)) length++;\n    this.layPrefix(place, Math.max(0, length - 1));",
  },
  {
    what: "the upper end of a range counts as outside for the proof",
    seed: 45,
    file: "packet/words.ts",
    find: ": compare(to, low) < 0 || compare(from, high) > 0;",
    replace: ": compare(from, low) < 0 || compare(from, high) > 0;",
  },
  {
    what: "some bits of a value are read without a mask",
    seed: 6,
    file: "packet/packet.ts",
    find: "    this.#tracker.layBits(place, wanted);\n",
    replace: "",
  },
  {
    what: "a trie's walk proves with one bit too few",
    seed: 10,
    file: "state/trie.ts",
    find: "    found.proof = at;",
    replace: "    found.proof = Math.max(0, at - 1);",
  },
  {
    what: "a lookup that misses depends on nothing",
    seed: 16,
    file: "state/state_map.ts",
    find: "    tracker.depend(id);\n    return undefined;",
    replace: "    return undefined;",
  },
  {
    what: "a lookup that misses depends on the asked key alone",
    seed: 15,
    file: "state/state_map.ts",
    find: "const length = leadingMasked(tracker, place);",
    replace: "const length = place.width;",
  },
  {
    what: "an absent key is no dependency",
    seed: 79,
    file: "state/state_map.ts",
    find:
      "    entry.dependency ||= makeDependency(this, entry);\n    tracker.depend(entry.dependency);\n    return entry;\n  }",
    replace: "    if (!entry.isThere) return entry;\n" +
      "    entry.dependency ||= makeDependency(this, entry);\n    tracker.depend(entry.dependency);\n    return entry;\n  }",
  },
  {
    what: "a changed value tells nobody",
    seed: 10,
    file: "state/state_map.ts",
    find: "    entry.value = value;\n    this.#tell(entry);",
    replace: "    entry.value = value;",
  },
  {
    what: "a removed key tells nobody",
    seed: 228,
    file: "state/state_map.ts",
    find: "this.#entries.delete(entry.key);\n    this.#tell(entry);",
    replace: "this.#entries.delete(entry.key);",
  },
  {
    what: "a new key tells nobody who found it absent",
    seed: 79,
    file: "state/state_map.ts",
    find: "    }\n    this.#tell(entry);",
    replace: "    }",
  },
  {
    what: "a key that is found is no dependency",
    seed: 708,
    file: "state/state_map.ts",
    find:
      "    entry.dependency ||= makeDependency(this, entry);\n    tracker.depend(entry.dependency);\n    return entry;\n  }",
    replace: "    if (entry.isThere) return entry;\n" +
      "    entry.dependency ||= makeDependency(this, entry);\n    tracker.depend(entry.dependency);\n    return entry;\n  }",
  },
  {
    what: "a run that reads beyond the mask of its flow keeps it",
    seed: 9,
    file: "packet/tracker.ts",
    find: "if (layWhole(place, this.mask, at + place.at)) this.grew = true;",
    replace: "layWhole(place, this.mask, at + place.at);",
  },
  {
    what: "a run that tests beyond the mask of its flow keeps it",
    seed: 7,
    file: "packet/tracker.ts",
    find: "if (lay(place, this.mask, at + place.at, bits)) this.grew = true;",
    replace: "lay(place, this.mask, at + place.at, bits);",
  },
  {
    what: "a cell is no dependency",
    seed: 40,
    file: "state/state.ts",
    find:
      "    this.#dependency = dependOn(this, undefined, this.#dependency);\n    return this.#value;",
    replace: "    return this.#value;",
  },
  {
    what: "a longer prefix tells nobody",
    seed: 60,
    file: "state/prefix_map.ts",
    find: "    this.#blocks.above(bits, length, (id) => notify(id));\n",
    replace: "",
  },
  {
    what: "a shorter prefix does not tell the blocks in it",
    seed: 149,
    file: "state/prefix_map.ts",
    find: "    this.#blocks.below(bits, length, (id) => notify(id));\n",
    replace: "",
  },
  {
    what: "the prefix that was found is no dependency",
    seed: 33,
    file: "state/prefix_map.ts",
    find: "    tracker.depend(entry.dependency);\n    return entry.found;",
    replace: "    return entry.found;",
  },
  {
    what: "a subtable that a stage ends masks nothing",
    seed: 33,
    file: "state/subtable.ts",
    find: "        this.#lay(tracker, i + 1);\n",
    replace: "",
  },
  {
    what: "a subtable that was searched is not masked",
    seed: 12,
    file: "state/subtable.ts",
    find: "    this.#lay(tracker, parts.length);",
    replace: "",
  },
  {
    what: "prefixes that rule out a subtable mask nothing",
    seed: 12,
    file: "state/field.ts",
    find: "    tracker.layPrefix(this.place, this.masked);\n",
    replace: "",
  },
  {
    what: "what is masked of a leaf rules out more subtables than it proves",
    seed: 12,
    file: "state/field.ts",
    find: "const step = prefixes.stepAt(this.masked);",
    replace: "const step = prefixes.stepAt(this.masked + 1);",
  },
  {
    what:
      "a leaf that a packet lacks rules subtables out, and nothing tells that it does",
    seed: 314,
    file: "state/dispatch.ts",
    find: "      field.tell(tracker);\n",
    replace: "",
  },
  {
    what: "subtables that could win by the order of their rules need no proof",
    seed: 12,
    file: "state/dispatch.ts",
    find: "if ((this.#priorities[middle] as number) >= priority)",
    replace: "if ((this.#priorities[middle] as number) > priority)",
  },
  {
    what: "prefixes are ruled out with one bit too few where they part",
    seed: 12,
    file: "state/prefix_sets.ts",
    find: "if (parts) this.#step(at + 1, 2 * child * words);",
    replace: "if (parts) this.#step(at, 2 * child * words);",
  },
  {
    what: "prefixes are ruled out with one bit too few within them",
    seed: 8,
    file: "state/prefix_sets.ts",
    find: "this.#step(common + 1, (2 * node + 1) * words);",
    replace: "this.#step(common, (2 * node + 1) * words);",
  },
  {
    what: "subtables behind the first 32 in the order need no proof",
    seed: 12,
    policies: "hostile",
    file: "state/dispatch.ts",
    find: "for (let rank = end & ~31; rank < end; rank++) {",
    replace: "for (let rank = end; rank < end; rank++) {",
  },
  {
    what: "a lookup ends at a subtable that could still win",
    seed: 3,
    policies: "hostile",
    file: "state/dispatch.ts",
    find: "if (best !== undefined && best.priority > subtable.maxPriority) break;",
    replace: "if (best !== undefined) break;",
  },
  {
    what: "a new rule tells only flows without one",
    seed: 12,
    file: "state/rule_table.ts",
    find: "      notify(kept.dependency, touches);",
    replace: "",
  },
  {
    what: "a new rule is taken to touch no flow that differs where nobody cares",
    seed: 12,
    file: "state/rule_table.ts",
    find: "if ((differ & (of[i] as number) & (masked[i] as number)) !== 0) return false;",
    replace: "if ((differ & (of[i] as number)) !== 0) return false;",
  },
  {
    what: "a removed rule tells nobody",
    seed: 17,
    file: "state/rule_table.ts",
    find: "for (const { dependency } of gone) if (dependency !== 0) notify(dependency);",
    replace: "",
  },
  {
    what: "no rule at all is no dependency",
    seed: 17,
    file: "state/rule_table.ts",
    find: "      tracker.depend(this.#miss);\n",
    replace: "",
  },
  {
    what: "a rule that was found before is found again though the table changed",
    seed: 17,
    file: "state/rule_table.ts",
    find: "if (tracker.former.changes < this.#changed) return undefined;",
    replace: "if (tracker.former.changes < 0) return undefined;",
  },
];
