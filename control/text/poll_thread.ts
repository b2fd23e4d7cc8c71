// SPDX-License-Identifier: Apache-2.0
/**
 * Poll threads in the words of `ovs-appctl dpif-netdev/pmd-…`.
 *
 * Levels that this datapath does not have (EMC, SMC, hardware) stay in the text with zeros, for
 * programs that read it.
 *
 * @module
 */
import type { PollThreadLoad } from "../../providers/contract/poll_figures.ts";
import type { PollThread } from "../../providers/contract/poll_threads.ts";
import type { Datapath } from "../../providers/datapath.ts";

/** Counters of a poll thread since it began, or since they were cleared. */
export interface ThreadCounts {
  readonly core: number;
  readonly numa: number | undefined;
  readonly busy: number;
  readonly idle: number;
  readonly sleep: number;
  /** Cycles of handing up, while that was recorded. */
  readonly upcall: number;
  /** A counter by name; 0 if there is none. */
  readonly count: (name: string) => number;
}

/** Differences to what was last cleared. */
export class ThreadHistory {
  readonly #cleared = new Map<number, PollThread>();
  readonly #sinceMs = new Map<number, number>();
  readonly #beganMs = performance.now();

  /** Seconds since a thread was cleared, or since this began to look. */
  seconds(core: number): number {
    return (performance.now() - (this.#sinceMs.get(core) ?? this.#beganMs)) / 1000;
  }

  /** Starts counting anew for threads. */
  clear(threads: readonly PollThread[]): void {
    for (const thread of threads) {
      this.#cleared.set(thread.core, thread);
      this.#sinceMs.set(thread.core, performance.now());
    }
  }

  /** What a thread did since then. */
  since(thread: PollThread): ThreadCounts {
    const before = this.#cleared.get(thread.core);
    // A thread that was made anew counts from 0 again, below what was cleared.
    const minus = (now: bigint, then: bigint | undefined): number =>
      Number(then === undefined || then > now ? now : now - then);
    return {
      core: thread.core,
      numa: thread.numa,
      busy: minus(thread.cycles.busy, before?.cycles.busy),
      idle: minus(thread.cycles.idle, before?.cycles.idle),
      sleep: minus(thread.cycles.sleep, before?.cycles.sleep),
      upcall: minus(thread.cycles.upcall ?? 0n, before?.cycles.upcall),
      count: (name) => minus(thread.counters[name] ?? 0n, before?.counters[name]),
    };
  }
}

/** The NUMA node of a core; 0 where the machine does not say. */
export function numaNode(core: number): number {
  try {
    for (const { name } of Deno.readDirSync(`/sys/devices/system/cpu/cpu${core}`)) {
      const [, node] = /^node(\d+)$/.exec(name) ?? [];
      if (node !== undefined) return Number(node);
    }
  } catch {
    // No such core any more, or no /sys.
  }
  return 0;
}

const title = ({ core, numa }: { core: number; numa?: number | undefined }): string =>
  `pmd thread numa_id ${numa ?? numaNode(core)} core_id ${core}:\n`;

const ratio = (part: number, whole: number): number => whole === 0 ? 0 : part / whole;

/** `pmd-stats-show` for one thread. */
export function statsText(thread: ThreadCounts): string {
  const { busy, idle, count } = thread;
  const packets = count("packets");
  const passes = ratio(packets + count("recirculated"), packets);
  const hit = count("hit");
  const cycles = busy + idle;
  const perBatch = ratio(count("tx_packets"), count("tx_batches"));
  let text = title(thread) +
    `  packets received: ${packets}\n` +
    `  packet recirculations: ${count("recirculated")}\n` +
    `  avg. datapath passes per packet: ${passes.toFixed(2)}\n` +
    "  phwol hits: 0\n" +
    "  mfex opt hits: 0\n" +
    "  simple match hits: 0\n" +
    "  emc hits: 0\n" +
    "  smc hits: 0\n" +
    `  megaflow hits: ${hit}\n` +
    `  avg. subtable lookups per megaflow hit: ${
      ratio(count("mask_hit"), hit).toFixed(2)
    }\n` +
    `  miss with success upcall: ${count("missed")}\n` +
    `  miss with failed upcall: ${count("lost")}\n` +
    `  avg. packets per output batch: ${perBatch.toFixed(2)}\n`;
  if (cycles === 0) return text;
  const share = (part: number): string =>
    `${part} (${(part / cycles * 100).toFixed(2)}%)`;
  text += `  idle cycles: ${share(idle)}\n  processing cycles: ${share(busy)}\n`;
  if (packets === 0) return text;
  const each = (part: number): string =>
    `${(part / packets).toFixed(2)} (${part}/${packets})`;
  return text + `  avg cycles per packet: ${each(cycles)}\n` +
    `  avg processing cycles per packet: ${each(busy)}\n`;
}

/** `pmd-rxq-show` for one thread. `load` is undefined where nobody measures it. */
export function rxqText(
  dp: Datapath,
  thread: PollThread,
  load: PollThreadLoad | undefined,
): string {
  const total = load === undefined || load.samples === 0 ? 0n : load.cycles;
  const share = (cycles: bigint): string =>
    total === 0n ? "NOT AVAIL" : `${`${cycles * 100n / total}`.padStart(2)} %`;
  let polled = 0n;
  const queues = thread.rxqs.map(({ port, queue }) => ({
    name: dp.ports.get(port)?.name ?? `${port}`,
    queue,
    cycles: load?.rxqs.find((rxq) => rxq.port === port && rxq.queue === queue)?.cycles ??
      0n,
  })).sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : a.queue - b.queue);
  const lines = queues.map(({ name, queue, cycles }) => {
    polled += cycles;
    return `  port: ${name.padEnd(16)}  queue-id: ${`${queue}`.padStart(2)}` +
      ` (enabled)   pmd usage: ${share(cycles)}\n`;
  });
  const busy = load?.busy ?? 0n;
  const overhead = `  overhead: ${share(busy > polled ? busy - polled : 0n)}\n`;
  return `${title(thread)}  isolated : ${thread.isolated === true}\n${lines.join("")}` +
    (lines.length > 0 ? overhead : "");
}

/** `pmd-sleep-show`, as Open vSwitch has it since 3.3. */
export function sleepText(threads: readonly PollThread[]): string {
  const us = (value = 0): string => `${value}`.padStart(4);
  return `Default max sleep: ${us(threads[0]?.maxSleepUs)} us\n` +
    threads.map((thread) => `${title(thread)}  max sleep: ${us(thread.maxSleepUs)} us\n`)
      .join("");
}

const wide = (value: number, digits = 0): string => value.toFixed(digits).padStart(12);
const percent = (part: number, whole: number): string =>
  (100 * ratio(part, whole)).toFixed(1).padStart(5);

/** `pmd-perf-show` for one thread, but for its histograms. */
export function perfText(
  thread: ThreadCounts,
  { seconds, cyclesPerSecond }: { seconds: number; cyclesPerSecond: number },
): string {
  const { busy, idle, sleep, count } = thread;
  const head = `\nTime: ${new Date().toISOString().slice(11, -1)}\n` +
    `Measurement duration: ${seconds.toFixed(3)} s\n\n${title(thread)}\n`;
  const us = (cycles: number): number => cycles / cyclesPerSecond * 1e6;
  const iterations = count("iterations");
  const busyIterations = Math.min(count("iterations_busy"), iterations);
  const sleeps = count("sleeps");
  const used = busy + idle;
  const each = ratio(us(used + sleep), iterations).toFixed(2);
  const nap = ratio(us(sleep), sleeps).toFixed(0).padStart(3);
  const text = `${head}  Iterations:         ${wide(iterations)}  (${each} us/it)\n` +
    `  - Used TSC cycles:  ${wide(used)}  (${
      percent(used, seconds * cyclesPerSecond)
    } % of total cycles)\n` +
    `  - idle iterations:  ${wide(iterations - busyIterations)}  (${
      percent(idle, used)
    } % of used cycles)\n` +
    `  - busy iterations:  ${wide(busyIterations)}  (${
      percent(busy, used)
    } % of used cycles)\n` +
    `  - sleep iterations: ${wide(sleeps)}  (${
      percent(sleeps, iterations)
    } % of iterations)\n` +
    `  Sleep time (us):    ${wide(us(sleep))}  (${nap} us/iteration avg.)\n`;
  return text + rxLines(thread, seconds, us) + txLines(thread, seconds);
}

function rxLines(
  { busy, upcall, count }: ThreadCounts,
  seconds: number,
  us: (cycles: number) => number,
): string {
  const packets = count("packets");
  if (packets === 0) return `  Rx packets:         ${wide(0)}\n`;
  const passes = packets + count("recirculated");
  const line = (label: string, value: number, more = ""): string =>
    `  ${label.padEnd(20)}${wide(value)}  (${percent(value, passes)} %${more})\n`;
  const hit = count("hit");
  const missed = count("missed");
  const lookups = ratio(count("mask_hit"), hit).toFixed(2);
  const rate = (packets / seconds / 1000).toFixed(0);
  const each = ratio(passes, packets).toFixed(2);
  return `  Rx packets:         ${wide(packets)}  (${rate} Kpps, ${
    ratio(busy, packets).toFixed(0)
  } cycles/pkt)\n` +
    `  Datapath passes:    ${wide(passes)}  (${each} passes/pkt)\n` +
    line("- PHWOL hits:", 0) + line("- MFEX Opt hits:", 0) +
    line("- Simple Match hits:", 0) + line("- EMC hits:", 0) + line("- SMC hits:", 0) +
    line("- Megaflow hits:", hit, `, ${lookups} subtbl lookups/hit`) +
    line("- Upcalls:", missed, `, ${ratio(us(upcall), missed).toFixed(1)} us/upcall`) +
    line("- Lost upcalls:", count("lost"));
}

function txLines({ count }: ThreadCounts, seconds: number): string {
  const packets = count("tx_packets");
  const batches = count("tx_batches");
  if (packets === 0) return `  Tx packets:         ${wide(0)}\n\n`;
  const rate = (packets / seconds / 1000).toFixed(0);
  return `  Tx packets:         ${wide(packets)}  (${rate} Kpps)\n` +
    `  Tx batches:         ${wide(batches)}  (${
      ratio(packets, batches).toFixed(2)
    } pkts/batch)\n`;
}
