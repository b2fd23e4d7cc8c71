// SPDX-License-Identifier: Apache-2.0
/**
 * Looks at packets that poll threads copy while somebody looks on: samples, and drops.
 *
 * @module
 */
import { constants } from "../../ffi/layout.ts";
import { Errno } from "../errno.ts";
import type { Context } from "./context.ts";
import { check, type Symbols } from "./library.ts";

/** One kind of such packets. */
export interface Records<Packet> {
  /** What is read, for errors. */
  readonly name: string;
  /** Bytes of a record, and how many a call of `receive` takes at most. */
  readonly structSize: number;
  readonly most: number;
  /** Functions of the library. */
  readonly watch: "dp_samples_watch" | "dp_drops_watch";
  readonly read: "dp_samples_read" | "dp_drops_read";
  readonly unwatch: "dp_samples_unwatch" | "dp_drops_unwatch";
  /** What a record says; the bytes are read over by the next one. */
  readonly packetOf: (record: WatchedRecord, symbols: Symbols) => Packet;
}

/** The bytes of a record: numbers of 32 bits, and copies of parts. */
export class WatchedRecord {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  u32(at: number): number {
    return this.view.getUint32(at, true);
  }

  u64(at: number): bigint {
    return this.view.getBigUint64(at, true);
  }

  part(at: number, size: number): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(at, at + size);
  }

  /** A port, under its name; nothing where there is none. */
  port<Name extends string>(name: Name, at: number): { [name in Name]?: number } {
    const no = this.u32(at);
    return no === constants.DP_PORT_NONE
      ? {}
      : { [name]: no } as { [name in Name]: number };
  }
}

/** A watch of one kind of packets of one datapath, from when it is made. */
export class RecordWatch<Packet> implements Disposable {
  readonly #context: Context;
  readonly #records: Records<Packet>;
  readonly #record: WatchedRecord;
  readonly #lost = new BigUint64Array(1);
  #closed = false;

  /** Throws where another watch of the kind looks on already. */
  constructor(context: Context, records: Records<Packet>) {
    const { symbols, dp, subject } = context;
    check(symbols, symbols[records.watch](dp), subject(`watch ${records.name}`));
    this.#context = context;
    this.#records = records;
    this.#record = new WatchedRecord(records.structSize);
  }

  /** Packets that came faster than they were read. */
  get lost(): bigint {
    return this.#lost[0] ?? 0n;
  }

  /** What was seen since the last call; of much, the rest is left to the next call. */
  receive(): Packet[] {
    const { symbols, dp, subject } = this.#context;
    const { read, most, name, packetOf } = this.#records;
    const lost = new Uint8Array(this.#lost.buffer);
    const packets: Packet[] = [];
    // More may come in as fast as they are read.
    while (!this.#closed && packets.length < most) {
      const errno = symbols[read](dp, this.#record.bytes, lost);
      if (errno === Errno.ENOENT) break;
      check(symbols, errno, subject(`read ${name}`));
      packets.push(packetOf(this.#record, symbols));
    }
    return packets;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    // Of a datapath that has gone, there is nothing left to be looked at.
    this.#context.symbols[this.#records.unwatch](this.#context.dp);
  }
}
