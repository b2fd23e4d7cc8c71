// SPDX-License-Identifier: Apache-2.0
/**
 * What becomes of connections of a datapath of this process, over `dp_ct_watch`.
 *
 * @module
 */
import { constants, dpCtEvent, dpWatchInfo } from "../../ffi/layout.ts";
import { Waiter } from "../../ffi/waiter.ts";
import type { ConnectionChange, ConntrackEvent } from "../contract/conntrack.ts";
import type { Watch } from "../contract/watch_stream.ts";
import { readConnection } from "./connection.ts";
import type { Context } from "./context.ts";
import { check, waitFailure } from "./library.ts";

const BATCH = 256;
const { DP_CT_EVENT_NEW, DP_CT_EVENT_UPDATE, DP_CT_EVENT_DESTROY, DP_CT_EVENT_LOST } =
  constants;

const numbers: Readonly<Record<ConnectionChange, number>> = {
  new: DP_CT_EVENT_NEW,
  update: DP_CT_EVENT_UPDATE,
  destroy: DP_CT_EVENT_DESTROY,
};
const changes = Object.keys(numbers) as ConnectionChange[];

/** Listens to connections of one datapath. */
export class NetdevConntrackWatch implements Watch<ConntrackEvent> {
  readonly #context: Context;
  readonly #onClose: () => void;
  readonly #handle: bigint;
  readonly #waiter: Waiter;
  readonly #events = new Uint8Array(BATCH * dpCtEvent.structSize);
  readonly #count = new Uint32Array(1);
  #closing: Promise<void> | undefined;

  /** `zone` as `dp_ct_watch` takes it; `onClose` is called once. */
  constructor(
    context: Context,
    what: { readonly zone: number; readonly kinds?: readonly ConnectionChange[] },
    onClose: () => void,
  ) {
    const { symbols, dp, subject } = context;
    const info = new Uint8Array(dpWatchInfo.structSize);
    const kinds = (what.kinds ?? changes).reduce(
      (bits, kind) => bits | 1 << numbers[kind],
      0,
    );
    const subjectOf = subject("watch connections");
    check(symbols, symbols.dp_ct_watch(dp, what.zone, kinds, info), subjectOf);
    const view = new DataView(info.buffer);
    this.#context = context;
    this.#onClose = onClose;
    this.#handle = view.getBigUint64(dpWatchInfo.watch, true);
    try {
      this.#waiter = new Waiter(view.getInt32(dpWatchInfo.descriptor, true));
    } catch (error) {
      symbols.dp_ct_watch_close(this.#handle);
      throw waitFailure(error, subjectOf);
    }
  }

  receive(): ConntrackEvent[] | undefined {
    if (this.#closing !== undefined) return undefined;
    const { symbols, subject } = this.#context;
    const errno = symbols.dp_ct_watch_read(
      this.#handle,
      this.#events,
      this.#events.length,
      new Uint8Array(this.#count.buffer),
    );
    check(symbols, errno, subject("watch connections"));
    const events: ConntrackEvent[] = [];
    for (let i = 0; i < (this.#count[0] ?? 0); i++) {
      events.push(readEvent(this.#events, i * dpCtEvent.structSize));
    }
    return events;
  }

  wait(): Promise<void> {
    return this.#waiter.wait();
  }

  wake(): void {
    this.#waiter.wake();
  }

  close(): Promise<void> {
    return this.#closing ??= this.#waiter.close().finally(() => {
      this.#context.symbols.dp_ct_watch_close(this.#handle);
      this.#onClose();
    });
  }
}

function readEvent(bytes: Uint8Array, at: number): ConntrackEvent {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, dpCtEvent.structSize);
  const number = view.getUint32(dpCtEvent.kind, true);
  if (number === DP_CT_EVENT_LOST) {
    return { kind: "lost", count: view.getBigUint64(dpCtEvent.lost, true) };
  }
  const kind = changes.find((change) => numbers[change] === number) ?? "update";
  const connection = readConnection(bytes, at + dpCtEvent.entry);
  if (kind !== "destroy") return { kind, connection };
  const { timeout: _, ...rest } = connection; // None is left.
  return { kind, connection: rest };
}
