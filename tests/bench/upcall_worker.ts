// SPDX-License-Identifier: Apache-2.0
/**
 * One handler of `upcall_workers.ts`, in a Worker: answers every upcall with a flow.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { exact, openDatapath, output, portNo, type Verdict } from "../../mod.ts";
import type { WorkerFigures, WorkerTask } from "./upcall_workers.ts";

const BATCH = 256;

/** Nanoseconds of the clock, and for which this thread has waited for a processor. */
function times(): { readonly now: number; readonly waited: number } {
  const [, waited] = Deno.readTextFileSync("/proc/thread-self/schedstat").split(" ");
  return { now: performance.now() * 1e6, waited: Number(waited) };
}

/** Whether counting is to begin. */
let isDue = false;

async function handle(task: WorkerTask, signal: AbortSignal): Promise<void> {
  const { handler, from, to, counted } = task;
  const verdict: Verdict = {
    mask: exact("inPort", "ipv4", "udp"),
    actions: [output(portNo(to))],
  };
  await using dp = await openDatapath(task.datapath);
  const decide = ({ inPort }: { readonly inPort: number | undefined }): Verdict =>
    inPort === from ? verdict : { actions: [] };
  const batches = dp.upcallBatches({ batch: BATCH, handler, signal });
  self.postMessage("ready");
  let upcalls = counted;
  let began = times();
  for await (const batch of batches) {
    dp.answer(batch, decide);
    if (isDue) {
      isDue = false;
      upcalls = 0;
      began = times();
      continue;
    }
    const isOver = upcalls >= counted;
    upcalls += batch.length;
    if (isOver || upcalls < counted) continue;
    const { now, waited } = times();
    const figures: WorkerFigures = {
      upcalls,
      passed: now - began.now,
      waited: waited - began.waited,
    };
    self.postMessage(figures);
  }
}

const ending = new AbortController();
let handling: Promise<void> | undefined;
self.onmessage = async ({ data }: MessageEvent<WorkerTask | "begin" | "end">) => {
  if (data === "begin") {
    isDue = true;
  } else if (data !== "end") {
    handling = handle(data, ending.signal);
  } else {
    ending.abort();
    await handling?.catch(() => {}); // It was ended.
    self.postMessage("ended");
  }
};
