// SPDX-License-Identifier: Apache-2.0
/**
 * How poll threads scale: what two of them forward, on two cores, by one flow table, against one of them, while the TypeScript
 * thread sleeps. A port with two receive queues plays the packets of a scenario.
 *
 *     deno task bench:threads [--scenario NAME] [--rounds N] [--seconds S]
 *
 * Two virtual cores may be one physical core, which no program can make twice as fast. Therefore each round also measures
 * two processes with one poll thread each, which share nothing: what is lost against them is lost by sharing.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { Child, delay } from "./child.ts";
import { ControlPage } from "./control_page.ts";
import { temporaryFolder, untilInterrupted } from "./interrupt.ts";
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

  /** Packets sent so far, and when, ms. */
  sent(): { readonly sent: number; readonly ms: number } {
    return this.#sender.sample();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
    this.#receiver[Symbol.dispose]();
    this.#sender[Symbol.dispose]();
  }
}

/** Packets a second that all `forwarders` send together while nobody else does anything. */
async function rateOf(
  forwarders: readonly (readonly [Forwarder, string])[],
  seconds: number,
): Promise<number> {
  try {
    for (const [forwarder, cores] of forwarders) await forwarder.poll(cores);
    await delay(WARM_MS);
    const before = forwarders.map(([forwarder]) => forwarder.sent());
    await delay(seconds * 1000);
    return forwarders.reduce((sum, [forwarder], i) => {
      const { sent, ms } = forwarder.sent();
      const { sent: from = 0, ms: start = 0 } = before[i] ?? {};
      return sum + (sent - from) / (ms - start) * 1000;
    }, 0);
  } finally {
    for (const [forwarder] of forwarders) forwarder.pause();
  }
}

async function prepareFolder(folder: string, prepared: Prepared): Promise<void> {
  await buildNetGen(`${folder}/net_gen.so`);
  await prepared.source.write(`${folder}/packets.pcap`);
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
  const seconds = Number(values.seconds);
  if (navigator.hardwareConcurrency < 2) throw new Error("bench:threads needs two cores");
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder("upcall-bench-")).path;
  cleanup.use(takeHugepages(HUGE_MEBIBYTES));
  await prepareFolder(folder, prepare(readScenario(values.scenario)));
  const shared = cleanup.use(new Forwarder("shared", folder));
  const other = cleanup.use(new Forwarder("other", folder));
  const kinds: Record<string, readonly (readonly [Forwarder, string])[]> = {
    "core 0": [[shared, CORES[0]]],
    "core 1": [[shared, CORES[1]]],
    "both cores, one table": [[shared, BOTH]],
    "both cores, two processes": [[shared, CORES[1]], [other, CORES[0]]],
  };
  const rates: Record<string, number[]> = {};
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, forwarders] of Object.entries(kinds)) {
      (rates[name] ??= []).push(await rateOf(forwarders, seconds));
    }
  }
  const single = rates["core 0"]?.map((rate, i) =>
    (rate + (rates["core 1"]?.[i] ?? NaN)) / 2
  );
  console.log(`${values.scenario}: Mpps, times one core; medians [lowest-highest]`);
  for (const [name, all] of Object.entries(rates)) {
    const times = all.map((rate, i) => rate / (single?.[i] ?? NaN));
    console.log(
      `${name.padEnd(26)} ${spread(all.map((rate) => rate / 1e6)).padEnd(24)}` +
        `${spread(times)}x`,
    );
  }
  return 0;
}

function spread(values: readonly number[]): string {
  const text = (value: number): string => value.toFixed(2);
  return `${text(medianOf(values))} [${text(Math.min(...values))}-${
    text(Math.max(...values))
  }]`;
}

await untilInterrupted(main);
