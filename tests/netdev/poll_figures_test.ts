// SPDX-License-Identifier: Apache-2.0
/**
 * What poll threads do with their time: text beside ovs-vswitchd's, histograms, suspicious
 * iterations, and queues dealt out anew.
 */
import assert from "node:assert/strict";
import { controlCommands } from "../../control/commands.ts";
import { Log } from "../../control/log.ts";
import { serve } from "../../control/serve.ts";
import { balanceLine } from "../../control/text/poll_thread_perf.ts";
import type { PollThreadFigures } from "../../providers/contract/poll_figures.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { startDummy } from "../odp/ovs_dummy.ts";
import { figure } from "../support/figure.ts";
import { udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable, Unsupported } from "../support/skip.ts";
import { until } from "../support/wait.ts";

const client = { hungUp: () => new Promise<void>(() => {}) };

type Ask = (name: string, ...args: string[]) => Promise<string>;

function asker(dp: Datapath): Ask {
  const commands = controlCommands({ dp, log: new Log(() => {}), onExit: () => {} });
  return async (name, ...args) => {
    const command = commands.get(`dpif-netdev/${name}`) ?? commands.get(name);
    assert(command, name);
    return await command.run(args, client);
  };
}

function figuresOf(dp: Datapath): PollThreadFigures {
  const figures = dp.pollThreads?.figures;
  assert(figures);
  return figures;
}

/** Shape of a text: words and where they are, without what was measured. */
function shapeOf(text: string): string {
  return text.split("\n").map((line) => {
    const table = /^ {3}(\d|>)/.test(line);
    // Walls of histograms are the same; of other rows of tables, only their widths.
    const cells = line.length === 3 + 7 * 21 + 6 * 2 && !line.includes(".")
      ? Array.from({ length: 7 }, (_, i) => line.slice(3 + 23 * i, 13 + 23 * i)).join("")
      : "";
    // Without DPDK they do not know their clock, and have slept for more than twelve digits.
    const bracket = / {2}\(/.test(line) && !line.includes("Sleep time")
      ? `@${line.indexOf("  (")}`
      : "";
    const words = line.replace(/(usage|overhead): .*/, "$1: #") // Measured, or not yet.
      .replaceAll(/(\d+:)*\d+(\.\d+)?/g, "#")
      .replaceAll(/ *#/g, "#");
    return table ? `${cells}|${line.length}` : `${words}${bracket}`;
  }).join("\n");
}

Deno.test(
  "netdev poll threads: their figures are told as ovs-vswitchd tells its own",
  skippable(async () => {
    await using theirs = await startDummy();
    await theirs.vsctl(
      ..."set Open_vSwitch . other_config:pmd-cpu-mask=1".split(" "),
      ..."other_config:pmd-perf-metrics=true other_config:pmd-maxsleep=100".split(" "),
    );
    await theirs.vsctl(
      ..."add-port br0 q1 -- set Interface q1 type=dummy-pmd".split(" "),
    );
    const port = /port (\d+): q1/.exec(await theirs.call("dpctl/show"))?.[1];
    const bench = await NetdevBench.open({
      config: { pollThreads: "0x1", local: "none" },
    });
    await using _bench = bench;
    const { dp } = bench;
    const [q1] = await bench.ports("q1");
    await dp.setConfig({ "pmd-perf-metrics": "true" });
    const ask = asker(dp);
    const asked = (name: string, ...args: string[]) =>
      theirs.call(`dpif-netdev/${name}`, ...args);
    const both = async (name: string, ...args: string[]): Promise<void> => {
      assert.equal(
        shapeOf(await ask(name, ...args)),
        shapeOf(await asked(name, ...args)),
        `${name} ${args.join(" ")}`,
      );
    };
    await both("pmd-stats-show", "-pmd", "7");
    await both("pmd-rxq-show", "-pmd", "7");
    await both("pmd-rxq-show");
    await both("pmd-perf-show", "-nh");
    // Packets: some have a flow, one has none.
    const key = (no: number | string | undefined): string =>
      `in_port(${no}),eth(),eth_type(0x0800),ipv4(frag=no)`;
    await theirs.call("dpctl/add-flow", key(port), "1");
    dp.flows.put({ key: key(q1), actions: `${q1}` });
    const hex = udpFrame().toHex();
    const arp = `ffffffffffff0200000000010806${"00".repeat(46)}`;
    for (const frame of [...Array<string>(20).fill(hex), arp]) {
      await theirs.call("netdev-dummy/receive", "q1", frame);
      bench.inject(q1, Uint8Array.fromHex(frame));
    }
    await bench.settle();
    const received = /packets received: 21\n/;
    await until(
      "them to have received",
      async () => received.test(await asked("pmd-stats-show", "-pmd", "0")),
    );
    assert.match(await ask("pmd-stats-show"), received);
    await both("pmd-stats-show", "-pmd", "0");
    await both("pmd-perf-show", "-pmd", "0");
    await both("pmd-perf-show", "-it", "5", "-ms", "4");
    await both("pmd-perf-show", "-nh", "-it", "2");
    await until(
      "both to have measured a load",
      async () =>
        /pmd usage: +\d+ %/.test(await asked("pmd-rxq-show")) &&
        /pmd usage: +\d+ %/.test(await ask("pmd-rxq-show")),
    );
    await both("pmd-rxq-show");
    await both("pmd-rxq-show", "-secs", "7");
    await both("pmd-stats-clear");
    assert.doesNotMatch(await ask("pmd-stats-show"), received);
    await both("pmd-perf-log-set", "on", "-b", "2", "-a", "900", "-e", "-us", "100");
    for (const wrong of [["nonsense"], ["-b"], ["-us", "x"]]) {
      const text = (error: Error): string => error.message;
      const [have, want] = await Promise.all([
        ask("pmd-perf-log-set", ...wrong).catch(text),
        asked("pmd-perf-log-set", ...wrong).catch(text),
      ]);
      assert.equal(`dpif-netdev/pmd-perf-log-set: ${have}`, want.trimEnd());
    }
    // Balance by itself: what the log says of settings.
    assert((await theirs.logged()).includes(balanceLine(figuresOf(dp).balance())));
    const settings = {
      "pmd-auto-lb": "true",
      "pmd-auto-lb-load-threshold": "70",
      "pmd-auto-lb-improvement-threshold": "60",
      "pmd-auto-lb-rebal-interval": "10",
    };
    await dp.setConfig(settings);
    await theirs.vsctl(
      ..."set Open_vSwitch .".split(" "),
      ...Object.entries(settings).map(([name, value]) => `other_config:${name}=${value}`),
    );
    const line = balanceLine(figuresOf(dp).balance());
    await until(
      `them to say: ${line}`,
      async () => (await theirs.logged()).includes(line),
    );
  }),
);

Deno.test(
  "netdev poll threads: iterations, upcalls and milliseconds are recorded while they are asked for",
  skippable(async () => {
    await using bench = await NetdevBench.open({
      config: { pollThreads: "0x1", local: "none" },
    });
    const { dp } = bench;
    const figures = figuresOf(dp);
    const [p1, p2] = await bench.ports("p1", "p2");
    dp.flows.put({ key: `in_port(${p1}),eth(),eth_type(0x0800)`, actions: `${p2}` });
    bench.inject(p1, udpFrame());
    await bench.settle();
    const off = figures.performance(0);
    assert(off);
    assert.equal(off.enabled, false);
    assert.equal(off.totals.iterations, 0n);
    assert.equal(figures.performance(1), undefined);
    assert.deepEqual(figures.iterations(0, 10), []);
    await dp.setConfig({ "pmd-perf-metrics": "true" });
    const iterator = dp.upcalls()[Symbol.asyncIterator]();
    for (let i = 0; i < 50; i++) bench.inject(p1, udpFrame());
    for (let i = 0; i < 5; i++) bench.inject(p2, udpFrame());
    await bench.settle();
    for (let i = 0; i < 5; i++) assert.equal((await iterator.next()).done, false);
    await iterator.return?.();
    await until(
      "totals of a whole millisecond",
      () => figures.performance(0)?.totals.packets === 55n,
    );
    await dp.setConfig({ "pmd-perf-metrics": "false" });
    const performance = figures.performance(0);
    assert(performance);
    const { totals, histograms } = performance;
    assert.equal(totals.upcalls, 5n);
    assert(totals.upcallCycles > 0n);
    assert(totals.busyCycles < totals.cycles);
    const sum = (counts: readonly bigint[]): bigint =>
      counts.reduce((all, one) => all + one, 0n);
    const recorded = sum(histograms.cyclesPerIteration.counts);
    assert(recorded >= totals.iterations);
    for (
      const name of [
        "packetsPerIteration",
        "upcallsPerIteration",
        "vhostQueueFill",
      ] as const
    ) assert.equal(sum(histograms[name].counts), recorded, name);
    // Bursts are small, so that their bins are one number each.
    let packets = 0n;
    histograms.packetsPerIteration.counts.forEach((count, bin) =>
      packets += count * BigInt(histograms.packetsPerIteration.walls[bin] ?? 0)
    );
    assert(packets >= 55n && packets < 80n, `${packets} packets by their bins`);
    assert.equal(sum(histograms.packetsPerBatch.counts), totals.batches);
    assert.equal(sum(histograms.cyclesPerUpcall.counts), 5n);
    const iterations = figures.iterations(0, 1000);
    assert(iterations.length > 0 && iterations.length <= 1000);
    iterations.slice(1).forEach(({ when }, i) =>
      assert.equal(when + 1n, iterations[i]?.when)
    );
    const milliseconds = figures.milliseconds(0, 1000);
    assert(milliseconds.length > 0);
    const inMs = milliseconds.reduce((all, { packets }) => all + packets, 0);
    assert(inMs <= 55);
    // Nothing more is recorded, and what was stays.
    bench.inject(p1, udpFrame());
    await bench.settle();
    assert.equal(figures.performance(0)?.totals.packets, 55n);
  }),
);

Deno.test(
  "netdev poll threads: suspicious iterations are kept with what was around them, and told in the log",
  skippable(async () => {
    await using bench = await NetdevBench.open({
      config: { pollThreads: "0x1", local: "none" },
    });
    const { dp } = bench;
    const figures = figuresOf(dp);
    const [p1] = await bench.ports("p1");
    assert.deepEqual(figures.suspicion(), {
      enabled: false,
      extend: false,
      before: 5,
      after: 5,
      us: 250,
      vhostQueueFill: 128,
    });
    assert.throws(() => figures.setSuspicion({ before: 500, after: 499 }), {
      code: "EINVAL",
    });
    await dp.setConfig({ "pmd-perf-metrics": "true" });
    figures.setSuspicion({ enabled: true, us: 0, before: 3, after: 2 });
    let taken = figures.takeSuspicious();
    await until("a suspicious iteration", () => {
      bench.inject(p1, udpFrame());
      taken = taken.length > 0 ? taken : figures.takeSuspicious();
      return taken.length > 0;
    });
    const { core, reason, iteration, around, cycles } = taken[0] ?? assert.fail();
    assert.equal(core, 0);
    assert.equal(reason, "cycles");
    const numbers = around.map(({ when }) => when);
    assert.deepEqual(
      numbers,
      numbers.map((_, i) => iteration + 2n - BigInt(i)),
    );
    assert(around.length >= 3 && around.length <= 6);
    assert.equal(
      around.find(({ when }) => when === iteration)?.cycles,
      Number(cycles),
    );
    await dp.setConfig({ "pmd-perf-metrics": "false" });
    figures.takeSuspicious();
    const folder = await Deno.makeTempDir();
    const lines: string[] = [];
    try {
      const log = new Log((line) => lines.push(line));
      await using served = await serve(dp, { path: `${folder}/dp.ctl`, log });
      await dp.setConfig({ "pmd-perf-metrics": "true", "pmd-auto-lb": "true" });
      await until("the log to tell", () => {
        bench.inject(p1, udpFrame());
        return lines.some((line) =>
          /\|pmd\|WARN\|Suspicious iteration \(Excessive total cycles\): iter=\d+ duration=\d+ us$/m
            .test(line)
        ) && lines.some((line) => /\|WARN\| {3}iter +cycles +packets/.test(line)) &&
          lines.some((line) => line.includes("PMD auto load balance is enabled"));
      });
      await served.close();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
    figures.setSuspicion({ enabled: false });
    await bench.settle();
  }),
);

Deno.test(
  "netdev poll threads: an overloaded thread gives a queue away by itself",
  skippable(async () => {
    if (navigator.hardwareConcurrency < 2) {
      throw new Unsupported("two processor cores", { requirement: "peer" });
    }
    await using bench = await NetdevBench.open({
      config: { pollThreads: "0x3", local: "none" },
    });
    const { dp } = bench;
    const figures = figuresOf(dp);
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeFile(`${folder}/in.pcap`, pcapOf(udpFrame()));
      const busy = (name: string) =>
        dp.ports.add({
          name,
          type: "pcap",
          options: { rx_pcap: `${folder}/in.pcap`, infinite_rx: "1" },
        });
      // The first and third go to one thread, and have packets all the time.
      const { no: first } = await busy("busy1");
      await bench.ports("idle1");
      const { no: second } = await busy("busy2");
      await bench.ports("idle2");
      const coreOf = (port: number): number | undefined =>
        dp.pollThreads?.dump().find(({ rxqs }) => rxqs.some((rxq) => rxq.port === port))
          ?.core;
      assert.equal(coreOf(first), coreOf(second));
      for (const no of [first, second]) {
        dp.flows.put({ key: `in_port(${no}),eth(),eth_type(0x0800)`, actions: "drop" });
      }
      await dp.setConfig({ "pmd-sample-ms": "20" });
      await until("the dry run to say that it is worth it", () => {
        const { verdict, nodes } = figures.balance().dryRun;
        return verdict === "worth-it" && (nodes[0]?.improvement ?? 0) > 90;
      });
      const before = figures.balance();
      figure(
        `variance of load ${before.dryRun.nodes[0]?.current}, ` +
          `estimated ${before.dryRun.nodes[0]?.estimate}`,
      );
      // It is off, so that nothing happens; but it would be seen.
      assert.equal(before.checks, 0n);
      assert.equal(coreOf(first), coreOf(second));
      const text = await asker(dp)("upcall/pmd-auto-lb-show");
      assert.match(text, /^PMD auto load balance is disabled\.\nNuma node 0\. Current/);
      assert.match(text, /improvement threshold 25% is met\.\n/);
      await dp.setConfig({ "pmd-auto-lb": "true" });
      await until("the queues to be parted", () => coreOf(first) !== coreOf(second));
      await until("the event", () => figures.balance().rebalances >= 1n);
      // Both are overloaded now, and there is nothing to gain.
      await until(
        "another check",
        () => figures.balance().last?.verdict === "too-little",
      );
      assert.notEqual(coreOf(first), coreOf(second));
      const { rebalances } = figures.balance();
      assert(rebalances >= 1n);
      await dp.setConfig({ "pmd-auto-lb": "false" });
      for (
        const [name, value] of [
          ["pmd-auto-lb", "yes"],
          ["pmd-auto-lb-load-threshold", "101"],
          ["pmd-auto-lb-improvement-threshold", "-1"],
          ["pmd-auto-lb-rebal-interval", "0"],
          ["pmd-auto-lb-rebal-interval", "20001"],
          ["pmd-sample-ms", "5001"],
          ["pmd-perf-metrics", "1"],
        ] as const
      ) {
        await assert.rejects(
          () => dp.setConfig({ [name]: value }),
          { code: "EINVAL" },
          name,
        );
      }
      const shares = figures.load().map(({ core, cycles, rxqs }) =>
        `core ${core}: ${
          rxqs.map((rxq) => `${100n * rxq.cycles / (cycles || 1n)} %`).join(" ")
        }`
      );
      figure(`after it, of each queue: ${shares.join(", ")}`);
      for (const no of [first, second]) await dp.ports.delete(no);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }),
);

/** A capture file of one frame. */
function pcapOf(frame: Uint8Array): Uint8Array {
  const file = new Uint8Array(40 + frame.length);
  const view = new DataView(file.buffer);
  view.setUint32(0, 0xa1b2c3d4, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 65535, true);
  view.setUint32(20, 1, true);
  view.setUint32(32, frame.length, true);
  view.setUint32(36, frame.length, true);
  file.set(frame, 40);
  return file;
}
