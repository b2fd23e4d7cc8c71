// SPDX-License-Identifier: Apache-2.0
/** What `--miss` does, on a datapath in memory. */
import assert from "node:assert/strict";
import { Log } from "../control/log.ts";
import type { Datapath } from "../providers/datapath.ts";
import {
  openDatapath,
  registerProvider,
  unregisterProvider,
} from "../providers/registry.ts";
import { fakeProvider } from "../tests/support/fake_provider.ts";
import { until } from "../tests/support/wait.ts";
import { decideMisses, type MissPolicy } from "./miss_policy.ts";

/** A frame of a made-up protocol between stations by their numbers; 255 is everybody. */
function frame(dst: number, src: number): Uint8Array {
  const address = (n: number): number[] =>
    n === 255 ? Array(6).fill(255) : [2, 0, 0, 0, 0, n];
  return Uint8Array.from([
    ...address(dst),
    ...address(src),
    0x88,
    0xb5,
    ...Array(46).fill(0),
  ]);
}

/** A switch with ports a, b and c, numbers 1 to 3. */
class Bench {
  readonly dp: Datapath;

  constructor(dp: Datapath) {
    this.dp = dp;
  }

  /** Lets a frame come in, and tells to which of a, b and c it went. */
  async send(port: number, dst: number, src: number): Promise<number[]> {
    this.#drain();
    this.dp.ports.inject?.(port, frame(dst, src));
    let sent: number[] = [];
    // Where nothing is to be sent there is nothing to wait for: a frame behind it is.
    this.dp.ports.inject?.(1, frame(0x77, 0x66));
    await until("the frame behind", () => {
      sent = [...sent, ...this.#drain()];
      return sent.includes(-2);
    });
    return sent.filter((no) => no > 0).sort();
  }

  /** Ports that got frames; a frame to 77 is a marker, negative by its port. */
  #drain(): number[] {
    const found: number[] = [];
    for (const { no } of this.dp.ports.dump()) {
      for (let got; (got = this.dp.ports.collect?.(no)) !== undefined;) {
        found.push(got[5] === 0x77 ? -no : no);
      }
    }
    return found;
  }

  flows(): string[] {
    return [...this.dp.flows.dump()].map((flow) => `${flow}`).sort();
  }
}

async function switching(
  policy: MissPolicy,
  test: (bench: Bench, start: () => Promise<void>) => Promise<void>,
): Promise<void> {
  registerProvider(fakeProvider({ type: "miss" }));
  const stop = new AbortController();
  const dp = await openDatapath("miss@d0", { create: true });
  let deciding: Promise<void> | undefined;
  try {
    for (const name of ["a", "b", "c"]) await dp.ports.add({ name, type: "dummy" });
    const log = new Log((line) => assert.doesNotMatch(line, /\|WARN\|/));
    const start = (): Promise<void> => {
      deciding = decideMisses(dp, { policy, log, signal: stop.signal });
      return deciding;
    };
    await test(new Bench(dp), start);
  } finally {
    stop.abort();
    await deciding;
    await dp.destroy();
    await dp.close();
    unregisterProvider("miss");
  }
}

Deno.test("learn: a station that moves is followed, and when it moves back, too", () =>
  switching("learn", async (bench, start) => {
    void start();
    assert.deepEqual(await bench.send(2, 1, 5), [1, 3], "nobody knows 1");
    assert.deepEqual(await bench.send(1, 5, 1), [2]);
    assert.deepEqual(await bench.send(2, 1, 5), [1]);
    assert.deepEqual(await bench.send(3, 1, 5), [1], "5 is behind c now");
    assert.deepEqual(await bench.send(1, 5, 1), [3]);
    assert.deepEqual(await bench.send(2, 1, 5), [1], "and is back");
    assert.deepEqual(await bench.send(1, 5, 1), [2]);
  }));

Deno.test("learn: a frame with a neighbour's address costs that neighbour's flows only", () =>
  switching("learn", async (bench, start) => {
    void start();
    for (const station of [4, 5, 6]) await bench.send(2, 255, station);
    for (const station of [4, 5, 6]) await bench.send(1, station, 1);
    const others =
      "in_port(3),eth(src=02:00:00:00:10:01,dst=02:00:00:00:10:02),eth_type(0x0806),arp()";
    bench.dp.flows.put({ key: others, actions: "2" });
    const before = bench.flows();
    await bench.send(3, 255, 5); // Somebody at c says that he is station 5.
    const gone = before.filter((flow) => !bench.flows().includes(flow));
    assert.ok(gone.length > 0);
    for (const flow of gone) assert.match(flow, /02:00:00:00:00:05/);
  }));

Deno.test("learn: the address of a group is nobody's", () =>
  switching("learn", async (bench, start) => {
    void start();
    await bench.send(3, 1, 255); // A frame from everybody.
    assert.deepEqual(await bench.send(1, 255, 1), [2, 3]);
    assert.deepEqual(await bench.send(2, 255, 2), [1, 3]);
  }));

Deno.test("learn: what was learned of a port goes with it", () =>
  switching("learn", async (bench, start) => {
    void start();
    await bench.send(2, 255, 5);
    assert.deepEqual(await bench.send(1, 5, 1), [2]);
    assert.equal(bench.flows().filter((flow) => flow.includes("00:05")).length, 1);
    await bench.dp.ports.delete(2);
    await until(
      "the flows to be gone",
      () => bench.flows().every((flow) => !flow.includes("02:00:00:00:00:05")),
    );
    await bench.dp.ports.add({ name: "d", type: "dummy", no: 9 });
    bench.dp.ports.inject?.(1, frame(5, 1));
    await until("the frame at d", () => bench.dp.ports.collect?.(9));
  }));

Deno.test("learn: copies that an action sends up are no misses", () =>
  switching("learn", async (bench, start) => {
    bench.dp.flows.put({
      key: "in_port(2),eth(),eth_type(0x88b5)",
      mask: { inPort: true, etherType: true },
      actions: "userspace(pid=0,userdata(01)),3",
    });
    void start();
    assert.deepEqual(await bench.send(2, 1, 5), [3], "once");
  }));

Deno.test("learn: a program that takes over learns from the flows that there are", () =>
  switching("learn", async (bench, start) => {
    for (
      const [inPort, src, dst, to] of [[2, 5, 1, 1], [1, 1, 5, 2]] as const
    ) {
      bench.dp.flows.put({
        key:
          `in_port(${inPort}),eth(src=02:00:00:00:00:0${src},dst=02:00:00:00:00:0${dst}),` +
          "eth_type(0x88b5)",
        mask: { inPort: true, ethernet: true },
        actions: `${to}`,
      });
    }
    void start();
    assert.deepEqual(await bench.send(3, 1, 5), [1], "5 has moved while nobody looked");
    assert.deepEqual(await bench.send(1, 5, 1), [3]);
  }));
