// SPDX-License-Identifier: Apache-2.0
/**
 * Takes packets off a datapath into a file: those that miss, and those that hit flows, by an action that sends a copy up for
 * as long as the capture lasts.
 *
 * @module
 */
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
import type { Action } from "../../providers/types.ts";
import { covers, decodeFlows } from "../../providers/odp/covers.ts";
import { enhancedPacket, interfaceDescription, sectionHeader } from "./pcapng.ts";

/** What is captured, and for how long. */
export interface CaptureOptions {
  /** Only packets that came in by this port. */
  readonly port?: number;
  /** Only packets that flows hit which cover this key, or that would. */
  readonly flow?: string;
  /** Only packets that were dropped: by a flow without actions (`drop`), or for want of a flow (`miss`). */
  readonly reason?: "drop" | "miss";
  /** Packets at most. */
  readonly count: number;
  /** Seconds at most. */
  readonly seconds: number;
}

const maxSeconds = 3600;
/** New flows are looked for this often, milliseconds. */
const rescanMs = 200;
/** What our copies carry in front, to be told from a program's own: "upcap", and a number of the capture. */
const magic = [0x75, 0x70, 0x63, 0x61, 0x70] as const;

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
    const value = Number(given.get(name) ?? usual);
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
  if (reason !== undefined && reason !== "drop" && reason !== "miss") {
    throw new SyntaxError(`reason must be drop or miss: it is ${reason}`);
  }
  const flow = given.get("flow");
  return {
    count: number("count", 1000),
    seconds: Math.min(number("seconds", 10), maxSeconds),
    ...(port !== undefined && { port }),
    ...(flow !== undefined && { flow }),
    ...(reason !== undefined && { reason }),
  };
}

let serial = 0;

/** Captures until enough packets came or the time is over; how many there were. */
export async function capturePackets(
  dp: Datapath,
  path: string,
  options: CaptureOptions,
): Promise<number> {
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  const capturing = new Capture(dp, file, options);
  await capturing.run();
  return capturing.count;
}

class Capture {
  readonly #dp: Datapath;
  readonly #file: Deno.FsFile;
  readonly #options: CaptureOptions;
  readonly #wanted: ReturnType<typeof decodeKey> | undefined;
  readonly #marker = Uint8Array.of(...magic, ++serial & 0xff);
  readonly #interfaces = new Map<number, number>();
  readonly #done = Promise.withResolvers<void>();
  #failure: unknown;
  count = 0;

  constructor(dp: Datapath, file: Deno.FsFile, options: CaptureOptions) {
    this.#dp = dp;
    this.#file = file;
    this.#options = options;
    this.#wanted = options.flow === undefined
      ? undefined
      : decodeKey(parseKeyBytes(options.flow, { ports: dp.ports.dump() }).key);
    this.#write(sectionHeader("upcall dpctl"));
  }

  async run(): Promise<void> {
    using _tap = this.#dp.tap((raw) => this.#see(raw));
    const consumer = this.#consume();
    const rescan = setInterval(() => this.#mark(), rescanMs);
    const timer = setTimeout(() => this.#done.resolve(), this.#options.seconds * 1000);
    try {
      this.#mark();
      await this.#done.promise;
    } finally {
      clearTimeout(timer);
      clearInterval(rescan);
      this.#unmark();
      await consumer.close();
    }
    if (this.#failure !== undefined) throw this.#failure;
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

  #isOurs(action: Action | undefined): boolean {
    return action?.type === "userspace" && action.userdata !== undefined &&
      sameBytes(action.userdata, this.#marker);
  }

  #isWanted(flow: Flow): boolean {
    const { port, reason } = this.#options;
    const actions = flow.actions ?? [];
    if (this.#isOurs(actions[0]) || reason === "miss") return false;
    if (reason === "drop" && actions.length > 0) return false;
    const inPort = flow.key?.inPort;
    if (port !== undefined && inPort !== undefined && inPort !== port) return false;
    if (this.#wanted === undefined) return true;
    return decodeFlows([flow]).some((decoded) => covers(this.#wanted ?? {}, decoded));
  }

  /** Has the flows that are wanted send copies up. */
  #mark(): void {
    try {
      for (const flow of [...this.#dp.flows.dump()]) {
        if (!this.#isWanted(flow)) continue;
        const portId = this.#dp.ports.upcallPortId(flow.key?.inPort ?? 0);
        const copy: Action = { type: "userspace", portId, userdata: this.#marker };
        this.#change(flow, [copy, ...flow.actions ?? []]);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Gives the flows their own actions back. */
  #unmark(): void {
    for (const flow of [...this.#dp.flows.dump()]) {
      const [first, ...rest] = flow.actions ?? [];
      if (this.#isOurs(first)) this.#change(flow, rest);
    }
  }

  #change({ raw }: Flow, actions: Action[]): void {
    const { key = new Uint8Array(), mask, ufid } = raw;
    try {
      this.#dp.flows.put({
        key,
        actions,
        create: false,
        modify: true,
        ...(mask !== undefined && { mask }),
        ...(ufid !== undefined && { ufid }),
      });
    } catch (error) {
      // The program has deleted it meanwhile.
      if (!(error instanceof DatapathError) || error.code !== "ENOENT") throw error;
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#done.resolve();
  }

  /** Looks at an upcall; true if it is ours alone. */
  #see(raw: RawUpcall): boolean {
    const ours = raw.kind === "action" && raw.userdata !== undefined &&
      sameBytes(raw.userdata, this.#marker);
    if (!ours && (raw.kind !== "miss" || this.#options.reason === "drop")) return false;
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
    const hit = decodeFlows(this.#dp.flows.dump()).find((flow) => covers(key, flow));
    if (hit === undefined) return "hit: a flow that has gone";
    const [first, ...rest] = hit.flow.actions ?? [];
    const actions = this.#isOurs(first) ? rest : hit.flow.actions ?? [];
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
    this.#write(interfaceDescription(this.#dp.ports.get(port)?.name ?? `${port}`));
    return id;
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
