// SPDX-License-Identifier: Apache-2.0
/**
 * Files of what leaves ports in memory: `options:tx_pcap`, for tests of whole switches.
 *
 * @module
 */
import type { Datapath } from "../providers/datapath.ts";
import type { PortNo } from "../providers/ids.ts";
import type { Bridge } from "./bridge.ts";

/** So often ports are looked at, ms. */
const LOOK_MS = 5;
const MAGIC = 0xa1b2c3d4;
const ETHERNET = 1;
const SNAP = 65_535;

/** A port that is watched. */
export interface CapturedPort {
  readonly name: string;
  readonly dp: Datapath;
  readonly no: PortNo;
  /** The file, which is emptied. */
  readonly path: string;
}

/** Captures of ports, by name. */
export class DummyCaptures {
  readonly #ports = new Map<string, CapturedPort & { readonly file: Deno.FsFile }>();
  readonly #failed: (error: unknown) => void;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Begins without any. */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /** Watches these ports, and no others. */
  set(wanted: readonly CapturedPort[]): void {
    const names = new Set(wanted.map(({ name }) => name));
    for (const [name, { file }] of this.#ports) {
      if (names.has(name)) continue;
      this.#ports.delete(name);
      file.close();
    }
    for (const port of wanted) {
      const before = this.#ports.get(port.name);
      const isSame = before?.dp === port.dp && before.no === port.no &&
        before.path === port.path;
      if (isSame) continue;
      before?.file.close();
      try {
        const file = Deno.openSync(port.path, {
          write: true,
          create: true,
          truncate: true,
        });
        writeWords(file, [MAGIC, 2 << 16 | 4, 0, 0, SNAP, ETHERNET]);
        this.#ports.set(port.name, { ...port, file });
      } catch (error) {
        this.#ports.delete(port.name);
        this.#failed(error);
      }
    }
    const isIdle = this.#ports.size === 0;
    if (isIdle) clearInterval(this.#timer);
    this.#timer = isIdle ? undefined : this.#timer ?? this.#watch();
  }

  #watch(): ReturnType<typeof setInterval> {
    const timer = setInterval(() => this.#look(), LOOK_MS);
    Deno.unrefTimer(timer);
    return timer;
  }

  #look(): void {
    for (const { dp, no, file } of this.#ports.values()) {
      if (dp.closed) continue;
      try {
        for (let frame = dp.ports.collect?.(no); frame; frame = dp.ports.collect?.(no)) {
          const ms = Date.now();
          const time = [Math.floor(ms / 1000), ms % 1000 * 1000];
          writeWords(file, [...time, frame.length, frame.length]);
          write(file, frame);
        }
      } catch (error) {
        this.#failed(error);
      }
    }
  }

  /** Ends all. */
  close(): void {
    this.set([]);
  }
}

function writeWords(file: Deno.FsFile, words: readonly number[]): void {
  const view = new DataView(new ArrayBuffer(4 * words.length));
  for (const [i, word] of words.entries()) view.setUint32(4 * i, word >>> 0);
  write(file, new Uint8Array(view.buffer));
}

function write(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
}

/** Ports in memory of bridges whose packets are to be written into files. */
export function capturedPorts(bridges: Iterable<Bridge>): CapturedPort[] {
  return [...bridges].flatMap(({ faces, backing: { kind, dp } }) =>
    [...faces].flatMap(([name, { dp: no, config }]) => {
      const path = config.options.get("tx_pcap") ?? config.options.get("pcap");
      const isOne = kind === "dummy" && path !== undefined && no !== undefined;
      return isOne ? [{ name, dp, no, path }] : [];
    })
  );
}
