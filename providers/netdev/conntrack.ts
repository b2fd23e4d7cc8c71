// SPDX-License-Identifier: Apache-2.0
/**
 * Connections of a datapath of this process, over `dp_ct_*`.
 *
 * @module
 */
import { constants, dpCtEntry, dpCtLimit } from "../../ffi/layout.ts";
import { fromCString } from "../../ffi/memory.ts";
import type {
  Connection,
  ConnFilter,
  ConntrackEvent,
  ConntrackEventOptions,
  ConntrackFacet,
  Expectation,
  ZoneLimit,
  ZoneLimitState,
} from "../contract/conntrack.ts";
import { Errno } from "../errno.ts";
import type { CtZone } from "../ids.ts";
import { type Watch, WatchStream } from "../contract/watch_stream.ts";
import {
  readConnection,
  readExpectation,
  writeFilter,
  writeTuple,
} from "./connection.ts";
import { NetdevConntrackWatch } from "./conntrack_watch.ts";
import type { Context } from "./context.ts";
import { check } from "./library.ts";
import { NetdevTimeoutPolicies } from "./timeout_policies.ts";

/** Source NAT to the all-zero address is taken to mean "only avoid clashes". */
const CONNTRACK_F_ZERO_SNAT = 1;
const BATCH = 256;
const END = 0xffffffff;

type Limits = NonNullable<ConntrackFacet["limits"]>;
type ReadUint32 = () => number;

/** Connection tracking of one datapath. */
export class NetdevConntrack implements ConntrackFacet {
  readonly maxConnections: { get: ReadUint32; set(count: number): void };
  readonly tcpSequenceCheck: { get(): boolean; set(on: boolean): void };
  readonly sweepInterval: { get: ReadUint32; set(ms: number): void };
  readonly limits: Limits;
  readonly timeoutPolicies: NetdevTimeoutPolicies;
  readonly #context: Context;
  readonly #watches = new Set<NetdevConntrackWatch>();
  #counterNames: readonly string[] | undefined;

  constructor(context: Context) {
    this.#context = context;
    this.timeoutPolicies = new NetdevTimeoutPolicies(context);
    this.limits = new NetdevLimits(context);
    this.maxConnections = this.#setting("maximum of connections", constants.DP_CT_MAX);
    this.sweepInterval = this.#setting("sweep interval", constants.DP_CT_SWEEP_MS);
    const check = this.#setting("TCP sequence check", constants.DP_CT_TCP_SEQ_CHECK);
    this.tcpSequenceCheck = {
      get: () => check.get() !== 0,
      set: (on) => check.set(Number(on)),
    };
  }

  /**
   * Connections, a batch at a time as they are asked for: a loop that waits in between holds up
   * neither packets nor anything else. One that is there all the time is told exactly once.
   */
  *dump(options: { readonly zone?: CtZone } = {}): Iterable<Connection> {
    for (const batch of this.#batches(options.zone)) yield* batch;
  }

  async *connections(
    options: { readonly zone?: CtZone } = {},
  ): AsyncIterable<Connection> {
    for (const batch of this.#batches(options.zone)) {
      yield* batch;
      await new Promise((resolve) => setTimeout(resolve)); // Others have their turn.
    }
  }

  /** What helpers have announced, a batch at a time as it is asked for. */
  *expectations(options: { readonly zone?: CtZone } = {}): Iterable<Expectation> {
    const { symbols } = this.#context;
    const read = symbols.dp_ct_expected;
    for (const batch of this.#pages(options.zone, read, readExpectation)) yield* batch;
  }

  events(options: ConntrackEventOptions = {}): WatchStream<ConntrackEvent> {
    const open = (): Watch<ConntrackEvent> => {
      const watch = new NetdevConntrackWatch(
        this.#context,
        { ...options, zone: zoneNumber(options.zone) },
        () => this.#watches.delete(watch),
      );
      this.#watches.add(watch);
      return watch;
    };
    return new WatchStream(open, { ...signalOf(options), now: true });
  }

  /** Ends every stream of events. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([...this.#watches].map((watch) => watch.close()));
  }

  #batches(of: CtZone | undefined): Iterable<Connection[]> {
    return this.#pages(of, this.#context.symbols.dp_ct_dump, readConnection);
  }

  *#pages<T>(
    of: CtZone | undefined,
    dump: Context["symbols"]["dp_ct_dump"],
    readOne: (bytes: Uint8Array, at: number) => T,
  ): Iterable<T[]> {
    const { symbols, dp, subject } = this.#context;
    const zone = zoneNumber(of);
    const entries = new Uint8Array(BATCH * dpCtEntry.structSize);
    const count = new Uint32Array(1);
    const next = new Uint32Array(1);
    for (let at = 0; at !== END; at = next[0] ?? END) {
      const errno = dump(
        dp,
        zone,
        at,
        entries,
        entries.length,
        new Uint8Array(count.buffer),
        new Uint8Array(next.buffer),
      );
      check(symbols, errno, subject("list connections"));
      // Read at once: a loop may be left alone for long, and its connections should be of one time.
      const batch: T[] = [];
      for (let i = 0; i < (count[0] ?? 0); i++) {
        batch.push(readOne(entries, i * dpCtEntry.structSize));
      }
      yield batch;
    }
  }

  flush(options: ConnFilter = {}): void {
    const { symbols, dp, subject } = this.#context;
    const { zone, tuple } = options;
    const errno = tuple
      ? symbols.dp_ct_flush_tuple(dp, writeTuple(tuple, zone ?? 0))
      : symbols.dp_ct_flush_where(dp, writeFilter(options, zoneNumber(zone)));
    check(symbols, errno, subject("flush connections"));
  }

  count(): number {
    return Number(this.#get("count connections", constants.DP_CT_COUNT));
  }

  /** Open vSwitch's table reports one bucket, whatever it holds, and scripts read that. */
  buckets(): number {
    return 1;
  }

  features(): number {
    return CONNTRACK_F_ZERO_SNAT;
  }

  /** Counters of connection tracking, by name. */
  counters(): Record<string, bigint> {
    this.#counterNames ??= counterNames(this.#context);
    return Object.fromEntries(
      this.#counterNames.map((name, counter) => [
        `ct_${name}`,
        this.#get("read counters", constants.DP_CT_COUNTER + counter),
      ]),
    );
  }

  #setting(name: string, what: number): { get: ReadUint32; set(value: number): void } {
    const { symbols, dp, subject } = this.#context;
    return {
      get: () => Number(this.#get(`read ${name}`, what)),
      set: (value) => {
        if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
          throw new RangeError(`${name} must be from 0 to 4294967295: ${value}`);
        }
        check(symbols, symbols.dp_ct_set(dp, what, value), subject(`set ${name}`));
      },
    };
  }

  #get(operation: string, what: number): bigint {
    const { symbols, dp, subject } = this.#context;
    const value = new BigUint64Array(1);
    const errno = symbols.dp_ct_get(dp, what, new Uint8Array(value.buffer));
    check(symbols, errno, subject(operation));
    return value[0] ?? 0n;
  }
}

/** Limits of connections by zone. */
class NetdevLimits implements Limits {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  set(limits: readonly ZoneLimit[]): void {
    const { symbols, dp, subject } = this.#context;
    for (const { zone, limit } of limits) {
      const errno = symbols.dp_ct_limit_set(dp, limitNumber(zone), limit);
      check(symbols, errno, subject("set connection limits", `zone ${zone}`));
    }
  }

  /** Of a zone without one of its own, the default's limit and count, as Open vSwitch has it. */
  get(zones: readonly CtZone[] = []): ZoneLimitState[] {
    const all = this.#all();
    const standard = all.find(({ zone }) => zone === "default") ??
      { zone: "default", limit: 0, count: 0 };
    if (zones.length === 0) {
      return [standard, ...all.filter(({ zone }) => zone !== "default")];
    }
    zones.forEach(zoneNumber);
    return zones.map((zone) =>
      all.find((limit) => limit.zone === zone) ?? { ...standard, zone }
    );
  }

  delete(zones: readonly (CtZone | "default")[]): void {
    const { symbols, dp, subject } = this.#context;
    for (const zone of zones) {
      const errno = symbols.dp_ct_limit_delete(dp, limitNumber(zone));
      check(symbols, errno, subject("delete connection limits", `zone ${zone}`));
    }
  }

  #all(): ZoneLimitState[] {
    const { symbols, dp, subject } = this.#context;
    const bytes = new Uint8Array(dpCtLimit.structSize);
    const view = new DataView(bytes.buffer);
    const limits: ZoneLimitState[] = [];
    for (let from = 0;;) {
      const errno = symbols.dp_ct_limit_next(dp, from, bytes);
      if (errno === Errno.ENOENT) return limits;
      check(symbols, errno, subject("read connection limits"));
      const zone = view.getUint32(dpCtLimit.zone, true);
      limits.push({
        zone: zone === constants.DP_CT_DEFAULT ? "default" : zone,
        limit: view.getUint32(dpCtLimit.limit, true),
        count: view.getUint32(dpCtLimit.count, true),
      });
      from = zone + 1;
    }
  }
}

function signalOf({ signal }: ConntrackEventOptions): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

function counterNames({ symbols }: Context): string[] {
  const names: string[] = [];
  const name = new Uint8Array(64);
  while (symbols.dp_ct_counter_name(names.length, name, name.length) === 0) {
    names.push(fromCString(name));
  }
  return names;
}

function zoneNumber(zone: CtZone | undefined): number {
  if (zone === undefined) return END;
  if (!Number.isInteger(zone) || zone < 0 || zone > 0xffff) {
    throw new RangeError(`conntrack zone must be from 0 to 65535: it is ${zone}`);
  }
  return zone;
}

function limitNumber(zone: CtZone | "default"): number {
  return zone === "default" ? constants.DP_CT_DEFAULT : zoneNumber(zone);
}
