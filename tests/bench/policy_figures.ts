// SPDX-License-Identifier: Apache-2.0
/**
 * What policies promise at scale, one figure a line. A promise that does not hold ends it with
 * status 1.
 *
 *     deno task bench:policy-figures [--packets N] [counters|explosion|faults|limit|many|memory|moves|reload|replay|scan …]
 *
 * `counters` sends 1,000,000 packets if nothing else is said, and `many` has so many flows.
 *
 * @module
 */
import { parseArgs } from "node:util";
import {
  Cell,
  Counter,
  drop,
  forward,
  type Policy,
  Recorder,
  replay,
  runPolicy,
  StateMap,
} from "../../policy/mod.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { policy as learningSwitch } from "../../examples/switch.ts";
import { tcpFrame } from "../support/frames.ts";
import { BenchError, helpIfAsked, numberOf, orComplain } from "./usage.ts";
import { explosion, faults, limit, reload } from "./policy_bounds.ts";
import {
  batches,
  cpuSeconds,
  Fed,
  mac,
  many,
  ROUNDS,
  say,
  upcall,
  withDatapath,
} from "./policy_feed.ts";

let isBroken = false;
let wanted = 1_000_000;

/** Says whether a promise holds. */
function promise(text: string, holds: boolean): void {
  console.log(`${holds ? "holds" : "BROKEN"}: ${text}`);
  isBroken ||= !holds;
}

const figures: Readonly<Record<string, () => Promise<void> | void>> = {
  explosion: () => explosion(promise),
  faults: () => faults(promise),
  limit: () => limit(promise),
  reload: () => reload(promise),

  /** Memory of a flow beside the datapath, 200,000 of them. */
  memory: () =>
    withDatapath(async (dp) => {
      const { gc } = globalThis as { gc?: () => void };
      if (gc === undefined) throw new BenchError("run it with --v8-flags=--expose-gc");
      const used = () => {
        gc();
        const { heapUsed, external } = Deno.memoryUsage();
        return heapUsed + external;
      };
      const fed = new Fed(dp);
      const run = await runPolicy(fed.dp, (packet) => {
        void packet.ethernet?.src;
        return forward(2);
      }, { idleMs: 600_000, flows: { cpu: 10, max: 250_000 } });
      await fed.handle(many(0, 1000)); // What is made once.
      const before = used();
      for (let i = 1; i < 201; i++) await fed.handle(many(i * 1000, 1000));
      const bytes = (used() - before) / (run.stats.flows - 1000);
      say("memory of a flow", "bytes", [bytes]);
      promise(`${run.stats.flows} flows, 600 bytes each at most`, bytes <= 600);
      fed.end();
      await run.close();
    }),

  /** Stations that move, ports that come and go, 10,000 flows. */
  moves: () =>
    withDatapath(async (dp) => {
      const stations = new StateMap<string, number>({ name: "moving", holdMs: 0 });
      const policy: Policy = (packet, ports) => {
        const to = stations.lookup(packet, "ethernet.dst");
        if (packet.ethernet?.src === "") return [];
        return to === undefined ? ports.allBut(packet.inPort) : forward(to);
      };
      for (let i = 0; i < 100; i++) stations.set(mac(i), 2);
      const fed = new Fed(dp);
      const run = await runPolicy(fed.dp, policy, {
        idleMs: 600_000,
        flows: { cpu: 10 },
      });
      await fed.handle(batches(Array.from({ length: 10_000 }, (_, i) =>
        upcall(1000 + i, { dst: mac(i % 200) }))));
      const moves: number[] = [];
      const ports: number[] = [];
      const cpu: number[] = [];
      for (let round = 0; round < 4 * ROUNDS; round++) {
        let start = performance.now();
        stations.set(mac(round), 3); // 50 flows go to it.
        await run.settled();
        moves.push(performance.now() - start);
        start = performance.now();
        const cpuStart = cpuSeconds();
        const port = await dp.ports.add({ name: `q${round}`, type: "dummy" });
        // Half of all flows flood: each is to have the new port.
        while (run.stats.modified < 50 * (round + 1) + 5000 * (2 * round + 1)) {
          await new Promise((resolve) =>
            setTimeout(resolve)
          );
        }
        ports.push(performance.now() - start);
        cpu.push((cpuSeconds() - cpuStart) * 1000);
        await dp.ports.delete(port.no);
        while (run.stats.modified < 50 * (round + 1) + 5000 * (2 * round + 2)) {
          await new Promise((resolve) => setTimeout(resolve));
        }
      }
      say("50 flows true again after their station moved", "ms", moves);
      say("5,000 flows true again after a port came", "ms", ports);
      say("the same, what making the port takes included", "ms of CPU", cpu);
      fed.end();
      await run.close();
    }),

  /** A million flows: set up, walked over, all of them run again, and some. */
  many: () =>
    withDatapath(async (dp) => {
      const everything = new Cell(0, { name: "everything" });
      const doors = new StateMap<string, boolean>({ name: "doors", max: 1 << 22 });
      const fed = new Fed(dp);
      const run = await runPolicy(fed.dp, (packet) => {
        if (packet.ethernet === undefined || everything.value < 0) return drop();
        return doors.get(packet.ethernet.src) ? drop("closed") : forward(2);
      }, {
        idleMs: 3_600_000,
        flows: { cpu: 10, max: 2 * wanted },
        audit: { perSecond: 0 },
      });
      const rates: number[] = [];
      const part = Math.max(1000, Math.floor(wanted / 100));
      for (let at = 0; at < wanted; at += part) {
        rates.push(part / await fed.handle(many(at, part)));
      }
      const { flows } = run.stats;
      say(`set-ups of ${flows} flows`, "/s of CPU", rates);
      const { heapUsed, external } = Deno.memoryUsage();
      say("memory of a flow, garbage included", "bytes", [
        (heapUsed + external) / flows,
      ]);
      const [walks, all, some]: [number[], number[], number[]] = [[], [], []];
      for (let round = 0; round < ROUNDS; round++) {
        let start = cpuSeconds();
        await run.statistics();
        walks.push((cpuSeconds() - start) / flows * 1e9);
        start = cpuSeconds();
        everything.value++;
        await run.settled();
        all.push(flows / (cpuSeconds() - start));
        const from = performance.now();
        for (let i = 0; i < 100; i++) doors.set(mac(round * 100 + i), true);
        await run.settled();
        some.push(performance.now() - from);
      }
      say("a walk, each flow", "ns of CPU", walks);
      say("all run again", "flows/s of CPU", all);
      say("100 of them changed", "ms", some);
      const { modified, gone, failures } = run.stats;
      promise(
        `${flows} flows stay, and ${modified} were modified`,
        flows >= wanted && run.stats.flows === flows && modified === 100 * ROUNDS &&
          gone.lost === 0 && Object.keys(failures).length === 0,
      );
      fed.end();
      await run.close();
    }),

  /** A scan of a million addresses beside 10,000 flows. */
  scan: () =>
    withDatapath(async (dp) => {
      const fed = new Fed(dp);
      const run = await runPolicy(fed.dp, (packet) => {
        void packet.ipv4?.dst;
        return forward(2);
      }, { idleMs: 600_000, flows: { max: 11_000, cpu: 10 } });
      await fed.handle(many(0, 10_000));
      const mine = new Set([...run.flows()].map(({ ufid }) => ufid));
      const { flows: before } = run.stats;
      const rounds = 100;
      for (let i = 0; i < rounds; i++) {
        await fed.handle(many(1_000_000 + i * 10_000, 10_000));
      }
      const { stats } = run;
      const left = [...run.flows()].filter(({ ufid }) => mine.has(ufid)).length;
      console.log(
        `  ${stats.flows} flows, ${stats.withoutFlow.admission ?? 0} packets without`,
      );
      promise(`${before} flows, a scan of a million evicts none`, left === before);
      const handled = stats.setUps + stats.executed + stats.repeated;
      promise(
        "every packet of the scan is forwarded",
        handled >= 10_000 + rounds * 10_000,
      );
      fed.end();
      await run.close();
    }),

  /** A record of a million upcalls under the policy that it is of. */
  replay: () =>
    withDatapath(async (dp) => {
      const lines: string[] = [];
      const record = new Recorder({ events: 1, onLine: (line) => lines.push(line) });
      const fed = new Fed(dp);
      const run = await runPolicy(fed.dp, learningSwitch, {
        record,
        flows: { cpu: 10, max: 20_000 },
      });
      for (let i = 0; i < 100; i++) await fed.handle(many(2 + i * 1000, 1000));
      fed.end();
      await run.close();
      const million = Array.from({ length: 10 }, () => lines).flat();
      const start = performance.now();
      const report = replay(million, learningSwitch);
      const seconds = (performance.now() - start) / 1000;
      for (const { packet, from, to } of report.differences.slice(0, 1)) {
        console.log(`  ${packet}: ${from} then, ${to} now`);
      }
      say(`${report.upcalls} upcalls replayed`, "s", [seconds]);
      promise("an equal policy gives equal verdicts", report.different === 0);
    }),

  /** Packets are credited once, whatever becomes of their flows. */
  counters: () =>
    withDatapath(async (dp) => {
      const counter = new Counter({ name: "all" });
      const to = new StateMap<string, number>({ name: "to" });
      const run = await runPolicy(dp, (packet) => {
        packet.credit(counter);
        return forward(to.get(packet.ethernet?.src ?? "") ?? 2);
      }, { flows: { max: 30 } }); // So few that they evict each other.
      const frames = Array.from({ length: 40 }, (_, i) => {
        const frame = tcpFrame();
        frame[11] = i;
        return frame;
      });
      let sent = 0;
      for (let round = 0; round < wanted / 500; round++) {
        for (let i = 0; i < 500; i++) {
          dp.ports.inject?.(1, frames[(round + i * i) % 40] as Uint8Array);
        }
        sent += 500;
        to.set(
          `02:00:00:00:00:${(round % 40).toString(16).padStart(2, "0")}`,
          2 + round % 3,
        );
        while (seen(dp) < sent - 1000) {
          await new Promise((resolve) => setTimeout(resolve));
        }
      }
      while (seen(dp) < sent || run.stats.upcalls < Number(dp.stats().missed)) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await run.settled();
      await run.statistics();
      const { modified, gone } = run.stats;
      console.log(
        `  ${modified} flows modified, ${gone.evicted} evicted, ${gone.lost} lost`,
      );
      const { hit, missed } = dp.stats();
      const { packets } = counter;
      // What a poll thread counts while a flow is deleted comes too late for its last counters.
      const late = hit + missed - packets;
      promise(
        `of ${hit + missed} packets ${packets} were credited, ${late} came too late`,
        late >= 0n && late <= hit / 10_000n,
      );
      await run.close();
    }),
};

/** Packets that the lookup has seen. */
function seen(dp: Datapath): number {
  const { hit, missed, lost } = dp.stats();
  return Number(hit + missed + lost);
}

async function main(): Promise<void> {
  helpIfAsked(import.meta.url);
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: { packets: { type: "string", default: "1000000" } },
  });
  wanted = numberOf("--packets", values.packets, 100_000_000);
  const names = positionals.length > 0 ? positionals : Object.keys(figures);
  for (const name of names) {
    const figure = figures[name];
    if (figure === undefined) {
      const known = Object.keys(figures).join(", ");
      throw new BenchError(`no figure ${name}: there are ${known}`);
    }
    await figure();
  }
  if (isBroken) Deno.exit(1);
}

if (import.meta.main) await orComplain(main);
