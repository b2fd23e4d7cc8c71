// SPDX-License-Identifier: Apache-2.0
/**
 * The clock that rules, flows and what was learned are dated by: the system's, which tests of whole
 * switches stop and put forward. One for an isolate; it never goes back.
 *
 * @module
 */

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
