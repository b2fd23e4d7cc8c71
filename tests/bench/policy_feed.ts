// SPDX-License-Identifier: Apache-2.0
/**
 * What benches of policies are fed with: packets that are made here, and a datapath that gives them
 * as its upcalls.
 *
 * @module
 */
import type { Datapath } from "../../providers/datapath.ts";
import { encodeKey } from "../../providers/odp/mod.ts";
import { openDatapath } from "../../providers/registry.ts";
import { Upcall } from "../../providers/upcall.ts";
import { tcpFrame } from "../support/frames.ts";

const BATCH = 64;
export const ROUNDS = 5;

/** Median, and the range over rounds. */
export function say(name: string, unit: string, values: readonly number[]): void {
  const sorted = [...values].sort((a, b) => a - b);
  const round = (value = 0) =>
    value >= 100 ? Math.round(value) : Number(value.toPrecision(3));
  const [low, middle, high] = [0, sorted.length >> 1, sorted.length - 1]
    .map((i) => round(sorted[i]));
  console.log(`${name}: ${middle} ${unit} (${low} to ${high})`);
}

export const mac = (n: number): string =>
  `02:00:${
    [24, 16, 8, 0].map((s) => (n >>> s & 255).toString(16).padStart(2, "0")).join(":")
  }`;
export const ip = (n: number): string =>
  [24, 16, 8, 0].map((s) => n >>> s & 255).join(".");

/** Metadata as the userspace datapath gives it. */
const metadata = {
  recircId: 0,
  dpHash: 0,
  priority: 0,
  skbMark: 0,
  ctState: 0,
  ctZone: 0,
  ctMark: 0,
  ctLabels: 0n,
  packetType: { ns: 0, id: 0 },
} as const;

/** An upcall of a TCP packet. */
export function upcall(
  n: number,
  fields: {
    src?: string;
    dst?: string;
    ip?: string;
    ipSrc?: string;
    srcPort?: number;
    dstPort?: number;
  } = {},
): Upcall {
  const { src = mac(n), dst = mac(1), ip: ipDst = ip(0x0a000000 + n) } = fields;
  const { ipSrc = ip(0x0a000001), srcPort = 1000 + n % 60_000, dstPort = 80 } = fields;
  const key = encodeKey({
    ...metadata,
    inPort: 1,
    ethernet: { src, dst },
    etherType: 0x0800,
    ipv4: { src: ipSrc, dst: ipDst, proto: 6, tos: 0, ttl: 64, frag: "no" },
    tcp: { src: srcPort, dst: dstPort },
    tcpFlags: 2,
  });
  return new Upcall({ kind: "miss", key, packet: frame, inPort: 1 });
}
const frame = tcpFrame();

export function batches(upcalls: readonly Upcall[]): Upcall[][] {
  const all: Upcall[][] = [];
  for (let i = 0; i < upcalls.length; i += BATCH) all.push(upcalls.slice(i, i + BATCH));
  return all;
}

/** Batches of packets that differ in their source, among other things. */
export const many = (from: number, count: number): Upcall[][] =>
  batches(Array.from({ length: count }, (_, i) => upcall(from + i)));

/** A datapath that is fed by hand: its upcalls are those that are pushed, its flows real. */
export class Fed {
  readonly #queue: Upcall[][] = [];
  #wake: (() => void) | undefined;
  #handled = 0;
  #ended = false;
  readonly dp: Datapath;

  constructor(real: Datapath) {
    const feed = () => this.#feed();
    this.dp = new Proxy(real, {
      get: (target, name) => {
        if (name === "upcallBatches") return feed;
        const value = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  }

  async *#feed(): AsyncGenerator<Upcall[]> {
    while (!this.#ended) {
      const next = this.#queue.shift();
      if (next !== undefined) {
        yield next;
        this.#handled++;
        continue;
      }
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** Has batches decided; seconds of CPU that it took. */
  async handle(all: readonly Upcall[][]): Promise<number> {
    const wanted = this.#handled + all.length;
    this.#queue.push(...all);
    const start = cpuSeconds();
    this.#wake?.();
    while (this.#handled < wanted) await new Promise((resolve) => setTimeout(resolve, 2));
    return cpuSeconds() - start;
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }
}

/**
 * Seconds of CPU that the threads of this process took, poll threads left out: other work on the
 * machine changes them little, where it changes the time by the clock many times over.
 */
export function cpuSeconds(): number {
  return cpuSecondsOf("self");
}

/** The same of another process. */
export function cpuSecondsOf(pid: number | "self"): number {
  let ns = 0;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const task = `/proc/${pid}/task/${name}`;
    if (Deno.readTextFileSync(`${task}/comm`).startsWith("pmd-")) continue;
    ns += Number(Deno.readTextFileSync(`${task}/schedstat`).split(" ")[0]);
  }
  return ns / 1e9;
}

export async function withDatapath(use: (dp: Datapath) => Promise<void>): Promise<void> {
  await using dp = await openDatapath(`netdev@bench${Deno.pid}`, {
    create: true,
    onNotice: () => {},
  });
  for (let no = 1; no <= 4; no++) {
    await dp.ports.add({ name: `p${no}`, type: "dummy", no });
  }
  await use(dp);
}
