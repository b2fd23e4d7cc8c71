// SPDX-License-Identifier: Apache-2.0
/**
 * What a datapath costs that has nothing to do, and how long its first packet takes after a nap:
 *
 *     deno task bench:idle [--seconds S] [--packets N] [--max-sleep-us U] [--blind]
 *
 * Eight ports on one poll thread, which naps, and after long idleness sleeps until a port wakes it.
 * The first figure is its processor time, the second is the time from before a frame is put into a
 * port until it has come out of another, as the program sees it: the wake-up, and what it takes to
 * look. Beside it stands how long the machine takes to wake any thread on that core, in turn with
 * the packets, and which sleeps too: what is above that is the datapath's. Promises: 3 % of a core,
 * and 60 us in the median, or that much above it where the machine itself takes more than 30. A
 * promise that does not hold ends it with status 1.
 * `--max-sleep-us 0` shows both without naps. With `--blind` one port has no descriptor to wait
 * for, so that the thread naps on by the clock, but for what the others bring.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Datapath, openDatapath } from "../../mod.ts";
import { udpFrame } from "../support/frames.ts";
import { medianOf } from "./measure.ts";
import { helpIfAsked, numberOf, orComplain } from "./usage.ts";

const PORTS = 8;
/** A packet that takes longer than this is lost. */
const LOST_MS = 5_000;
const MOST_CPU = 3;
const MOST_US = 60;
/** A machine that takes longer to wake any thread is none that this holds for. */
const NORMAL_US = 30;

/** Processor time of the poll threads of this process, ms. */
function pollThreadMs(): number {
  let ms = 0;
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    const at = `/proc/self/task/${name}`;
    if (!Deno.readTextFileSync(`${at}/comm`).startsWith("pmd-c")) continue;
    ms += Number(Deno.readTextFileSync(`${at}/schedstat`).split(" ")[0]) / 1e6;
  }
  return ms;
}

const pause = (ms: number): Promise<void> => new Promise((go) => setTimeout(go, ms));

/** Times in order, in words. */
function spread(times: number[]): string {
  times.sort((a, b) => a - b);
  const at = (share: number): string =>
    (times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? 0).toFixed(0);
  return `90 % within ${at(0.9)}, 99 % within ${at(0.99)}, the slowest ${at(1)}`;
}

/** What `wake` takes until it has been answered, us. */
async function answer(
  pauseMs: number,
  wake: () => void,
  done: () => boolean,
): Promise<number> {
  await pause(pauseMs);
  const start = performance.now();
  wake();
  while (!done()) {
    if (performance.now() - start > LOST_MS) throw new Error("a packet was lost");
  }
  return (performance.now() - start) * 1000;
}

/** A thread that sleeps on a core, and answers when it is woken. */
const sleeper = `import { openSystemLibrary } from "${
  import.meta.resolve("../../ffi/library.ts")
}";
self.onmessage = ({ data: { cells, core } }) => {
  const libc = openSystemLibrary("libc.so.6", {
    symbols: {
      sched_setaffinity: { parameters: ["i32", "usize", "buffer"], result: "i32" },
    },
    debianPackage: "libc6",
  });
  const mask = new Uint8Array(128);
  mask[core >> 3] = 1 << core % 8;
  libc.symbols.sched_setaffinity(0, mask.length, mask);
  libc.close();
  for (let seen = 0;;) {
    Atomics.wait(cells, 0, seen);
    seen = Atomics.load(cells, 0);
    Atomics.store(cells, 1, seen);
    if (seen < 0) break;
  }
  self.close();
};`;

/** A thread of this process on a core: `wake()` and `awake()`, and `end()`. */
async function startSleeper(core: number) {
  const cells = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(sleeper)}`, {
    type: "module",
  });
  worker.postMessage({ cells, core });
  const set = (value: number) => {
    Atomics.store(cells, 0, value);
    Atomics.notify(cells, 0);
  };
  const awake = () => Atomics.load(cells, 1) === Atomics.load(cells, 0);
  set(1);
  while (!awake()) await pause(1);
  let next = 2;
  return { wake: () => set(next++), awake, end: () => set(-1) };
}

/** First packets, and wake-ups of the machine in turn, so that its other work meets both; us. */
async function measure(dp: Datapath, packets: number, core: number) {
  const machine = await startSleeper(core);
  const frame = udpFrame();
  const times: { machine: number[]; packet: number[] } = { machine: [], packet: [] };
  for (let i = 0; i < packets; i++) {
    const ms = 5 + i % 17; // Asleep again, at different depths.
    times.machine.push(await answer(ms, machine.wake, machine.awake));
    const inject = () => dp.ports.inject?.(1, frame);
    const came = () => dp.ports.collect?.(2) !== undefined;
    times.packet.push(await answer(ms, inject, came));
  }
  machine.end();
  return times;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      seconds: { type: "string", default: "5" },
      packets: { type: "string", default: "300" },
      "max-sleep-us": { type: "string", default: "50" },
      blind: { type: "boolean", default: false },
    },
  });
  const seconds = numberOf("--seconds", values.seconds, 600);
  const packets = numberOf("--packets", values.packets, 100_000);
  const maxSleepUs = Number(values["max-sleep-us"]);
  await using dp = await openDatapath(`netdev@idle${Deno.pid}`, {
    create: "exclusive",
    config: { local: "none", maxSleepUs },
  });
  const blind = values.blind ? 1 : 0;
  for (let i = 1; i <= PORTS - blind; i++) {
    await dp.ports.add({ name: `p${i}`, type: "dummy" });
  }
  if (blind) {
    const options = { role: "server", socket: `idle${Deno.pid}` };
    await dp.ports.add({ name: `p${PORTS}`, type: "memif", options });
  }
  dp.flows.put({ key: "in_port(1),eth(),eth_type(0x0800)", actions: "2" });
  await pause(500);
  const [before, began] = [pollThreadMs(), performance.now()];
  await pause(seconds * 1000);
  const cpu = 100 * (pollThreadMs() - before) / (performance.now() - began);
  console.log(`idle with ${PORTS} ports: ${cpu.toFixed(2)} % of a core [${MOST_CPU}]`);
  const [{ core = 0 } = {}] = dp.pollThreads?.dump() ?? [];
  const counters = () => dp.pollThreads?.dump()[0]?.counters ?? {};
  const slept = counters();
  const { machine, packet } = await measure(dp, packets, core);
  const [usual, median] = [medianOf(machine), medianOf(packet)];
  console.log(
    `a thread that sleeps on core ${core} wakes in ${usual.toFixed(1)} us, ${
      spread(machine)
    }`,
  );
  console.log(
    `first packet after a nap: ${median.toFixed(1)} us [${MOST_US}], ${
      (median - usual).toFixed(1)
    } above that, ${spread(packet)}`,
  );
  const more = (name: string): bigint => (counters()[name] ?? 0n) - (slept[name] ?? 0n);
  console.log(
    `${more("sleeps")} sleeps meanwhile, of which packets ended ${more("woken")}`,
  );
  if (maxSleepUs === 0) return 0;
  const own = usual > NORMAL_US ? median - usual : median;
  const broken = [cpu > MOST_CPU && "processor time", own > MOST_US && "first packet"]
    .filter((name) => name !== false);
  for (const name of broken) console.log(`BROKEN: ${name}`);
  return broken.length === 0 ? 0 : 1;
}

helpIfAsked(import.meta.url);
Deno.exit(await orComplain(main));
