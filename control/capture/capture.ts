// SPDX-License-Identifier: Apache-2.0
/**
 * Takes packets off a datapath into a file: those that miss, and those that hit flows, by an action
 * that sends a copy up for as long as the capture lasts.
 *
 * @module
 */
import type { DropFacet, DroppedPacket } from "../../providers/contract/drops.ts";
import type { RawUpcall } from "../../providers/contract/upcalls.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { DatapathError } from "../../providers/errors.ts";
import type { Flow } from "../../providers/flow.ts";
import {
  decodeKey,
  formatActions,
  formatKey,
  parseKeyBytes,
} from "../../providers/odp/mod.ts";
import type { Ufid } from "../../providers/ids.ts";
import { withFile } from "../system_words.ts";
import type { Action } from "../../providers/types.ts";
import { covers, decodeFlows } from "../../providers/odp/covers.ts";
import { openDatapath } from "../../providers/registry.ts";
import {
  changeActions,
  endMark,
  hasMark,
  isMark,
  newMark,
  removeMarks,
  splitMarks,
} from "./marks.ts";
import {
  enhancedPacket,
  interfaceDescription,
  sectionHeader,
} from "../../frames/pcapng.ts";

/** What is captured, and for how long. */
export interface CaptureOptions {
  /** Only packets that came in by this port. */
  readonly port?: number;
  /** Only packets that flows hit which cover this key, or that would. */
  readonly flow?: string;
  /** Only packets that hit this very flow. */
  readonly ufid?: Ufid;
  /**
   * Only packets for want of a flow (`miss`), or that were dropped: for any reason (`drop`), or for
   * one (`drop_…`, a counter of the datapath). A datapath that shows no drops, and a capture of a
   * flow, has `drop` for flows without actions.
   */
  readonly reason?: "miss" | "drop" | `drop_${string}`;
  /** Packets at most. */
  readonly count: number;
  /** Seconds at most. */
  readonly seconds: number;
  /** Ends it early. */
  readonly until?: Promise<void>;
}

/** What became of a capture. */
export interface CaptureResult {
  /** Packets that were captured. */
  readonly packets: number;
  /** Packets that were left out: there were more than could be taken in time. */
  readonly lost: number;
}

const maxSeconds = 3600;
/** What operations on a datapath answer that was closed or destroyed. */
const gone: ReadonlySet<string> = new Set(["ENODEV", "EBADF", "ESHUTDOWN", "ENXIO"]);
/** New flows are looked for this often, milliseconds. */
const rescanMs = 200;
/** Drops are looked for this often, milliseconds. */
const lookMs = 20;

/** Reads `port=1 flow=… reason=drop count=10 seconds=5`. Throws `SyntaxError`. */
export function captureOptions(dp: Datapath, words: readonly string[]): CaptureOptions {
  const given = new Map<string, string>();
  for (const word of words) {
    const [, name = "", value = ""] =
      /^(port|flow|reason|count|seconds)=(.+)$/.exec(word) ??
        [];
    if (name === "" || given.has(name)) throw new SyntaxError(`cannot use ${word}`);
    given.set(name, value);
  }
  const number = (name: string, usual: number): number => {
    const text = given.get(name) ?? `${usual}`;
    const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
    if (!(value > 0)) throw new SyntaxError(`${name} must be a number above 0`);
    return value;
  };
  const portText = given.get("port");
  const port = portText === undefined
    ? undefined
    : /^\d+$/.test(portText)
    ? Number(portText)
    : dp.ports.get(portText)?.no;
  if (portText !== undefined && port === undefined) {
    throw new SyntaxError(`no port named ${portText}`);
  }
  const reason = given.get("reason");
  if (!isReason(dp, reason)) {
    throw new SyntaxError(
      `reason must be drop, miss or the name of a counter of drops: it is ${reason}`,
    );
  }
  const flow = given.get("flow");
  if (flow !== undefined && reason?.startsWith("drop_")) {
    throw new SyntaxError(
      `flow and reason=${reason} do not go together: use reason=drop`,
    );
  }
  return {
    count: number("count", 1000),
    seconds: Math.min(number("seconds", 10), maxSeconds),
    ...(port !== undefined && { port }),
    ...(flow !== undefined && { flow }),
    ...(reason !== undefined && { reason }),
  };
}

function isReason(
  dp: Datapath,
  reason: string | undefined,
): reason is CaptureOptions["reason"] {
  if (reason === undefined || reason === "drop" || reason === "miss") return true;
  return dp.drops !== undefined && reason.startsWith("drop_") &&
    reason in (dp.stats().counters ?? {});
}

/** Captures until enough packets came or the time is over. */
export async function capturePackets(
  dp: Datapath,
  path: string,
  options: CaptureOptions,
): Promise<CaptureResult> {
  using file = await withFile(
    "write",
    path,
    () => Deno.open(path, { write: true, create: true, truncate: true }),
  );
  return await captureInto(dp, (bytes) => {
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
  }, options);
}

/** As `capturePackets`, with a function that is given each block of the file. */
export async function captureInto(
  dp: Datapath,
  write: (bytes: Uint8Array) => void,
  options: CaptureOptions,
): Promise<CaptureResult> {
  // The flows are this object's to restore when the program closes its own.
  await using own = await openDatapath(dp.fullName);
  const capturing = new Capture(dp, own, write, options);
  await capturing.run();
  return { packets: capturing.count, lost: capturing.lost };
}

class Capture {
  readonly #dp: Datapath;
  /** The same datapath, which stays open until the flows have their own actions again. */
  readonly #own: Datapath;
  readonly #write: (bytes: Uint8Array) => void;
  readonly #options: CaptureOptions;
  readonly #wanted: ReturnType<typeof decodeKey> | undefined;
  readonly #mark = newMark();
  readonly #interfaces = new Map<number, number>();
  readonly #done = Promise.withResolvers<void>();
  #failure: unknown;
  count = 0;
  lost = 0;

  constructor(
    dp: Datapath,
    own: Datapath,
    write: (bytes: Uint8Array) => void,
    options: CaptureOptions,
  ) {
    this.#dp = dp;
    this.#own = own;
    this.#write = write;
    this.#options = options;
    this.#wanted = options.flow === undefined
      ? undefined
      : decodeKey(parseKeyBytes(options.flow, { ports: dp.ports.dump() }).key);
    this.#write(sectionHeader("upcall dpctl"));
    // A file without an interface, and so without packets, tcpdump takes for a broken one.
    const [first] = own.ports.dump();
    if (first !== undefined) this.#interfaceOf(first.no);
  }

  async run(): Promise<void> {
    const ended = Promise.withResolvers<void>();
    using _attached = this.#dp.onClose({
      [Symbol.asyncDispose]: () => {
        this.#done.resolve();
        return ended.promise;
      },
    });
    try {
      await this.#run();
    } finally {
      endMark(this.#mark);
      ended.resolve();
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #run(): Promise<void> {
    const { reason, flow, ufid } = this.#options;
    const { drops } = this.#own;
    if (drops !== undefined && reason?.startsWith("drop")) {
      if (flow === undefined && ufid === undefined) return await this.#runDrops(drops);
    }
    removeMarks(this.#own); // Of a capture that was killed.
    using _tap = this.#dp.tap((raw) => this.#see(raw));
    const consumer = this.#consume();
    const rescan = setInterval(() => this.#markFlows(), rescanMs);
    const timer = setTimeout(() => this.#done.resolve(), this.#options.seconds * 1000);
    void this.#options.until?.then(() => this.#done.resolve());
    try {
      this.#markFlows();
      await this.#done.promise;
    } finally {
      clearTimeout(timer);
      clearInterval(rescan);
      try {
        removeMarks(this.#own, this.#mark);
      } catch (error) {
        // A datapath that was destroyed has no flows to be restored.
        if (!(error instanceof DatapathError) || !gone.has(error.code)) this.#fail(error);
      }
      await consumer.close();
    }
  }

  /** Takes what the datapath shows of its drops. */
  async #runDrops(drops: DropFacet): Promise<void> {
    using watch = drops.watch();
    const timer = setTimeout(() => this.#done.resolve(), this.#options.seconds * 1000);
    const look = (): void => {
      try {
        for (const dropped of watch.receive()) this.#takeDropped(dropped);
        // Which of them were wanted, nobody knows; after the last one none was.
        if (this.count < this.#options.count) this.lost = Number(watch.lost);
      } catch (error) {
        if (!(error instanceof DatapathError) || !gone.has(error.code)) this.#fail(error);
        else this.#done.resolve();
      }
    };
    const looks = setInterval(look, lookMs);
    void this.#options.until?.then(() => this.#done.resolve());
    try {
      await this.#done.promise;
    } finally {
      clearTimeout(timer);
      clearInterval(looks);
    }
    look(); // At what came since the last time.
  }

  #takeDropped(dropped: DroppedPacket): void {
    const { reason, port, count } = this.#options;
    const { inPort, outPort, time, packet, originalLength } = dropped;
    if (this.count >= count || reason !== "drop" && reason !== dropped.reason) return;
    if (port !== undefined && inPort !== port && outPort !== port) return;
    this.#write(enhancedPacket({
      interfaceId: this.#interfaceOf(inPort ?? outPort ?? 0),
      time,
      bytes: packet,
      originalLength,
      comment: outPort === undefined
        ? dropped.reason
        : `${dropped.reason}: to port ${outPort}`,
    }));
    if (++this.count >= count) this.#done.resolve();
  }

  /** Takes upcalls, if nobody else in this program does; they are then nobody's, as before. */
  #consume(): { close(): Promise<void> } {
    try {
      const stream = this.#dp.upcallBatches();
      const loop = (async () => {
        for await (const _ of stream);
      })();
      return {
        close: async () => {
          await stream.close();
          await loop;
        },
      };
    } catch (error) {
      if (!(error instanceof DatapathError) || error.code !== "EBUSY") throw error;
      return { close: () => Promise.resolve() }; // The program's own loop takes them.
    }
  }

  #isWanted(flow: Flow): boolean {
    const { port, reason, ufid } = this.#options;
    if (ufid !== undefined && flow.ufid !== ufid) return false;
    if (reason === "miss" || hasMark(flow, this.#mark)) return false;
    const { own } = splitMarks(flow.actions ?? []);
    if (reason === "drop" && own.length > 0) return false;
    const inPort = flow.key?.inPort;
    if (port !== undefined && inPort !== undefined && inPort !== port) return false;
    if (this.#wanted === undefined) return true;
    return decodeFlows([flow]).some((decoded) => covers(this.#wanted ?? {}, decoded));
  }

  /** Flows that may be wanted. A capture of one flow does not walk over a large table. */
  #candidates(): readonly Flow[] {
    const { ufid } = this.#options;
    if (ufid === undefined) return [...this.#own.flows.dump()];
    try {
      return [this.#own.flows.get({ ufid })];
    } catch (error) {
      // It has gone, and may come again.
      if (!(error instanceof DatapathError) || error.code !== "ENOENT") throw error;
      return [];
    }
  }

  /** Has the flows that are wanted send copies up. */
  #markFlows(): void {
    try {
      for (const flow of this.#candidates()) {
        if (!this.#isWanted(flow)) continue;
        const portId = this.#dp.ports.upcallPortId(flow.key?.inPort ?? 0);
        const copy: Action = { type: "userspace", portId, userdata: this.#mark };
        changeActions(this.#own, flow, [copy, ...flow.actions ?? []]);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#done.resolve();
  }

  /** Looks at an upcall; true if it is ours alone. */
  #see(raw: RawUpcall): boolean {
    const ours = raw.kind === "action" && isMark(raw.userdata, this.#mark);
    const { reason, ufid } = this.#options;
    const takesMisses = reason !== "drop" && ufid === undefined;
    if (!ours && (raw.kind !== "miss" || !takesMisses)) return false;
    try {
      this.#take(raw, ours);
    } catch (error) {
      this.#fail(error);
    }
    return ours;
  }

  #take(raw: RawUpcall, hit: boolean): void {
    if (this.count >= this.#options.count) return;
    const key = decodeKey(raw.key);
    const inPort = key.inPort ?? 0;
    if (this.#options.port !== undefined && inPort !== this.#options.port) return;
    const time = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) *
      1000n;
    this.#write(enhancedPacket({
      interfaceId: this.#interfaceOf(inPort),
      time,
      bytes: raw.packet,
      originalLength: raw.originalLength,
      comment: hit ? this.#flowComment(key) : "miss: no flow",
    }));
    if (++this.count >= this.#options.count) this.#done.resolve();
  }

  #flowComment(key: ReturnType<typeof decodeKey>): string {
    const hit = decodeFlows(this.#candidates()).find((flow) => covers(key, flow));
    if (hit === undefined) return "hit: a flow that has gone";
    const { own: actions } = splitMarks(hit.flow.actions ?? []);
    const { key: flowKey = new Uint8Array(), mask } = hit.flow.raw;
    const what = actions.length === 0 ? "drop" : "hit";
    return `${what}: ${formatKey({ key: flowKey, mask })}, actions:${
      formatActions(actions)
    }`;
  }

  #interfaceOf(port: number): number {
    const known = this.#interfaces.get(port);
    if (known !== undefined) return known;
    const id = this.#interfaces.size;
    this.#interfaces.set(port, id);
    this.#write(interfaceDescription(this.#own.ports.get(port)?.name ?? `${port}`));
    return id;
  }
}
