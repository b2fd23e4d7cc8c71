// SPDX-License-Identifier: Apache-2.0
/**
 * The clock that rules, flows and what was learned are dated by: the system's, which tests of whole
 * switches stop and put forward. One for an isolate; it never goes back.
 *
 * @module
 */
import { setImmediate } from "node:timers";

let stoppedMs: number | undefined;
let aheadMs = 0;

/** The time, ms since 1970. */
export function clockMs(): number {
  return stoppedMs ?? Date.now() + aheadMs;
}

/** Has it stand still from now on. */
export function stopClock(): void {
  stoppedMs ??= clockMs();
}

/** Puts it forward by so many ms; it stands or goes on as before. */
export function advanceClock(ms: number): void {
  if (!(ms >= 0)) throw new RangeError(`a clock does not go back: ${ms} ms`);
  if (stoppedMs === undefined) aheadMs += ms;
  else stoppedMs += ms;
}

/** What is done every so often. */
interface Alarm {
  dueMs: number;
  readonly periodMs: number;
  readonly ring: () => unknown;
}

const alarms = new Set<Alarm>();

/**
 * Does something every so many ms of this clock, until that is disposed of: not while the clock
 * stands, and when it is put forward. It keeps no program from its end.
 */
export function every(periodMs: number, ring: () => unknown): Disposable {
  const alarm = { dueMs: clockMs() + periodMs, periodMs, ring };
  alarms.add(alarm);
  const timer = setInterval(() => {
    if (stoppedMs === undefined) go(alarm);
  }, periodMs);
  Deno.unrefTimer(timer);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      alarms.delete(alarm);
    },
  };
}

function go(alarm: Alarm): unknown {
  alarm.dueMs = clockMs() + alarm.periodMs;
  return alarm.ring();
}

/** What an alarm does is waited for, while the clock is put forward, so long at most, ms. */
const PATIENCE_MS = 1000;

/**
 * Puts the clock forward by steps. Behind each, what is due is done, promises of that come to
 * their ends, and others have their turn.
 */
export async function warpClock(totalMs: number, stepMs: number): Promise<void> {
  const step = Math.max(1, stepMs);
  for (let left = totalMs; left > 0; left -= step) {
    advanceClock(Math.min(step, left));
    for (const alarm of [...alarms]) {
      if (alarms.has(alarm) && clockMs() >= alarm.dueMs) await bounded(go(alarm));
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function bounded(done: unknown): Promise<void> {
  if (!(done instanceof Promise)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const late = setTimeout(resolve, PATIENCE_MS);
  await Promise.race([done.catch(() => {}), promise]);
  clearTimeout(late);
}
