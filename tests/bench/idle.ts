// SPDX-License-Identifier: Apache-2.0
/**
 * What a datapath costs that has nothing to do, and how long its first packet takes after a nap:
 *
 *     deno task bench:idle [--seconds S] [--packets N] [--max-sleep-us U]
 *
 * Eight ports on one poll thread, which naps, and after long idleness sleeps until a port wakes it. The first figure is its processor
 * time, the second is the time from before a frame is put into a port until it has come out of another, as the program sees it: the
 * wake-up, and what it takes to look. Beside it stands how long the machine takes to wake any thread on that core, which sleeps too
 * then: what is above that is the datapath's. Promises: 3 % of a core, and 60 us in the median. A promise that does not hold ends it
 * with status 1.
 * `--max-sleep-us 0` shows both without naps.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { openDatapath } from "../../mod.ts";
import { udpFrame } from "../support/frames.ts";
import { medianOf } from "./measure.ts";
import { helpIfAsked, numberOf, orComplain } from "./usage.ts";

const PORTS = 8;
/** A packet that takes longer than this is lost. */
const LOST_MS = 5_000;
const MOST_CPU = 3;
const MOST_US = 60;

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

/** What `wake` takes after pauses like those between packets, us each. `done`: it has been answered. */
async function after(
  packets: number,
  wake: (i: number) => void,
  done: () => boolean,
): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < packets; i++) {
    await pause(5 + i % 17); // Asleep again, at different depths.
    const start = performance.now();
    wake(i);
    while (!done()) {
      if (performance.now() - start > LOST_MS) throw new Error("a packet was lost");
    }
    times.push((performance.now() - start) * 1000);
  }
  return times;
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

/** How long a thread of this process takes to wake on a core, us each. */
async function wakeUps(count: number, core: number): Promise<number[]> {
  const cells = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(sleeper)}`, {
    type: "module",
  });
  worker.postMessage({ cells, core });
  const set = (value: number) => {
    Atomics.store(cells, 0, value);
    Atomics.notify(cells, 0);
  };
  set(1);
  while (Atomics.load(cells, 1) !== 1) await pause(1);
  const done = () => Atomics.load(cells, 1) === Atomics.load(cells, 0);
  const times = await after(count, (i) => set(i + 2), done);
  set(-1);
  return times;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      seconds: { type: "string", default: "5" },
      packets: { type: "string", default: "300" },
      "max-sleep-us": { type: "string", default: "50" },
    },
  });
  const seconds = numberOf("--seconds", values.seconds, 600);
  const packets = numberOf("--packets", values.packets, 100_000);
  const maxSleepUs = Number(values["max-sleep-us"]);
  await using dp = await openDatapath(`netdev@idle${Deno.pid}`, {
    create: "exclusive",
    config: { local: "none", maxSleepUs },
  });
  for (let i = 1; i <= PORTS; i++) await dp.ports.add({ name: `p${i}`, type: "dummy" });
  dp.flows.put({ key: "in_port(1),eth(),eth_type(0x0800)", actions: "2" });
  await pause(500);
  const [before, began] = [pollThreadMs(), performance.now()];
  await pause(seconds * 1000);
  const cpu = 100 * (pollThreadMs() - before) / (performance.now() - began);
  console.log(`idle with ${PORTS} ports: ${cpu.toFixed(2)} % of a core [${MOST_CPU}]`);
  const [{ core = 0 } = {}] = dp.pollThreads?.dump() ?? [];
  const machine = await wakeUps(packets, core);
  console.log(
    `a thread that sleeps on core ${core} wakes in ${medianOf(machine).toFixed(1)} us, ${
      spread(machine)
    }`,
  );
  const frame = udpFrame();
  const inject = () => dp.ports.inject?.(1, frame);
  const times = await after(packets, inject, () => dp.ports.collect?.(2) !== undefined);
  const median = medianOf(times);
  console.log(
    `first packet after a nap: ${median.toFixed(1)} us [${MOST_US}], ${
      (median - medianOf(machine)).toFixed(1)
    } above that, ${spread(times)}`,
  );
  if (maxSleepUs === 0) return 0;
  const broken = [cpu > MOST_CPU && "processor time", median > MOST_US && "first packet"]
    .filter((name) => name !== false);
  for (const name of broken) console.log(`BROKEN: ${name}`);
  return broken.length === 0 ? 0 : 1;
}

helpIfAsked(import.meta.url);
Deno.exit(await orComplain(main));
