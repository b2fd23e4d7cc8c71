// SPDX-License-Identifier: Apache-2.0
/**
 * What growth costs: cycles a packet against flows, masks, ports and poll threads, flow set-ups a
 * second against the flows that there are, and memory a flow.
 *
 *     deno task bench:growth [--flows N] [--json FILE] [--chart FILE.svg]
 *
 * Cycles are of `growth_bench.c`, without devices: each step of growth is a process of its own, and
 * each figure the median of slices in which the core was free. Set-ups are those of one handler
 * that decides in TypeScript, of new flows beside those that there are. Memory is that of the
 * process. FLOWS, 10,000,000, is where the flows end; set-ups and memory end at a tenth of that.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Datapath, exact, openDatapath, output, type PortNo } from "../../mod.ts";
import { encodeKey, extractKey } from "../../providers/odp/mod.ts";
import { buildProgram } from "../support/c_build.ts";
import { type Curve, drawCurves, type Point } from "./growth_chart.ts";
import { temporaryFolder } from "./interrupt.ts";
import { describeMachine, POLL_CORE } from "./machine.ts";
import { medianOf } from "./measure.ts";
import { PacketSource, writeFrames } from "./packets.ts";
import { helpIfAsked, numberOf, orComplain, showProgress } from "./usage.ts";

const BATCH = 256;
/** Set-ups of a step, in so many rounds. */
const SET_UPS = 20_000;
const ROUNDS = 5;
/** What an upcall's key has beside what is in the packet. */
const plain = { recircId: 0, dpHash: 0, priority: 0, skbMark: 0 };

/** 1, 10, 100 … up to `most`. */
function decades(most: number): number[] {
  const steps: number[] = [];
  for (let n = 1; n <= most; n *= 10) steps.push(n);
  return steps;
}

/** 1, 2, 4 … up to `most`. */
function doublings(most: number): number[] {
  return Array.from({ length: 1 + Math.floor(Math.log2(most)) }, (_, i) => 2 ** i);
}

/** Cycles a packet at each step, by the bench in C. */
async function cyclesOf(
  program: string,
  kind: string,
  steps: readonly number[],
): Promise<Point[]> {
  const points: Point[] = [];
  for (const at of steps) {
    showProgress(`${kind}: ${at}`);
    const { code, stdout, stderr } = await new Deno.Command(program, {
      args: [kind, `${at}`],
    }).output();
    const said = new TextDecoder().decode(code === 0 ? stdout : stderr) +
      (code === 0 ? "" : new TextDecoder().decode(stdout));
    const [, median, low, high] = /: ([\d.]+) \[([\d.]+)-([\d.]+)\]/.exec(said) ?? [];
    if (median === undefined) {
      throw new Error(`growth_bench ${kind} ${at} ended with status ${code}: ${said}`);
    }
    points.push({ at, value: Number(median), low: Number(low), high: Number(high) });
  }
  return points;
}

/** Memory of the process, bytes. */
function resident(): number {
  return Number(Deno.readTextFileSync("/proc/self/statm").split(" ")[1]) * 4096;
}

/** Puts exact flows `from` to `to`, which no packet is of. */
function fill(dp: Datapath, from: number, to: number): void {
  const text = (n: number): string =>
    [24, 16, 8, 0].map((shift) => n >>> shift & 255).join(".");
  for (let at = from; at < to; at += BATCH) {
    showProgress(`${at} of ${to} flows`);
    const count = Math.min(BATCH, to - at);
    const results = dp.operate(Array.from({ length: count }, (_, i) => ({
      op: "put" as const,
      key: `in_port(9),eth(),eth_type(0x0800),ipv4(src=${text(0x0b000000 + at + i)},` +
        "dst=10.0.0.1,proto=17,frag=no),udp(src=1,dst=2)",
      actions: "drop",
    })));
    for (const result of results) if (!result.ok) throw result.error;
  }
}

/** Flows a second that a handler sets up of those in `keys`, and takes away again. */
async function setUps(
  dp: Datapath,
  keys: readonly Uint8Array[],
  [from, to]: readonly [PortNo, PortNo],
): Promise<Point> {
  const verdict = { mask: exact("inPort", "ipv4", "udp"), actions: [output(to)] };
  const at = Math.max(1, dp.stats().flows);
  const rates: number[] = [];
  for (let round = -1; round < ROUNDS; round++) {
    let done = 0;
    let start = 0;
    for await (const upcalls of dp.upcallBatches({ batch: BATCH })) {
      if (start === 0) start = performance.now();
      const results = dp.answer(
        upcalls,
        ({ inPort }) => inPort === from ? verdict : undefined,
      );
      for (const result of results) if (result?.ok) done++;
      if (done >= SET_UPS) break;
    }
    if (round >= 0) rates.push(done / (performance.now() - start));
    for (let i = 0; i < keys.length; i += BATCH) {
      dp.operate(keys.slice(i, i + BATCH).map((key) => ({ op: "delete", key })));
    }
  }
  return {
    at,
    value: medianOf(rates),
    low: Math.min(...rates),
    high: Math.max(...rates),
  };
}

/** What set-ups and memory become while the table grows. */
async function grow(
  folder: string,
  most: number,
): Promise<{ rates: Point[]; memory: Point[] }> {
  const capture = `${folder}/new.pcap`;
  const packets = new PacketSource({
    kind: "udp4",
    count: 5 * SET_UPS,
    seed: 10,
    dst: "10.0.0.0/8",
  });
  const frames = Array.from(packets.frames(), (frame) => frame.slice());
  await writeFrames(capture, frames);
  await using dp = await openDatapath(`netdev@growth${Deno.pid}`, {
    create: "exclusive",
    config: { local: "none", pollThreads: `0x${(1 << POLL_CORE).toString(16)}` },
  });
  const source = await dp.ports.add({
    name: "in",
    type: "pcap",
    options: { rx_pcap: capture, infinite_rx: "1" },
  });
  const sink = await dp.ports.add({ name: "out", type: "null" });
  const keys = frames.map((frame) =>
    encodeKey({ ...extractKey(frame, { inPort: source.no }), ...plain })
  );
  const rates: Point[] = [];
  const memory: Point[] = [];
  let filled = 0;
  const before = resident();
  for (const flows of decades(most)) {
    fill(dp, filled, flows);
    filled = flows;
    // Less than that the process itself breathes.
    if (flows >= 100_000) {
      const value = (resident() - before) / flows;
      memory.push({ at: flows, value, low: value, high: value });
    }
    showProgress(`set-ups beside ${flows} flows`);
    rates.push(await setUps(dp, keys, [source.no, sink.no]));
  }
  return { rates, memory };
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      flows: { type: "string", default: "10000000" },
      json: { type: "string" },
      chart: { type: "string" },
    },
  });
  const flows = numberOf("--flows", values.flows, 10_000_000);
  const source = new URL("./growth_bench.c", import.meta.url).pathname;
  const program = await buildProgram(source, { instrument: "speed" });
  const cycles = (kind: string, steps: number[]) => cyclesOf(program, kind, steps);
  const unit = "cycles a packet";
  const curves: Curve[] = [
    { name: "exact flows", unit, points: await cycles("flows", decades(flows)) },
    { name: "masks", unit, points: await cycles("masks", doublings(512)) },
    { name: "ports sent to", unit, points: await cycles("ports", doublings(1024)) },
    {
      name: "poll threads, on one table",
      unit,
      points: await cycles(
        "threads",
        doublings(Math.min(64, navigator.hardwareConcurrency)),
      ),
    },
  ];
  await using folder = await temporaryFolder("upcall-growth-");
  const { rates, memory } = await grow(folder.path, flows / 10);
  curves.push(
    { name: "flows in the table", unit: "thousand set-ups a second", points: rates },
    { name: "flows in the table", unit: "bytes of memory a flow", points: memory },
  );
  showProgress("");
  const machine = await describeMachine(false, 0);
  for (const { name, unit, points } of curves) {
    console.log(`${unit}, by ${name}`);
    for (const { at, value, low, high } of points) {
      const [median, least, most] = [value, low, high].map((n) => n.toFixed(1));
      console.log(`${`${at}`.padStart(10)}  ${median} [${least}-${most}]`);
    }
  }
  if (values.json !== undefined) {
    const report = { machine, curves };
    await Deno.writeTextFile(values.json, JSON.stringify(report, null, 2) + "\n");
  }
  if (values.chart !== undefined) {
    const caption = `${machine.cpu}; commit ${machine.commit}; ${
      machine.date.slice(0, 10)
    }`;
    await Deno.writeTextFile(values.chart, drawCurves(curves, caption));
  }
  return 0;
}

helpIfAsked(import.meta.url);
Deno.exit(await orComplain(main));
