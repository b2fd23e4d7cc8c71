// SPDX-License-Identifier: Apache-2.0
/**
 * Measures this project side by side with DPDK's testpmd and Open vSwitch with DPDK: one poll
 * thread on one core, the same packets, all programs in turns within seconds of each other.
 *
 *     deno task bench:peers [--scenario NAME|FILE]… [--peer testpmd|ovs|ovs-smc|ovs-native|upcall|upcall-small]…
 *                           [--source gen|pcap]… [--rss] [--rounds N] [--seconds S] [--json FILE]
 *
 * Two programs are only run when they are asked for: `upcall-small` is this project without
 * hugepages, `ovs-native` Open vSwitch built for this very processor, with its vectors on. Ratios
 * are to Debian's Open vSwitch; that to `ovs-native` has a column of its own.
 *
 * The source `pcap` is DPDK's own net_pcap, which plays no more than the first 100,000 packets, and
 * can neither be shut nor held back: set-ups and attacks are measured with `gen` only. With
 * `--rss`, packets of `gen` have the hash that a network card computes; Open vSwitch then computes
 * none.
 *
 * Every program of a scenario is started, its flow table filled and compared with what the
 * scenario asks for, and then stopped (SIGSTOP). In each round each of them runs for one window.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { ControlPage, SenderPages } from "./control_page.ts";
import { CoreClock } from "./core_clock.ts";
import { temporaryFolder, untilInterrupted } from "./interrupt.ts";
import { BenchError, numberOf, showProgress } from "./usage.ts";
import {
  buildNetGen,
  describeMachine,
  type Hugepages,
  takeHugepages,
} from "./machine.ts";
import {
  findFault,
  measureAttack,
  measureConnections,
  measureForwarding,
  measureSetUps,
  quietWindows,
  summarize,
  type Window,
} from "./measure.ts";
import { startOpenVswitch } from "./open_vswitch.ts";
import {
  NATIVE,
  ON_REQUEST,
  type Program,
  type ProgramName,
  PROGRAMS,
  type Setting,
  type SourceName,
} from "./program.ts";
import {
  formatHead,
  formatResult,
  ratioOf,
  type Report,
  type ScenarioResult,
} from "./report.ts";
import { listScenarios, prepare, type Prepared, readScenario } from "./scenario.ts";
import { startTestpmd } from "./testpmd.ts";
import { startUpcall } from "./upcall_program.ts";

interface Options {
  readonly scenarios: readonly string[];
  readonly programs: readonly ProgramName[];
  readonly sources: readonly SourceName[];
  readonly rounds: number;
  readonly seconds: number;
  readonly rss: boolean;
  readonly json: string | undefined;
}

/** Reserved for all programs of a scenario together; the two Open vSwitches want most. */
const HUGE_MEBIBYTES = 4096;
/** For a million connections to be established, too. */
const START_SECONDS = 120;
/** Set-ups slow down as the table grows, so their windows are this many times as long. */
const SET_UP_WINDOWS = 5;
/**
 * And so many come first that do not count: tables take memory, which the kernel clears, the first
 * time they grow.
 */
const SET_UP_WARM_UPS = 2;
/** So many windows of every program must be quiet for the others to be left out. */
const QUIET_WINDOWS = 2;
/** Beyond this many packets the pcap source finds no room in a program's mempool. */
const PCAP_PACKETS = 100_000;
/**
 * What established traffic offers during an attack, of what the program forwards alone: somewhat
 * less than the half that a fair share of a poll thread between two busy ports is.
 */
const LOAD = 0.4;

const STARTERS: Record<ProgramName, (setting: Setting) => Promise<Program>> = {
  testpmd: startTestpmd,
  ovs: (setting) => startOpenVswitch(setting, { smc: false }),
  "ovs-smc": (setting) => startOpenVswitch(setting, { smc: true }),
  upcall: (setting) => startUpcall(setting),
  "ovs-native": (setting) => startOpenVswitch(setting, { smc: false, native: true }),
  "upcall-small": (setting) => startUpcall(setting, { hugepages: false }),
};

function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      scenario: { type: "string", multiple: true, default: listScenarios() },
      peer: { type: "string", multiple: true, default: [...PROGRAMS] },
      source: { type: "string", multiple: true, default: ["gen"] },
      rounds: { type: "string", default: "7" },
      seconds: { type: "string", default: "0.2" },
      rss: { type: "boolean", default: false },
      json: { type: "string" },
    },
  });
  const among = <T extends string>(
    what: string,
    given: string[],
    known: readonly T[],
  ): T[] =>
    given.map((text) => {
      const found = known.find((name) => name === text);
      if (found === undefined) {
        throw new BenchError(`--${what} ${text}: expected one of ${known.join(" ")}`);
      }
      return found;
    });
  for (const name of values.scenario) {
    if (name.includes("/") || listScenarios().includes(name)) continue;
    throw new BenchError(
      `--scenario ${name}: expected one of ${listScenarios().join(" ")}`,
    );
  }
  return {
    scenarios: values.scenario,
    programs: among("peer", values.peer, [...PROGRAMS, ...ON_REQUEST]),
    sources: among("source", values.source, ["gen", "pcap"] as const),
    rounds: Math.ceil(numberOf("--rounds", values.rounds, 999)),
    seconds: numberOf("--seconds", values.seconds, 999),
    rss: values.rss,
    json: values.json,
  };
}

/** Bytes of a frame that the source copies: the headers of all scenarios. */
const HEAD = 128;

/** One program of a scenario with its control pages. */
class Contestant implements AsyncDisposable {
  readonly receiver: ControlPage;
  readonly senders: SenderPages;
  readonly attacker: ControlPage;
  readonly windows: Window[] = [];
  flows = 0;
  #program: Program | undefined;

  constructor(readonly name: ProgramName, readonly folder: string, outputs: number) {
    Deno.mkdirSync(folder);
    this.receiver = new ControlPage(`${folder}/receiver`);
    this.senders = new SenderPages(folder, outputs);
    this.attacker = new ControlPage(`${folder}/attacker`);
  }

  get program(): Program {
    if (this.#program === undefined) throw new Error(`${this.name} was not started`);
    return this.#program;
  }

  /** Starts it, fills its table and stops it. */
  async start(prepared: Prepared, source: SourceName, bench: Bench): Promise<void> {
    const file = packetsOf(source, bench);
    const rss = bench.options.rss ? ",rss=1" : "";
    const attack = `${bench.folder}/attack.pcap`;
    this.#program = await STARTERS[this.name]({
      prepared,
      folder: this.folder,
      netGen: bench.netGen,
      hugepages: bench.hugepages.available,
      receiver: source === "gen"
        ? `net_gen0,file=${file},control=${this.receiver.path},shuffle=1,head=${HEAD}${rss}`
        : `net_pcap0,rx_pcap=${file},infinite_rx=1`,
      // Scenarios with an attacker (net_gen2) have one sender only.
      senders: this.senders.paths.map((path, i) => `net_gen${1 + i},control=${path}`),
      ...(prepared.attack && {
        attacker: `net_gen2,file=${attack},control=${this.attacker.path}${rss}`,
      }),
    });
    if (prepared.scenario.measure !== "upcall") {
      this.receiver.setOpen(true);
      const packets = packetsBefore(prepared);
      await this.program.child.until(
        () => this.senders.sample().sent > packets || undefined,
        START_SECONDS,
      );
      this.attacker.setOpen((prepared.attack?.flows.length ?? 0) > 0);
      this.flows = await this.program.settle();
      this.attacker.setOpen(false);
    }
    this.program.child.pause();
  }

  async measure(prepared: Prepared, bench: Bench): Promise<void> {
    const ms = bench.options.seconds * 1000;
    const { receiver, senders: sender, attacker } = this;
    const gauges = { clock: bench.clock, receiver, sender, attacker };
    const { child } = this.program;
    this.windows.push(
      prepared.scenario.measure === "upcall"
        ? await measureSetUps(this.program, gauges, ms * SET_UP_WINDOWS)
        : prepared.scenario.measure === "connections"
        ? await measureConnections(this.program, gauges, {
          ms,
          most: prepared.scenario.packets.count,
        })
        : prepared.attack !== undefined
        ? await measureAttack(child, gauges, { ms, load: LOAD })
        : await measureForwarding(child, gauges, ms),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program?.[Symbol.asyncDispose]();
    this.receiver[Symbol.dispose]();
    this.senders[Symbol.dispose]();
    this.attacker[Symbol.dispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/**
 * How many packets a program is to forward before anything is measured. The first time they come in
 * any order, so that only after the third all connections are established.
 */
function packetsBefore({ scenario }: Prepared): number {
  const { answered, count } = scenario.packets;
  return answered ? 3 * 2 * count : 0;
}

/** What all scenarios share. */
interface Bench {
  readonly folder: string;
  readonly netGen: string;
  readonly hugepages: Hugepages;
  readonly clock: CoreClock;
  readonly options: Options;
}

/** The programs that a scenario says something about. */
function contestantsOf(
  prepared: Prepared,
  programs: readonly ProgramName[],
): ProgramName[] {
  const { measure = "forward" } = prepared.scenario;
  return programs.filter((name) => measure === "forward" || name !== "testpmd");
}

/** The capture file that a source plays. */
function packetsOf(source: SourceName, { folder }: Bench): string {
  return `${folder}/packets-${source}.pcap`;
}

async function compare(
  prepared: Prepared,
  source: SourceName,
  bench: Bench,
): Promise<{ result: ScenarioResult; tscHz: number }> {
  const { scenario } = prepared;
  const failures: Partial<Record<ProgramName, string>> = {};
  await using cleanup = new AsyncDisposableStack();
  let running: Contestant[] = [];
  for (const name of contestantsOf(prepared, bench.options.programs)) {
    const contestant = new Contestant(
      name,
      `${bench.folder}/${name}`,
      scenario.outputs ?? 1,
    );
    try {
      await contestant.start(prepared, source, bench);
      running.push(cleanup.use(contestant));
    } catch (error) {
      failures[name] = messageOf(error);
      await contestant[Symbol.asyncDispose]();
    }
  }
  const grow = scenario.measure === "upcall" || scenario.measure === "connections";
  const warmUps = grow ? SET_UP_WARM_UPS : 0;
  for (let round = -warmUps; round < bench.options.rounds; round++) {
    for (const contestant of running) {
      showProgress(
        `${scenario.name}: round ${
          round + 1
        } of ${bench.options.rounds}, ${contestant.name}`,
      );
      try {
        await contestant.measure(prepared, bench);
        if (round < 0) contestant.windows.length = 0;
      } catch (error) {
        failures[contestant.name] = messageOf(error);
      }
    }
    running = running.filter(({ name }) => failures[name] === undefined);
  }
  for (const { name, windows } of running) {
    // testpmd only rewrites addresses.
    const grows = name === "testpmd" ? 0 : scenario.grows ?? 0;
    const fault = findFault(windows, prepared.frameSize + grows);
    if (fault !== undefined) failures[name] = fault;
  }
  running = running.filter(({ name }) => failures[name] === undefined);
  const programs: ScenarioResult["programs"] = {};
  let tscHz = 0;
  // Either every program is judged by its quiet windows or none is: a ratio between a quiet and a
  // disturbed core would say nothing.
  const quiet = running.every(({ windows }) =>
    quietWindows(windows, bench.clock).length >= QUIET_WINDOWS
  );
  for (const { name, senders, windows, flows } of running) {
    tscHz = senders.tscHz() || tscHz;
    const chosen = quiet ? quietWindows(windows, bench.clock) : windows;
    programs[name] = summarize(windows, chosen, { tscHz, flows, quiet });
  }
  const { keeps = 0 } = scenario.attack ?? {};
  const kept = programs.upcall?.kept ?? 1;
  if (quiet && kept < keeps) {
    failures.upcall =
      `established traffic kept ${Math.round(100 * kept)} % of its rate, ` +
      `not ${100 * keeps} %`;
  }
  const ratio = ratioOf(programs);
  const nativeRatio = ratioOf(programs, [NATIVE]);
  const result: ScenarioResult = {
    scenario: scenario.name,
    about: scenario.about,
    measure: scenario.measure ?? "forward",
    source,
    programs,
    failures,
    ...(ratio === undefined ? {} : { ratio }),
    ...(nativeRatio === undefined ? {} : { nativeRatio }),
  };
  return { result, tscHz };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function main(): Promise<number> {
  const options = readOptions(Deno.args);
  if (navigator.hardwareConcurrency < 2) {
    throw new BenchError(
      "bench:peers needs two cores: one polls, the other does everything else",
    );
  }
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder("upcall-bench-")).path;
  const hugepages = cleanup.use(takeHugepages(HUGE_MEBIBYTES));
  const netGen = `${folder}/net_gen.so`;
  await buildNetGen(netGen);
  const clock = cleanup.use(await CoreClock.start(`${folder}/clock`));
  const bench: Bench = { folder, netGen, hugepages, clock, options };
  const results: ScenarioResult[] = [];
  let report: Report | undefined;
  for (const name of options.scenarios) {
    const prepared = prepare(readScenario(name));
    await prepared.attack?.write(`${folder}/attack.pcap`);
    for (const source of options.sources) {
      if (source === "pcap" && (prepared.scenario.measure ?? "forward") !== "forward") {
        continue;
      }
      const most = source === "pcap" ? PCAP_PACKETS : Infinity;
      showProgress(`${name}: starting the programs and filling their tables`);
      await prepared.write(packetsOf(source, bench), most);
      const { result, tscHz } = await compare(prepared, source, bench);
      const machine = report?.machine ??
        await describeMachine(hugepages.available, tscHz);
      showProgress("");
      if (report === undefined) console.log(formatHead(machine, options.programs));
      results.push(result);
      report = {
        machine,
        options: { seconds: options.seconds, rounds: options.rounds },
        results,
      };
      console.log(formatResult(result, options.programs));
      for (const [program, why] of Object.entries(result.failures)) {
        console.error(`  ${program}: ${why}`);
      }
      if (options.json !== undefined) {
        await Deno.writeTextFile(options.json, JSON.stringify(report, null, 2) + "\n");
      }
    }
  }
  return results.some((result) => Object.keys(result.failures).length > 0) ? 1 : 0;
}

await untilInterrupted(main);
