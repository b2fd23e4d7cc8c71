// SPDX-License-Identifier: Apache-2.0
/**
 * Poll threads in the words of `ovs-appctl dpif-netdev/pmd-…`.
 *
 * Levels that this datapath does not have (EMC, SMC, hardware) stay in the text with zeros, for
 * programs that read it.
 *
 * @module
 */
import type { PollThread } from "../../providers/contract/poll_threads.ts";
import type { Datapath } from "../../providers/datapath.ts";

/** Counters of a poll thread since it began, or since they were cleared. */
export interface ThreadCounts {
  readonly core: number;
  readonly rxqs: PollThread["rxqs"];
  readonly busy: number;
  readonly idle: number;
  readonly sleep: number;
  /** A counter by name; 0 if there is none. */
  readonly count: (name: string) => number;
}

/** Differences to what was last cleared. */
export class ThreadHistory {
  readonly #cleared = new Map<number, PollThread>();
  #sinceMs = performance.now();

  /** Seconds since everything was cleared, or since this began to look. */
  get seconds(): number {
    return (performance.now() - this.#sinceMs) / 1000;
  }

  /** Starts counting anew for threads. */
  clear(threads: readonly PollThread[]): void {
    for (const thread of threads) this.#cleared.set(thread.core, thread);
    this.#sinceMs = performance.now();
  }

  /** What a thread did since then. */
  since(thread: PollThread): ThreadCounts {
    const before = this.#cleared.get(thread.core);
    // A thread that was made anew counts from 0 again, below what was cleared.
    const minus = (now: bigint, then: bigint | undefined): number =>
      Number(then === undefined || then > now ? now : now - then);
    return {
      core: thread.core,
      rxqs: thread.rxqs,
      busy: minus(thread.cycles.busy, before?.cycles.busy),
      idle: minus(thread.cycles.idle, before?.cycles.idle),
      sleep: minus(thread.cycles.sleep, before?.cycles.sleep),
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

const title = ({ core }: { core: number }): string =>
  `pmd thread numa_id ${numaNode(core)} core_id ${core}:\n`;

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

/**
 * `pmd-rxq-show` for one thread. The share of each queue is not measured, and Open vSwitch has
 * words for that.
 */
export function rxqText(dp: Datapath, thread: PollThread): string {
  const lines = thread.rxqs.map(({ port, queue }) => {
    const name = dp.ports.get(port)?.name ?? `${port}`;
    return `  port: ${name.padEnd(16)}  queue-id: ${`${queue}`.padStart(2)}` +
      " (enabled)   pmd usage: NOT AVAIL\n";
  });
  const overhead = lines.length > 0 ? "  overhead: NOT AVAIL\n" : "";
  return `${title(thread)}  isolated : ${thread.isolated === true}\n${
    lines.join("")
  }${overhead}`;
}

/** `pmd-perf-show` for one thread, without histograms. */
export function perfText(
  thread: ThreadCounts,
  { seconds, cyclesPerSecond }: { seconds: number; cyclesPerSecond: number },
): string {
  const { busy, idle, sleep, count } = thread;
  const now = new Date();
  const time = new Date(now.getTime() - now.getTimezoneOffset() * 60_000)
    .toISOString().slice(11, -1);
  const head = `\nTime: ${time}\nMeasurement duration: ${seconds.toFixed(3)} s\n\n` +
    `${title(thread)}\n`;
  const microseconds = (cycles: number): number => cycles / cyclesPerSecond * 1e6;
  const iterations = count("iterations");
  const busyIterations = Math.min(count("rx_batches"), iterations);
  const wide = (value: number, digits = 0): string => value.toFixed(digits).padStart(12);
  const percent = (part: number, whole: number): string =>
    (100 * ratio(part, whole)).toFixed(1).padStart(5);
  const used = busy + idle;
  const perIteration = ratio(microseconds(used + sleep), iterations).toFixed(2);
  let text =
    `${head}  Iterations:         ${wide(iterations)}  (${perIteration} us/it)\n` +
    `  - Used TSC cycles:  ${wide(used)}  (${
      percent(used, seconds * cyclesPerSecond)
    } % of total cycles)\n` +
    `  - idle iterations:  ${wide(iterations - busyIterations)}  (${
      percent(idle, used)
    } % of used cycles)\n` +
    `  - busy iterations:  ${wide(busyIterations)}  (${
      percent(busy, used)
    } % of used cycles)\n` +
    `  Sleep time (us):    ${wide(microseconds(sleep))}\n`;
  const packets = count("packets");
  if (packets === 0) {
    return `${text}  Rx packets:         ${wide(0)}\n${txLines(thread, seconds, wide)}`;
  }
  const passes = packets + count("recirculated");
  const line = (label: string, value: number, more = ""): string =>
    `  ${label.padEnd(18)}${wide(value)}  (${percent(value, passes)} %${more})\n`;
  const hit = count("hit");
  const lookups = ratio(count("mask_hit"), hit).toFixed(2);
  const rate = (packets / seconds / 1000).toFixed(0);
  const cycles = ratio(busy, packets).toFixed(0);
  text +=
    `  Rx packets:         ${wide(packets)}  (${rate} Kpps, ${cycles} cycles/pkt)\n` +
    `  Datapath passes:    ${wide(passes)}  (${
      ratio(passes, packets).toFixed(2)
    } passes/pkt)\n` +
    line("- PHWOL hits:", 0) + line("- MFEX Opt hits:", 0) +
    line("- Simple Match hits:", 0) + line("- EMC hits:", 0) + line("- SMC hits:", 0) +
    line("- Megaflow hits:", hit, `, ${lookups} subtbl lookups/hit`) +
    line("- Upcalls:", count("missed")) + line("- Lost upcalls:", count("lost"));
  return text + txLines(thread, seconds, wide);
}

function txLines(
  { count }: ThreadCounts,
  seconds: number,
  wide: (value: number) => string,
): string {
  const packets = count("tx_packets");
  const batches = count("tx_batches");
  if (packets === 0) return `  Tx packets:         ${wide(0)}\n\n`;
  const rate = (packets / seconds / 1000).toFixed(0);
  return `  Tx packets:         ${wide(packets)}  (${rate} Kpps)\n` +
    `  Tx batches:         ${wide(batches)}  (${
      ratio(packets, batches).toFixed(2)
    } pkts/batch)\n`;
}
