// SPDX-License-Identifier: Apache-2.0
/**
 * Dropped packets of a datapath of this process, over `dp_drops_*`.
 *
 * @module
 */
import { constants, dpDropped } from "../../ffi/layout.ts";
import { fromCString } from "../../ffi/memory.ts";
import type { DropFacet, DroppedPacket, DropWatch } from "../contract/drops.ts";
import type { Context } from "./context.ts";
import type { Symbols } from "./library.ts";
import { type Records, RecordWatch } from "./record_watch.ts";

/** Looks at what one datapath drops. */
export class NetdevDrops implements DropFacet {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  watch(): DropWatch {
    return new RecordWatch(this.#context, drops);
  }
}

const drops: Records<DroppedPacket> = {
  name: "drops",
  structSize: dpDropped.structSize,
  most: constants.DP_DROPPED_MAX,
  watch: "dp_drops_watch",
  read: "dp_drops_read",
  unwatch: "dp_drops_unwatch",
  packetOf: (record, symbols) => ({
    reason: `drop_${dropName(symbols, record.u32(dpDropped.reason))}`,
    ...record.port("inPort", dpDropped.inPort),
    ...record.port("outPort", dpDropped.outPort),
    time: record.u64(dpDropped.ns),
    packet: record.part(dpDropped.bytes, record.u32(dpDropped.kept)),
    originalLength: record.u32(dpDropped.size),
  }),
};

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
