// SPDX-License-Identifier: Apache-2.0
/**
 * Times that come from outside, as timers may have them.
 *
 * @module
 */

/** The longest time of a timer, ms: those of more go off at once. */
const MAX_TIMER_MS = 0x7fff_ffff;

/** A time, ms, that a timer may have: none is less than nothing, and what is no number is 0. */
export function timerMs(ms: number): number {
  return ms > 0 ? Math.min(ms, MAX_TIMER_MS) : 0;
}
