// SPDX-License-Identifier: Apache-2.0
/**
 * Records of what a policy saw and said: one line of JSON an event, the last of them kept.
 *
 * @module
 */
import { formatActions } from "../../providers/odp/text/text.ts";
import type { Upcall } from "../../providers/upcall.ts";
import type { FlowRecord } from "./flow_record.ts";
import type { Ran } from "../runner.ts";
import { Counter } from "../state/state.ts";
import { observeState, type StateEvent } from "../state/state_event.ts";

/** A line of a record. */
export type RecordedEvent =
  | {
    readonly event: "upcall";
    /** Time, ms since 1970. */
    readonly at: number;
    /** Key bytes in hexadecimal. */
    readonly key: string;
    /** The first bytes of the packet in hexadecimal. */
    readonly frame?: string;
    /** The verdict in text of ovs-dpctl(8), recirculation ids and all. */
    readonly verdict: string;
    /** Why there was no flow. */
    readonly uncacheable?: string;
    readonly reason?: string;
    /** Mask bytes of what was read in hexadecimal; its flow may match more. */
    readonly mask: string;
  }
  | ({ readonly event: "state"; readonly at: number } & StateEvent)
  | { readonly event: "ports"; readonly at: number; readonly ports: readonly number[] }
  | {
    readonly event: "end";
    readonly at: number;
    readonly ufid: string;
    readonly reason: string;
    readonly packets: string;
    readonly bytes: string;
  };

/** What a recorder keeps. */
export interface RecorderOptions {
  /** Events that are kept; older ones go. 100,000 if absent. */
  readonly events?: number;
  /** Bytes of each packet that are kept; none if absent. */
  readonly snap?: number;
  /** Gets each line as it is made, for a file. */
  readonly onLine?: (line: string) => void;
}

/**
 * Keeps the last events of a policy, so that the minute before a fault is there to be looked at.
 */
export class Recorder {
  readonly #events: number;
  readonly #snap: number;
  readonly #onLine: ((line: string) => void) | undefined;
  readonly #ring: string[] = [];
  #at = 0;
  /** Which ports there were when the oldest event happened, if its line is gone. */
  #portsBefore: string | undefined;
  #observing: Disposable | undefined;

  /** Makes an empty record. */
  constructor(options: RecorderOptions = {}) {
    this.#events = options.events ?? 100_000;
    this.#snap = options.snap ?? 0;
    this.#onLine = options.onLine;
    if (!(this.#events >= 1)) throw new RangeError("a record keeps at least one event");
  }

  /** Begins to record writes to named state. */
  start(): void {
    this.#observing ??= observeState((event) =>
      this.#add({ event: "state", at: Date.now(), ...event })
    );
  }

  /** Ends it. */
  stop(): void {
    this.#observing?.[Symbol.dispose]();
    this.#observing = undefined;
  }

  #add(event: RecordedEvent): void {
    const line = JSON.stringify(event, plainly);
    this.#onLine?.(line);
    if (this.#ring.length < this.#events) this.#ring.push(line);
    else {
      const gone = this.#ring[this.#at] as string;
      if (gone.startsWith('{"event":"ports"')) this.#portsBefore = gone;
      this.#ring[this.#at] = line;
      this.#at = (this.#at + 1) % this.#events;
    }
  }

  /** @ignore */
  upcall(
    upcall: Upcall,
    ran: Ran,
    uncacheable: string | undefined,
    mask: Uint8Array,
    nowMs: number,
  ): void {
    const { reason } = ran.decision;
    this.#add({
      event: "upcall",
      at: nowMs,
      key: upcall.raw.key.toHex(),
      ...(this.#snap > 0 && { frame: upcall.packet.subarray(0, this.#snap).toHex() }),
      verdict: formatActions(ran.actions.bytes),
      ...(uncacheable !== undefined && { uncacheable }),
      ...(reason !== undefined && { reason }),
      mask: mask.toHex(),
    });
  }

  /** @ignore */
  ports(ports: readonly number[], nowMs: number): void {
    this.#add({ event: "ports", at: nowMs, ports });
  }

  /** @ignore */
  ended(flow: FlowRecord, reason: string, nowMs: number): void {
    this.#add({
      event: "end",
      at: nowMs,
      ufid: flow.ufid,
      reason,
      packets: `${flow.packets}`,
      bytes: `${flow.bytes}`,
    });
  }

  /** The lines, the oldest first; before them the ports of then, so that floods can be replayed. */
  lines(): string[] {
    const kept = [...this.#ring.slice(this.#at), ...this.#ring.slice(0, this.#at)];
    return this.#portsBefore === undefined ? kept : [this.#portsBefore, ...kept];
  }
}

/** Integers that JSON has no form for are objects with one field. */
function plainly(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return { $bigint: `${value}` };
  if (value instanceof Uint8Array) return { $bytes: value.toHex() };
  return value instanceof Counter ? undefined : value;
}

/** The way back of what a record writes. */
export function revived(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const { $bigint, $bytes } = value as { $bigint?: string; $bytes?: string };
  if ($bigint !== undefined) return BigInt($bigint);
  return $bytes === undefined ? value : Uint8Array.fromHex($bytes);
}
