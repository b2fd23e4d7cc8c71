// SPDX-License-Identifier: Apache-2.0
/**
 * Next hops, local addresses and events of tunnels in the library: `dp_tnl_*` of `c/dp.h`.
 *
 * @module
 */
import {
  constants,
  dpPortInfo,
  dpTnlEvent,
  dpTnlHop,
  dpTnlHopKey,
  dpTnlLocal,
  dpTnlWatchInfo,
} from "../../../ffi/layout.ts";
import { monotonicMs } from "../../../ffi/clock.ts";
import { Waiter } from "../../../ffi/waiter.ts";
import { formatMac, parseMac } from "../../codec/address.ts";
import { Errno } from "../../errno.ts";
import { addressBytes, addressText } from "../../netlink/mod.ts";
import type { Context } from "../context.ts";
import { check, failure, waitFailure } from "../library.ts";
import type { Hop, HopKey, HopTable, ListedHop, Local, TunnelEvent } from "./hop.ts";

const { DP_TNL_IPV4, DP_TNL_IPV6 } = constants;
/** Events that are taken at once. */
const eventsAtOnce = 64;
const wordsOf = (count: number) => new Uint32Array(count);

function putAddress(bytes: Uint8Array, at: number, address: string): void {
  bytes.set(addressBytes(address), at);
}

function readAddress(bytes: Uint8Array, at: number, family: number): string {
  return addressText(bytes.subarray(at, at + (family === DP_TNL_IPV4 ? 4 : 16)));
}

/** An address that may be left out: all zeros. */
function readOptional(bytes: Uint8Array, at: number, family: number): string | undefined {
  return bytes.subarray(at, at + 16).every((byte) => byte === 0)
    ? undefined
    : readAddress(bytes, at, family);
}

function familyOf(address: string): number {
  return address.includes(":") ? DP_TNL_IPV6 : DP_TNL_IPV4;
}

function writeKey(bytes: Uint8Array<ArrayBuffer>, key: HopKey): void {
  const view = new DataView(bytes.buffer);
  view.setUint32(dpTnlHopKey.port, key.port, true);
  view.setUint32(dpTnlHopKey.mark, key.mark, true);
  view.setUint32(dpTnlHopKey.family, familyOf(key.destination), true);
  if (key.source !== undefined) putAddress(bytes, dpTnlHopKey.src, key.source);
  putAddress(bytes, dpTnlHopKey.dst, key.destination);
}

function readKey(bytes: Uint8Array<ArrayBuffer>): HopKey {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const family = view.getUint32(dpTnlHopKey.family, true);
  const source = readOptional(bytes, dpTnlHopKey.src, family);
  return {
    port: view.getUint32(dpTnlHopKey.port, true),
    mark: view.getUint32(dpTnlHopKey.mark, true),
    ...(source !== undefined && { source }),
    destination: readAddress(bytes, dpTnlHopKey.dst, family),
  };
}

function readEvent(bytes: Uint8Array<ArrayBuffer>): TunnelEvent | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const family = view.getUint32(dpTnlEvent.family, true);
  const port = view.getUint32(dpTnlEvent.port, true);
  const source = readOptional(bytes, dpTnlEvent.src, family);
  const destination = readAddress(bytes, dpTnlEvent.dst, family);
  switch (view.getUint32(dpTnlEvent.kind, true)) {
    case constants.DP_TNL_ASK: {
      const mark = view.getUint32(dpTnlEvent.mark, true);
      const key = { port, mark, ...(source !== undefined && { source }), destination };
      return { kind: "ask", key };
    }
    case constants.DP_TNL_NEIGHBOUR:
      return source === undefined ? undefined : {
        kind: "neighbour",
        port,
        vlan: view.getUint32(dpTnlEvent.vlan, true),
        address: source,
        about: destination,
        mac: formatMac(bytes, dpTnlEvent.mac),
      };
    case constants.DP_TNL_MTU:
      return { kind: "mtu", destination, mtu: view.getUint32(dpTnlEvent.mtu, true) };
    default:
      return undefined;
  }
}

/** The library's table of a datapath. */
export class LibraryTable implements HopTable {
  readonly #context: Context;

  /** For the datapath of `context`. */
  constructor(context: Context) {
    this.#context = context;
  }

  set(key: HopKey, hop: Hop | undefined): void {
    const { symbols, dp, subject } = this.#context;
    const bytes = new Uint8Array(dpTnlHop.structSize);
    writeKey(bytes, key);
    const view = new DataView(bytes.buffer);
    if (hop === undefined) {
      view.setUint32(dpTnlHop.flags, constants.DP_TNL_HOP_NONE, true);
    } else {
      const { DP_TNL_HOP_RECEIVED } = constants;
      view.setUint32(dpTnlHop.underlay, hop.underlay, true);
      view.setUint32(dpTnlHop.flags, hop.isReceived ? DP_TNL_HOP_RECEIVED : 0, true);
      view.setUint32(dpTnlHop.mtu, hop.mtu, true);
      putAddress(bytes, dpTnlHop.src, hop.source);
      view.setUint32(dpTnlHop.headerSize, hop.header.length, true);
      bytes.set(hop.header, dpTnlHop.header);
    }
    const errno = symbols.dp_tnl_hop_set(dp, bytes);
    // A port that went meanwhile, or a full table: the hop is not there, and is asked for again.
    if (errno === 0 || errno === Errno.ENOSPC || errno === Errno.ENODEV) return;
    throw failure(symbols, errno, subject("set next hop", key.destination));
  }

  delete(key: HopKey): void {
    const { symbols, dp, subject } = this.#context;
    const bytes = new Uint8Array(dpTnlHopKey.structSize);
    writeKey(bytes, key);
    const errno = symbols.dp_tnl_hop_delete(dp, bytes);
    if (errno === Errno.ENOENT) return;
    check(symbols, errno, subject("delete next hop", key.destination));
  }

  flush(underlay: number = constants.DP_PORT_NONE): void {
    const { symbols, dp, subject } = this.#context;
    check(symbols, symbols.dp_tnl_hop_flush(dp, underlay), subject("flush next hops"));
  }

  list(): ListedHop[] {
    const { symbols, dp, subject } = this.#context;
    const [at, bytes] = [wordsOf(1), new Uint8Array(dpTnlHop.structSize)];
    const view = new DataView(bytes.buffer);
    const now = monotonicMs();
    const hops: ListedHop[] = [];
    for (;;) {
      const errno = symbols.dp_tnl_hop_next(dp, new Uint8Array(at.buffer), bytes);
      if (errno === Errno.ENOENT) return hops;
      check(symbols, errno, subject("list next hops"));
      const used = Number(view.getBigUint64(dpTnlHop.usedMs, true));
      hops.push({
        key: readKey(bytes),
        idleMs: used === 0 ? undefined : Math.max(0, now - used),
      });
    }
  }

  setLocals(locals: readonly Local[]): void {
    const { symbols, dp, subject } = this.#context;
    const count = Math.min(locals.length, constants.DP_TNL_LOCALS);
    const bytes = new Uint8Array(Math.max(1, count) * dpTnlLocal.structSize);
    const view = new DataView(bytes.buffer);
    const { DP_TNL_LOCAL_RECEIVED, DP_TNL_LOCAL_SENT } = constants;
    for (const [i, local] of locals.slice(0, count).entries()) {
      const at = i * dpTnlLocal.structSize;
      const way = local.way === "sent" ? DP_TNL_LOCAL_SENT : DP_TNL_LOCAL_RECEIVED;
      view.setUint32(at + dpTnlLocal.port, local.port, true);
      view.setUint32(at + dpTnlLocal.flags, way, true);
      view.setUint32(at + dpTnlLocal.family, familyOf(local.address), true);
      view.setUint32(at + dpTnlLocal.vlan, local.vlan, true);
      putAddress(bytes, at + dpTnlLocal.address, local.address);
      if (local.mac !== undefined) parseMac(local.mac, 0, bytes, at + dpTnlLocal.mac);
    }
    const errno = symbols.dp_tnl_locals_set(dp, bytes, count);
    check(symbols, errno, subject("set addresses of tunnels"));
  }

  /** Says which UDP source ports outer packets have. `ERANGE`. */
  setSourcePorts(low: number, high: number): void {
    const { symbols, dp, subject } = this.#context;
    const errno = symbols.dp_tnl_source_ports(dp, low, high);
    check(symbols, errno, subject("set source ports of tunnels"));
  }

  /** Ethernet address of a port. */
  macOf(no: number): string | undefined {
    const { symbols, dp } = this.#context;
    const info = new Uint8Array(dpPortInfo.structSize);
    if (symbols.dp_port_next(dp, no, info) !== 0) return undefined;
    if (new DataView(info.buffer).getUint32(dpPortInfo.no, true) !== no) return undefined;
    return formatMac(info, dpPortInfo.mac);
  }
}

/** Events of one datapath's tunnels: the isolate that holds it manages them. */
export class TunnelWatch {
  readonly #context: Context;
  readonly #handle: bigint;
  readonly #waiter: Waiter;
  readonly #bytes = new Uint8Array(eventsAtOnce * dpTnlEvent.structSize);
  readonly #count = wordsOf(1);

  /** Throws `EBUSY`: somebody else holds it. */
  constructor(context: Context) {
    const { symbols, dp, subject } = context;
    const info = new Uint8Array(dpTnlWatchInfo.structSize);
    const what = subject("manage tunnels");
    check(symbols, symbols.dp_tnl_watch(dp, info), what);
    const view = new DataView(info.buffer);
    this.#context = context;
    this.#handle = view.getBigUint64(dpTnlWatchInfo.watch, true);
    try {
      this.#waiter = new Waiter(view.getInt32(dpTnlWatchInfo.descriptor, true));
    } catch (error) {
      symbols.dp_tnl_watch_close(this.#handle);
      throw waitFailure(error, what);
    }
  }

  /** Events since the last call; never waits. Throws `ENODEV`: the datapath was destroyed. */
  take(): TunnelEvent[] {
    const { symbols, subject } = this.#context;
    const events: TunnelEvent[] = [];
    for (;;) {
      const errno = symbols.dp_tnl_events(
        this.#handle,
        eventsAtOnce,
        this.#bytes,
        new Uint8Array(this.#count.buffer),
      );
      check(symbols, errno, subject("take events of tunnels"));
      const count = this.#count[0] ?? 0;
      for (let i = 0; i < count; i++) {
        const at = i * dpTnlEvent.structSize;
        const event = readEvent(this.#bytes.subarray(at, at + dpTnlEvent.structSize));
        if (event) events.push(event);
      }
      if (count < eventsAtOnce) return events;
    }
  }

  /** Resolves when there may be events. */
  wait(): Promise<void> {
    return this.#waiter.wait();
  }

  /** Lets go of it. Idempotent. */
  async close(): Promise<void> {
    await this.#waiter.close();
    this.#context.symbols.dp_tnl_watch_close(this.#handle);
  }
}
