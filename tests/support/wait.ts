// SPDX-License-Identifier: Apache-2.0
/**
 * Waiting in tests: for a condition, never for a time that is thought to be enough.
 *
 * @module
 */
import assert from "node:assert/strict";

/**
 * How long a test waits for what comes at once on an idle machine, in ms: far more than a slow and
 * busy one takes, for it is only waited out where something is wrong.
 */
export const patienceMs = 30_000;

/** For what takes an `AbortSignal`: gives up when patience is at its end. */
export function patience(): AbortSignal {
  return AbortSignal.timeout(patienceMs);
}

/**
 * Lets other work go on for `ms`, at least. Only to have something to interrupt, or between looks.
 */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Looks until there is something, and gives it: anything but undefined, null and false. Fails when
 * patience is at its end, with what was waited for, and what `state()` says if given.
 */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  options: { state?: () => unknown; limitMs?: number } = {},
): Promise<Exclude<T, undefined | null | false>> {
  const { state = () => "", limitMs = patienceMs } = options;
  const end = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== null && found !== false) {
      return found as Exclude<T, undefined | null | false>;
    }
    if (performance.now() >= end) {
      assert.fail(`waited ${limitMs / 1000} s for ${what}: ${await state()}`);
    }
    await pause(2);
  }
}
