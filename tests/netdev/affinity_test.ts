// SPDX-License-Identifier: Apache-2.0
/**
 * Which poll thread polls which queue: settings, pins, isolation, and that traffic goes on. The
 * rules are tested in C.
 */
import assert from "node:assert/strict";
import { controlCommands } from "../../control/commands.ts";
import { Log } from "../../control/log.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { skippable, Unsupported } from "../support/skip.ts";

/** Opens a datapath with poll threads on two cores, and four ports of a queue each. */
async function open(): Promise<NetdevBench> {
  if (navigator.hardwareConcurrency < 2) {
    throw new Unsupported("two processor cores", { requirement: "peer" });
  }
  const bench = await NetdevBench.open({ config: { pollThreads: "0x3", local: "none" } });
  await bench.ports("p1", "p2", "p3", "p4");
  return bench;
}

/** The core that polls each port, 1 to 4. */
function cores(dp: Datapath): number[] {
  const found: number[] = [];
  for (const { core, rxqs } of dp.pollThreads?.dump() ?? []) {
    for (const { port } of rxqs) found[port - 1] = core;
  }
  return found;
}

const isolated = (dp: Datapath) =>
  dp.pollThreads?.dump().map((thread) => thread.isolated);

Deno.test(
  "netdev affinity: queues are dealt out as the setting says",
  skippable(async () => {
    await using bench = await open();
    const { dp } = bench;
    for (
      const [algorithm, wanted] of [
        ["roundrobin", [0, 1, 0, 1]],
        ["cycles", [0, 1, 1, 0]],
        ["group", [0, 1, 0, 1]],
      ] as const
    ) {
      await dp.setConfig({ "pmd-rxq-assign": algorithm });
      assert.deepEqual(cores(dp), wanted, algorithm);
    }
    await assert.rejects(
      () => dp.setConfig({ "pmd-rxq-assign": "best" }),
      /"best", expected group, cycles or roundrobin \(EINVAL\)/,
    );
    await assert.rejects(() => dp.setConfig({ "pmd-rxq-isolate": "no" }), {
      code: "EINVAL",
    });
  }),
);

Deno.test(
  "netdev affinity: the busiest queue has a thread to itself",
  skippable(async () => {
    await using bench = await open();
    const { dp } = bench;
    // Load is cycles: of so many packets that those of the first few do not count.
    await bench.injectAll(3, Array.from({ length: 20_000 }, () => udpFrame()));
    for (const port of [1, 2, 4]) bench.inject(port, udpFrame());
    await bench.settle();
    await dp.pollThreads?.rebalance?.();
    const [one, two, three, four] = cores(dp);
    assert.deepEqual([one, two, four], [1, 1, 1], `${cores(dp)}`);
    assert.equal(three, 0);
  }),
);

Deno.test(
  "netdev affinity: a pinned queue stays on its core and isolates it",
  skippable(async () => {
    await using bench = await open();
    const { dp } = bench;
    const pin = (text: string) => dp.ports.setConfig(1, { "pmd-rxq-affinity": text });
    await pin("0:1");
    assert.deepEqual(cores(dp), [1, 0, 0, 0]);
    assert.deepEqual(isolated(dp), [false, true]);
    const commands = controlCommands({ dp, log: new Log(() => {}), onExit: () => {} });
    const client = { hungUp: () => new Promise<void>(() => {}) };
    const shown = await commands.get("dpif-netdev/pmd-rxq-show")?.run([], client) ?? "";
    assert.match(
      shown,
      /core_id 1:\n {2}isolated : true\n {2}port: p1 +queue-id: {2}0 \(enabled\)/,
    );
    assert.match(shown, /core_id 0:\n {2}isolated : false\n/);
    assert.equal(
      await commands.get("dpif-netdev/pmd-rxq-rebalance")?.run([], client),
      "pmd rxq rebalance requested.\n",
    );
    assert.deepEqual(cores(dp), [1, 0, 0, 0]);
    // A port that comes later does not go to an isolated thread, and packets of all arrive.
    await bench.ports("p5");
    assert.equal(cores(dp)[4], 0);
    dp.flows.put({ key: "in_port(1),eth(),eth_type(0x0800)", actions: "5" });
    dp.flows.put({ key: "in_port(5),eth(),eth_type(0x0800)", actions: "1" });
    bench.inject(1, udpFrame());
    bench.inject(5, udpFrame());
    assert.equal((await bench.collect(5)).length, 1);
    assert.equal((await bench.collect(1)).length, 1);
    // Without isolation others come, to a core that has less to do.
    await dp.setConfig({ "pmd-rxq-isolate": "false" });
    assert.deepEqual(isolated(dp), [false, false]);
    assert.equal(new Set(cores(dp).slice(1)).size, 2, `${cores(dp)}`);
    await dp.setConfig({ "pmd-rxq-isolate": "true" });
    for (const bad of ["0", "0:1:2", "x:1", "0:-1", "0:9999"]) {
      await assert.rejects(() => pin(bad), { code: "EINVAL" }, bad);
      assert.equal(cores(dp)[0], 1, "the old pins stay");
    }
    // No thread runs on core 7, and there is no queue 9: the queue is free again.
    await pin("0:7,9:1");
    assert.deepEqual(isolated(dp), [false, false]);
    await pin("");
    assert.deepEqual(isolated(dp), [false, false]);
  }),
);
