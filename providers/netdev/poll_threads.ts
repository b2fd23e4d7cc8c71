// SPDX-License-Identifier: Apache-2.0
/**
 * Poll threads of a datapath of this process.
 *
 * @module
 */
import { constants, dpPollThreadInfo, dpRxqInfo } from "../../ffi/layout.ts";
import type {
  PollThread,
  PollThreadFacet,
  PollThreadOptions,
  RxqAssignment,
} from "../contract/poll_threads.ts";
import { Errno } from "../errno.ts";
import { DatapathError } from "../errors.ts";
import type { PmdId } from "../ids.ts";
import type { Context } from "./context.ts";
import { check, waitedFailure } from "./library.ts";
import { NetdevPollFigures } from "./poll_figures.ts";
import { rebalance } from "./rebalance.ts";

const { ENOENT } = Errno;

/** Told of poll threads that are about to go. */
export interface PurgeListener {
  purge(pmd: PmdId): void;
}

/** Poll threads over `dp_poll_threads_set` and its neighbours. */
export class NetdevPollThreads implements PollThreadFacet {
  readonly #context: Context;
  readonly #listener: PurgeListener;
  readonly figures: NetdevPollFigures;
  #setting: Promise<number> | undefined;

  constructor(context: Context, listener: PurgeListener) {
    this.#context = context;
    this.#listener = listener;
    this.figures = new NetdevPollFigures(context, () => this.dump());
  }

  async set(mask: string, options: PollThreadOptions = {}): Promise<void> {
    const { symbols, dp, subject } = this.#context;
    const what = subject("set poll threads", mask);
    const cores = parseMask(mask, what);
    const maxSleepUs = options.maxSleepUs ?? constants.DP_POLL_SLEEP_US;
    if (
      !Number.isInteger(maxSleepUs) || maxSleepUs < 0 ||
      maxSleepUs > constants.DP_POLL_SLEEP_MAX_US
    ) {
      throw new RangeError(
        `maxSleepUs must be an integer from 0 to ${constants.DP_POLL_SLEEP_MAX_US}: ` +
          `current value is ${maxSleepUs}`,
      );
    }
    for (const { core } of this.dump()) {
      if ((cores >> BigInt(core) & 1n) === 0n) this.#listener.purge(core);
    }
    // One after the other: the choice of cores is the handle's.
    const before = this.#setting;
    const set = (async () => {
      await before?.catch(() => {});
      const bytes = maskBytes(cores);
      check(symbols, symbols.dp_poll_threads_choose(dp, bytes, bytes.length), what);
      return await symbols.dp_poll_threads_set(dp, 0n, 0n, maxSleepUs);
    })();
    this.#setting = set;
    const errno = await set;
    if (errno !== 0) throw waitedFailure(symbols, errno, what, { dp });
  }

  rebalance(): Promise<void> {
    return rebalance(this.#context);
  }

  dump(): readonly PollThread[] {
    const rxqs = this.#rxqs();
    const { symbols, dp, subject } = this.#context;
    const threads: PollThread[] = [];
    const info = new Uint8Array(dpPollThreadInfo.structSize);
    for (let core = 0;;) {
      const errno = symbols.dp_poll_thread_next(dp, core, info);
      if (errno === ENOENT) return threads;
      check(symbols, errno, subject("list poll threads"));
      const thread = readThread(new DataView(info.buffer), rxqs);
      threads.push(thread);
      core = thread.core + 1;
    }
  }

  /** Receive queues by the core that polls them. */
  #rxqs(): ReadonlyMap<number, RxqAssignment[]> {
    const { symbols, dp, subject } = this.#context;
    const byCore = new Map<number, RxqAssignment[]>();
    const info = new Uint8Array(dpRxqInfo.structSize);
    const view = new DataView(info.buffer);
    for (let index = 0;; index++) {
      const errno = symbols.dp_rxq_get(dp, index, info);
      if (errno === ENOENT) return byCore;
      check(symbols, errno, subject("list receive queues"));
      const core = view.getUint32(dpRxqInfo.core, true);
      const queues = byCore.get(core) ?? [];
      const pinned = view.getUint32(dpRxqInfo.pin, true);
      queues.push({
        port: view.getUint32(dpRxqInfo.port, true),
        queue: view.getUint32(dpRxqInfo.queue, true),
        packets: view.getBigUint64(dpRxqInfo.packets, true),
        cycles: view.getBigUint64(dpRxqInfo.cycles, true),
        index,
        ...(pinned !== 0xffffffff && { pinned }),
      });
      byCore.set(core, queues);
    }
  }
}

function readThread(
  view: DataView,
  rxqs: ReadonlyMap<number, RxqAssignment[]>,
): PollThread {
  const core = view.getUint32(dpPollThreadInfo.core, true);
  const u64 = (at: number): bigint => view.getBigUint64(at, true);
  return {
    core,
    numa: view.getUint32(dpPollThreadInfo.numa, true),
    isolated: view.getUint32(dpPollThreadInfo.isolated, true) !== 0,
    maxSleepUs: view.getUint32(dpPollThreadInfo.maxSleepUs, true),
    rxqs: rxqs.get(core) ?? [],
    cycles: {
      busy: u64(dpPollThreadInfo.cyclesBusy),
      idle: u64(dpPollThreadInfo.cyclesIdle),
      sleep: u64(dpPollThreadInfo.cyclesSleep),
      upcall: u64(dpPollThreadInfo.cyclesUpcall),
    },
    counters: {
      packets: u64(dpPollThreadInfo.packets),
      hit: u64(dpPollThreadInfo.hit),
      missed: u64(dpPollThreadInfo.missed),
      lost: u64(dpPollThreadInfo.lost),
      recirculated: u64(dpPollThreadInfo.recirculated),
      mask_hit: u64(dpPollThreadInfo.maskHit),
      rx_batches: u64(dpPollThreadInfo.rxBatches),
      tx_packets: u64(dpPollThreadInfo.txPackets),
      tx_batches: u64(dpPollThreadInfo.txBatches),
      iterations: u64(dpPollThreadInfo.iterations),
      iterations_busy: u64(dpPollThreadInfo.iterationsBusy),
      sleeps: u64(dpPollThreadInfo.sleeps),
      woken: u64(dpPollThreadInfo.woken),
    },
  };
}

/** Cores of a hexadecimal mask; none: the default. */
function parseMask(mask: string, subject: ReturnType<Context["subject"]>): bigint {
  const digits = mask.replace(/^0x/i, "");
  if (digits === "" && mask.length !== 2) return 0n;
  if (!/^0*[0-9a-f]{1,256}$/i.test(digits)) {
    throw new DatapathError({
      ...subject,
      code: "EINVAL",
      detail: "it must be a hexadecimal mask of up to 1024 cores",
    });
  }
  return BigInt(`0x${digits}`);
}

/** A mask as the library takes it: bit `i % 8` of byte `i / 8` is core `i`. */
function maskBytes(cores: bigint): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  for (let rest = cores; rest > 0n; rest >>= 8n) bytes.push(Number(rest & 0xffn));
  return new Uint8Array(bytes);
}
