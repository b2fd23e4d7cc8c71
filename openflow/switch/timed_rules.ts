// SPDX-License-Identifier: Apache-2.0
/**
 * Rules that have timeouts.
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

/** Rules that go by themselves. */
export class TimedRules {
  readonly #rules = new Set<Rule>();

  /** Adds a rule, if it has a timeout. */
  add(rule: Rule): void {
    if (rule.idle !== 0 || rule.hard !== 0) this.#rules.add(rule);
  }

  /** A rule went. */
  delete(rule: Rule): void {
    this.#rules.delete(rule);
  }

  /** Those whose time is over. */
  expired(nowMs: number): ExpiredRule[] {
    const found: ExpiredRule[] = [];
    for (const rule of this.#rules) {
      if (nowMs < rule.endMs) continue;
      const isHard = nowMs >= rule.hardMs;
      found.push({ rule, reason: isHard ? RemovedReason.hard : RemovedReason.idle });
    }
    return found;
  }
}
