// SPDX-License-Identifier: Apache-2.0
/**
 * Windows of time in which a program's counters are read, and what they add up to.
 *
 * @module
 */
import { type Child, delay } from "./child.ts";
import type { ControlPage } from "./control_page.ts";
import { POLL_CORE, stolenMs } from "./machine.ts";
import type { Program } from "./program.ts";

/** One measured window. */
export interface Window {
  /** Packets forwarded, or flows set up, a second. */
  readonly rate: number;
  /** Share of received packets that were not sent; 0 where receipt cannot be counted. */
  readonly lossShare: number;
  /** Share of the window in which the poll thread waited for its core or the hypervisor had it. */
  readonly disturbedShare: number;
}

/** The windows of one program in one scenario. */
export interface Series {
  readonly windows: readonly Window[];
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
  /** TSC cycles for each packet or set-up, at the median. */
  readonly cycles: number;
  /** Flows in the table while it ran. */
  readonly flows: number;
}

/** Above this share a window is measured again. */
export const DISTURBED = 0.02;
const WARM_MS = 60;
const TRIES = 4;

/** Lets a paused program run and measures how fast it forwards. */
export async function measureForwarding(
  child: Child,
  receiver: ControlPage,
  sender: ControlPage,
  ms: number,
): Promise<Window> {
  child.resume();
  try {
    await delay(WARM_MS);
    let best: Window | undefined;
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const window = await forwardingWindow(child, receiver, sender, ms);
      if (best === undefined || window.disturbedShare < best.disturbedShare) {
        best = window;
      }
      if (best.disturbedShare <= DISTURBED) break;
    }
    if (best === undefined) throw new Error("nothing was measured");
    return best;
  } finally {
    child.pause();
  }
}

async function forwardingWindow(
  child: Child,
  receiver: ControlPage,
  sender: ControlPage,
  ms: number,
): Promise<Window> {
  if (child.ended) throw new Error("the program ended while it was measured");
  const noise = watchNoise(child);
  const received = receiver.sample();
  const sent = sender.sample();
  await delay(ms);
  const receivedAfter = receiver.sample();
  const sentAfter = sender.sample();
  const out = sentAfter.sent - sent.sent;
  const into = receivedAfter.received - received.received;
  return {
    rate: out / (sentAfter.ms - sent.ms) * 1000,
    // Both pages are read one after the other, so a little more may be sent than received.
    lossShare: into === 0 ? 0 : Math.max(0, 1 - out / into),
    disturbedShare: noise(sentAfter.ms - sent.ms),
  };
}

/** Empties the table of a paused program, opens the gate and measures how fast flows are set up. */
export async function measureSetUps(
  program: Program,
  receiver: ControlPage,
  ms: number,
): Promise<Window> {
  if (program.flush === undefined || program.setUps === undefined) {
    throw new TypeError("this program sets up no flows");
  }
  receiver.setOpen(false);
  program.child.resume();
  try {
    await program.flush();
    await delay(WARM_MS);
    receiver.setOpen(true);
    await delay(WARM_MS);
    const noise = watchNoise(program.child);
    const before = await program.setUps();
    const start = performance.now();
    await delay(ms);
    const after = await program.setUps();
    const elapsed = performance.now() - start;
    return {
      rate: (after - before) / elapsed * 1000,
      lossShare: 0,
      disturbedShare: noise(elapsed),
    };
  } finally {
    receiver.setOpen(false);
    program.child.pause();
  }
}

/** Starts watching; the function that is returned gives the share of `ms` that was lost. */
function watchNoise(child: Child): (ms: number) => number {
  const thread = child.threadOn(POLL_CORE);
  const stolen = stolenMs(POLL_CORE);
  return (ms) => {
    const waited =
      ((child.threadOn(POLL_CORE)?.waitedNs ?? 0) - (thread?.waitedNs ?? 0)) / 1e6;
    return Math.max(0, waited + stolenMs(POLL_CORE) - stolen) / ms;
  };
}

/** Adds up windows. `tscHz` turns rates into cycles. */
export function summarize(
  windows: readonly Window[],
  tscHz: number,
  flows: number,
): Series {
  const rates = windows.map((window) => window.rate).sort((a, b) => a - b);
  const middle = rates.length >> 1;
  const upper = rates[middle] ?? 0;
  const median = rates.length % 2 === 1 ? upper : ((rates[middle - 1] ?? 0) + upper) / 2;
  return {
    windows,
    median,
    lowest: rates[0] ?? 0,
    highest: rates.at(-1) ?? 0,
    cycles: median > 0 ? tscHz / median : 0,
    flows,
  };
}
