// SPDX-License-Identifier: Apache-2.0
/**
 * Verdicts that end at a time: their flows run again then, and not with the next look at all.
 *
 * @module
 */
import { clockMs } from "../clock.ts";
import type { Core } from "./core.ts";
import type { FlowRecord } from "./flow_record.ts";
import { Deadlines } from "./timers.ts";

/** After a look that was too early, as where the clock stands still, the next comes so late, ms. */
const AGAIN_MS = 4;
/** Timers take no longer delay, ms. */
const LONGEST_MS = 2 ** 30;

/** Watches for the ends of verdicts. */
export class Endings {
  readonly #core: Core;
  #deadlines = new Deadlines<FlowRecord>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When it looks; infinite if it need not. */
  #lookMs = Infinity;

  /** Watches for those that `core` says. */
  constructor(core: Core) {
    this.#core = core;
    core.onDeadline = (atMs) => this.#lookAt(atMs, 1);
  }

  #lookAt(atMs: number, leastMs: number): void {
    if (atMs >= this.#lookMs) return;
    clearTimeout(this.#timer);
    this.#lookMs = atMs;
    const delay = Math.min(Math.max(leastMs, Math.ceil(atMs - clockMs())), LONGEST_MS);
    this.#timer = setTimeout(() => this.look(), delay);
    Deno.unrefTimer(this.#timer);
  }

  /** Has the flows run again whose verdicts have ended. */
  look(): void {
    const core = this.#core;
    if (core.dp.closed) return;
    this.#take();
    let isEarly = true;
    for (const flow of this.#deadlines.due(clockMs())) {
      isEarly = false;
      if (flow.gone || flow.deadline > clockMs()) continue;
      core.markDirty(flow);
      core.onDirty();
    }
    clearTimeout(this.#timer);
    this.#lookMs = Infinity;
    const { next } = this.#deadlines;
    if (next < Infinity) this.#lookAt(next, isEarly ? AGAIN_MS : 1);
  }

  /** Deadlines are noted when flows are looked at; a flow is in the heap once for each. */
  #take(): void {
    const { withDeadline, ledger } = this.#core;
    for (const flow of withDeadline.splice(0)) {
      if (!flow.gone && flow.deadline < Infinity) {
        this.#deadlines.add(flow.deadline, flow);
      }
    }
    // Deadlines of flows that went stay until their time: not more of them than of others.
    if (this.#deadlines.size <= 1024 + 4 * ledger.size) return;
    this.#deadlines = new Deadlines();
    for (const flow of ledger.all()) {
      if (flow.deadline < Infinity) this.#deadlines.add(flow.deadline, flow);
    }
  }

  /** Watches no longer. */
  end(): void {
    clearTimeout(this.#timer);
    this.#core.onDeadline = () => {};
  }
}
