// SPDX-License-Identifier: Apache-2.0
/**
 * What packets wait for while a datapath grows:
 *
 *     deno task bench:scale [--flows N] [--ports N] [--handlers N]
 *
 * One poll thread plays a capture over and over while the table grows to N flows (10,000,000), is
 * listed, while ports come (1,000) and go, and while handlers (64) open. It records its iterations:
 * one that takes longer than 50 us is a stall, of packets too. Each step says how many there were a
 * second, and how long the longest can have been, by the bins of its histogram; beside it, the same
 * of the time right after it, in which nothing happens: what the machine does by itself, the
 * scheduler and the host of a virtual one. What is left for the datapath
 * `tests/bench/cls_bench.ts stalls` tells apart. Memory is that of the process, a flow's share of
 * it said, and of a poll thread, by adding one.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Datapath, openDatapath } from "../../mod.ts";
import { udpFrame } from "../support/frames.ts";
import { temporaryFolder } from "./interrupt.ts";
import { helpIfAsked, numberOf, orComplain, showProgress } from "./usage.ts";

const STALL_US = 50;
const BATCH = 10_000;

/** Memory of the process, bytes. */
function resident(): number {
  return Number(Deno.readTextFileSync("/proc/self/statm").split(" ")[1]) * 4096;
}

/** The longest time of nothing beside a step, seconds. */
const CONTROL_S = 5;

/** What a poll thread's iterations were like. */
interface Iterations {
  readonly seconds: number;
  readonly packets: number;
  readonly all: bigint;
  readonly stalls: bigint;
  /** In words, us. */
  readonly longest: string;
}

/** Runs something, and tells what the poll thread's iterations were like meanwhile. */
async function watch(dp: Datapath, run: () => Promise<void> | void): Promise<Iterations> {
  const figures = dp.pollThreads?.figures;
  const [{ core = 0 } = {}] = dp.pollThreads?.dump() ?? [];
  const read = () => figures?.performance(core);
  const before = read();
  const start = performance.now();
  await run();
  const seconds = (performance.now() - start) / 1000;
  const after = read();
  if (before === undefined || after === undefined) throw new Error("no poll thread");
  const us = 1e6 / after.cyclesPerSecond;
  const { walls, counts } = after.histograms.cyclesPerIteration;
  let [all, stalls, longest] = [0n, 0n, ""];
  counts.forEach((count, bin) => {
    const here = count - (before.histograms.cyclesPerIteration.counts[bin] ?? 0n);
    all += here;
    if (here === 0n) return;
    const [low, high] = [(walls[bin - 1] ?? 0) * us, (walls[bin] ?? Infinity) * us];
    longest = Number.isFinite(high)
      ? `below ${high.toFixed(0)}`
      : `above ${low.toFixed(0)}`;
    if (low >= STALL_US) stalls += here;
  });
  const packets = Number(after.totals.packets - before.totals.packets);
  return { seconds, packets, all, stalls, longest };
}

const pause = (ms: number): Promise<void> => new Promise((go) => setTimeout(go, ms));

/** Runs a step, then nothing for as long, and says what iterations were like meanwhile. */
async function step(
  dp: Datapath,
  name: string,
  run: () => Promise<void> | void,
): Promise<void> {
  const it = await watch(dp, run);
  const control = await watch(dp, () => pause(1000 * Math.min(it.seconds, CONTROL_S)));
  const rate = ({ stalls, seconds }: Iterations) =>
    (Number(stalls) / seconds).toFixed(1).padStart(6);
  console.log(
    `${name.padEnd(34)}${it.seconds.toFixed(2).padStart(8)} s ${
      (it.packets / it.seconds / 1e6).toFixed(1).padStart(6)
    } Mpps ${`${it.all}`.padStart(10)} iterations, above ${STALL_US} us: ${
      rate(it)
    }/s, the longest ${it.longest} us | then nothing: ${
      rate(control)
    }/s, the longest ${control.longest} us`,
  );
}

/** Puts flows `from` to `to`, of addresses one after the other. */
async function put(dp: Datapath, from: number, to: number): Promise<void> {
  const text = (n: number): string =>
    [24, 16, 8, 0].map((at) => n >>> at & 255).join(".");
  for (let at = from; at < to; at += BATCH) {
    showProgress(`${at} of ${to} flows`);
    const count = Math.min(BATCH, to - at);
    const results = dp.operate(Array.from({ length: count }, (_, i) => ({
      op: "put" as const,
      key: "in_port(2),eth(),eth_type(0x0800)," +
        `ipv4(src=${text(0x0a000000 + at + i)},dst=10.0.0.1)`,
      actions: "3",
    })));
    const failed = results.find((result) => !result.ok);
    if (failed !== undefined && !failed.ok) throw failed.error;
    await new Promise((go) => setTimeout(go)); // Others of the program have a turn.
  }
  showProgress("");
}

/** Has another poll thread for a moment, and says what it takes. */
async function oneMore(dp: Datapath, flows: number): Promise<void> {
  const threads = dp.pollThreads;
  const [{ core = 0 } = {}] = threads?.dump() ?? [];
  if (threads === undefined || navigator.hardwareConcurrency < 2) return;
  const mask = (...cores: number[]): string =>
    `0x${cores.reduce((bits, one) => bits | 1n << BigInt(one), 0n).toString(16)}`;
  const before = resident();
  await step(
    dp,
    "a second poll thread",
    () => threads.set(mask(core, core === 0 ? 1 : 0), { maxSleepUs: 0 }),
  );
  const each = (resident() - before) / flows;
  console.log(`a poll thread more: ${each.toFixed(0)} bytes of memory for each flow`);
  await step(dp, "and gone again", () => threads.set(mask(core), { maxSleepUs: 0 }));
}

/** A capture file of one frame. */
function captureOf(frame: Uint8Array): Uint8Array {
  const file = new Uint8Array(40 + frame.length);
  const view = new DataView(file.buffer);
  view.setUint32(0, 0xa1b2c3d4, true);
  view.setUint32(4, 0x00040002, true);
  view.setUint32(16, 65535, true);
  view.setUint32(20, 1, true);
  view.setUint32(32, frame.length, true);
  view.setUint32(36, frame.length, true);
  file.set(frame, 40);
  return file;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      flows: { type: "string", default: "10000000" },
      ports: { type: "string", default: "1000" },
      handlers: { type: "string", default: "64" },
    },
  });
  const flows = numberOf("--flows", values.flows, 16_000_000);
  const ports = numberOf("--ports", values.ports, 60_000);
  const handlers = numberOf("--handlers", values.handlers, 64);
  await using folder = await temporaryFolder("upcall-scale-");
  await Deno.writeFile(`${folder.path}/in.pcap`, captureOf(udpFrame()));
  await using dp = await openDatapath(`netdev@scale${Deno.pid}`, {
    create: "exclusive",
    config: { local: "none", maxSleepUs: 0 },
  });
  await dp.ports.add({
    name: "in",
    no: 1,
    type: "pcap",
    options: { rx_pcap: `${folder.path}/in.pcap`, infinite_rx: "1" },
  });
  await dp.ports.add({ name: "rest", no: 2, type: "dummy" });
  await dp.ports.add({ name: "out", no: 3, type: "null" });
  dp.flows.put({ key: "in_port(1),eth(),eth_type(0x0800)", actions: "3" });
  await dp.setConfig({ "pmd-perf-metrics": "true" });
  await pause(200);
  await step(dp, "nothing", () => pause(2000));
  const before = resident();
  let from = 0;
  while (from < flows) {
    const [first, to] = [from, Math.min(flows, Math.max(BATCH, 2 * from))];
    await step(dp, `${to - first} flows, ${to} in all`, () => put(dp, first, to));
    from = to;
  }
  const each = (resident() - before) / flows;
  console.log(`${flows} flows: ${each.toFixed(0)} bytes of memory each, by the process`);
  await oneMore(dp, flows);
  await step(dp, "a dump of all", () => {
    let seen = 0;
    for (const _ of dp.flows.dump({ terse: true })) seen++;
    if (seen < flows) throw new Error(`the dump has ${seen} flows of ${flows}`);
  });
  await step(dp, `${ports} ports come`, async () => {
    for (let i = 0; i < ports; i++) await dp.ports.add({ name: `s${i}`, type: "null" });
  });
  await step(dp, `${handlers} handlers`, async () => {
    dp.setHandlers(handlers);
    await pause(200);
  });
  await step(dp, `${ports} ports go`, async () => {
    for (const { no, name } of [...dp.ports.dump()]) {
      if (/^s\d/.test(name)) await dp.ports.delete(no);
    }
  });
  await step(dp, "a flush", () => dp.flows.flush());
  return 0;
}

helpIfAsked(import.meta.url);
Deno.exit(await orComplain(main));
