// SPDX-License-Identifier: Apache-2.0
/**
 * A userspace datapath on ports that are not there: a program puts frames in and takes them out.
 *
 * @module
 */
import type { OpenOptions } from "../providers/contract/provider.ts";
import type { Datapath } from "../providers/datapath.ts";
import { DatapathError } from "../providers/errors.ts";
import type { PortNo } from "../providers/ids.ts";
import { openDatapath } from "../providers/registry.ts";
import { assertFrames } from "./difference.ts";

/** How long what is waited for may take, ms: far more than it does on a busy machine. */
const LIMIT_MS = 10_000;
/** Between looks, ms. */
const PAUSE_MS = 2;

/** How {@linkcode until} waits. */
export interface UntilOptions {
  /** Gives up after so many ms, 10,000 by default. */
  readonly limitMs?: number;
  /** Said when it gives up: how far things have come. */
  readonly state?: () => unknown;
}

/**
 * Looks again and again until there is something, and gives it: anything but undefined, null and
 * false.  Throws an `Error` with `what` when time is up.
 */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  { limitMs = LIMIT_MS, state }: UntilOptions = {},
): Promise<Exclude<T, undefined | null | false>> {
  const end = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== null && found !== false) {
      return found as Exclude<T, undefined | null | false>;
    }
    if (performance.now() >= end) {
      const so = state?.();
      const text = typeof so === "string" ? so : Deno.inspect(so);
      throw new Error(
        `waited ${limitMs} ms for ${what}${state === undefined ? "" : `: ${text}`}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** How a lab is opened. */
export interface LabOptions {
  /** Names of its ports; numbers are given in this order, from 1. */
  readonly ports?: readonly string[];
  /** Options of the datapath. */
  readonly open?: OpenOptions;
}

/** A datapath of its own, on dummy ports. Closing it takes all of it down. */
export class Lab implements AsyncDisposable {
  /** The datapath, for the program that is tested. */
  readonly dp: Datapath;
  readonly #ports = new Map<string, PortNo>();
  /** Frames that left by a port and that nobody has asked for yet. */
  readonly #sent = new Map<PortNo, Uint8Array[]>();
  #injected = 0n;

  /** Made by {@linkcode openLab}. */
  constructor(dp: Datapath) {
    this.dp = dp;
  }

  /** Adds a port and answers its number. */
  async addPort(name: string): Promise<PortNo> {
    const { no } = await this.dp.ports.add({ name, type: "dummy" });
    this.#ports.set(name, no);
    return no;
  }

  /**
   * Number of a port by its name; numbers are themselves. Throws `RangeError` for one that is not
   * there.
   */
  port(port: string | PortNo): PortNo {
    if (typeof port === "number") return port;
    const no = this.#ports.get(port);
    if (no !== undefined) return no;
    throw new RangeError(
      `the lab has no port "${port}": it has ${[...this.#ports.keys()].join(", ")}`,
    );
  }

  /** Puts frames into a port, as if a neighbour had sent them; waits where its queue is full. */
  async inject(port: string | PortNo, ...frames: readonly Uint8Array[]): Promise<void> {
    const no = this.port(port);
    for (const frame of frames) {
      await until("room in the port's queue", () => this.#put(no, frame));
      this.#injected++;
    }
  }

  #put(no: PortNo, frame: Uint8Array): boolean {
    try {
      this.dp.ports.inject?.(no, frame);
      return true;
    } catch (error) {
      if (error instanceof DatapathError && error.code === "ENOBUFS") return false;
      throw error;
    }
  }

  /**
   * Waits until the datapath has dealt with all that was put in: sent, dropped or handed up.
   * What a program does with upcalls may still come: see {@linkcode Lab.collect}.
   */
  async settle(): Promise<void> {
    const received = () => this.dp.stats().counters?.received ?? 0n;
    await until("frames to be received", () => received() >= this.#injected);
    let before = "";
    await until("nothing to change", () => {
      const { hit, missed, lost, counters } = this.dp.stats();
      const now = [hit, missed, lost, ...Object.values(counters ?? {})].join();
      const isSame = now === before;
      before = now;
      return isSame;
    });
  }

  /**
   * Takes the frames that left by a port, oldest first.  With `count` waits for so many, and throws
   * when they do not come; without, answers what is there once the datapath has settled.
   */
  async collect(port: string | PortNo, count?: number): Promise<Uint8Array[]> {
    const no = this.port(port);
    if (count === undefined) await this.settle();
    else {
      const come = () => this.#drain(no).length;
      const state = () => `${come()} came`;
      await until(`${count} frames of port ${port}`, () => come() >= count, { state });
    }
    return this.#drain(no).splice(0);
  }

  /**
   * Asserts that exactly these frames leave by a port, in order, waiting for them.  Throws
   * `FramesError`, which shows what is different.
   */
  async expect(
    port: string | PortNo,
    ...wanted: readonly Uint8Array[]
  ): Promise<void> {
    const no = this.port(port);
    await until("frames", () => this.#drain(no).length >= wanted.length)
      .catch(() => {}); // What is missing is told below.
    await this.settle();
    assertFrames(this.#drain(no).splice(0), wanted, `port ${port}`);
  }

  /** Frames of a port so far; the list is the port's own. */
  #drain(no: PortNo): Uint8Array[] {
    const list = this.#sent.get(no) ?? [];
    this.#sent.set(no, list);
    for (;;) {
      const frame = this.dp.ports.collect?.(no);
      if (frame === undefined) return list;
      list.push(frame);
    }
  }

  /** Closes the datapath. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dp.close();
  }
}

/**
 * Opens a datapath of type `netdev` under a name of its own, with dummy ports: nothing of the
 * machine is touched, and no right is needed but to load the library.
 *
 * ```ts no-eval
 * import { build, ethernet, ipv4, udp } from "../frames/mod.ts";
 * import { openLab } from "./mod.ts";
 * await using lab = await openLab({ ports: ["left", "right"] });
 * lab.dp.flows.put({ key: { inPort: 1, etherType: 0x0800 }, actions: "2" });
 * const frame = build([ethernet(), ipv4(), udp()]);
 * await lab.inject("left", frame);
 * await lab.expect("right", frame);
 * ```
 */
export async function openLab({ ports = [], open = {} }: LabOptions = {}): Promise<Lab> {
  const name = `lab${crypto.randomUUID().slice(0, 8)}`;
  const dp = await openDatapath(`netdev@${name}`, { create: "exclusive", ...open });
  const lab = new Lab(dp);
  try {
    for (const port of ports) await lab.addPort(port);
  } catch (error) {
    await dp.close();
    throw error;
  }
  return lab;
}
