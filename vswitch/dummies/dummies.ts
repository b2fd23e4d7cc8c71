// SPDX-License-Identifier: Apache-2.0
/**
 * What is at the other end of ports in memory: a file, or a cable to another such port. For tests
 * of whole switches.
 *
 * @module
 */
import type { Datapath } from "../../providers/datapath.ts";
import type { PortNo } from "../../providers/ids.ts";
import type { Bridge } from "../bridge.ts";
import { confined } from "../confine.ts";
import { Capture } from "./captures.ts";
import type { Sink } from "./sink.ts";
import { CableEnd } from "./streams.ts";

/** So often ports are looked at, ms. */
const LOOK_MS = 5;
/** What is sent has come, on the other side, after so long, ms. */
const SETTLE_MS = 15;

/** A port with something at its other end. */
interface Wired {
  readonly name: string;
  readonly dp: Datapath;
  readonly no: PortNo;
  /** What there is, as text. */
  readonly asked: string;
  /** Opens it. */
  readonly open: (failed: (error: unknown) => void) => Sink[];
}

/** Ports in memory, by name. */
export class Dummies {
  readonly #ports = new Map<string, Wired & { readonly sinks: readonly Sink[] }>();
  readonly #failed: (error: unknown) => void;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Begins without any. */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /** Has ports of bridges have what the database asks for; sockets are in a folder. */
  wire(bridges: Iterable<Bridge>, folder: string): void {
    this.set(wiredPorts(bridges, folder, (name, frame) => this.came(name, frame)));
  }

  /** Has these ports have what is asked for, and no others. */
  set(wanted: readonly Wired[]): void {
    const byName = new Map(wanted.map((port) => [port.name, port]));
    for (const [name, port] of this.#ports) {
      const now = byName.get(name);
      const isSame = now !== undefined && now.dp === port.dp && now.no === port.no &&
        now.asked === port.asked;
      if (isSame) continue;
      this.#ports.delete(name);
      for (const sink of port.sinks) sink.close();
    }
    for (const port of wanted) {
      if (this.#ports.has(port.name)) continue;
      try {
        this.#ports.set(port.name, { ...port, sinks: port.open(this.#failed) });
      } catch (error) {
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
    for (const { dp, no, sinks } of this.#ports.values()) {
      if (dp.closed) continue;
      try {
        for (let frame = dp.ports.collect?.(no); frame; frame = dp.ports.collect?.(no)) {
          for (const sink of sinks) sink.put(frame);
        }
      } catch (error) {
        this.#failed(error);
      }
    }
  }

  /** Notes a frame that comes by a port. */
  came(name: string, frame: Uint8Array): void {
    for (const sink of this.#ports.get(name)?.sinks ?? []) sink.came?.(frame);
  }

  /** Whether a port's cable has another end; undefined for a port that has none. */
  isConnected(name: string): boolean | undefined {
    const ends = this.#ports.get(name)?.sinks.flatMap((one) => one.isConnected ?? []);
    return ends === undefined || ends.length === 0 ? undefined : ends.includes(true);
  }

  /** Names of ports with cables. */
  get cabled(): string[] {
    return [...this.#ports.keys()].filter((name) => this.isConnected(name) !== undefined);
  }

  /** Resolves when what was sent so far has come, on the other side. */
  async settle(): Promise<void> {
    if (this.cabled.length === 0) return;
    this.#look();
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  }

  /** Ends all. */
  close(): void {
    this.set([]);
  }
}

/** A file of one way, or of both. */
function captureOf(file: Capture, way: string): Sink {
  const put = (frame: Uint8Array): void => file.put(frame);
  return {
    put: way === "rx_pcap" ? () => {} : put,
    ...(way !== "tx_pcap" && { came: put }),
    close: () => file.close(),
  };
}

/** Ports in memory of bridges that have something at their other end; sockets are in a folder. */
function wiredPorts(
  bridges: Iterable<Bridge>,
  folder: string,
  came: (name: string, frame: Uint8Array) => void,
): Wired[] {
  return [...bridges].flatMap(({ faces, backing: { kind, dp } }) =>
    [...faces].flatMap(([name, { dp: no, config: { options } }]): Wired[] => {
      const files = ["pcap", "tx_pcap", "rx_pcap"].flatMap((way) => {
        const path = options.get(way);
        return path === undefined ? [] : [{ way, path }];
      });
      const listens = /^punix:(.+)$/.exec(options.get("pstream") ?? "")?.[1];
      const calls = /^unix:(.+)$/.exec(options.get("stream") ?? "")?.[1];
      const asked = JSON.stringify([files, listens, calls]);
      const isOne = files.length > 0 || (listens ?? calls) !== undefined;
      if (kind !== "dummy" || no === undefined || !isOne) return [];
      const got = (frame: Uint8Array): void => {
        if (dp.closed) return;
        came(name, frame);
        dp.ports.inject?.(no, frame);
      };
      const open: Wired["open"] = (failed) => [
        ...files.map(({ way, path }) => captureOf(new Capture(path), way)),
        ...[listens, calls].flatMap((path, i) =>
          path === undefined ? [] : [
            new CableEnd(confined(folder, path), { listens: i === 0, got, failed }),
          ]
        ),
      ];
      return [{ name, dp, no, asked, open }];
    })
  );
}
