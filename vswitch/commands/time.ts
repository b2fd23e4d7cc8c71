// SPDX-License-Identifier: Apache-2.0
/**
 * `time/…`: the clock of the daemon stands still, and goes on by steps, for tests of whole
 * switches.
 *
 * @module
 */
import { CommandError } from "../../control/command_error.ts";
import { stopClock, warpClock } from "../../policy/clock.ts";
import type { Add, ServedDaemon } from "./served.ts";

/** The most that the clock is put forward at once, ms: a day. */
const MAX_WARP_MS = 86_400_000;

/** Adds them. */
export function timeCommands(add: Add, { daemon }: ServedDaemon): void {
  add("time/stop", "", [0, 0], () => {
    stopClock();
    return "";
  });
  add("time/warp", "[LARGE_MSECS] MSECS", [1, 2], async (args) => {
    const [total, step = total] = args.map(milliseconds);
    if (total === undefined || step === undefined) {
      throw new CommandError("invalid MSECS");
    }
    // Packets until now are dated now.
    for (const { switches } of daemon.datapaths.all()) await switches.run.statistics();
    await daemon.dummies.settle();
    await warpClock(total, step);
    await daemon.dummies.settle();
    return "warped\n";
  });
}

function milliseconds(text: string): number | undefined {
  const ms = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  return ms > 0 && ms <= MAX_WARP_MS ? ms : undefined;
}
