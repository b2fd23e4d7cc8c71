// SPDX-License-Identifier: Apache-2.0
/**
 * Where the time of a flow set-up goes, in nanoseconds:
 *
 *     deno task bench:upcall [--flows N] [--rounds N] [--workers N]
 *
 * A poll thread plays packets that are all of new flows, so that the ring is never empty, and one
 * handler decides in TypeScript. First it does so in stages, each timed by itself: the `ring` hands
 * a batch over, the `view` reads addresses and ports of its keys, the `decision` makes mask and
 * actions, the `put` puts flows, and `execute` sends the packets. Then `answer` does all of it at
 * once, as `dp.answer()` and policies do, where keys and packets stay where they are. Each figure
 * is the median of the rounds, with the lowest and the highest. `processor` is the time for which
 * the handler's thread had a processor, on a busy machine the only one of them that says something.
 *
 * With `--workers` as many handlers, each in a Worker, are compared with one: by the clock, which
 * says something where each has a core beside that of the poll thread, and without the time in
 * which a handler waited for a core, which says what they take from each other.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { exact, openDatapath, output, type Upcall, type Verdict } from "../../mod.ts";
import { temporaryFolder } from "./interrupt.ts";
import { POLL_CORE } from "./machine.ts";
import { medianOf } from "./measure.ts";
import { PacketSource, writeFrames } from "./packets.ts";
import { compareWorkers } from "./upcall_workers.ts";
import { helpIfAsked, numberOf, orComplain, showProgress } from "./usage.ts";

const BATCH = 256;
/**
 * The capture is played over and over: this many of its packets are new flows until the table is
 * emptied.
 */
const MOST = 1_000_000;
const MOST_WORKERS = 64;

/** Nanoseconds for which this thread, the program's first, has had a processor. */
function processorTime(): number {
  return Number(Deno.readTextFileSync("/proc/self/schedstat").split(" ")[0]);
}

/** Nanoseconds of each stage, and how many upcalls they were spent on. */
class Times {
  readonly spent = new Map<string, number>();
  upcalls = 0;
  #from = 0;
  #processorFrom = processorTime();

  /** From here on the time is the next stage's. */
  start(): void {
    this.#from = performance.now();
  }

  /** The time since the last call was that of `stage`. */
  stop(stage: string): void {
    const now = performance.now();
    this.spent.set(stage, (this.spent.get(stage) ?? 0) + (now - this.#from) * 1e6);
    this.#from = now;
  }

  /** What was spent before does not count. */
  restart(): void {
    this.#processorFrom = processorTime();
    this.start();
  }

  /** Nanoseconds of the processor an upcall. */
  processor(): number {
    return (processorTime() - this.#processorFrom) / this.upcalls;
  }

  /** Nanoseconds an upcall. */
  each(stage: string): number {
    return (this.spent.get(stage) ?? 0) / this.upcalls;
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      flows: { type: "string", default: "40000" },
      rounds: { type: "string", default: "5" },
      workers: { type: "string" },
    },
  });
  const flows = numberOf("--flows", values.flows, MOST);
  const rounds = Math.ceil(numberOf("--rounds", values.rounds, 999));
  const workers = values.workers && numberOf("--workers", values.workers, MOST_WORKERS);
  await using folder = await temporaryFolder("upcall-stages-");
  const capture = `${folder.path}/new.pcap`;
  // More than are taken, or late ones would be of flows that are there.
  const count = 2 * flows;
  const packets = new PacketSource({ kind: "udp4", count, seed: 10, dst: "10.0.0.0/8" });
  await writeFrames(capture, packets.frames());
  await using dp = await openDatapath(`netdev@stages${Deno.pid}`, {
    create: "exclusive",
    config: { local: "none", pollThreads: `0x${(1 << POLL_CORE).toString(16)}` },
  });
  const source = await dp.ports.add({
    name: "in",
    type: "pcap",
    options: { rx_pcap: capture, infinite_rx: "1" },
  });
  const sink = await dp.ports.add({ name: "out", type: "null" });
  if (workers) {
    const team = { from: source.no, to: sink.no, size: Math.ceil(workers) };
    await compareWorkers(dp, { ...team, flows, rounds });
    return 0;
  }
  const actions = [output(sink.no)];
  const verdict: Verdict = { mask: exact("inPort", "ipv4", "udp"), actions };

  /** Takes upcalls until `flows` of them were handled, each batch by `handle`. */
  const round = async (
    handle: (upcalls: readonly Upcall[], times: Times) => void,
  ): Promise<Times> => {
    dp.flows.flush();
    const times = new Times();
    const batches = dp.upcallBatches({ batch: BATCH });
    let warm = 0;
    times.start();
    for await (const upcalls of batches) {
      // What waited in the ring before this round came from the last one.
      if (warm++ < 32) {
        times.restart();
        continue;
      }
      times.stop("ring");
      handle(upcalls, times);
      times.upcalls += upcalls.length;
      if (times.upcalls >= flows) break;
    }
    return times;
  };
  const inStages = (upcalls: readonly Upcall[], times: Times): void => {
    let sum = 0;
    for (const { key } of upcalls) {
      sum += (key.ipv4?.src.length ?? 0) + (key.udp?.src ?? 0) + (key.inPort ?? 0);
    }
    if (sum === 0) throw new Error("keys without addresses");
    times.stop("view");
    const decided = upcalls.map((upcall) => decide(upcall, verdict, source.no));
    times.stop("decision");
    dp.operate(
      upcalls.map(({ key }, i) => ({ op: "put", key, ...decided[i] ?? verdict })),
    );
    times.stop("put");
    dp.operate(
      upcalls.map(({ key, packet }) => ({ op: "execute", key, packet, actions })),
    );
    times.stop("execute");
  };
  const atOnce = (upcalls: readonly Upcall[], times: Times): void => {
    dp.answer(upcalls, (upcall) => decide(upcall, verdict, source.no));
    times.stop("answer");
  };
  const figures = new Map<string, number[]>();
  for (let i = -1; i < rounds; i++) {
    showProgress(`round ${i + 1} of ${rounds}`);
    for (const [way, handle] of [["stages", inStages], ["at once", atOnce]] as const) {
      const times = await round(handle);
      const processor = times.processor();
      if (i < 0) continue;
      let all = 0;
      for (const stage of times.spent.keys()) {
        const name = `${way}: ${stage}`;
        figures.set(name, [...figures.get(name) ?? [], times.each(stage)]);
        all += times.each(stage);
      }
      for (const [what, ns] of [["all", all], ["processor", processor]] as const) {
        const name = `${way}: ${what}`;
        figures.set(name, [...figures.get(name) ?? [], ns]);
      }
    }
  }
  showProgress("");
  console.log(`${flows} flows a round, ${rounds} rounds, batches of ${BATCH}`);
  for (const [name, list] of figures) {
    const ns = (value: number) => value.toFixed(0).padStart(6);
    console.log(
      `${name.padEnd(20)}${ns(medianOf(list))} ns  [${ns(Math.min(...list))} - ${
        ns(Math.max(...list))
      }]`,
    );
  }
  return 0;
}

/** What a small switch decides: a look at the key, and one of its verdicts. */
function decide(upcall: Upcall, verdict: Verdict, from: number): Verdict {
  return upcall.inPort === from ? verdict : { actions: [] };
}

helpIfAsked(import.meta.url);
Deno.exit(await orComplain(main));
