// SPDX-License-Identifier: Apache-2.0
/**
 * Flows that learn others which are to go with them.
 *
 * @module
 */
import type { Rule } from "../table/rule.ts";
import { type Taught, taughtBy } from "./facts.ts";

/** How many rules learn flows of each table and cookie. */
export class Teachers {
  readonly #counts = new Map<string, number>();

  /** Counts rules that came and went; answers what nobody teaches any more. */
  count(come: readonly Rule[], gone: readonly Rule[]): Taught[] {
    const ended = new Map<string, Taught>();
    for (const [rules, more] of [[gone, -1], [come, 1]] as const) {
      for (const { instructions } of rules) {
        for (const taught of taughtBy(instructions)) {
          const key = `${taught.table} ${taught.cookie}`;
          const count = (this.#counts.get(key) ?? 0) + more;
          if (count > 0) {
            this.#counts.set(key, count);
            ended.delete(key);
          } else {
            this.#counts.delete(key);
            ended.set(key, taught);
          }
        }
      }
    }
    return [...ended.values()];
  }
}
