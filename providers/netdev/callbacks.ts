// SPDX-License-Identifier: Apache-2.0
/**
 * Callbacks of a datapath of this process into the program: purge, and direct upcalls.
 *
 * C never calls TypeScript. A native function is called by the poll thread itself; a TypeScript
 * function is served by a loop over handler 0, which therefore has no other reader meanwhile.
 *
 * @module
 */
import type { OpResult, ProviderOp } from "../contract/flows.ts";
import type {
  DirectUpcall,
  DirectVerdict,
  RawUpcall,
  UpcallCallbackFacet,
} from "../contract/upcalls.ts";
import type { PollThread } from "../contract/poll_threads.ts";
import type { PmdId } from "../ids.ts";
import { UpcallBatchStream } from "../contract/upcall_stream.ts";
import type { Context } from "./context.ts";
import { check } from "./library.ts";
import type { PurgeListener } from "./poll_threads.ts";
import type { NetdevUpcalls } from "./upcalls.ts";

/** What the loop needs of its datapath. */
interface Served {
  readonly upcalls: NetdevUpcalls;
  operate(ops: readonly ProviderOp[]): OpResult[];
}

type Decide = (upcall: RawUpcall) => DirectVerdict | undefined;

/** Callbacks, of which there is one of a kind for each handle on a datapath. */
export class NetdevCallbacks implements UpcallCallbackFacet, PurgeListener {
  readonly #context: Context;
  readonly #datapath: Served;
  #onPurge: ((pmd: PmdId) => void) | undefined;
  #decide: Decide | undefined;
  #stream: UpcallBatchStream<RawUpcall> | undefined;
  /** Settles when the handler of the last loop was given back. */
  #stopped: Promise<void> | undefined;
  #native = false;

  constructor(context: Context, datapath: Served) {
    this.#context = context;
    this.#datapath = datapath;
  }

  onPurge(callback: ((pmd: PmdId) => void) | undefined): void {
    this.#onPurge = callback;
  }

  onUpcall(callback: DirectUpcall | undefined): void {
    const decide = typeof callback === "function" ? callback : undefined;
    if (decide === undefined) this.#stop();
    this.#decide = decide;
    if (this.#native) this.#setNative(0n, 0n);
    if (decide !== undefined) {
      this.#start();
    } else if (typeof callback === "object") {
      const { native, aux = null } = callback;
      this.#setNative(Deno.UnsafePointer.value(native), Deno.UnsafePointer.value(aux));
    }
  }

  /** Tells the program that a poll thread's flows go. */
  purge(pmd: PmdId): void {
    this.#onPurge?.(pmd);
  }

  /** Tells the program that all flows go. */
  purgeAll(threads: readonly PollThread[]): void {
    for (const { core } of threads) this.purge(core);
  }

  /** Ends the loop, and returns when its handler was given back. */
  async close(): Promise<void> {
    this.#decide = undefined;
    this.#stop();
    await this.#stopped;
  }

  #start(): void {
    if (this.#stream !== undefined) return;
    if (this.#stopped !== undefined) {
      // The handler is not free before its last wait has ended.
      void this.#stopped.then(() => this.#decide && this.#start());
      return;
    }
    const handler = this.#datapath.upcalls.handler(0);
    this.#stream = new UpcallBatchStream(() => handler, { wrap: (raw) => raw });
    // Not caught: what the program's function throws is the program's uncaught error.
    void this.#serve(this.#stream);
  }

  #stop(): void {
    if (this.#stream === undefined) return;
    const stopped = this.#stream.close().then(() => {
      if (this.#stopped === stopped) this.#stopped = undefined;
    });
    this.#stopped = stopped;
    this.#stream = undefined;
  }

  #setNative(callback: bigint, aux: bigint): void {
    const { symbols, dp, subject } = this.#context;
    const errno = symbols.dp_upcall_direct(dp, callback, aux);
    check(symbols, errno, subject("set upcall callback"));
    this.#native = callback !== 0n;
  }

  async #serve(stream: UpcallBatchStream<RawUpcall>): Promise<void> {
    for await (const upcalls of stream) {
      const ops: ProviderOp[] = [];
      for (const upcall of upcalls) {
        const verdict = this.#decide?.(upcall);
        if (verdict === undefined) continue;
        const { key, packet, hash } = upcall;
        const { actions, mask } = verdict;
        ops.push({
          op: "execute",
          packet,
          key,
          actions,
          ...(hash !== undefined && { hash }),
        });
        if (mask !== undefined && upcall.kind === "miss") {
          ops.push({ op: "put", key, mask, actions, create: true, modify: false });
        }
      }
      this.#datapath.operate(ops);
    }
  }
}
