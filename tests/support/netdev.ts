// SPDX-License-Identifier: Apache-2.0
/**
 * The userspace datapath in tests: opened where this machine can, frames in and out, and the
 * account of packets.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { OpenOptions } from "../../providers/contract/provider.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { DatapathError } from "../../providers/errors.ts";
import type { PortNo } from "../../providers/ids.ts";
import { holdLibrary } from "../../providers/netdev/library.ts";
import { openDatapath } from "../../providers/registry.ts";
import { Unsupported } from "./skip.ts";
import { pause, until } from "./wait.ts";

/** Opens a datapath, or throws `Unsupported` where DPDK or a compiler is missing. */
export async function openNetdev(
  name: string,
  options: OpenOptions = {},
): Promise<Datapath> {
  try {
    return await openDatapath(`netdev@${name}`, {
      create: "exclusive",
      onNotice: () => {},
      ...options,
    });
  } catch (error) {
    if (error instanceof DatapathError && error.code === "ENOENT") {
      throw new Unsupported(`datapath library: ${error.message}`, {
        requirement: "netdev",
      });
    }
    throw error;
  }
}

/** Buffers of packets that are in use in this process. */
export async function mbufsInUse(): Promise<number> {
  const library = await holdLibrary({ operation: "count packets" });
  try {
    const count = new BigUint64Array(1);
    library.symbols.dp_mbufs_in_use(new Uint8Array(count.buffer));
    return Number(count[0]);
  } finally {
    library.release();
  }
}

/** A datapath for one test, and what was put into it. */
export class NetdevBench implements AsyncDisposable {
  readonly dp: Datapath;
  readonly #baseline: number;
  #injected = 0;

  private constructor(dp: Datapath, baseline: number) {
    this.dp = dp;
    this.#baseline = baseline;
  }

  /** Opens a datapath of a name that nobody else has. */
  static async open(options: OpenOptions = {}): Promise<NetdevBench> {
    // Opened once before the count is taken: starting EAL is not of the test's doing.
    const warm = await openNetdev(freshName());
    await warm.close();
    const baseline = await mbufsInUse();
    return new NetdevBench(
      await openNetdev(freshName(), options),
      baseline,
    );
  }

  /** Adds ports of type `dummy`. */
  async ports<const Names extends readonly string[]>(
    ...names: Names
  ): Promise<{ [Index in keyof Names]: PortNo }> {
    const numbers: PortNo[] = [];
    for (const name of names) {
      numbers.push((await this.dp.ports.add({ name, type: "dummy" })).no);
    }
    return numbers as { [Index in keyof Names]: PortNo };
  }

  /** Puts a frame into a dummy port. */
  inject(port: PortNo, frame: Uint8Array): void {
    this.dp.ports.inject?.(port, frame);
    this.#injected++;
  }

  /** Puts frames into a dummy port, waiting where its queue is full. */
  async injectAll(port: PortNo, frames: Iterable<Uint8Array>): Promise<void> {
    for (const frame of frames) {
      for (;;) {
        try {
          this.inject(port, frame);
          break;
        } catch (error) {
          if (!(error instanceof DatapathError) || error.code !== "ENOBUFS") throw error;
          await pause(1);
        }
      }
    }
  }

  /** Waits until all that was injected was dealt with. */
  async settle(): Promise<void> {
    await settled(this.dp, this.#injected);
  }

  /** Settles, and takes what was sent to a dummy port. */
  async collect(port: PortNo): Promise<Uint8Array[]> {
    await this.settle();
    return collectAll(this.dp, port);
  }

  /** Closes the datapath and asserts that every packet came home. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dp.close();
    await assertBaseline(this.#baseline);
  }
}

/**
 * Test files run in one process: a name that no other of them has, nor a test that failed before.
 */
export function freshName(): string {
  return `t${crypto.randomUUID().slice(0, 12)}`;
}

/** Asserts that no more packets are in use than before, once those on their way have come home. */
export async function assertBaseline(baseline: number): Promise<void> {
  let now = 0;
  const home = async () => (now = await mbufsInUse()) <= baseline;
  await until(
    "packet buffers to come home",
    home,
    { state: () => `${now} in use, ${baseline} before the test` },
  );
  assert.equal(now, baseline, "packet buffers in use after the test");
}

/** Frames that were sent to a dummy port. */
export function collectAll(dp: Datapath, port: PortNo): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (;;) {
    const frame = dp.ports.collect?.(port);
    if (frame === undefined) return frames;
    frames.push(frame);
  }
}

/**
 * Waits until `injected` packets were received, handled to the end, and nothing changes any more.
 */
export async function settled(dp: Datapath, injected: number): Promise<void> {
  let now = "";
  const read = (): bigint => {
    const { hit, missed, lost, counters = {} } = dp.stats();
    now = `${hit} ${missed} ${lost} ${Object.values(counters).join(" ")}`;
    return counters.received ?? 0n;
  };
  const state = () => `${injected} were injected, counters are ${now}`;
  await until("packets to be received", () => read() >= BigInt(injected), { state });
  // A burst is counted before it is handled, and its thread may have to wait for a core meanwhile.
  const rounds = new Map(iterations(dp));
  const isDone = () =>
    iterations(dp).every(([core, round]) => (rounds.get(core) ?? -1n) < round);
  await until("poll threads to go round", isDone);
  await until("nothing to change", () => {
    const before = now;
    read();
    return now === before;
  }, { state });
}

/** How often each poll thread has looked at all its queues, by core. */
function iterations(dp: Datapath): [core: number, round: bigint][] {
  const threads = dp.pollThreads?.dump() ?? [];
  return threads.map(({ core, counters }) => [core, counters.iterations ?? 0n]);
}
