// SPDX-License-Identifier: Apache-2.0
/**
 * Windows of time in which a program's counters are read, and what they add up to.
 *
 * @module
 */
import { type Child, delay } from "./child.ts";
import type { ControlPage } from "./control_page.ts";
import type { CoreClock } from "./core_clock.ts";
import { POLL_CORE, stolenMs } from "./machine.ts";
import type { Program } from "./program.ts";

/** One measured window. */
export interface Window {
  /** Packets forwarded, or flows set up, a second. */
  readonly rate: number;
  /** Share of received packets that were not sent; 0 where receipt cannot be counted. */
  readonly lossShare: number;
  /** Mean bytes of a forwarded frame; undefined where set-ups are counted. */
  readonly frameBytes?: number;
  /** Share of the window in which the poll thread waited for its core or the hypervisor had it. */
  readonly disturbedShare: number;
  /** Under attack: the share of its rate without one that established traffic kept. */
  readonly kept?: number;
  /** Packets a second of the attack that the program took. */
  readonly attackRate?: number;
  /** Clock of the core beside the window, the lower of before and after; see `core_clock.ts`. */
  readonly clock: number;
}

/** The windows of one program in one scenario. */
export interface Series {
  readonly windows: readonly Window[];
  /** Whether only windows count in which the programs had the core to themselves. */
  readonly quiet: boolean;
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
  /** TSC cycles for each packet or set-up, at the median. */
  readonly cycles: number;
  /** Flows in the table while it ran. */
  readonly flows: number;
  /** Under attack: the median of what windows kept. */
  readonly kept?: number;
}

/** Above this share a window is not quiet. */
const DISTURBED = 0.02;
const WARM_MS = 60;
/** Counters of both ports are not read at the same instant, hence a little tolerance. */
const LOSS = 0.01;
const FRAME_ERROR = 0.05;
const TRIES = 6;
/** Fewer where a window takes seconds. */
const SET_UP_TRIES = 3;

function isQuiet(window: Window, clock: CoreClock): boolean {
  return clock.isQuiet(window.clock) && window.disturbedShare <= DISTURBED;
}

/** What a measurement needs of the machine and of the program's ports. */
export interface Gauges {
  readonly clock: CoreClock;
  readonly receiver: ControlPage;
  /** Of all ports that send. */
  readonly sender: Pick<ControlPage, "sample">;
  readonly attacker: ControlPage;
}

/** Measures again until a window is quiet, a few times at most; the least disturbed one counts. */
export async function measureQuietly(
  clock: CoreClock,
  tries: number,
  measure: () => Promise<Omit<Window, "clock">>,
): Promise<Window> {
  let best: Window | undefined;
  let before = await clock.read();
  for (let attempt = 0; attempt < tries; attempt++) {
    const figures = await measure();
    const after = await clock.read();
    const speed = Math.min(before, after);
    const window = { ...figures, clock: speed };
    if (isQuiet(window, clock)) return window;
    if (best === undefined || window.clock > best.clock) best = window;
    before = after;
  }
  if (best === undefined) throw new Error("nothing was measured");
  return best;
}

/** Lets a paused program run for a window and counts what it forwards. */
export function measureForwarding(
  child: Child,
  gauges: Gauges,
  ms: number,
): Promise<Window> {
  return measureQuietly(gauges.clock, TRIES, async () => {
    child.resume();
    try {
      await delay(WARM_MS);
      return await forwardingWindow(child, gauges, ms);
    } finally {
      child.pause();
    }
  });
}

async function forwardingWindow(
  child: Child,
  { receiver, sender }: Gauges,
  ms: number,
): Promise<Omit<Window, "clock">> {
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
    frameBytes: out === 0 ? 0 : (sentAfter.sentBytes - sent.sentBytes) / out,
    disturbedShare: noise(sentAfter.ms - sent.ms),
  };
}

/**
 * Measures a paused program three times in a row: what it forwards at most, then whether it
 * forwards `load` of that, then whether it still does when another port gets as many packets of the
 * attack as it takes.
 */
export function measureAttack(
  child: Child,
  gauges: Gauges,
  { ms, load }: { ms: number; load: number },
): Promise<Window> {
  const { receiver, attacker } = gauges;
  const window = async (): Promise<{ offered: Share; figures: OpenWindow }> => {
    await delay(WARM_MS);
    const before = receiver.sample();
    const figures = await forwardingWindow(child, gauges, ms);
    const after = receiver.sample();
    const taken = after.received - before.received;
    return { offered: { taken, missed: after.missed - before.missed }, figures };
  };
  return measureQuietly(gauges.clock, SET_UP_TRIES, async () => {
    receiver.setRate(0);
    child.resume();
    try {
      const free = await window();
      receiver.setRate(load * free.figures.rate);
      const calm = await window();
      const before = attacker.sample();
      attacker.setOpen(true);
      const attacked = await window();
      const after = attacker.sample();
      return {
        ...attacked.figures,
        lossShare: 0, // By whose doing is what `kept` says.
        disturbedShare: Math.max(
          free.figures.disturbedShare,
          calm.figures.disturbedShare,
          attacked.figures.disturbedShare,
        ),
        kept: forwardedShare(attacked) / forwardedShare(calm),
        attackRate: (after.received - before.received) / (after.ms - before.ms) * 1000,
      };
    } finally {
      attacker.setOpen(false);
      receiver.setRate(0);
      child.pause();
    }
  });
}

/** Packets that came in a window: to the program, and past it because its queue was full. */
interface Share {
  readonly taken: number;
  readonly missed: number;
}

type OpenWindow = Omit<Window, "clock">;

/** The share of what came that was sent. */
function forwardedShare(
  { offered, figures }: { offered: Share; figures: OpenWindow },
): number {
  const { taken, missed } = offered;
  return taken === 0 ? 0 : taken / (taken + missed) * (1 - figures.lossShare);
}

/** Empties the table of a paused program, opens the gate and counts the flows that are set up. */
export function measureSetUps(
  program: Program,
  gauges: Gauges,
  ms: number,
): Promise<Window> {
  const { flush, setUps, child } = program;
  if (flush === undefined || setUps === undefined) {
    throw new TypeError("this program sets up no flows");
  }
  return measureQuietly(gauges.clock, SET_UP_TRIES, async () => {
    gauges.receiver.setOpen(false);
    child.resume();
    try {
      await flush.call(program);
      await delay(WARM_MS);
      gauges.receiver.setOpen(true);
      await delay(WARM_MS);
      const noise = watchNoise(child);
      const before = await setUps.call(program);
      const start = performance.now();
      await delay(ms);
      const after = await setUps.call(program);
      const elapsed = performance.now() - start;
      return {
        rate: (after - before) / elapsed * 1000,
        lossShare: 0,
        disturbedShare: noise(elapsed),
      };
    } finally {
      gauges.receiver.setOpen(false);
      await program.rest?.();
      child.pause();
    }
  });
}

/**
 * Has a paused program forget its connections, opens the gate for a while and counts how many there
 * are then. `most`: how many the packets can begin.
 */
export function measureConnections(
  program: Program,
  gauges: Gauges,
  { ms, most }: { ms: number; most: number },
): Promise<Window> {
  const { forget, connections, child } = program;
  if (forget === undefined || connections === undefined) {
    throw new TypeError("this program tracks no connections");
  }
  const { receiver } = gauges;
  return measureQuietly(gauges.clock, SET_UP_TRIES, async () => {
    receiver.setOpen(false);
    child.resume();
    try {
      await forget.call(program);
      await delay(WARM_MS);
      const before = await connections.call(program);
      const noise = watchNoise(child);
      const start = performance.now();
      receiver.setOpen(true);
      await delay(ms);
      receiver.setOpen(false);
      const elapsed = performance.now() - start;
      const disturbedShare = noise(elapsed);
      await delay(WARM_MS); // What was received is handled by then.
      const begun = await connections.call(program) - before;
      if (begun >= most) {
        throw new Error(`${most} packets were not enough: measure for a shorter time`);
      }
      return { rate: begun / elapsed * 1000, lossShare: 0, disturbedShare };
    } finally {
      receiver.setOpen(false);
      child.pause();
    }
  });
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

/** The windows of a series in which the program had the core to itself. */
export function quietWindows(windows: readonly Window[], clock: CoreClock): Window[] {
  return windows.filter((window) => isQuiet(window, clock));
}

/** The middle of `values`, or the mean of the two in the middle. */
export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/** Adds up the `chosen` ones of all windows. `tscHz` turns rates into cycles. */
export function summarize(
  windows: readonly Window[],
  chosen: readonly Window[],
  { tscHz, flows, quiet }: { tscHz: number; flows: number; quiet: boolean },
): Series {
  const rates = chosen.map((window) => window.rate);
  const median = medianOf(rates);
  const kept = chosen.map((window) => window.kept).filter((share) => share !== undefined);
  return {
    windows,
    quiet,
    median,
    lowest: Math.min(...rates),
    highest: Math.max(...rates),
    cycles: median > 0 ? tscHz / median : 0,
    flows,
    ...(kept.length === 0 ? {} : { kept: medianOf(kept) }),
  };
}

/**
 * What is wrong with the windows of a program that forwards: packets lost, or frames of another
 * size than `bytes`. Undefined when nothing is.
 */
export function findFault(windows: readonly Window[], bytes: number): string | undefined {
  const worst = Math.max(...windows.map((window) => window.lossShare));
  if (worst > LOSS) return `lost ${(100 * worst).toFixed(1)} % of the packets`;
  for (const { frameBytes } of windows) {
    if (frameBytes !== undefined && Math.abs(frameBytes - bytes) > FRAME_ERROR) {
      return `sent frames of ${frameBytes.toFixed(2)} bytes, not ${bytes}`;
    }
  }
  return undefined;
}
