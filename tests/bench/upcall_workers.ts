// SPDX-License-Identifier: Apache-2.0
/**
 * Handlers in Workers, one each, against a single one: the `--workers` of `upcall_stages.ts`.
 *
 * What counts is not only how many upcalls they answer a second, for on a machine with few cores
 * the poll thread or another program takes theirs. A handler that never runs out of upcalls either
 * has a processor, or waits for one, or waits for the others: upcalls in the time without waiting
 * for a processor are what it would answer on a core of its own.
 *
 * @module
 */
import type { Datapath } from "../../mod.ts";
import { medianOf } from "./measure.ts";
import { showProgress } from "./usage.ts";

/** What a Worker is started with. */
export interface WorkerTask {
  readonly datapath: string;
  readonly handler: number;
  readonly from: number;
  readonly to: number;
  /** Upcalls of its own, from when it is told to begin. */
  readonly counted: number;
}

/** What it says behind those: upcalls, and nanoseconds that passed, and waited for a processor. */
export interface WorkerFigures {
  readonly upcalls: number;
  readonly passed: number;
  readonly waited: number;
}

/** How often it is seen whether new flows are left in the capture. */
const LOOK_MS = 20;

interface Figures {
  /** Upcalls answered a second of the clock, and of the time that was not waited for a core. */
  readonly rate: number;
  readonly free: number;
}

/** What a Worker says next. */
function said<T>(worker: Worker): Promise<T> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
  });
}

/** Has `size` handlers answer `flows` upcalls together, all of new flows. */
async function measure(
  dp: Datapath,
  { from, to, size, flows }: Omit<Comparison, "rounds">,
): Promise<Figures> {
  dp.setHandlers(size);
  const workers = Array.from(
    { length: size },
    () => new Worker(new URL("./upcall_worker.ts", import.meta.url), { type: "module" }),
  );
  let looks: ReturnType<typeof setInterval> | undefined;
  try {
    // All are open before one begins: until then the others take its part.
    await Promise.all(workers.map((worker, handler) => {
      const task: WorkerTask = {
        datapath: `${dp.type}@${dp.name}`,
        handler,
        from,
        to,
        counted: flows / size,
      };
      worker.postMessage(task);
      return said(worker);
    }));
    dp.flows.flush();
    looks = setInterval(() => {
      if (dp.stats().flows > 1.75 * flows) dp.flows.flush();
    }, LOOK_MS);
    const figures = await Promise.all(workers.map((worker) => {
      worker.postMessage("begin");
      return said<WorkerFigures>(worker);
    }));
    const sum = (of: (found: WorkerFigures) => number): number =>
      figures.reduce((total, found) => total + of(found), 0);
    return {
      rate: 1e9 * sum(({ upcalls, passed }) => upcalls / passed),
      free: 1e9 * sum(({ upcalls, passed, waited }) => upcalls / (passed - waited)),
    };
  } finally {
    clearInterval(looks);
    for (const worker of workers) {
      const ended = said(worker);
      worker.postMessage("end");
      await ended;
      worker.terminate();
    }
  }
}

/** Ports that packets come and go by, handlers, upcalls of a round, and rounds. */
export interface Comparison {
  readonly from: number;
  readonly to: number;
  readonly size: number;
  readonly flows: number;
  readonly rounds: number;
}

/** Compares `size` handlers with one, in turns, and prints what they do. */
export async function compareWorkers(
  dp: Datapath,
  { rounds, ...rest }: Comparison,
): Promise<void> {
  const one: Figures[] = [];
  const all: Figures[] = [];
  for (let i = -1; i < rounds; i++) {
    showProgress(`round ${i + 1} of ${rounds}`);
    for (const [size, list] of [[1, one], [rest.size, all]] as const) {
      const found = await measure(dp, { ...rest, size });
      if (i >= 0) list.push(found);
    }
  }
  showProgress("");
  const line = (name: string, of: (found: Figures) => number): void => {
    const shown = (list: Figures[]): string =>
      `${(medianOf(list.map(of)) / 1000).toFixed(0)} k/s`;
    const ratios = all.map((found, i) => of(found) / of(one[i] as Figures));
    console.log(
      `${name}: one handler ${shown(one)}, ${rest.size} ${shown(all)}: ` +
        `${medianOf(ratios).toFixed(2)} times ` +
        `[${Math.min(...ratios).toFixed(2)} - ${Math.max(...ratios).toFixed(2)}]`,
    );
  };
  console.log(`${rest.flows} flows a round, ${rounds} rounds`);
  line("by the clock", ({ rate }) => rate);
  line("without waiting for a core", ({ free }) => free);
}
