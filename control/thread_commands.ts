// SPDX-License-Identifier: Apache-2.0
/**
 * `dpif-netdev/…` about poll threads, in the words of ovs-appctl(8).
 *
 * @module
 */
import type {
  PollThreadFigures,
  PollThreadPerformance,
} from "../providers/contract/poll_figures.ts";
import type { PollThread } from "../providers/contract/poll_threads.ts";
import type { Datapath } from "../providers/datapath.ts";
import { CommandError } from "./command_error.ts";
import type { Log } from "./log.ts";
import type { ControlCommand } from "./socket.ts";
import {
  perfText,
  rxqText,
  sleepText,
  statsText,
  ThreadHistory,
} from "./text/poll_thread.ts";
import {
  balanceText,
  histogramsText,
  iterationsText,
  millisecondsText,
  performanceSince,
} from "./text/poll_thread_perf.ts";

/** Commands about poll threads; none for a datapath that has no such threads. */
export function threadCommands(dp: Datapath, log: Log): Map<string, ControlCommand> {
  const commands = new Map<string, ControlCommand>();
  const { pollThreads } = dp;
  if (pollThreads === undefined) return commands;
  const history = new ThreadHistory();
  const add = (
    name: string,
    [usage, max]: readonly [string, number],
    run: (args: ThreadArguments) => string | Promise<string>,
  ): void => {
    commands.set(`dpif-netdev/${name}`, {
      usage,
      args: [0, max],
      run: (args) => run(threadArguments(dp, args)),
    });
  };
  const chosen = ({ core }: ThreadArguments) =>
    pollThreads.dump().filter((thread) => core === undefined || thread.core === core);
  add(
    "pmd-stats-show",
    ["[-pmd core] [dp]", 3],
    (args) => chosen(args).map((thread) => statsText(history.since(thread))).join(""),
  );
  const performances = new Performances();
  add("pmd-stats-clear", ["[-pmd core] [dp]", 3], (args) => {
    const threads = chosen(args);
    history.clear(threads);
    if (pollThreads.figures) performances.clear(pollThreads.figures, threads);
    return "";
  });
  add("pmd-rxq-show", ["[-pmd core] [-secs secs] [dp]", 5], (args) => {
    const threads = chosen(args);
    const seconds = Math.min(Math.ceil((args.seconds || 60) / 5) * 5, 60);
    const head = `Displaying last ${seconds} seconds pmd usage %\n`;
    const loads = pollThreads.figures?.load(seconds / 5) ?? [];
    return (threads.length > 0 || args.core === undefined ? head : "") +
      threads.map((thread) =>
        rxqText(dp, thread, loads.find(({ core }) => core === thread.core))
      ).join("");
  });
  const perfUsage = "[-nh] [-it iter-history-len] [-ms ms-history-len] [-pmd core] [dp]";
  add("pmd-perf-show", [perfUsage, 8], async (args) => {
    const threads = chosen(args);
    const cyclesPerSecond = threads.length === 0 ? 1 : await clockOf(dp, threads);
    return threads.map((thread) => {
      const seconds = history.seconds(thread.core);
      return perfText(history.since(thread), { seconds, cyclesPerSecond }) +
        (pollThreads.figures
          ? performances.text(pollThreads.figures, thread.core, args)
          : "");
    }).join("");
  });
  add("pmd-sleep-show", ["[dp]", 1], () => sleepText(pollThreads.dump()));
  add("pmd-rxq-rebalance", ["[dp]", 1], async () => {
    await pollThreads.rebalance?.();
    return "pmd rxq rebalance requested.\n";
  });
  const lookups = (): string => lookupText(dp);
  for (const name of ["subtable-lookup-prio-get", "subtable-lookup-info-get"]) {
    add(name, ["", 0], lookups);
  }
  const { figures } = pollThreads;
  if (figures === undefined) return commands;
  const logUsage = "on|off [-b before] [-a after] [-e|-ne] [-us usec] [-q qlen]";
  commands.set("dpif-netdev/pmd-perf-log-set", {
    usage: logUsage,
    args: [0, 10],
    run: (args) => setSuspicion(figures, log, args),
  });
  commands.set("upcall/pmd-auto-lb-show", {
    usage: "[dp]",
    args: [0, 1],
    run: (args) => {
      threadArguments(dp, args);
      return balanceText(figures.balance());
    },
  });
  return commands;
}

/** What was recorded of threads when they were last cleared. */
class Performances {
  readonly #cleared = new Map<number, {
    readonly performance: PollThreadPerformance;
    readonly iteration: bigint;
    readonly ms: bigint;
  }>();

  clear(figures: PollThreadFigures, threads: readonly PollThread[]): void {
    for (const { core } of threads) {
      const performance = figures.performance(core);
      if (performance === undefined) continue;
      const last = (samples: readonly { when: bigint }[]): bigint =>
        samples[0]?.when ?? -1n;
      this.#cleared.set(core, {
        performance,
        iteration: last(figures.iterations(core, 1)),
        ms: last(figures.milliseconds(core, 1)),
      });
    }
  }

  /** The second half of `pmd-perf-show`; nothing where nothing is recorded. */
  text(figures: PollThreadFigures, core: number, args: ThreadArguments): string {
    const performance = figures.performance(core);
    if (performance?.enabled !== true) return "";
    const before = this.#cleared.get(core);
    const newer = <Sample extends { readonly when: bigint }>(
      samples: readonly Sample[],
      than = -1n,
    ): readonly Sample[] => samples.filter(({ when }) => when > than);
    let text = "";
    if (args.histograms !== false) {
      const since = performanceSince(performance, before?.performance);
      text += `\n${histogramsText(since)}`;
    }
    if (args.iterations) {
      const samples = figures.iterations(core, args.iterations);
      text += `\n${iterationsText(newer(samples, before?.iteration))}`;
    }
    if (args.milliseconds) {
      const samples = figures.milliseconds(core, args.milliseconds);
      text += `\n${millisecondsText(newer(samples, before?.ms))}`;
    }
    return text;
  }
}

const logUsageLine = "Usage: ovs-appctl dpif-netdev/pmd-perf-log-set " +
  "[on|off] [-b before] [-a after] [-e|-ne] [-us usec] [-q qlen]";

/** Most iterations that are kept before and after a suspicious one, together. */
const maxAround = 998;

function setSuspicion(
  figures: PollThreadFigures,
  log: Log,
  words: readonly string[],
): string {
  const rules = { ...figures.suspicion() };
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    if (word === "on" || word === "off") rules.enabled = word === "on";
    else if (word === "-e" || word === "-ne") rules.extend = word === "-e";
    else {
      const value = words[++i] ?? "";
      const number = Number(value);
      if (!/^\d+$/.test(value) || number > 0xffffffff) {
        throw new CommandError(logUsageLine);
      }
      if (word === "-a") rules.after = Math.min(number, maxAround);
      else if (word === "-b") rules.before = Math.min(number, maxAround);
      else if (word === "-q") rules.vhostQueueFill = number;
      else if (word === "-us") rules.us = number;
      else throw new CommandError(logUsageLine);
    }
  }
  rules.after = Math.min(rules.after, maxAround - rules.before);
  figures.setSuspicion(rules);
  log.say(
    "pmd",
    "info",
    `pmd-perf-log-set: ${rules.enabled ? "on" : "off"}, before=${rules.before}, ` +
      `after=${rules.after}, extend=${rules.extend}, us_thr=${rules.us}, ` +
      `q_thr=${rules.vhostQueueFill}`,
  );
  return "";
}

interface ThreadArguments {
  readonly core?: number;
  readonly seconds?: number;
  readonly histograms?: boolean;
  readonly iterations?: number;
  readonly milliseconds?: number;
}

/** Most samples of a history that can be asked for. */
const maxHistory = 1000;

function threadArguments(dp: Datapath, args: readonly string[]): ThreadArguments {
  const found: {
    core?: number;
    seconds?: number;
    histograms?: boolean;
    iterations?: number;
    milliseconds?: number;
  } = {};
  for (let i = 0; i < args.length; i++) {
    const [arg, next] = [args[i], args[i + 1]];
    if (arg === "-nh") {
      found.histograms = false;
      continue;
    }
    if (["-pmd", "-secs", "-it", "-ms"].includes(arg ?? "") && next !== undefined) {
      i++;
      if (!/^\d+$/.test(next)) continue;
      if (arg === "-pmd") found.core = Number(next);
      if (arg === "-secs") found.seconds = Number(next);
      if (arg === "-it") found.iterations = Math.min(Number(next), maxHistory);
      if (arg === "-ms") found.milliseconds = Math.min(Number(next), maxHistory);
    } else if (arg !== dp.name && arg !== dp.fullName) {
      throw new CommandError("please specify an existing datapath");
    }
  }
  return found;
}

/** TSC cycles a second. */
function clockOf(
  dp: Datapath,
  [thread]: readonly PollThread[],
): number | Promise<number> {
  const known = thread && dp.pollThreads?.figures?.performance(thread.core);
  return known?.cyclesPerSecond ?? measureCycles(dp);
}

/**
 * TSC cycles a second: what a busy thread counts over a moment, or what Linux says of the
 * processor.
 */
async function measureCycles({ pollThreads }: Datapath): Promise<number> {
  const sum = (): [number, number] => {
    const [thread] = pollThreads?.dump() ?? [];
    const { busy = 0n, idle = 0n, sleep = 0n } = thread?.cycles ?? {};
    return [Number(busy + idle + sleep), performance.now()];
  };
  const [before, start] = sum();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const [after, end] = sum();
  const counted = (after - before) / (end - start) * 1000;
  // A thread that sleeps counts when it wakes.
  return counted > slowestClock ? counted : clockOfProcessor();
}

/** No processor that this runs on has a slower counter, Hz. */
const slowestClock = 5e8;

function clockOfProcessor(): number {
  try {
    const text = Deno.readTextFileSync("/proc/cpuinfo");
    const [, mhz] = /^cpu MHz\s*:\s*([\d.]+)$/m.exec(text) ?? [];
    return Math.max(slowestClock, Number(mhz ?? 0) * 1e6);
  } catch {
    return slowestClock;
  }
}

function lookupText(dp: Datapath): string {
  const { masks = 0, flows, maskHit = 0n, hit } = dp.stats();
  const perHit = hit === 0n ? 0 : Number(maskHit) / Number(hit);
  return `Available dpcls implementations:\n  partitioned (Use count: ${masks}, Priority: 0)\n` +
    `flows: ${flows}, masks: ${masks}, lookups per hit: ${perHit.toFixed(2)}\n`;
}
