// SPDX-License-Identifier: Apache-2.0
/**
 * Upcalls as they come, for the dashboard: the first few of each moment decoded, the rest counted.
 *
 * @module
 */
import type { RawUpcall } from "../../providers/contract/upcalls.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { decodeKey, formatKey } from "../../providers/odp/mod.ts";
import { hex, pretty, summary } from "../../frames/text.ts";
import { isMark } from "../capture/marks.ts";

/** An upcall that is shown. */
export interface SeenUpcall {
  /** Counts from 1: the list of a client is in this order. */
  readonly no: number;
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly kind: string;
  readonly port: string;
  readonly length: number;
  /** The packet in a line. */
  readonly summary: string;
  /** Its headers, a line each. */
  readonly headers: string;
  readonly key: string;
  /** Its first bytes. */
  readonly hex: string;
}

/** Upcalls since the last look. */
export interface SeenUpcalls {
  /** How many there were. */
  readonly count: number;
  readonly shown: readonly SeenUpcall[];
}

/** Upcalls that are shown of one moment: what people can read. */
const maxShown = 12;
/** Bytes of a packet that are decoded and shown. */
const maxBytes = 256;

/** Watches the upcalls of a datapath while it is on. */
export class UpcallWatch {
  readonly #dp: Datapath;
  #tap: Disposable | undefined;
  #seen = 0;
  #total = 0;
  #kept: { readonly no: number; readonly atMs: number; readonly raw: RawUpcall }[] = [];

  /** Off. */
  constructor(dp: Datapath) {
    this.#dp = dp;
  }

  /** Begins to look, or ends. */
  set on(on: boolean) {
    if (on === (this.#tap !== undefined)) return;
    this.#tap?.[Symbol.dispose]();
    this.#tap = on ? this.#dp.tap((raw) => this.#see(raw)) : undefined;
    this.#seen = 0;
    this.#kept = [];
  }

  /** On the way of every upcall: nothing is decoded here. */
  #see(raw: RawUpcall): boolean {
    if (raw.kind === "action" && isMark(raw.userdata)) return false; // A capture's.
    this.#seen++;
    this.#total++;
    if (this.#kept.length < maxShown) {
      const packet = raw.packet.slice(0, maxBytes);
      // A copy: the packets of a batch share one buffer.
      const originalLength = raw.originalLength ?? raw.packet.length;
      const key = raw.key.slice();
      this.#kept.push({
        no: this.#total,
        atMs: Date.now(),
        raw: { kind: raw.kind, key, packet, originalLength },
      });
    }
    return false;
  }

  /** What came since the last call. */
  take(): SeenUpcalls {
    const count = this.#seen;
    const kept = this.#kept;
    this.#seen = 0;
    this.#kept = [];
    const names = new Map([...this.#dp.ports.dump()].map(({ no, name }) => [no, name]));
    const shown = kept.map(({ no, atMs, raw }): SeenUpcall => {
      const port = decodeKey(raw.key).inPort ?? -1;
      return {
        no,
        atMs,
        kind: raw.kind,
        port: names.get(port as never) ?? `${port}`,
        length: raw.originalLength ?? raw.packet.length,
        summary: summary(raw.packet),
        headers: pretty(raw.packet),
        key: formatKey({ key: raw.key }),
        hex: hex(raw.packet),
      };
    });
    return { count, shown };
  }
}
