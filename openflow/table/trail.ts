// SPDX-License-Identifier: Apache-2.0
/**
 * A packet's trail through tables: where it comes back to, and what those behind it may take as
 * known.
 *
 * @module
 */
import { type Answer, Kept } from "./answers.ts";
import type { FlowTable } from "./flow_table.ts";
import { isSameKey } from "./looked.ts";
import type { Step } from "./passages.ts";
import type { Rule } from "./rule.ts";

/** Where a list of actions is. */
export interface Place {
  readonly table: number;
  readonly rule: Rule;
}

/** A walk through tables. */
export class Trail {
  /** Where the packet comes back to: the first list that had it go on. */
  left: Place | undefined;
  /** Lists that had it go on, one within the other. */
  lists = 0;
  #steps: Step[] | undefined;

  /** The packet was looked up, as it was in the table before. */
  looked(table: FlowTable, answer: Answer): void {
    const before = this.#steps?.[0];
    if (!(answer instanceof Kept) || answer.rule === undefined) return this.end();
    if (before !== undefined && !isSameKey(before.kept.became, answer.became)) this.end();
    const step = { table, kept: answer as Step["kept"] };
    if (this.#steps === undefined) this.#steps = [step];
    else this.#steps.push(step);
  }

  /** A list has it go on in another table, and nothing else. */
  goOn(place: Place, lists: number): void {
    this.left ??= place;
    this.lists += lists;
  }

  /** What comes next is not known by what came before: it is kept so far. */
  end(): void {
    let steps: readonly Step[] = this.#steps ?? [];
    this.#steps = undefined;
    while (steps.length > 1) steps = (steps[0] as Step).table.passed(steps);
  }
}
