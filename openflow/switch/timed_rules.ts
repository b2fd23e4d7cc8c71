// SPDX-License-Identifier: Apache-2.0
/**
 * Rules that have timeouts.
 *
 * They are kept by the second in which they may end at the soonest, and looked at then: one that
 * packets have kept alive is put behind. So a look costs what ends, and not what is there.
 *
 * @module
 */
import type { Rule } from "../table/rule.ts";
import { RemovedReason } from "../wire/message.ts";

/** A rule whose time is over. */
export interface ExpiredRule {
  readonly rule: Rule;
  readonly reason: number;
}

function secondOf(rule: Rule): number {
  return Math.floor(rule.endMs / 1000);
}

/** Rules that go by themselves. */
export class TimedRules {
  readonly #bySecond = new Map<number, Set<Rule>>();

  /** Adds a rule, if it has a timeout; one that may end sooner than it did is added again. */
  add(rule: Rule): void {
    if (rule.idle === 0 && rule.hard === 0) return;
    this.delete(rule);
    const second = secondOf(rule);
    rule.keptUnder = second;
    const some = this.#bySecond.get(second);
    if (some === undefined) this.#bySecond.set(second, new Set([rule]));
    else some.add(rule);
  }

  /** A rule went. */
  delete(rule: Rule): void {
    const second = rule.keptUnder;
    if (second < 0) return;
    rule.keptUnder = -1;
    const some = this.#bySecond.get(second);
    if (some?.delete(rule) && some.size === 0) this.#bySecond.delete(second);
  }

  /** Those whose time is over; rules may come and go before the next one is asked for. */
  *expired(nowMs: number): IterableIterator<ExpiredRule> {
    for (const [second, rules] of this.#bySecond) {
      if (1000 * second > nowMs) continue;
      for (const rule of rules) {
        if (nowMs >= rule.endMs) {
          const isHard = nowMs >= rule.hardMs;
          yield { rule, reason: isHard ? RemovedReason.hard : RemovedReason.idle };
        } else if (secondOf(rule) !== second) this.add(rule);
      }
    }
  }
}
