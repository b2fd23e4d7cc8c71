// SPDX-License-Identifier: Apache-2.0
/**
 * The object that users hold: a provider's datapath, with objects and text on top of its bytes.
 *
 * @module
 */
import type {
  BondFacet,
  CacheFacet,
  ConntrackFacet,
  DatapathStats,
  DropFacet,
  FeatureFacet,
  FragmentFacet,
  MeterFacet,
  OffloadFacet,
  OpResult,
  PollThreadFacet,
  ProviderDatapath,
  QueueFacet,
  RawUpcall,
  SampleFacet,
  TunnelFacet,
  UpcallCallbackFacet,
  UpcallControlFacet,
  UpcallHandler,
} from "./contract/mod.ts";
import { DatapathError } from "./errors.ts";
import { checkedFacet } from "./datapath_facets.ts";
import { Flows } from "./datapath_flows.ts";
import { integer } from "./check.ts";
import { Ports } from "./datapath_ports.ts";
import { operateApart } from "./operate_apart.ts";
import {
  type Execute,
  type Op,
  type Result,
  toProviderOp,
  toRawVerdicts,
  toResult,
  type Verdict,
  verdictOp,
  verdictResult,
} from "./operations.ts";
import { Upcall } from "./upcall.ts";
import { UpcallTaps } from "./upcall_taps.ts";
import {
  UpcallBatchStream,
  UpcallStream,
  type UpcallStreamOptions,
} from "./contract/upcall_stream.ts";

/** Which upcalls to take, and how. */
export interface UpcallOptions extends UpcallStreamOptions {
  /** Number of the handler, from 0 to one less than was given to `setHandlers`; 0 if absent. */
  readonly handler?: number;
}

/**
 * An open datapath.
 *
 * Operations on tables are synchronous; those that wait for devices or threads return promises.
 * Every failure is a `DatapathError`; after `close()` every call fails with `EBADF`.
 *
 * **Threads:** an object belongs to the isolate that opened it. A Worker opens the same datapath by
 * its name.
 */
export class Datapath implements AsyncDisposable {
  /** Kind of datapath, `netdev`. */
  readonly type: string;
  /** Name without the kind, `br0`. */
  readonly name: string;
  /** Ports. */
  readonly ports: Ports;
  /** Flow table. */
  readonly flows: Flows;
  readonly #provider: ProviderDatapath;
  readonly #onClosed: () => void;
  readonly #streams = new Set<UpcallBatchStream<Upcall>>();
  readonly #dependants = new Set<Disposable | AsyncDisposable>();
  /** A handler ends with its datapath, and its stream soon after it. */
  readonly #taps = new UpcallTaps(() => this.#destroying !== undefined);
  #closing: Promise<void> | undefined;
  #destroying: Promise<void> | undefined;

  /** Made by `openDatapath`. `onClosed` is called once, when the datapath was closed. */
  constructor(provider: ProviderDatapath, onClosed: () => void = () => {}) {
    this.type = provider.type;
    this.name = provider.name;
    this.#provider = provider;
    this.#onClosed = onClosed;
    const open = (operation: string): ProviderDatapath => this.#open(operation);
    this.ports = new Ports(provider, open);
    this.flows = new Flows(this, open);
  }

  /** Name with the kind, `netdev@br0`. */
  get fullName(): string {
    return `${this.type}@${this.name}`;
  }

  /** Whether `close` or `destroy` was called. */
  get closed(): boolean {
    return this.#closing !== undefined || this.#destroying !== undefined;
  }

  /**
   * Runs all of `ops` in order, and returns a result for each, in order. A failed operation does
   * not throw: its error is in its result. Wrong arguments throw before anything is run.
   */
  operate(ops: readonly Op[]): Result[] {
    const provider = this.#open("operate");
    const wanted = ops.map(toProviderOp);
    const done = provider.putsPackets === true
      ? provider.operate(wanted)
      : operateApart(provider, wanted);
    const name = this.fullName;
    const results = new Array<Result>(done.length);
    for (let i = 0; i < done.length; i++) {
      results[i] = toResult(done[i] as OpResult, ops[i] as Op, name);
    }
    return results;
  }

  /**
   * Answers upcalls. `decide` gives a verdict on each: a flow is put and the packet executed, as by
   * "put" with a packet. Without a verdict the packet is dropped.
   *
   * Returns results in the order of `upcalls`, undefined for those without a verdict. That the flow
   * is there already is a success, unless `modify` says otherwise: of 200 packets of one new flow
   * that come up together one puts it. An error that `decide` throws comes out before anything is
   * done.
   *
   * This is the shortest way for a batch that was just received: neither keys nor packets are
   * copied back, so the program must not have changed them (to send other bytes, use `operate`). It
   * is shorter still when `decide` gives the same mask, and the same verdict, again.
   */
  answer(
    upcalls: readonly Upcall[],
    decide: (upcall: Upcall) => Verdict | undefined,
  ): (Result | undefined)[] {
    const provider = this.#open("answer upcalls");
    const count = upcalls.length;
    const verdicts = new Array<Verdict | undefined>(count);
    const raws = new Array<RawUpcall>(count);
    for (let i = 0; i < count; i++) {
      const upcall = upcalls[i] as Upcall;
      verdicts[i] = decide(upcall);
      raws[i] = upcall.raw;
    }
    const toPut = (i: number): Op | undefined => {
      const verdict = verdicts[i];
      return verdict && verdictOp(verdict, upcalls[i] as Upcall);
    };
    const done = provider.verdicts?.give(raws, toRawVerdicts(verdicts));
    if (done === undefined) {
      const ops = verdicts.map((_, i) => toPut(i));
      const results = this.operate(ops.filter((op) => op !== undefined)).values();
      return ops.map((op, i) => op && verdictResult(results.next().value, verdicts[i]));
    }
    // In place: results of operations that went well are passed on as they are.
    const results = done as (Result | undefined)[];
    for (let i = 0; i < count; i++) {
      const result = done[i];
      if (result === undefined || result.ok) continue;
      const failed = toResult(result, toPut(i) as Op, this.fullName);
      results[i] = verdictResult(failed, verdicts[i]);
    }
    return results;
  }

  /** Runs actions on a packet. */
  execute(execute: Execute): void {
    const [result] = this.operate([{ ...execute, op: "execute" }]);
    if (result?.ok === false) throw result.error;
  }

  /**
   * Upcalls one by one. The handler is opened by this call, so no upcall is lost before the loop
   * starts.
   */
  upcalls(options: UpcallOptions = {}): UpcallStream<Upcall> {
    return new UpcallStream(this.upcallBatches(options));
  }

  /** Upcalls in arrays of up to `batch`. This is faster: one await for many upcalls. */
  upcallBatches(options: UpcallOptions = {}): UpcallBatchStream<Upcall> {
    const { upcalls } = this.#open("receive upcalls");
    const { handler = 0 } = options;
    integer("handler", handler, 0xffffffff);
    const wrap = (raw: RawUpcall): Upcall => new Upcall(raw);
    const open = (): UpcallHandler => {
      upcalls.setReceive(true);
      return this.#taps.before(upcalls.handler(handler));
    };
    const stream: UpcallBatchStream<Upcall> = new UpcallBatchStream(
      open,
      { ...options, wrap, onEnd: () => this.#streams.delete(stream) },
    );
    this.#streams.add(stream);
    return stream;
  }

  /**
   * Shows every upcall of this object's streams to `see` before the loop gets it. If `see` returns
   * true the loop does not get the upcall. Ends when the returned object is disposed of. For tools
   * that look at traffic without being part of the program.
   */
  tap(see: (upcall: RawUpcall) => boolean): Disposable {
    this.#open("tap upcalls");
    return this.#taps.add(see);
  }

  /** Number of handlers that the datapath wants; undefined if any number will do. */
  handlersRequired(): number | undefined {
    return this.#open("count handlers").upcalls.required?.();
  }

  /** Spreads upcalls over `count` handlers. Each has one stream, here or in a Worker. */
  setHandlers(count: number): void {
    integer("number of handlers", count, 0xffffffff, 1);
    this.#open("set handlers").upcalls.setHandlers(count);
  }

  /** Drops the upcalls that are waiting. */
  purgeUpcalls(): void {
    this.#open("purge upcalls").upcalls.purge();
  }

  /** Counters. */
  stats(): DatapathStats {
    return this.#open("read statistics").stats();
  }

  /** Version of the datapath's code; undefined when not known. */
  version(): string | undefined {
    return this.#open("read version").version();
  }

  /** Does periodic work, if the provider has any. True: flows should be validated again. */
  run(): boolean {
    return this.#open("run").run?.() ?? false;
  }

  /**
   * Resolves when `run` has work; never resolves if the provider has none. Rejects with the
   * signal's reason.
   */
  wait(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const provider = this.#open("wait");
    if (provider.wait !== undefined) return provider.wait(options);
    return new Promise((_, reject) => {
      const { signal } = options;
      if (signal?.aborted) reject(signal.reason);
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }

  /** Sets keys of `other_config`. `EOPNOTSUPP`: the provider has no settings. */
  setConfig(config: Readonly<Record<string, string>>): Promise<void> {
    const provider = this.#open("configure");
    if (provider.setConfig !== undefined) return provider.setConfig(config);
    return Promise.reject(
      new DatapathError({
        operation: "configure datapath",
        datapath: this.fullName,
        code: "EOPNOTSUPP",
      }),
    );
  }

  /**
   * Ends `dependant` with this object. It is disposed of when this object closes or destroys its
   * datapath, after the upcall streams have ended; the dependant that was added last goes first.
   * Operations fail with `EBADF` by then. If it throws, `close` or `destroy` throws that error
   * after everything else has been let go.
   *
   * Meant for objects that work on a datapath while it is open, such as a control socket or a
   * switch. Dispose of the returned object to detach `dependant`, which is then left alone.
   */
  onClose(dependant: Disposable | AsyncDisposable): Disposable {
    this.#open("attach to datapath");
    this.#dependants.add(dependant);
    return { [Symbol.dispose]: () => void this.#dependants.delete(dependant) };
  }

  /**
   * Closes this object and ends its upcall streams. A datapath in the kernel goes on forwarding.
   * Idempotent.
   */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  /**
   * Removes the datapath and its ports, also from others who have it open, and closes this object.
   * Idempotent. A failure to remove it leaves this object open, and a further call tries again.
   */
  destroy(): Promise<void> {
    if (this.#closing !== undefined) {
      return this.#destroying ?? Promise.reject(this.#closedError("destroy datapath"));
    }
    return this.#destroying ??= this.#destroy();
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Feature bits. */
  get features(): FeatureFacet | undefined {
    return checkedFacet(this.#open("use features"), "features");
  }
  /** Enabling and disabling upcalls. */
  get upcallControl(): UpcallControlFacet | undefined {
    return this.#open("use upcall control").upcallControl;
  }
  /** Purge and direct-upcall callbacks. */
  get callbacks(): UpcallCallbackFacet | undefined {
    return this.#open("use callbacks").callbacks;
  }
  /** Poll threads. */
  get pollThreads(): PollThreadFacet | undefined {
    return checkedFacet(this.#open("use poll threads"), "pollThreads");
  }
  /** Queues. */
  get queues(): QueueFacet | undefined {
    return checkedFacet(this.#open("use queues"), "queues");
  }
  /** Connection tracking. */
  get conntrack(): ConntrackFacet | undefined {
    return checkedFacet(this.#open("use conntrack"), "conntrack");
  }
  /** Meters. */
  get meters(): MeterFacet | undefined {
    return checkedFacet(this.#open("use meters"), "meters");
  }
  /** Fragments. */
  get fragments(): FragmentFacet | undefined {
    return checkedFacet(this.#open("use fragments"), "fragments");
  }
  /** Routing of tunnels, where it is not the kernel's own affair. */
  get tunnels(): TunnelFacet | undefined {
    return checkedFacet(this.#open("use tunnels"), "tunnels");
  }
  /** Bonds. */
  get bonds(): BondFacet | undefined {
    return checkedFacet(this.#open("use bonds"), "bonds");
  }
  /** Packets that are dropped. */
  get drops(): DropFacet | undefined {
    return this.#open("use drops").drops;
  }
  /** Packets that `psample` actions see. */
  get samples(): SampleFacet | undefined {
    return this.#open("use samples").samples;
  }
  /** Lookup caches. */
  get caches(): CacheFacet | undefined {
    return checkedFacet(this.#open("use caches"), "caches");
  }
  /** Hardware offload. */
  get offload(): OffloadFacet | undefined {
    return this.#open("use offload").offload;
  }

  #open(operation: string): ProviderDatapath {
    if (this.closed) throw this.#closedError(operation);
    return this.#provider;
  }

  #closedError(operation: string): DatapathError {
    return new DatapathError({
      operation,
      datapath: this.fullName,
      code: "EBADF",
      detail: "datapath is closed",
    });
  }

  /**
   * Ends everything that depends on this object. A failure of one does not keep the others from
   * ending.
   */
  async #endDependants(): Promise<void> {
    const errors: unknown[] = [];
    this.flows.endListings();
    const ends = [...this.#streams].map((stream) => stream.close());
    for (const end of await Promise.allSettled(ends)) {
      if (end.status === "rejected") errors.push(end.reason);
    }
    for (const dependant of [...this.#dependants].reverse()) {
      this.#dependants.delete(dependant);
      try {
        if (Symbol.asyncDispose in dependant) await dependant[Symbol.asyncDispose]();
        else dependant[Symbol.dispose]();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }

  async #close(): Promise<void> {
    await this.#destroying?.catch(() => {});
    await this.#endDependants().finally(() => this.#letGo());
  }

  #letGo(): Promise<void> {
    return this.#provider.close().finally(this.#onClosed);
  }

  async #destroy(): Promise<void> {
    // The count is the handler's, which the provider closes with the datapath.
    for (const stream of this.#streams) void stream.lost;
    try {
      await this.#provider.destroy();
    } catch (error) {
      this.#destroying = undefined;
      throw error;
    }
    await this.#endDependants().finally(async () => {
      // A close() that waits for this one lets go itself.
      if (this.#closing === undefined) await (this.#closing = this.#letGo());
    });
  }
}
