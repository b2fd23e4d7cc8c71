// SPDX-License-Identifier: Apache-2.0
/**
 * Figures, side by side with ovs-dpctl in the same machine: puts and dumps a second, latency of a
 * miss, memory.
 *
 * They are printed, with the median of interleaved rounds and the lowest and the highest. What a
 * test judges by them is a bound far away, because other programs share the machine. What is
 * reported is made by
 *
 *     UPCALL_FLOWS=100000 UPCALL_ROUNDS=7 UPCALL_CYCLES=10000 \
 *       deno run -A tests/system/in_guest.ts tests/system/figures_test.ts
 */
import { ok, strictEqual as equal } from "node:assert/strict";
import { type Op, openDatapath, output } from "../../mod.ts";
import { run, tryRun } from "../support/command.ts";
import { figure } from "../support/figure.ts";
import { udpFrame } from "../support/frames.ts";
import { needProgram } from "../support/skip.ts";
import { Tap } from "../support/tap.ts";
import { makeDatapath, newName, systemTest } from "./system.ts";

const setting = (name: string, otherwise: number) =>
  Number(Deno.env.get(`UPCALL_${name}`) ?? otherwise);
const flowCount = setting("FLOWS", 5_000);
const rounds = setting("ROUNDS", 3);
const cycles = setting("CYCLES", 100);

/**
 * How many times as long as ovs-dpctl, start-up and all, it may take: on a machine that others use
 * too.
 */
const farBound = 4;

async function milliseconds(action: () => unknown): Promise<number> {
  const started = performance.now();
  await action();
  return performance.now() - started;
}

/** The same flows for both: exact addresses, one mask. */
function key(i: number): string {
  const address = (net: number) => `${net}.${i >> 16 & 255}.${i >> 8 & 255}.${i & 255}`;
  return `in_port(1),eth(),eth_type(0x0800),ipv4(src=${address(10)},dst=${
    address(11)
  },frag=no)`;
}

/** The middle of samples, and their ends. */
function series(samples: readonly number[]) {
  const sorted = samples.toSorted((x, y) => x - y);
  const at = (part: number) => sorted[Math.round(part * (sorted.length - 1))] ?? 0;
  return { median: at(0.5), lowest: at(0), highest: at(1) };
}

/** Flows a second of runs that took `times`, less what each of them needs to start. */
function rates(times: readonly number[], startUp = 0) {
  const all = times.map((each) => flowCount / Math.max(each - startUp, 1) * 1000);
  const { median, lowest, highest } = series(all);
  const thousands = (rate: number) => `${(rate / 1000).toFixed(0)}k`;
  return {
    median,
    text: `${thousands(median)} (${thousands(lowest)} to ${thousands(highest)})`,
  };
}

systemTest("puts and dumps keep up with ovs-dpctl's", async () => {
  needProgram("ovs-dpctl", { requirement: "peer" });
  await using made = await makeDatapath();
  const { dp } = made;
  const file = await Deno.makeTempFile({ dir: "/run" });
  const keys = Array.from({ length: flowCount }, (_, i) => key(i));
  await Deno.writeTextFile(file, keys.map((each) => `${each} 2\n`).join(""));
  const ops = keys.map((each): Op => ({ op: "put", key: each, actions: [output(2)] }));
  const times = { put: [], add: [], dump: [], show: [], start: [] } as Record<
    "put" | "add" | "dump" | "show" | "start",
    number[]
  >;
  const theirs = async (name: "add" | "show", ...words: string[]) => {
    // What starting costs just then: a command that does nothing.
    times.start.push(await milliseconds(() => run("ovs-dpctl", "dump-dps")));
    const line = `exec ovs-dpctl ${words.join(" ")} >/dev/null`;
    times[name].push(await milliseconds(() => run("sh", "-c", line)));
  };
  const ours = {
    put: () => {
      for (let i = 0; i < ops.length; i += 1000) {
        ok(dp.operate(ops.slice(i, i + 1000)).every((result) => result.ok));
      }
    },
    dump: () => {
      let count = 0;
      for (const flow of dp.flows.dump()) count += flow.raw.key ? 1 : 0;
      equal(count, flowCount);
    },
  };
  for (let round = 0; round < rounds; round++) {
    dp.flows.flush();
    await theirs("add", "add-flows", dp.name, file);
    equal(dp.stats().flows, flowCount);
    dp.flows.flush();
    times.put.push(await milliseconds(ours.put));
    for (let i = 0; i < 2; i++) {
      await theirs("show", "dump-flows", dp.name);
      times.dump.push(await milliseconds(ours.dump));
    }
  }
  const startUp = series(times.start).median;
  const [put, dump] = [rates(times.put), rates(times.dump)];
  const [add, show] = [rates(times.add, startUp), rates(times.show, startUp)];
  figure(
    `${flowCount} flows: ${put.text} puts/s, ovs-dpctl add-flows ${add.text}; ` +
      `${dump.text} dumped/s, ovs-dpctl dump-flows ${show.text}; ` +
      `medians of ${rounds} and ${2 * rounds} interleaved runs (lowest to ` +
      `highest), ${startUp.toFixed(0)} ms of start-up left out`,
  );
  // By times as they are: a difference of two of them may be nothing but noise.
  const median = (name: keyof typeof times) => series(times[name]).median;
  ok(median("put") <= farBound * median("add"), "puts");
  ok(median("dump") <= farBound * median("show"), "dumps");
});

systemTest("the latency from a miss to the forwarded packet is measured", async () => {
  await using made = await makeDatapath();
  const { dp } = made;
  using a = new Tap(`t${newName()}`);
  using b = new Tap(`t${newName()}`);
  for (const { name } of [a, b]) await dp.ports.add({ name });
  const frame = udpFrame();
  const samples: number[] = [];
  let started = 0;
  const send = () => {
    started = performance.now();
    a.write(frame);
  };
  const abort = new AbortController();
  const stream = dp.upcalls({ signal: abort.signal });
  send();
  for await (const { packet, key } of stream) {
    dp.execute({ packet, key, actions: [output(2)] });
    ok(b.read());
    samples.push(performance.now() - started);
    if (samples.length >= 500) break;
    // Idle for a while, so that the loop parks.
    setTimeout(send, 2);
  }
  const sorted = samples.toSorted((x, y) => x - y);
  const at = (part: number) =>
    Math.round((sorted[Math.floor(part * sorted.length)] ?? 0) * 1000);
  figure(`miss to forward: p50 ${at(0.5)} µs, p99 ${at(0.99)} µs`);
  ok(at(0.5) < 1_000_000);
});

/** Resident memory in MB, and open descriptors. */
function footprint(): { rss: number; descriptors: number } {
  const descriptors = [...Deno.readDirSync("/proc/self/fd")].length;
  return { rss: Deno.memoryUsage().rss / 1e6, descriptors };
}

systemTest(
  "memory and descriptors stay flat over cycles of create and destroy",
  async () => {
    const cycle = async () => {
      await using dp = await openDatapath(`system@${newName()}`, { create: "exclusive" });
      dp.flows.put({ key: "in_port(1),eth(),eth_type(0x0806)", actions: "2" });
      const stream = dp.upcallBatches();
      for (const _ of dp.flows.dump()) break;
      await stream.close();
      await dp.destroy();
    };
    for (let i = 0; i < Math.min(cycles / 3, 500); i++) await cycle();
    const before = footprint();
    const steps = [before];
    for (let i = 1; i <= cycles; i++) {
      await cycle();
      if (i % Math.ceil(cycles / 10) === 0) steps.push(footprint());
    }
    const after = footprint();
    figure(
      `${cycles} cycles of create and destroy, resident MB: ${
        steps.map(({ rss }) => rss.toFixed(0)).join(" ")
      }`,
    );
    equal(after.descriptors, before.descriptors);
    ok(after.rss < before.rss * 1.15 + 5, `${before.rss} MB, then ${after.rss} MB`);
    equal((await tryRun("ovs-dpctl", "dump-dps")).stdout.includes("system@st"), false);
  },
);
