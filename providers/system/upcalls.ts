// SPDX-License-Identifier: Apache-2.0
/**
 * Upcalls of a kernel datapath: which handler gets which, and seeing to it that it stays so.
 *
 * The kernel sends an upcall to a netlink port id: one for each CPU, or before Linux 5.15 one for
 * each port.  It is told the port id of a handler when that is opened, and another when it is
 * closed, so that no upcall goes to a port id that somebody else could bind.  Only a program that
 * was killed or ended by an error, and a Worker that was terminated, leave theirs behind, until a
 * handler is opened again.
 *
 * The table that the kernel keeps is also how programs and Workers know of each other: which
 * handlers are taken, and how many there are to be.  Handlers hear of changes to it, and mend what
 * concerns them: `ovs-dpctl show` turns dispatch by port into dispatch by CPU, and ports of other
 * programs have no port id.
 *
 * @module
 */
import type { ProviderUpcalls, UpcallHandler } from "../contract/upcalls.ts";
import { inContext } from "../netlink/errors.ts";
import { NetlinkError, type NetlinkSocket } from "../netlink/mod.ts";
import { type DatapathRecord, Feature, getDatapath, setDatapath } from "./datapaths.ts";
import { goneError } from "./events.ts";
import { Kernel } from "./ovs.ts";
import {
  livingPortIds,
  makeKeeper,
  maxHandlers,
  parsePortId,
  possibleCpus,
  programOf,
} from "./port_ids.ts";
import { SystemHandler } from "./upcall_handler.ts";
import { listVports, setVportPids, type VportRecord } from "./vports.ts";

/** The port id that stands for "whichever one the CPU has", where dispatch is by CPU. */
const perCpuPlaceholder = 0xffffffff;
/** Times that the kernel's table is written before a race with others is left to the news of it. */
const maxWrites = 4;

/**
 * Handlers that objects of this isolate have open, by datapath and number. The kernel's table
 * does not have one that no CPU and no port is given to.
 */
const taken = new Set<string>();

/** Who has the upcalls of a datapath now. */
interface Survey {
  /** Port ids in the kernel's table that living programs have, this object's own included. */
  readonly living: ReadonlySet<number>;
  /** Of these, one that is none of ours. */
  readonly foreign: number | undefined;
  /** Number of handlers that somebody set; 0 if nobody did. */
  readonly count: number;
  /** Whether that was another object, program or Worker, which is still there. */
  readonly isOthers: boolean;
}

/** Upcalls of a datapath in the kernel. */
export class SystemUpcalls implements ProviderUpcalls {
  readonly #kernel: Kernel;
  readonly #ifindex: number;
  readonly #datapath: string;
  readonly #handlers = new Map<number, SystemHandler>();
  /** Number of handlers that this object set; 0: none. */
  #set = 0;
  /** Number of handlers, as far as is known. */
  #count = 1;
  #receiving = true;
  /**
   * A port id that keeps the number of handlers, and stands in the table for those that are not
   * open.
   */
  #keeper: NetlinkSocket | undefined;
  /** Port ids that are about to be closed, and count as free. */
  readonly #leaving = new Set<number>();
  #perCpu: boolean;
  readonly #onUnload = (): void => this.#leave();

  /** `datapath` is the full name, for errors. */
  constructor(kernel: Kernel, record: DatapathRecord, datapath: string) {
    this.#kernel = kernel;
    this.#ifindex = record.ifindex;
    this.#datapath = datapath;
    this.#perCpu = (record.features & Feature.perCpuDispatch) !== 0;
  }

  #in<T>(operation: string, action: () => T, object?: string): T {
    return inContext({ operation, datapath: this.#datapath, object }, action);
  }

  /** As many as one likes: each CPU or port is given one of those there are. */
  required(): undefined {
    return undefined;
  }

  setHandlers(count: number): void {
    this.#in("set handlers", () => {
      if (!(count <= maxHandlers)) {
        const detail = `there are ${maxHandlers} handlers at most`;
        throw new NetlinkError({ code: "EINVAL", detail });
      }
      this.#adopt();
      const { foreign, isOthers } = this.#survey();
      if (foreign !== undefined) throw foreignError(foreign);
      if (isOthers && this.#set === 0) {
        throw new NetlinkError({
          code: "EBUSY",
          detail: "another program or Worker set the number of its handlers",
        });
      }
      const before = this.#keeper;
      globalThis.addEventListener("unload", this.#onUnload);
      this.#keeper = makeKeeper(count);
      this.#set = this.#count = count;
      for (const [handler, open] of this.#handlers) open.rebind({ count, handler });
      this.#without(before?.portId, () => this.#direct());
      before?.close();
    }, String(count));
  }

  setReceive(enable: boolean): void {
    if (enable === this.#receiving) return;
    this.#receiving = enable;
    if (this.#handlers.size === 0) return;
    this.#in(enable ? "receive upcalls" : "stop receiving upcalls", () => this.#direct());
  }

  /** Sees to it that the kernel can dispatch: a datapath that others made may lack the features. */
  #adopt(): void {
    const { features } = getDatapath(this.#kernel, this.#ifindex);
    const { unaligned, vportPids, perCpuDispatch } = Feature;
    this.#perCpu = (features & perCpuDispatch) !== 0;
    if (this.#perCpu || (features & vportPids) !== 0) return;
    for (const wanted of [unaligned | perCpuDispatch, unaligned | vportPids]) {
      try {
        setDatapath(this.#kernel, this.#ifindex, { features: features | wanted });
        this.#perCpu = (wanted & perCpuDispatch) !== 0;
        return;
      } catch (error) {
        if (!(error instanceof NetlinkError) || error.code !== "EOPNOTSUPP") throw error;
      }
    }
  }

  #owns(portId: number): boolean {
    return this.#keeper?.portId === portId ||
      this.#handlers.values().some((handler) => handler.portId === portId);
  }

  /** Looks who has the port ids that the kernel has, or those of `ports`. */
  #survey(ports?: readonly VportRecord[]): Survey {
    const table = this.#perCpu
      ? getDatapath(this.#kernel, this.#ifindex).perCpuPids ?? []
      : (ports ?? listVports(this.#kernel, this.#ifindex)).flatMap((port) =>
        port.upcallPids
      );
    const set = new Set(
      table.filter((id) =>
        id !== 0 && id !== perCpuPlaceholder && !this.#leaving.has(id)
      ),
    );
    const own = [...set].filter((portId) => this.#owns(portId));
    // What is our own need not be looked for.
    const living = livingPortIds([...set].filter((portId) => !this.#owns(portId)));
    // Our own handlers keep the number as well, for where nobody else is in the table.
    const countOf = (portId: number): number => parsePortId(portId)?.count ?? 0;
    return {
      living: new Set([...living, ...own]),
      foreign: [...living].find((portId) => parsePortId(portId) === undefined),
      count: Math.max(0, ...[...living, ...own].map(countOf)),
      isOthers: [...living].some((portId) => countOf(portId) > 0),
    };
  }

  /**
   * Tells the kernel the port ids of the open handlers. What other programs and Workers have stays
   * as it is; what nobody has gets the port id that stands for nobody, or 0.
   */
  #direct(): void {
    if (this.#perCpu) this.#directCpus();
    else this.#directPorts(listVports(this.#kernel, this.#ifindex));
  }

  /**
   * Whether the kernel is directed to a handler already, and to nothing that has to be looked at.
   */
  #isSettled(portId: number, place: number): boolean {
    const own = this.#handlers.get(place % this.#count);
    return own !== undefined && this.#receiving
      ? portId === own.portId
      : portId === (this.#keeper?.portId ?? 0);
  }

  /** The port id for a CPU or port; `portId` is what it has now. Throws `EBUSY`. */
  #wanted(portId: number, place: number, survey: Survey): number {
    if (survey.foreign !== undefined && survey.foreign === portId) {
      throw foreignError(portId);
    }
    const handler = place % this.#count;
    const own = this.#handlers.get(handler);
    if (own !== undefined && this.#receiving) return own.portId;
    const theirs = parsePortId(portId);
    const isTheirs = survey.living.has(portId) && !this.#owns(portId) &&
      (theirs?.handler === undefined || theirs.handler === handler);
    return isTheirs ? portId : this.#keeper?.portId ?? 0;
  }

  #directCpus(): void {
    const cpus = Array.from({ length: possibleCpus() }, (_, cpu) => cpu);
    for (let writes = 0; writes < maxWrites; writes++) {
      const { features, perCpuPids = [] } = getDatapath(this.#kernel, this.#ifindex);
      if (cpus.every((cpu) => this.#isSettled(perCpuPids[cpu] ?? 0, cpu))) return;
      const survey = this.#survey();
      const wanted = cpus.map((cpu) => this.#wanted(perCpuPids[cpu] ?? 0, cpu, survey));
      if (wanted.join() === perCpuPids.join()) return;
      setDatapath(this.#kernel, this.#ifindex, { features, perCpuPids: wanted });
    }
  }

  #directPorts(ports: readonly VportRecord[]): void {
    const open = ports.filter(({ no, upcallPids }) =>
      upcallPids.length !== 1 || !this.#isSettled(upcallPids[0] ?? 0, no)
    );
    if (open.length === 0) return;
    const survey = this.#survey(ports);
    for (const { no, upcallPids } of open) {
      const foreign = upcallPids.find((portId) => portId === survey.foreign);
      const wanted = this.#wanted(foreign ?? upcallPids[0] ?? 0, no, survey);
      if (upcallPids.join() === `${wanted}`) continue;
      try {
        setVportPids(this.#kernel, this.#ifindex, no, [wanted]);
      } catch (error) {
        // The port went away meanwhile.
        if (!(error instanceof NetlinkError) || error.code !== "ENODEV") throw error;
      }
    }
  }

  /**
   * Takes in what other programs changed: ports that they added, and the way of dispatch.  Throws
   * `EBUSY` when one of them receives the upcalls now, `ENODEV` when the datapath is gone.
   *
   * Opening a datapath with ovs-dpctl 3.1 is enough to turn dispatch by port into dispatch by CPU.
   */
  refresh(): void {
    if (this.#handlers.size === 0 && !this.#keeper) return;
    const { features } = getDatapath(this.#kernel, this.#ifindex);
    this.#perCpu = (features & Feature.perCpuDispatch) !== 0;
    if (this.#set === 0) this.#takeCount(this.#survey().count);
    this.#direct();
  }

  /** Takes in that somebody set the number of handlers. */
  #takeCount(count: number): void {
    if (Math.max(1, count) === this.#count) return;
    this.#count = Math.max(1, count);
    for (const [handler, open] of this.#handlers) open.rebind({ count, handler });
  }

  /** Throws what ends the handler that heard of it; the others hear of it too. */
  #onNews({ gone }: { readonly gone: boolean }): void {
    if (gone) throw goneError();
    try {
      this.refresh();
    } catch (error) {
      // News of its ports come before news of its end.
      const isGone = error instanceof NetlinkError && error.code === "ENODEV";
      throw isGone ? goneError() : error;
    }
  }

  /** Sends the upcalls of a new port to its handler. */
  direct(port: VportRecord): void {
    if (!this.#perCpu && this.#handlers.size > 0) this.#directPorts([port]);
  }

  /**
   * The port ids for upcalls of port `no`.  One is enough, and the only number that every kernel
   * takes: Linux 6.1 wants no more than there are CPUs.
   */
  portPids(no: number): number[] {
    if (this.#perCpu) return [perCpuPlaceholder];
    const handler = this.#handlers.get(no % this.#count);
    return [handler?.portId ?? this.#keeper?.portId ?? 0];
  }

  /**
   * The value for `OVS_USERSPACE_ATTR_PID` in actions; never 0, which the kernel refuses.  Where
   * dispatch is by port the handler is opened for it, if nobody has it.
   */
  actionPortId(no: number): number {
    if (this.#perCpu) return perCpuPlaceholder;
    return this.#in("get port id", () => {
      const ports = listVports(this.#kernel, this.#ifindex);
      const survey = this.#survey(ports);
      if (this.#set === 0) this.#takeCount(survey.count);
      const id = no % this.#count;
      const own = this.#handlers.get(id);
      if (own) return own.portId;
      const theirs = [...survey.living].find((portId) =>
        parsePortId(portId)?.handler === id
      );
      return theirs ?? this.#open(id).portId;
    }, String(no));
  }

  handler(id: number): UpcallHandler {
    return this.#in("open upcall handler", () => {
      this.#adopt();
      const survey = this.#survey();
      if (survey.foreign !== undefined) throw foreignError(survey.foreign);
      if (this.#set === 0) this.#takeCount(survey.count);
      if (id >= this.#count) {
        throw new NetlinkError({
          code: "EINVAL",
          detail: `the number of its handlers is ${this.#count}`,
        });
      }
      const own = this.#handlers.get(id);
      const isTheirs = survey.living.values().some((portId) =>
        !this.#owns(portId) && parsePortId(portId)?.handler === id
      );
      if (own?.isTaken || isTheirs || (!own && taken.has(this.#place(id)))) {
        throw new NetlinkError({
          code: "EBUSY",
          detail: "another program or Worker has this handler",
        });
      }
      const handler = own ?? this.#open(id);
      handler.isTaken = true;
      return handler;
    }, String(id));
  }

  /** Opens a handler and directs the kernel to it. */
  #open(id: number): SystemHandler {
    const handler: SystemHandler = new SystemHandler({
      kernel: this.#kernel,
      ifindex: this.#ifindex,
      datapath: this.#datapath,
      portId: { count: this.#set || (this.#count > 1 ? this.#count : 0), handler: id },
      onNews: (news) => this.#onNews(news),
      onClose: () => this.#onClosed(id, handler),
    });
    globalThis.addEventListener("unload", this.#onUnload);
    this.#handlers.set(id, handler);
    taken.add(this.#place(id));
    this.#receiving = true;
    try {
      this.#direct();
    } catch (error) {
      void handler.close();
      throw error;
    }
    return handler;
  }

  #onClosed(id: number, handler: SystemHandler): void {
    if (this.#handlers.get(id) !== handler) return;
    this.#handlers.delete(id);
    taken.delete(this.#place(id));
    if (this.#handlers.size === 0 && !this.#keeper) {
      globalThis.removeEventListener("unload", this.#onUnload);
    }
    this.#without(handler.portId, () => this.#letGo());
  }

  /** Runs `action` while a port id counts as free, though its socket is still open. */
  #without(portId: number | undefined, action: () => void): void {
    if (portId !== undefined) this.#leaving.add(portId);
    try {
      action();
    } finally {
      if (portId !== undefined) this.#leaving.delete(portId);
    }
  }

  #place(id: number): string {
    return `${this.#ifindex}/${id}`;
  }

  /** Directs the kernel away from what is not open any more, if it can still be done. */
  #letGo(): void {
    try {
      const { features } = getDatapath(this.#kernel, this.#ifindex);
      this.#perCpu = (features & Feature.perCpuDispatch) !== 0;
      this.#direct();
    } catch (error) {
      // The datapath is gone, or somebody else has its upcalls: nothing is directed here.
      if (!(error instanceof NetlinkError)) throw error;
    }
  }

  /** The program ends with handlers open: nothing must stay directed to their port ids. */
  #leave(): void {
    for (const { portId } of this.#handlers.values()) this.#leaving.add(portId);
    this.#handlers.clear();
    this.#keeper?.close();
    this.#keeper = undefined;
    this.#letGo();
  }

  purge(): void {
    for (const handler of this.#handlers.values()) {
      while (handler.receive(64).length > 0);
    }
  }

  /** Closes every handler. */
  async close(): Promise<void> {
    await Promise.all([...this.#handlers.values()].map((handler) => handler.close()));
    const keeper = this.#keeper;
    if (!keeper) return;
    globalThis.removeEventListener("unload", this.#onUnload);
    this.#keeper = undefined;
    this.#set = 0;
    this.#count = 1;
    this.#without(keeper.portId, () => this.#letGo());
    keeper.close();
  }
}

function foreignError(portId: number): NetlinkError {
  return new NetlinkError({
    code: "EBUSY",
    detail: `another program${programOf(portId)} receives its upcalls ` +
      `(netlink port id ${portId})`,
  });
}
