// SPDX-License-Identifier: Apache-2.0
/**
 * Upcalls of a kernel datapath: which socket they go to, and taking them from it.
 *
 * The kernel sends an upcall to a netlink port id.  Ours are computed from the datapath and the
 * number of the handler, so that
 *
 * - the Worker that sets the port ids need not have the sockets, which other Workers may open;
 * - a second program that wants the same handler fails to bind, and is told so;
 * - a program that takes over from one that was killed has its port ids, and flows with
 *   userspace actions go on working.
 *
 * @module
 */
import { readSystemFile } from "../../ffi/system_file.ts";
import type { ProviderUpcalls, RawUpcall, UpcallHandler } from "../contract/upcalls.ts";
import { type DatapathRecord, Feature, getDatapath, setDatapath } from "./datapaths.ts";
import {
  Burst,
  type Message,
  NetlinkError,
  NetlinkSocket,
  parseMessages,
  Protocol,
  Waiter,
} from "../netlink/mod.ts";
import { inContext } from "../netlink/errors.ts";
import { Kernel, messageIfindex } from "./ovs.ts";
import { parseUpcall } from "./packets.ts";
import { listVports, setVportPids } from "./vports.ts";

/** Upcalls taken with one system call. */
const burstSize = 64;
/**
 * An upcall is a packet of at most 65531 bytes, its key and actions; a multiple of the page size.
 */
const slotSize = 136 << 10;
/** Bytes of upcalls that the kernel may queue for a handler. */
const queueBytes = 4 << 20;
/** Port ids of a datapath: one for each handler, the last for the isolate that set their number. */
const portIdCount = 1024;
const setterId = portIdCount - 1;
/** Handlers of a datapath at most. */
const maxHandlers = portIdCount - 1;

/** The port id that stands for "whichever one the CPU has", where dispatch is by CPU. */
const perCpuPlaceholder = 0xffffffff;

/**
 * Netlink port id of handler `id` of the datapath `ifindex`.
 *
 * From 2^30 on: above every process id, which is what sockets get by default, and below the
 * negative numbers that the kernel deals out after that.
 */
export function handlerPortId(ifindex: number, id: number): number {
  return 0x40000000 | ((ifindex * portIdCount + id) & 0x3fffffff);
}

/** A socket that has the port id. Throws `EBUSY` with `detail` when another one has it. */
function bindExclusively(portId: number, detail: string): NetlinkSocket {
  try {
    const options = { portId, receiveBuffer: queueBytes, datagramSize: 0 };
    return new NetlinkSocket(Protocol.generic, options);
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.code !== "EADDRINUSE") throw error;
    throw new NetlinkError({ code: "EBUSY", detail });
  }
}

/** Whether some socket of this network namespace has the port id. */
function isBound(portId: number): boolean {
  try {
    bindExclusively(portId, "").close();
    return false;
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "EBUSY") return true;
    throw error;
  }
}

/** CPUs that this machine may ever have; what `nr_cpu_ids` is to the kernel. */
function possibleCpus(): number {
  const text = readSystemFile("/sys/devices/system/cpu/possible") ?? "";
  const last = Number(/(\d+)\s*$/.exec(text)?.[1]);
  // Without /sys, the CPUs that are there now will do.
  return Number.isInteger(last) ? last + 1 : navigator.hardwareConcurrency;
}

/** One handler's socket. */
class SystemHandler implements UpcallHandler {
  readonly #ifindex: number;
  readonly #socket: NetlinkSocket;
  readonly #burst: Burst;
  readonly #waiter: Waiter;
  readonly #onClose: () => void;
  #messages: Message[] = [];
  #drops = 0;
  #lost = 0n;
  #closed = false;

  constructor(ifindex: number, portId: number, onClose: () => void) {
    this.#ifindex = ifindex;
    this.#onClose = onClose;
    this.#socket = bindExclusively(portId, "another program or Worker has this handler");
    this.#burst = new Burst(this.#socket, burstSize, slotSize);
    this.#waiter = new Waiter(this.#socket.fd);
  }

  receive(max: number): RawUpcall[] {
    const upcalls: RawUpcall[] = [];
    while (upcalls.length < max && !this.#closed) {
      if (this.#messages.length === 0) {
        // Give what there is before asking again.
        if (upcalls.length > 0 || !this.#fill(max)) break;
      }
      const message = this.#messages.shift();
      if (!message || messageIfindex(message) !== this.#ifindex) continue;
      try {
        upcalls.push(parseUpcall(message));
      } catch {
        // Nobody else will see it: it counts as lost.
        this.#lost++;
      }
    }
    return upcalls;
  }

  /** Takes what waits in the socket; false when nothing does. */
  #fill(max: number): boolean {
    for (let tries = 0; tries < 50; tries++) {
      try {
        const count = this.#burst.receive(max);
        for (let i = 0; i < count; i++) this.#take(i);
        return count > 0;
      } catch (error) {
        // Upcalls were dropped, which drops() counts; those that were not are still there.
        if (!(error instanceof NetlinkError) || error.code !== "ENOBUFS") throw error;
      }
    }
    return false;
  }

  #take(index: number): void {
    try {
      this.#messages.push(...parseMessages(this.#burst.datagram(index)));
    } catch {
      this.#lost++;
    }
  }

  wait(): Promise<void> {
    return this.#waiter.wait();
  }

  wake(): void {
    this.#waiter.wake();
  }

  lost(): bigint {
    if (this.#closed) return this.#lost;
    const drops = this.#socket.drops();
    // The kernel's counter has 32 bits and wraps.
    this.#lost += BigInt((drops - this.#drops) >>> 0);
    this.#drops = drops;
    return this.#lost;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.lost();
    this.#closed = true;
    this.#messages = [];
    await this.#waiter.close();
    this.#burst.close();
    this.#socket.close();
    this.#onClose();
  }
}

/** Upcalls of a datapath in the kernel. */
export class SystemUpcalls implements ProviderUpcalls {
  readonly #kernel: Kernel;
  readonly #ifindex: number;
  readonly #datapath: string;
  readonly #handlers = new Map<number, SystemHandler>();
  #count = 1;
  #receiving = false;
  /** Whether the kernel was told the port ids of handlers, and not 0. */
  #directed = false;
  #setter: NetlinkSocket | undefined;
  #perCpu: boolean;

  /** `datapath` is the full name, for errors. */
  constructor(kernel: Kernel, record: DatapathRecord, datapath: string) {
    this.#kernel = kernel;
    this.#ifindex = record.ifindex;
    this.#datapath = datapath;
    this.#perCpu = (record.features & Feature.perCpuDispatch) !== 0;
  }

  /** Whether upcalls are dispatched by CPU, and not by port. */
  get perCpu(): boolean {
    return this.#perCpu;
  }

  #in<T>(operation: string, action: () => T, object?: string): T {
    return inContext({ operation, datapath: this.#datapath, object }, action);
  }

  /** As many as one likes: each CPU or port is given one of those there are. */
  required(): undefined {
    return undefined;
  }

  setHandlers(count: number): void {
    if (!Number.isInteger(count) || count < 1 || count > maxHandlers) {
      throw new RangeError(
        `number of handlers must be from 1 to ${maxHandlers}: current value is ${count}`,
      );
    }
    this.#in("set handlers", () => {
      this.#refuseForeign();
      this.#adopt();
      // Held as long as the datapath is open here: Workers see by it that the number is set.
      this.#setter ??= bindExclusively(
        handlerPortId(this.#ifindex, setterId),
        "another program or Worker set the number of its handlers",
      );
      this.#count = count;
      this.#direct(true);
    }, String(count));
  }

  setReceive(enable: boolean): void {
    if (enable === this.#receiving) return;
    this.#in(enable ? "receive upcalls" : "stop receiving upcalls", () => {
      if (enable) this.#enable();
      // Where another Worker or program receives too, the port ids are its business.
      else if (!this.#othersReceive()) this.#direct(false);
      this.#receiving = enable;
    });
  }

  #enable(): void {
    this.#refuseForeign();
    this.#adopt();
    if (!this.#setter && isBound(handlerPortId(this.#ifindex, setterId))) {
      // Directed already, by the isolate that set the number of handlers.
      const ids = this.#current().filter((portId) => this.#isOurs(portId));
      const last = Math.max(...ids) - handlerPortId(this.#ifindex, 0);
      this.#count = Math.max(1, last + 1);
    } else {
      this.#direct(true);
    }
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

  #isOurs(portId: number): boolean {
    const first = handlerPortId(this.#ifindex, 0);
    return portId >= first && portId < first + portIdCount;
  }

  #othersReceive(): boolean {
    const ids = Array.from({ length: this.#count }, (_, id) => id);
    return ids.some((id) =>
      !this.#handlers.has(id) && isBound(handlerPortId(this.#ifindex, id))
    );
  }

  /** Port ids that upcalls go to now. */
  #current(): number[] {
    if (this.#perCpu) {
      return [...getDatapath(this.#kernel, this.#ifindex).perCpuPids ?? []];
    }
    return listVports(this.#kernel, this.#ifindex).flatMap((vport) => vport.upcallPids);
  }

  /** Throws `EBUSY` when a living program that is none of ours receives the upcalls. */
  #refuseForeign(): void {
    const foreign = new Set(this.#current()).values().find((portId) =>
      portId !== 0 && portId !== perCpuPlaceholder && !this.#isOurs(portId) &&
      isBound(portId)
    );
    if (foreign === undefined) return;
    throw new NetlinkError({
      code: "EBUSY",
      detail: `another program${programOf(foreign)} receives its upcalls ` +
        `(netlink port id ${foreign})`,
    });
  }

  /** Tells the kernel the port ids of the handlers, or that there are none. */
  #direct(on: boolean): void {
    this.#directed = on;
    if (!this.#perCpu) {
      for (const { no } of listVports(this.#kernel, this.#ifindex)) {
        this.#directPort(no);
      }
      return;
    }
    const { features } = getDatapath(this.#kernel, this.#ifindex);
    const perCpuPids = Array.from(
      { length: possibleCpus() },
      (_, cpu) => on ? handlerPortId(this.#ifindex, cpu % this.#count) : 0,
    );
    setDatapath(this.#kernel, this.#ifindex, { features, perCpuPids });
  }

  #directPort(no: number): void {
    try {
      setVportPids(this.#kernel, this.#ifindex, no, this.portPids(no));
    } catch (error) {
      // The port went away meanwhile.
      if (!(error instanceof NetlinkError) || error.code !== "ENODEV") throw error;
    }
  }

  /**
   * Takes in what other programs changed: ports that they added, and the way of dispatch.
   *
   * Opening a datapath with ovs-dpctl 3.1 is enough to turn dispatch by port into dispatch by CPU.
   */
  refresh(): void {
    if (!this.#directed) return;
    const { features, perCpuPids = [] } = getDatapath(this.#kernel, this.#ifindex);
    const perCpu = (features & Feature.perCpuDispatch) !== 0;
    const changed = perCpu !== this.#perCpu;
    this.#perCpu = perCpu;
    if (changed || (perCpu && !perCpuPids.every((portId) => this.#isOurs(portId)))) {
      this.#direct(true);
    } else if (!perCpu) {
      for (const port of listVports(this.#kernel, this.#ifindex)) this.direct(port);
    }
  }

  /** Sends the upcalls of a port to its handler, unless they go there already. */
  direct(port: { readonly no: number; readonly upcallPids: readonly number[] }): void {
    if (this.#perCpu || this.portPids(port.no).join() === port.upcallPids.join()) return;
    this.#directPort(port.no);
  }

  /**
   * The port ids for upcalls of port `no`.  One is enough, and the only number that every kernel
   * takes: Linux 6.1 wants no more than there are CPUs.
   */
  portPids(no: number): number[] {
    if (this.#perCpu) return [perCpuPlaceholder];
    return [this.#directed ? handlerPortId(this.#ifindex, no % this.#count) : 0];
  }

  /** The value for `OVS_USERSPACE_ATTR_PID` in actions; never 0, which the kernel refuses. */
  actionPortId(no: number): number {
    if (this.#perCpu) return perCpuPlaceholder;
    return handlerPortId(this.#ifindex, no % this.#count);
  }

  handler(id: number): UpcallHandler {
    if (!Number.isInteger(id) || id < 0 || id >= maxHandlers) {
      throw new RangeError(`handler must be from 0 to ${maxHandlers - 1}: it is ${id}`);
    }
    return this.#in("open upcall handler", () => {
      const portId = handlerPortId(this.#ifindex, id);
      const onClose = () => this.#handlers.delete(id);
      const handler = new SystemHandler(this.#ifindex, portId, onClose);
      this.#handlers.set(id, handler);
      return handler;
    }, String(id));
  }

  purge(): void {
    for (const handler of this.#handlers.values()) {
      while (handler.receive(burstSize).length > 0);
    }
  }

  /** Closes every handler. */
  async close(): Promise<void> {
    this.#setter?.close();
    this.#setter = undefined;
    await Promise.all([...this.#handlers.values()].map((handler) => handler.close()));
  }
}

/** ` "name"` of the process that a port id is named after, if there is one; for messages. */
function programOf(portId: number): string {
  const name = readSystemFile(`/proc/${portId}/comm`)?.trim();
  return name ? ` "${name}"` : "";
}
