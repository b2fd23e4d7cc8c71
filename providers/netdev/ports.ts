// SPDX-License-Identifier: Apache-2.0
/**
 * Ports of a datapath of this process.
 *
 * @module
 */
import {
  constants,
  dpPortCounter,
  dpPortInfo,
  dpPortRequest,
  dpPortStats,
  dpWatchInfo,
} from "../../ffi/layout.ts";
import { openLibc } from "../../ffi/libc.ts";
import { allocate, type CMemory, cString, fromCString } from "../../ffi/memory.ts";
import { Waiter } from "../../ffi/waiter.ts";
import type {
  Port,
  PortChange,
  PortRequest,
  PortStats,
  PortWatch,
  ProviderPorts,
} from "../contract/ports.ts";
import { Errno } from "../errno.ts";
import { DatapathError } from "../errors.ts";
import type { PortNo } from "../ids.ts";
import type { Context } from "./context.ts";
import {
  check,
  failure,
  parseSettings,
  plainFailure,
  settingLines,
  waitedFailure,
  waitFailure,
} from "./library.ts";
import { rebalance } from "./rebalance.ts";

const DEFAULT_TYPE = "system";
const { ENODEV, ENOENT, ERANGE } = Errno;
/** Largest frame that a dummy port can hold. */
const MAX_FRAME = 65535;
/** Most counters that a driver is believed to have. */
const MAX_COUNTERS = 65536;

/** Ports over `dp_port_*`. */
export class NetdevPorts implements ProviderPorts {
  readonly #context: Context;
  readonly #onAdded: () => void;
  readonly #watches = new Set<NetdevPortWatch>();
  readonly #info = new Uint8Array(dpPortInfo.structSize);
  #frame: Uint8Array<ArrayBuffer> | undefined;
  #closed = false;

  /** `onAdded` is called when a port was added here. */
  constructor(context: Context, onAdded: () => void = () => {}) {
    this.#context = context;
    this.#onAdded = onAdded;
  }

  async add(request: PortRequest): Promise<Port> {
    const { symbols, dp, subject } = this.#context;
    const what = subject("add port", request.name);
    const bytes = portRequest(request);
    const job = new BigUint64Array(1);
    check(symbols, symbols.dp_port_stage(dp, bytes, new Uint8Array(job.buffer)), what);

    const id = job[0] as bigint;
    const added = await symbols.dp_port_add(id);
    const info = new Uint8Array(dpPortInfo.structSize);
    const text = new Uint8Array(constants.DP_TEXT_SIZE);
    const fetched = symbols.dp_port_result(id, info, text, text.length);
    const errno = added || fetched;
    if (errno !== 0) throw plainFailure(errno, what, fromCString(text));
    this.#onAdded();
    return readPort(info);
  }

  async delete(no: PortNo): Promise<void> {
    const { symbols, dp, subject } = this.#context;
    const errno = await symbols.dp_port_delete(dp, no);
    if (errno !== 0) {
      throw waitedFailure(symbols, errno, subject("delete port", `${no}`), {
        dp,
        about: no,
      });
    }
  }

  async setConfig(no: PortNo, config: Readonly<Record<string, string>>): Promise<void> {
    const { symbols, dp, subject } = this.#context;
    const errno = symbols.dp_port_set_config(dp, no, cString(settingLines(config)));
    check(symbols, errno, subject("configure port", `${no}`));
    if ("pmd-rxq-affinity" in config) await rebalance(this.#context, `${no}`);
  }

  get(port: PortNo | string): Port | undefined {
    if (typeof port === "number") {
      const found = this.#next(port);
      return found?.no === port ? found : undefined;
    }
    const { symbols, dp, subject } = this.#context;
    const errno = symbols.dp_port_find(dp, cString(port), this.#info);
    if (errno === ENODEV) return undefined;
    check(symbols, errno, subject("find port", port));
    return readPort(this.#info);
  }

  *dump(): Generator<Port, void, undefined> {
    for (let no = 0;;) {
      const port = this.#next(no);
      if (port === undefined) return;
      yield port;
      no = port.no + 1;
    }
  }

  stats(no: PortNo): PortStats {
    const { symbols, dp, subject } = this.#context;
    const bytes = new Uint8Array(dpPortStats.structSize);
    const errno = symbols.dp_port_stats_get(dp, no, bytes);
    check(symbols, errno, subject("read port statistics", `${no}`));
    const view = new DataView(bytes.buffer);
    const u64 = (at: number): bigint => view.getBigUint64(at, true);
    return {
      rxPackets: u64(dpPortStats.rxPackets),
      txPackets: u64(dpPortStats.txPackets),
      rxBytes: u64(dpPortStats.rxBytes),
      txBytes: u64(dpPortStats.txBytes),
      rxErrors: u64(dpPortStats.rxErrors),
      txErrors: u64(dpPortStats.txErrors),
      rxDropped: u64(dpPortStats.rxDropped),
      txDropped: u64(dpPortStats.txDropped),
      counters: {
        rx_no_mbuf: u64(dpPortStats.rxNoMbuf),
        device_lost: u64(dpPortStats.deviceLost),
      },
    };
  }

  async driverCounters(no: PortNo): Promise<Readonly<Record<string, bigint>>> {
    const libc = openLibc();
    try {
      for (let room = 1024;; room *= 2) {
        // The driver may take its time, so the memory is C's.
        using memory = allocate(libc, dpPortCounter.structSize * room);
        const errno = await this.#askDriver(no, memory, room);
        if (errno === 0) return readCounters(memory.bytes);
        if (errno === ERANGE && room < MAX_COUNTERS) continue;
        const { symbols, dp, subject } = this.#context;
        const what = subject("read driver counters", `${no}`);
        throw waitedFailure(symbols, errno, what, { dp, about: no });
      }
    } finally {
      libc.close();
    }
  }

  #askDriver(no: PortNo, memory: CMemory, room: number): Promise<number> {
    const { symbols, dp } = this.#context;
    return symbols.dp_port_counters(dp, no, memory.address, room);
  }

  watch(): PortWatch {
    const watch = new NetdevPortWatch(
      this.#context,
      () => this.#watches.delete(watch),
    );
    this.#watches.add(watch);
    return watch;
  }

  inject(no: PortNo, frame: Uint8Array): void {
    const { symbols, dp, subject } = this.#context;
    const errno = symbols.dp_dummy_inject(
      dp,
      no,
      frame as Uint8Array<ArrayBuffer>,
      frame.length,
    );
    if (errno !== 0) throw failure(symbols, errno, subject("inject", `${no}`));
  }

  collect(no: PortNo): Uint8Array | undefined {
    const { symbols, dp, subject } = this.#context;
    const frame = this.#frame ??= new Uint8Array(MAX_FRAME);
    const used = new Uint32Array(1);
    const usedBytes = new Uint8Array(used.buffer);
    const errno = symbols.dp_dummy_collect(dp, no, frame, frame.length, usedBytes);
    if (errno === ENOENT) return undefined;
    check(symbols, errno, subject("collect", `${no}`));
    return frame.slice(0, used[0]);
  }

  /** Ends every listener, and returns when none waits any more. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#watches].map((watch) => watch.close()));
  }

  #next(no: number): Port | undefined {
    const { symbols, dp, subject } = this.#context;
    const errno = symbols.dp_port_next(dp, no, this.#info);
    if (errno === ENODEV) return undefined;
    check(symbols, errno, subject("list ports"));
    return readPort(this.#info);
  }
}

/** Tells when the set of ports has changed. */
class NetdevPortWatch implements PortWatch {
  readonly #context: Context;
  readonly #onClose: () => void;
  readonly #handle: bigint;
  readonly #waiter: Waiter;
  readonly #sequence = new BigUint64Array(1);
  #seen: bigint | undefined;
  #closing: Promise<void> | undefined;

  constructor(context: Context, onClose: () => void) {
    const { symbols, dp, subject } = context;
    const info = new Uint8Array(dpWatchInfo.structSize);
    const what = subject("watch ports");
    check(symbols, symbols.dp_port_watch(dp, info), what);
    const view = new DataView(info.buffer);
    this.#context = context;
    this.#onClose = onClose;
    this.#handle = view.getBigUint64(dpWatchInfo.watch, true);
    try {
      this.#waiter = new Waiter(view.getInt32(dpWatchInfo.descriptor, true));
    } catch (error) {
      symbols.dp_port_watch_close(this.#handle);
      throw waitFailure(error, what);
    }
  }

  receive(): PortChange[] | undefined {
    if (this.#closing !== undefined) return undefined;
    const { symbols, subject } = this.#context;
    const bytes = new Uint8Array(this.#sequence.buffer);
    const errno = symbols.dp_port_watch_read(this.#handle, bytes);
    check(symbols, errno, subject("watch ports"));
    const now = this.#sequence[0] as bigint;
    if (now === this.#seen) return [];
    this.#seen = now;
    return [{ kind: "rescan" }];
  }

  wait(): Promise<void> {
    return this.#waiter.wait();
  }

  wake(): void {
    this.#waiter.wake();
  }

  close(): Promise<void> {
    return this.#closing ??= this.#waiter.close().finally(() => {
      this.#context.symbols.dp_port_watch_close(this.#handle);
      this.#onClose();
    });
  }
}

function portRequest(request: PortRequest): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(dpPortRequest.structSize);
  const view = new DataView(bytes.buffer);
  view.setUint32(dpPortRequest.no, request.no ?? constants.DP_PORT_NONE, true);
  const place = (text: string, at: number, size: number, what: string): void => {
    const source = cString(text);
    if (source.length > size) {
      throw new DatapathError({
        operation: "add port",
        object: request.name,
        code: "ENAMETOOLONG",
        detail: `${what} is longer than ${size - 1} bytes`,
      });
    }
    bytes.set(source, at);
  };
  place(request.name, dpPortRequest.name, constants.DP_NAME_SIZE, "name");
  place(request.type ?? DEFAULT_TYPE, dpPortRequest.type, constants.DP_NAME_SIZE, "type");
  const options = settingLines(request.options ?? {});
  place(
    options,
    dpPortRequest.options,
    constants.DP_TEXT_SIZE,
    "the text of all options",
  );
  return bytes;
}

function readCounters(bytes: Uint8Array<ArrayBuffer>): Record<string, bigint> {
  const { structSize, value } = dpPortCounter;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const counters: Record<string, bigint> = {};
  for (let at = 0; at < bytes.length; at += structSize) {
    const name = fromCString(bytes.subarray(at, at + constants.DP_NAME_SIZE));
    if (name === "") break;
    counters[name] = view.getBigUint64(at + value, true);
  }
  return counters;
}

function readLink(view: DataView): NonNullable<Port["link"]> {
  const up = view.getUint32(dpPortInfo.linkUp, true) !== 0;
  const speed = view.getUint32(dpPortInfo.linkSpeed, true);
  const duplex = view.getUint32(dpPortInfo.linkDuplex, true);
  return {
    up,
    // They are asked for now and then only, and may be of a link that has just gone.
    ...(up && speed !== 0 && { speed }),
    ...(up && duplex !== 0 && {
      duplex: duplex === constants.DP_DUPLEX_FULL ? "full" : "half",
    }),
  };
}

function readPort(info: Uint8Array<ArrayBuffer>): Port {
  const text = (at: number, size: number): string =>
    fromCString(info.subarray(at, at + size));
  const options = parseSettings(text(dpPortInfo.options, constants.DP_TEXT_SIZE));
  const view = new DataView(info.buffer);
  const name = text(dpPortInfo.name, constants.DP_NAME_SIZE);
  const device = text(dpPortInfo.device, constants.DP_NAME_SIZE);
  const mac = info.subarray(dpPortInfo.mac, dpPortInfo.mac + 6);
  return {
    no: view.getUint32(dpPortInfo.no, true),
    name,
    type: text(dpPortInfo.type, constants.DP_NAME_SIZE),
    ...(Object.keys(options).length > 0 && { options }),
    mtu: view.getUint32(dpPortInfo.mtu, true),
    ...(mac.some((byte) => byte !== 0) &&
      { mac: mac.toHex().match(/../g)?.join(":") ?? "" }),
    link: readLink(view),
    ...(device !== "" && device !== name && { device }),
    ...(view.getUint32(dpPortInfo.gone, true) !== 0 && { gone: true as const }),
  };
}
