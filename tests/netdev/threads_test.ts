// SPDX-License-Identifier: Apache-2.0
/** Poll threads and ports that come, move and go while packets pass. */
import assert from "node:assert/strict";
import { run, tryRun } from "../support/command.ts";
import { udpFrame } from "../support/frames.ts";
import { NetdevBench } from "../support/netdev.ts";
import { sendFrom } from "../support/netns.ts";
import { needRoot, skippable, Unsupported } from "../support/skip.ts";
import { pause, until } from "../support/wait.ts";
import { addPort } from "./switch.ts";

const frame = udpFrame();

/** Puts frames into port 1 until it is stopped, and takes them out of port 2. */
class Traffic {
  readonly #bench: NetdevBench;
  readonly #done: Promise<void>;
  #stop = false;
  sent = 0;
  received = 0;

  constructor(bench: NetdevBench) {
    this.#bench = bench;
    bench.dp.flows.put({
      key: "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)",
      actions: "2",
    });
    this.#done = this.#run();
    this.#done.catch(() => {}); // Told by stop().
  }

  async #run(): Promise<void> {
    const burst = new Array<Uint8Array>(16).fill(frame);
    while (!this.#stop) {
      await this.#bench.injectAll(1, burst);
      this.sent += burst.length;
      this.#collect();
      await pause(0);
    }
  }

  #collect(): void {
    while (this.#bench.dp.ports.collect?.(2) !== undefined) this.received++;
  }

  /** Ends the traffic, and returns when the last packet was dealt with. */
  async stop(): Promise<void> {
    this.#stop = true;
    await this.#done;
    await this.#bench.settle();
    this.#collect();
  }
}

function needTwoCores(): void {
  if (navigator.hardwareConcurrency < 2) {
    throw new Unsupported("second core", { requirement: "netdev" });
  }
}

Deno.test(
  "poll threads: added, moved and removed while traffic runs, and no packet is lost",
  skippable(async () => {
    needTwoCores();
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    const threads = dp.pollThreads ?? assert.fail("no poll threads");
    await bench.ports("p1", "p2");
    const traffic = new Traffic(bench);
    const cores = () => threads.dump().map(({ core }) => core);
    for (
      const [mask, wanted] of [
        ["0x1", [0]],
        ["0x3", [0, 1]],
        ["0x2", [1]],
        ["3", [0, 1]],
        ["0x1", [0]],
      ] as const
    ) {
      await threads.set(mask);
      assert.deepEqual(cores(), wanted);
      const rxqs = threads.dump().flatMap(({ rxqs }) => rxqs.map(({ port }) => port));
      assert.deepEqual(rxqs.sort(), [0, 1, 2], "each receive queue has one thread");
      const before = traffic.received;
      await until(`packets by threads ${mask}`, () => traffic.received > before);
    }
    await traffic.stop();
    assert.equal(traffic.received, traffic.sent);
    assert.equal(dp.stats().hit, BigInt(traffic.sent));
  }),
);

Deno.test(
  "poll threads: bad masks are refused and change nothing",
  skippable(async () => {
    await using bench = await NetdevBench.open({ config: { pollThreads: "0x1" } });
    const threads = bench.dp.pollThreads ?? assert.fail("no poll threads");
    for (
      const mask of [
        "0x",
        "two",
        "-1",
        "0x1g",
        "0x80000000000000000000000000000000",
        "1".repeat(40),
      ]
    ) {
      await assert.rejects(
        threads.set(mask),
        { name: "DatapathError", code: "EINVAL" },
        mask,
      );
    }
    await assert.rejects(threads.set("0x1", { maxSleepUs: -1 }), RangeError);
    await assert.rejects(threads.set("0x1", { maxSleepUs: 10_001 }), RangeError);
    await threads.set("0x1", { maxSleepUs: 10_000 });
    assert.deepEqual(threads.dump().map(({ core }) => core), [0]);
    await threads.set("");
    assert.deepEqual(threads.dump().length, 1, "the default is one thread");
  }),
);

Deno.test(
  "poll threads: an idle one sleeps, and one that may not does not",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const threads = bench.dp.pollThreads ?? assert.fail("no poll threads");
    await bench.ports("p1");
    const slept = () => threads.dump()[0]?.cycles.sleep ?? 0n;
    const rounds = () => threads.dump()[0]?.counters.iterations ?? 0n;
    await threads.set("0x1", { maxSleepUs: 100 });
    const before = slept();
    await until("the thread to sleep", () => slept() > before);
    await threads.set("0x1", { maxSleepUs: 0 });
    const start = rounds();
    await until("its last nap to end", () => rounds() > start + 1n);
    const [total, from] = [slept(), rounds()];
    await until("it to poll on", () => rounds() > from + 10_000n);
    assert.equal(slept(), total);
    await threads.set("0x1", { maxSleepUs: 100 });
  }),
);

Deno.test(
  "ports: added and deleted while traffic runs, and no packet of the others is lost",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    const traffic = new Traffic(bench);
    for (let round = 0; round < 20; round++) {
      const { no } = await dp.ports.add({ name: `extra${round}`, type: "dummy" });
      assert.equal(no, 3);
      await dp.ports.delete(no);
    }
    await traffic.stop();
    assert.equal(traffic.received, traffic.sent);
  }),
);

Deno.test(
  "ports: what is sent to a port that goes is counted, and comes home",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    const traffic = new Traffic(bench);
    await until("traffic", () => traffic.received > 0);
    await dp.ports.delete(2);
    const dropped = () => dp.stats().counters?.drop_no_port ?? 0n;
    await until("packets without a port", () => dropped() > 0n);
    await assert.rejects(traffic.stop(), { code: "ENODEV" });
  }),
);

Deno.test(
  "ports: patches carry packets from one datapath's port to the other of a pair",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { dp } = bench;
    await bench.ports("p1", "p2");
    const left = await dp.ports.add({
      name: "left",
      type: "patch",
      options: { peer: "right" },
    });
    const right = await dp.ports.add({
      name: "right",
      type: "patch",
      options: { peer: "left" },
    });
    const key = (port: number) =>
      `recirc_id(0),in_port(${port}),eth(),eth_type(0x0800),ipv4(frag=no)`;
    dp.flows.put({ key: key(1), actions: `${left.no}` });
    dp.flows.put({ key: key(right.no), actions: "2" });
    await bench.injectAll(1, new Array<Uint8Array>(100).fill(frame));
    let count = 0;
    const all = async () => (count += (await bench.collect(2)).length) >= 100;
    await until("packets by the patch", all, { state: () => count });
    assert.equal(count, 100);
    assert.equal(dp.ports.stats(right.no).rxPackets, 100n);
  }),
);

Deno.test(
  "ports: bad requests say what is wrong",
  skippable(async () => {
    await using bench = await NetdevBench.open();
    const { ports } = bench.dp;
    const fails = (
      request: Parameters<typeof ports.add>[0],
      code: string,
      text: RegExp,
    ) =>
      assert.rejects(ports.add(request), (error: Error & { code: string }) => {
        assert.equal(error.code, code, error.message);
        assert.match(error.message, text);
        return true;
      });
    await fails({ name: "nowhere0", type: "system" }, "ENODEV", /nowhere0/);
    await fails(
      { name: "p", type: "dummy", options: { color: "red" } },
      "EINVAL",
      /color/,
    );
    await fails(
      { name: "p", type: "pcap", options: { rx_pcap: "/proc/nothing.pcap" } },
      "ENOENT",
      /pcap/,
    );
    await fails({ name: "p".repeat(64), type: "dummy" }, "ENAMETOOLONG", /name/);
    await fails(
      { name: "p", type: "dpdk", options: { devargs: "net_nosuch0" } },
      "ENODEV",
      /net_nosuch0|p/,
    );
    await assert.rejects(
      ports.add({ name: "p", type: "dummy", options: { "a\nb": "c" } }),
      TypeError,
    );
    assert.equal([...ports.dump()].length, 1);
  }),
);

for (const type of ["system", "afxdp"]) {
  Deno.test(
    `poll threads: packets of type ${type} end the sleep of an idle one`,
    skippable(async () => {
      needRoot("netdev");
      await using bench = await NetdevBench.open({ config: { maxSleepUs: 10_000 } });
      const { dp } = bench;
      const name = `rs${Deno.pid % 100000}`;
      await run("ip", "link", "add", name, "type", "veth", "peer", "name", `${name}p`);
      try {
        for (const end of [name, `${name}p`]) await run("ip", "link", "set", end, "up");
        const no = await addPort(dp, name, type);
        const woken = () => dp.pollThreads?.dump()[0]?.counters["woken"] ?? 0n;
        const before = woken();
        for (let i = 0; i < 5; i++) {
          await pause(20); // It has slept for long.
          const { rxPackets } = dp.ports.stats(no);
          await sendFrom(`${name}p`, frame);
          await until("a packet", () => dp.ports.stats(no).rxPackets > rxPackets);
        }
        assert.ok(woken() - before >= 3n, `packets ended ${woken() - before} sleeps`);
        await dp.ports.delete(no);
      } finally {
        await tryRun("ip", "link", "del", name);
      }
    }),
  );
}
