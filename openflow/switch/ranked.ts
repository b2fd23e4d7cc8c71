// SPDX-License-Identifier: Apache-2.0
/**
 * Rules in the order in which they go for others.
 *
 * As in Open vSwitch: only those that have a timeout; the next one is of the largest group, where
 * rules are grouped by parts of their matches, and of that the least important, and of these the
 * one that would go first by itself.
 *
 * @module
 */
import type { Rule } from "../table/rule.ts";
import type { SubField } from "../wire/action.ts";
import { type FlowWords, ones, readBits } from "../wire/flow.ts";

/** Below zero where `a` goes before `b`. */
function compare(a: Rule, b: Rule): number {
  return a.importance - b.importance || a.endMs - b.endMs;
}

/** Puts a rule into a heap, whose first one goes first. */
function push(heap: Rule[], rule: Rule): void {
  let at = heap.push(rule) - 1;
  while (at > 0) {
    const above = at - 1 >> 1;
    const one = heap[above] as Rule;
    if (compare(one, rule) <= 0) break;
    heap[at] = one;
    at = above;
  }
  heap[at] = rule;
}

/** Takes the first one out of a heap that has one. */
function pop(heap: Rule[]): Rule {
  const first = heap[0] as Rule;
  const last = heap.pop() as Rule;
  if (heap.length === 0) return first;
  let at = 0;
  for (;;) {
    let below = 2 * at + 1;
    if (below >= heap.length) break;
    const right = below + 1;
    const isRight = right < heap.length &&
      compare(heap[right] as Rule, heap[below] as Rule) < 0;
    if (isRight) below = right;
    const one = heap[below] as Rule;
    if (compare(last, one) <= 0) break;
    heap[at] = one;
    at = below;
  }
  heap[at] = last;
  return first;
}

/** Rules of a table that may go, in order as they were when they were added. */
export class Ranked {
  readonly #parts: readonly SubField[];
  readonly #groups = new Map<string, Rule[]>();
  /** Groups by their size, once one was asked for; and a size that none is above. */
  #bySize: Map<number, Set<Rule[]>> | undefined;
  #most = 0;

  /** Begins without rules, which are grouped by parts of their matches. */
  constructor(parts: readonly SubField[]) {
    this.#parts = parts;
  }

  /** A rule is there, too. */
  add(rule: Rule): void {
    if (rule.idle === 0 && rule.hard === 0) return;
    const key = this.#parts.length === 0 ? "" : this.#keyOf(rule.match.value);
    let group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, group = []);
    this.#bySize?.get(group.length)?.delete(group);
    push(group, rule);
    if (this.#bySize !== undefined) this.#place(this.#bySize, group);
  }

  #keyOf(value: FlowWords): string {
    return this.#parts.map(({ field, offset, bits }) =>
      readBits(value, field) >> BigInt(offset) & ones(bits)
    ).join(" ");
  }

  #place(bySize: Map<number, Set<Rule[]>>, group: Rule[]): void {
    const { length } = group;
    const same = bySize.get(length);
    if (same === undefined) bySize.set(length, new Set([group]));
    else same.add(group);
    this.#most = Math.max(this.#most, length);
  }

  /** Takes the rule that goes next; undefined where there is none. */
  take(): Rule | undefined {
    let bySize = this.#bySize;
    if (bySize === undefined) {
      this.#bySize = bySize = new Map();
      for (const group of this.#groups.values()) this.#place(bySize, group);
    }
    for (; this.#most > 0; this.#most--) {
      const same = bySize.get(this.#most);
      const [group] = same ?? [];
      if (group === undefined) {
        bySize.delete(this.#most);
        continue;
      }
      same?.delete(group);
      const rule = pop(group);
      this.#place(bySize, group);
      return rule;
    }
    return undefined;
  }
}
