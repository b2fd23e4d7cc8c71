// SPDX-License-Identifier: Apache-2.0
/**
 * Says in the log of a served datapath what poll threads would say: whether queues are dealt out
 * anew by themselves, that they were, and suspicious iterations.
 *
 * @module
 */
import type {
  BalanceReport,
  PollThreadFigures,
} from "../providers/contract/poll_figures.ts";
import type { Datapath } from "../providers/datapath.ts";
import type { Log } from "./log.ts";
import { balanceLine, suspiciousLines, verdictLine } from "./text/poll_thread_perf.ts";

/** How often the threads are looked at, ms. */
const periodMs = 1000;
/** Suspicious iterations that are told in one look. */
const maxTold = 10;

/** Looks until it is disposed of. */
export class ThreadLog implements Disposable {
  readonly #figures: PollThreadFigures;
  readonly #log: Log;
  readonly #timer: ReturnType<typeof setInterval>;
  #said: string;
  #before: BalanceReport;

  private constructor(figures: PollThreadFigures, log: Log) {
    this.#figures = figures;
    this.#log = log;
    this.#before = figures.balance();
    this.#said = balanceLine(this.#before);
    this.#timer = setInterval(() => this.look(), periodMs);
    Deno.unrefTimer(Number(this.#timer));
  }

  /** Begins to look; undefined for a datapath whose threads have no figures. */
  static of(dp: Datapath, log: Log): ThreadLog | undefined {
    const figures = dp.pollThreads?.figures;
    return figures && new ThreadLog(figures, log);
  }

  /** Says what has happened since the last look. */
  look(): void {
    try {
      this.#balance();
      this.#suspicious();
    } catch {
      // The datapath was destroyed by somebody else: there is nothing more to say.
      this[Symbol.dispose]();
    }
  }

  #balance(): void {
    const now = this.#figures.balance();
    const line = balanceLine(now);
    if (line !== this.#said) this.#log.say("pmd", "info", this.#said = line);
    const { last } = now;
    if (now.checks !== this.#before.checks && last !== undefined) {
      this.#log.say("pmd", "dbg", "PMD auto load balance performing dry run.");
      const text = verdictLine(last.verdict, now.improvementThreshold);
      this.#log.say("pmd", "dbg", `${text} Variance improvement ${last.improvement}%.`);
    }
    if (now.rebalances !== this.#before.rebalances) {
      this.#log.say(
        "pmd",
        "info",
        "PMD auto load balance dry run. Requesting datapath reconfigure.",
      );
    }
    this.#before = now;
  }

  #suspicious(): void {
    // Where nothing is suspicious, another may be taking what was.
    if (!this.#figures.suspicion().enabled) return;
    const taken = this.#figures.takeSuspicious();
    for (const one of taken.slice(0, maxTold)) {
      const { cyclesPerSecond = 1 } = this.#figures.performance(one.core) ?? {};
      for (const line of suspiciousLines(one, cyclesPerSecond)) {
        this.#log.say("pmd", "warn", line);
      }
    }
    if (taken.length > maxTold) {
      const more = taken.length - maxTold;
      this.#log.say("pmd", "warn", `${more} more suspicious iterations`);
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
