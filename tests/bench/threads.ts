// SPDX-License-Identifier: Apache-2.0
/**
 * How poll threads scale: what two of them forward, on two cores, by one flow table, against one of
 * them, while the TypeScript thread sleeps. A port with two receive queues plays the packets of a
 * scenario.
 *
 *     deno task bench:threads [--scenario NAME] [--rounds N] [--seconds S]
 *
 * Two virtual cores may be one physical core, which no program can make twice as fast. Therefore
 * each round also measures two processes with one poll thread each, which share nothing: what is
 * lost against them is lost by sharing. And two empty loops, which gain nothing where the cores are
 * one. On a busy machine look at packets for each second of CPU time: one core's share of 1 is what
 * two free cores would make twice.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { Child, delay } from "./child.ts";
import { ControlPage } from "./control_page.ts";
import { CoreClock } from "./core_clock.ts";
import { temporaryFolder, untilInterrupted } from "./interrupt.ts";
import { BenchError, numberOf, showProgress } from "./usage.ts";
import { buildNetGen, takeHugepages } from "./machine.ts";
import { medianOf } from "./measure.ts";
import { prepare, type Prepared, readScenario } from "./scenario.ts";

const SIDE = new URL("./threads_side.ts", import.meta.url).pathname;
const HUGE_MEBIBYTES = 2048;
const WARM_MS = 100;
const CORES = ["0x1", "0x2"] as const;
const BOTH = "0x3";

/** A process that forwards, with the counters of what it sends. */
class Forwarder implements AsyncDisposable {
  readonly #child: Child;
  readonly #receiver: ControlPage;
  readonly #sender: ControlPage;
  #answers = 0;

  constructor(name: string, folder: string) {
    this.#receiver = new ControlPage(`${folder}/${name}-receiver`);
    this.#sender = new ControlPage(`${folder}/${name}-sender`);
    this.#child = new Child(Deno.execPath(), [
      "run",
      "-A",
      "--quiet",
      SIDE,
      name,
      `net_gen0,file=${folder}/packets.pcap,control=${this.#receiver.path},shuffle=1`,
      `net_gen1,control=${this.#sender.path}`,
      `${folder}/flows.json`,
    ], { env: { LD_PRELOAD: `${folder}/net_gen.so` }, log: `${folder}/${name}.log` });
  }

  /** Runs poll threads on these cores only. */
  async poll(cores: string): Promise<void> {
    this.#child.resume();
    await this.#child.say(cores);
    this.#answers++;
    await this.#child.until(
      (log) => (log.match(/^cores /gm)?.length ?? 0) >= this.#answers || undefined,
      60,
    );
    this.#receiver.setOpen(true);
    await this.#child.until(() => this.#sender.sample().sent > 0 || undefined, 60);
  }

  /** Takes it off the cores. */
  pause(): void {
    this.#child.pause();
  }

  /** Packets sent so far, and when, ms, and the CPU time of all its poll threads until then, ms. */
  sample(): { readonly sent: number; readonly ms: number; readonly cpuMs: number } {
    const tasks = `/proc/${this.#child.pid}/task`;
    let cpuMs = 0;
    for (const { name } of Deno.readDirSync(tasks)) {
      if (!Deno.readTextFileSync(`${tasks}/${name}/comm`).startsWith("pmd-c")) continue;
      cpuMs += Number(Deno.readTextFileSync(`${tasks}/${name}/schedstat`).split(" ")[0]) /
        1e6;
    }
    return { ...this.#sender.sample(), cpuMs };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
    this.#receiver[Symbol.dispose]();
    this.#sender[Symbol.dispose]();
  }
}

/** Packets a second, of time and of the poll threads' own time. */
interface Rate {
  readonly perSecond: number;
  readonly perCpuSecond: number;
}

/** What all `forwarders` send together while nobody else of them does anything. */
async function rateOf(
  forwarders: readonly (readonly [Forwarder, string])[],
  seconds: number,
): Promise<Rate> {
  try {
    for (const [forwarder, cores] of forwarders) await forwarder.poll(cores);
    await delay(WARM_MS);
    const before = forwarders.map(([forwarder]) => forwarder.sample());
    await delay(seconds * 1000);
    let perSecond = 0;
    let sent = 0;
    let cpuMs = 0;
    forwarders.forEach(([forwarder], i) => {
      const now = forwarder.sample();
      const then = before[i] ?? now;
      sent += now.sent - then.sent;
      cpuMs += now.cpuMs - then.cpuMs;
      perSecond += (now.sent - then.sent) / (now.ms - then.ms) * 1000;
    });
    return { perSecond, perCpuSecond: sent / cpuMs * 1000 };
  } finally {
    for (const [forwarder] of forwarders) forwarder.pause();
  }
}

/** What two empty loops do on two cores at once, times one of them. */
async function spinBoth(clocks: readonly CoreClock[]): Promise<number> {
  let alone = 0;
  for (const clock of clocks) alone += await clock.read() / clocks.length;
  const together = await Promise.all(clocks.map((clock) => clock.read()));
  return together.reduce((sum, speed) => sum + speed) / alone;
}

async function prepareFolder(folder: string, prepared: Prepared): Promise<void> {
  await buildNetGen(`${folder}/net_gen.so`);
  await prepared.write(`${folder}/packets.pcap`);
  await Deno.writeTextFile(`${folder}/flows.json`, JSON.stringify(prepared.flows));
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      scenario: { type: "string", default: "masks20-10k" },
      rounds: { type: "string", default: "9" },
      seconds: { type: "string", default: "0.3" },
    },
  });
  const seconds = numberOf("--seconds", values.seconds, 60);
  const rounds = numberOf("--rounds", values.rounds, 999);
  if (navigator.hardwareConcurrency < 2) {
    throw new BenchError("bench:threads needs two cores");
  }
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder("upcall-bench-")).path;
  cleanup.use(takeHugepages(HUGE_MEBIBYTES));
  await prepareFolder(folder, prepare(readScenario(values.scenario)));
  const clocks = [
    cleanup.use(await CoreClock.start(`${folder}/clock0`, { core: 0 })),
    cleanup.use(await CoreClock.start(`${folder}/clock1`, { core: 1 })),
  ];
  const spins: number[] = [];
  const shared = cleanup.use(new Forwarder("shared", folder));
  const other = cleanup.use(new Forwarder("other", folder));
  const kinds: Record<string, readonly (readonly [Forwarder, string])[]> = {
    "core 0": [[shared, CORES[0]]],
    "core 1": [[shared, CORES[1]]],
    "both cores, one table": [[shared, BOTH]],
    "both cores, two processes": [[shared, CORES[1]], [other, CORES[0]]],
  };
  const rates: Record<string, Rate[]> = {};
  for (let round = 0; round < rounds; round++) {
    showProgress(`round ${round + 1} of ${rounds}`);
    spins.push(await spinBoth(clocks));
    for (const [name, forwarders] of Object.entries(kinds)) {
      (rates[name] ??= []).push(await rateOf(forwarders, seconds));
    }
  }
  showProgress("");
  report(values.scenario, rates);
  console.log(`${"both cores, empty loops".padEnd(50)}${spread(spins)}x`);
  return 0;
}

/** `rates` of each kind, in rounds; those of one core come first. */
function report(
  scenario: string,
  rates: Readonly<Record<string, readonly Rate[]>>,
): void {
  const [first = [], second = []] = Object.values(rates);
  const against = (part: keyof Rate, all: readonly Rate[]): number[] =>
    all.map((rate, i) =>
      2 * rate[part] / ((first[i]?.[part] ?? NaN) + (second[i]?.[part] ?? NaN))
    );
  console.log(
    `${scenario}: Mpps, times one core, share of one core's packets for each second of CPU time; medians [lowest-highest]`,
  );
  for (const [name, all] of Object.entries(rates)) {
    const cells = [
      spread(all.map((rate) => rate.perSecond / 1e6)),
      `${spread(against("perSecond", all))}x`,
      spread(against("perCpuSecond", all)),
    ];
    console.log(
      name.padEnd(26) + cells.map((cell) => cell.padEnd(24)).join("").trimEnd(),
    );
  }
}

function spread(values: readonly number[]): string {
  const text = (value: number): string => value.toFixed(2);
  return `${text(medianOf(values))} [${text(Math.min(...values))}-${
    text(Math.max(...values))
  }]`;
}

await untilInterrupted(main);
