// SPDX-License-Identifier: Apache-2.0
/**
 * Dropped packets of a datapath of this process, over `dp_drops_*`.
 *
 * @module
 */
import { constants, dpDropped } from "../../ffi/layout.ts";
import type { DropFacet, DroppedPacket, DropWatch } from "../contract/drops.ts";
import { fromCString } from "../../ffi/memory.ts";
import { Errno } from "../errno.ts";
import type { Context } from "./context.ts";
import { check, type Symbols } from "./library.ts";

/** Looks at what one datapath drops. */
export class NetdevDrops implements DropFacet {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  watch(): DropWatch {
    const { symbols, dp, subject } = this.#context;
    check(symbols, symbols.dp_drops_watch(dp), subject("watch drops"));
    return new NetdevDropWatch(this.#context);
  }
}

class NetdevDropWatch implements DropWatch {
  readonly #context: Context;
  readonly #bytes = new Uint8Array(dpDropped.structSize);
  readonly #lost = new BigUint64Array(1);
  #closed = false;

  constructor(context: Context) {
    this.#context = context;
  }

  get lost(): bigint {
    return this.#lost[0] ?? 0n;
  }

  receive(): DroppedPacket[] {
    const { symbols, dp, subject } = this.#context;
    const lost = new Uint8Array(this.#lost.buffer);
    const packets: DroppedPacket[] = [];
    // More may come in as fast as they are read.
    while (!this.#closed && packets.length < constants.DP_DROPPED_MAX) {
      const errno = symbols.dp_drops_read(dp, this.#bytes, lost);
      if (errno === Errno.ENOENT) break;
      check(symbols, errno, subject("read drops"));
      packets.push(this.#packet());
    }
    return packets;
  }

  #packet(): DroppedPacket {
    const view = new DataView(this.#bytes.buffer);
    const u32 = (at: number): number => view.getUint32(at, true);
    const inPort = u32(dpDropped.inPort);
    const outPort = u32(dpDropped.outPort);
    const { bytes } = dpDropped;
    return {
      reason: `drop_${dropName(this.#context.symbols, u32(dpDropped.reason))}`,
      ...(inPort !== constants.DP_PORT_NONE && { inPort }),
      ...(outPort !== constants.DP_PORT_NONE && { outPort }),
      time: view.getBigUint64(dpDropped.ns, true),
      packet: this.#bytes.slice(bytes, bytes + u32(dpDropped.kept)),
      originalLength: u32(dpDropped.size),
    };
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    // Of a datapath that has gone, there is nothing left to be looked at.
    this.#context.symbols.dp_drops_unwatch(this.#context.dp);
  }
}

const dropNames: string[] = [];

/** The name of a reason, by its number. */
export function dropName(symbols: Symbols, reason: number): string {
  const known = dropNames[reason];
  if (known !== undefined) return known;
  const text = new Uint8Array(constants.DP_NAME_SIZE);
  const errno = symbols.dp_drop_name(reason, text, text.length);
  const name = errno === 0 ? fromCString(text) : `${reason}`;
  dropNames[reason] = name;
  return name;
}
