// SPDX-License-Identifier: Apache-2.0
/**
 * A datapath of this process, as one handle on it.
 *
 * @module
 */
import { constants, dpStats } from "../../ffi/layout.ts";
import { cString } from "../../ffi/memory.ts";
import type {
  DatapathStats,
  OpenOptions,
  ProviderDatapath,
} from "../contract/provider.ts";
import type { OpResult, ProviderOp } from "../contract/flows.ts";
import type { PollThreadFacet } from "../contract/poll_threads.ts";
import type { QueueFacet } from "../contract/devices.ts";
import type { UpcallCallbackFacet, UpcallControlFacet } from "../contract/upcalls.ts";
import { Errno } from "../errno.ts";
import { DatapathError, type OperationContext } from "../errors.ts";
import { NetdevBonds } from "./bonds.ts";
import { dropName, NetdevDrops } from "./drops.ts";
import { NetdevSamples } from "./samples.ts";
import { NetdevCallbacks } from "./callbacks.ts";
import { NetdevConntrack } from "./conntrack.ts";
import type { Context } from "./context.ts";
import { NetdevFlows } from "./flows.ts";
import { NetdevFragments } from "./fragments.ts";
import {
  check,
  type HeldLibrary,
  holdLibrary,
  settingLines,
  startEal,
  type Symbols,
  waitedFailure,
} from "./library.ts";
import { NetdevMeters } from "./meters.ts";
import { NetdevPollThreads } from "./poll_threads.ts";
import { NetdevPorts } from "./ports.ts";
import { NetdevTunnels } from "./tunnels/facet.ts";
import type { OwnHandle } from "./tunnels/manager.ts";
import { NetdevUpcalls } from "./upcalls.ts";
import { NetdevVerdicts } from "./verdicts.ts";

/** Settings for `openDatapath(…, { config })`. */
interface Config {
  /** Kind of port 0 of a new datapath: `dummy` (default), `tap`, `null`; `none`: no port 0. */
  readonly local: string;
  /** Poll threads, as for `pollThreads.set`; absent: as they are, at first one. */
  readonly pollThreads: string | undefined;
  /** Longest nap of an idle poll thread, microseconds. */
  readonly maxSleepUs: number | undefined;
  /** Arguments of EAL, one a line; counts for the first datapath of the process. */
  readonly eal: string | undefined;
  /** Library to use, instead of the one that is found or built. */
  readonly library: string | undefined;
}

const configTypes = {
  local: "string",
  pollThreads: "string",
  maxSleepUs: "number",
  eal: "string",
  library: "string",
} as const satisfies Record<keyof Config, string>;

/** A datapath over `c/dp.h`. */
export class NetdevDatapath implements ProviderDatapath {
  readonly type = "netdev";
  readonly putsPackets = true;
  readonly name: string;
  readonly ports: NetdevPorts;
  readonly flows: NetdevFlows;
  readonly upcalls: NetdevUpcalls;
  readonly verdicts: NetdevVerdicts;
  readonly pollThreads: PollThreadFacet;
  readonly callbacks: UpcallCallbackFacet;
  readonly upcallControl: UpcallControlFacet;
  readonly conntrack: NetdevConntrack;
  readonly fragments: NetdevFragments;
  readonly meters: NetdevMeters;
  readonly bonds: NetdevBonds;
  readonly tunnels: NetdevTunnels;
  readonly drops: NetdevDrops;
  readonly samples: NetdevSamples;
  /** In userspace a queue's priority is its number. */
  readonly queues: QueueFacet = { toPriority: (queue) => queue };
  readonly #context: Context;
  readonly #library: HeldLibrary;
  readonly #pollThreads: NetdevPollThreads;
  readonly #callbacks: NetdevCallbacks;
  #closing: Promise<void> | undefined;
  #destroying: Promise<void> | undefined;

  /** Opens the datapath `name`, or makes it. */
  static async open(name: string, options: OpenOptions): Promise<NetdevDatapath> {
    const fullName = `netdev@${name}`;
    const subject = { operation: "open datapath", object: fullName };
    const config = readConfig(options.config ?? {}, subject);
    const { onNotice } = options;
    const notice = onNotice && { onNotice };
    const library = await holdLibrary(subject, {
      ...(config.library !== undefined && { path: config.library }),
      ...notice,
    });
    try {
      const { symbols } = library;
      await startEal(symbols, subject, {
        ...(config.eal !== undefined && { args: config.eal }),
        ...notice,
      });
      const dp = openHandle(symbols, name, options.create ?? false, subject);
      const datapath = new NetdevDatapath(name, dp, library);
      if (options.create) await datapath.#setUp(config);
      datapath.tunnels.startIfNeeded(datapath.ports.dump());
      return datapath;
    } catch (error) {
      library.release();
      throw error;
    }
  }

  private constructor(name: string, dp: bigint, library: HeldLibrary) {
    const { symbols } = library;
    const fullName = `netdev@${name}`;
    const context: Context = {
      symbols,
      dp,
      fullName,
      subject: (operation, object) => ({ operation, datapath: fullName, object }),
    };
    this.name = name;
    this.#context = context;
    this.#library = library;
    this.tunnels = new NetdevTunnels(context, () => ownHandle(context, name));
    this.ports = new NetdevPorts(
      context,
      () => this.tunnels.startIfNeeded(this.ports.dump()),
    );
    this.flows = new NetdevFlows(context);
    this.upcalls = new NetdevUpcalls(context);
    this.verdicts = new NetdevVerdicts(context);
    this.conntrack = new NetdevConntrack(context);
    this.fragments = new NetdevFragments(context);
    this.meters = new NetdevMeters(context);
    this.bonds = new NetdevBonds(context);
    this.drops = new NetdevDrops(context);
    this.samples = new NetdevSamples(context);
    this.#callbacks = this.callbacks = new NetdevCallbacks(context, this);
    this.#pollThreads = this.pollThreads = new NetdevPollThreads(
      context,
      this.#callbacks,
    );
    const enable = (on: number): void =>
      check(symbols, symbols.dp_upcall_enable(dp, on), context.subject("enable upcalls"));
    this.upcallControl = { enable: () => enable(1), disable: () => enable(0) };
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  destroy(): Promise<void> {
    return this.#destroying ??= this.#destroy().catch((error) => {
      this.#destroying = undefined; // It may be tried again.
      throw error;
    });
  }

  stats(): DatapathStats {
    const { symbols, dp, subject } = this.#context;
    const bytes = new Uint8Array(dpStats.structSize);
    check(symbols, symbols.dp_stats_get(dp, bytes), subject("read statistics"));
    const view = new DataView(bytes.buffer);
    const u64 = (at: number): bigint => view.getBigUint64(at, true);
    const counters: Record<string, bigint> = {
      received: u64(dpStats.received),
      recirculated: u64(dpStats.recirculated),
      upcalls_handled: u64(dpStats.upcallsHandled),
      upcalls_purged: u64(dpStats.upcallsPurged),
      validator_mismatches: u64(dpStats.validatorMismatches),
    };
    const drops = Math.min(
      view.getUint32(dpStats.dropCount, true),
      constants.DP_DROP_MAX,
    );
    for (let reason = 0; reason < drops; reason++) {
      counters[`drop_${dropName(symbols, reason)}`] = u64(dpStats.drops + 8 * reason);
    }
    Object.assign(counters, this.conntrack.counters(), this.fragments.counters());
    return {
      hit: u64(dpStats.hit),
      missed: u64(dpStats.missed),
      lost: u64(dpStats.lost),
      flows: view.getUint32(dpStats.flows, true),
      masks: view.getUint32(dpStats.masks, true),
      maskHit: u64(dpStats.maskHit),
      counters,
    };
  }

  version(): string {
    return "<built-in>"; // As Open vSwitch says of its own userspace datapath.
  }

  async setConfig(config: Readonly<Record<string, string>>): Promise<void> {
    const { symbols, dp, subject } = this.#context;
    const errno = symbols.dp_set_config(dp, cString(settingLines(config)));
    check(symbols, errno, subject("configure datapath"));
    if (Object.keys(config).some((key) => key.startsWith("pmd-rxq-"))) {
      await this.#pollThreads.rebalance();
    }
  }

  operate(ops: readonly ProviderOp[]): OpResult[] {
    return this.flows.operate(ops);
  }

  /** What a new datapath needs; another isolate may be about to do the same. */
  async #setUp(config: Config): Promise<void> {
    try {
      if (config.local !== "none" && this.ports.get(0) === undefined) {
        await this.ports.add({ name: this.name, type: config.local, no: 0 })
          .catch((error: unknown) => {
            if (!(error instanceof DatapathError) || error.code !== "EBUSY") throw error;
          });
      }
      const { pollThreads = "", maxSleepUs } = config;
      const asked = pollThreads !== "" || maxSleepUs !== undefined;
      if (asked || this.#pollThreads.dump().length === 0) {
        await this.#pollThreads.set(
          pollThreads,
          maxSleepUs === undefined ? {} : { maxSleepUs },
        );
      }
    } catch (error) {
      await this.#letGo();
      throw error;
    }
  }

  async #close(): Promise<void> {
    try {
      await this.#destroying?.catch(() => {});
      await this.#letGo();
    } finally {
      this.#library.release();
    }
  }

  async #letGo(): Promise<void> {
    const { symbols, dp, subject } = this.#context;
    // The handle is given back whatever becomes of the rest.
    const quiet = await Promise.allSettled([this.#quiet()]);
    const errno = await symbols.dp_close(dp);
    // If the datapath was destroyed its handle is stale, and there is nothing left to close.
    if (errno !== 0 && errno !== Errno.EBADF) {
      throw waitedFailure(symbols, errno, subject("close datapath"), { dp });
    }
    for (const end of quiet) if (end.status === "rejected") throw end.reason;
  }

  async #destroy(): Promise<void> {
    const { symbols, dp, subject } = this.#context;
    this.#callbacks.purgeAll(this.#pollThreads.dump());
    await this.#quiet(true);
    const errno = await symbols.dp_destroy(dp);
    if (errno !== 0) {
      throw waitedFailure(symbols, errno, subject("destroy datapath"), { dp });
    }
  }

  /**
   * Ends every wait of this isolate on the datapath: none may be under way when its handle goes.
   */
  async #quiet(isDestroyed = false): Promise<void> {
    const ends = [
      ...await Promise.allSettled([
        this.#callbacks.close(),
        this.tunnels.close(isDestroyed),
      ]),
      ...await Promise.allSettled([
        this.upcalls.close(),
        this.ports.close(),
        this.conntrack.close(),
      ]),
    ];
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }
}

/** A further handle on the datapath of `context`. */
function ownHandle(context: Context, name: string): OwnHandle {
  const { symbols, fullName } = context;
  const dp = openHandle(symbols, name, false, context.subject("manage tunnels"));
  return {
    context: { ...context, dp },
    async close() {
      const errno = await symbols.dp_close(dp);
      if (errno === 0 || errno === Errno.EBADF) return;
      const subject = { operation: "close datapath", object: fullName };
      throw waitedFailure(symbols, errno, subject, { dp });
    },
  };
}

function openHandle(
  symbols: Symbols,
  name: string,
  create: boolean | "exclusive",
  subject: OperationContext,
): bigint {
  if (new TextEncoder().encode(name).length >= constants.DP_NAME_SIZE) {
    throw new DatapathError({ ...subject, code: "ENAMETOOLONG" });
  }
  const flags = (create ? constants.DP_CREATE : 0) |
    (create === "exclusive" ? constants.DP_EXCLUSIVE : 0);
  const handle = new BigUint64Array(1);
  check(
    symbols,
    symbols.dp_open(cString(name), flags, new Uint8Array(handle.buffer)),
    subject,
  );
  return handle[0] as bigint;
}

function readConfig(
  given: NonNullable<OpenOptions["config"]>,
  subject: OperationContext,
): Config {
  for (const [name, value] of Object.entries(given)) {
    const wanted = Object.hasOwn(configTypes, name)
      ? configTypes[name as keyof Config]
      : undefined;
    if (wanted !== undefined && typeof value === wanted) continue;
    const detail = wanted === undefined
      ? `there is no setting "${name}" (there are: ${
        Object.keys(configTypes).join(", ")
      })`
      : `setting "${name}" must be a ${wanted}`;
    throw new DatapathError({ ...subject, code: "EINVAL", detail });
  }
  const config = given as Partial<Config>;
  return {
    local: config.local ?? "dummy",
    pollThreads: config.pollThreads,
    maxSleepUs: config.maxSleepUs,
    eal: config.eal,
    library: config.library,
  };
}
