// SPDX-License-Identifier: Apache-2.0
/**
 * One handler of a kernel datapath: the socket that its upcalls come to, and news of the datapath.
 *
 * @module
 */
import type { RawUpcall, UpcallHandler } from "../contract/upcalls.ts";
import { asDatapathError } from "../netlink/errors.ts";
import {
  Burst,
  type Message,
  NetlinkError,
  NetlinkSocket,
  parseMessages,
  type Waiter,
} from "../netlink/mod.ts";
import { Command, type Kernel, messageIfindex } from "./ovs.ts";
import { parseUpcall } from "./packets.ts";
import { bindPortId, type HandlerPortId } from "./port_ids.ts";

/** Upcalls taken with one system call. */
const burstSize = 64;
/**
 * An upcall is a packet of at most 65531 bytes, its key and actions; a multiple of the page size.
 */
const slotSize = 136 << 10;
/** News is taken in when nothing waits, and while upcalls keep coming this often, milliseconds. */
const newsEveryMs = 100;
/** Bytes of upcalls that the kernel may queue for a handler. */
const queueBytes = 4 << 20;

/** A socket with a port id of ours, and the memory that it is read into. */
class Queue {
  readonly socket: NetlinkSocket;
  readonly #burst: Burst;
  #drops = 0;

  /** Hears of datapaths and their ports besides: `groups`. */
  constructor(portId: HandlerPortId, groups: readonly number[]) {
    this.socket = bindPortId(portId, { receiveBuffer: queueBytes, datagramSize: 0 });
    try {
      for (const group of groups) this.socket.join(group);
      this.#burst = new Burst(this.socket, burstSize, slotSize);
    } catch (error) {
      this.socket.close();
      throw error;
    }
  }

  /** Up to `max` datagrams; undefined for one that is longer than any upcall. */
  receive(max: number): (Uint8Array | undefined)[] {
    const count = this.#burst.receive(max);
    return Array.from({ length: count }, (_, index) => {
      try {
        return this.#burst.datagram(index);
      } catch {
        return undefined;
      }
    });
  }

  /** Datagrams that the kernel dropped since the last call. */
  newDrops(): bigint {
    const drops = this.socket.drops();
    // The kernel's counter has 32 bits and wraps.
    const more = (drops - this.#drops) >>> 0;
    this.#drops = drops;
    return BigInt(more);
  }

  close(): void {
    this.#burst.close();
    this.socket.close();
  }
}

/** What a handler needs of the upcalls that it is one of. */
export interface HandlerInit {
  readonly kernel: Kernel;
  readonly ifindex: number;
  /** Full name of the datapath, for errors. */
  readonly datapath: string;
  readonly portId: HandlerPortId;
  /**
   * Called when the datapath, or the set of its ports, is not as it was. Throws what ends the
   * handler.
   */
  readonly onNews: (news: { readonly gone: boolean }) => void;
  /** Called once, before the socket is closed: nothing must be directed to it then. */
  readonly onClose: () => void;
}

/** One handler's socket. */
export class SystemHandler implements UpcallHandler {
  readonly #init: HandlerInit;
  readonly #groups: readonly number[];
  /** The last one is where upcalls go; those in front had another port id, and are read out. */
  #queues: Queue[];
  #waiter: Waiter;
  readonly #retired: Promise<void>[] = [];
  #messages: Message[] = [];
  #lost = 0n;
  #failure: Error | undefined;
  /** Whether there is news that was not taken in, and when some was last. */
  #hasNews = false;
  #newsAt = 0;
  #closing: Promise<void> | undefined;
  /** Whether the program has it; false: it was opened because a flow needs its port id. */
  isTaken = false;

  /** Opens the socket. Nothing is directed to it yet. */
  constructor(init: HandlerInit) {
    const { genl } = init.kernel;
    this.#init = init;
    this.#groups = [
      genl.group("ovs_datapath", "ovs_datapath"),
      genl.group("ovs_vport", "ovs_vport"),
    ];
    const queue = new Queue(init.portId, this.#groups);
    this.#queues = [queue];
    try {
      this.#waiter = queue.socket.waiter();
    } catch (error) {
      queue.close();
      throw error;
    }
  }

  get #queue(): Queue {
    return this.#queues.at(-1) as Queue;
  }

  /** The port id that upcalls go to. */
  get portId(): number {
    return this.#queue.socket.portId;
  }

  /** Takes another port id; what waits under the one before is still given. */
  rebind(portId: HandlerPortId): void {
    const queue = new Queue(portId, this.#groups);
    const before = this.#waiter;
    try {
      this.#waiter = queue.socket.waiter();
    } catch (error) {
      queue.close();
      throw error;
    }
    this.#queues.push(queue);
    this.#retired.push(before.close());
  }

  /** Has the next `receive` throw, and wakes who waits for it. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#waiter.wake();
  }

  receive(max: number): RawUpcall[] {
    const { ifindex, kernel } = this.#init;
    const upcalls: RawUpcall[] = [];
    while (upcalls.length < max && !this.#closing) {
      if (this.#messages.length === 0) {
        // Give what there is before asking again.
        if (upcalls.length > 0 || !this.#fill(max)) break;
      }
      const message = this.#messages.shift();
      if (!message || messageIfindex(message) !== ifindex) continue;
      if (message.type !== kernel.packet.id) continue;
      try {
        upcalls.push(parseUpcall(message));
      } catch {
        // Nobody else will see it: it counts as lost.
        this.#lost++;
      }
    }
    if (this.#failure) throw this.#failure;
    return upcalls;
  }

  /** Takes what waits in the sockets; false when nothing does. */
  #fill(max: number): boolean {
    const isFilled = this.#receive(max);
    if (this.#hasNews && (!isFilled || performance.now() - this.#newsAt > newsEveryMs)) {
      this.#hasNews = false;
      this.#newsAt = performance.now();
      this.#tell(false);
    }
    return isFilled;
  }

  #receive(max: number): boolean {
    for (let tries = 0; tries < 50; tries++) {
      const queue = this.#queues[0] as Queue;
      try {
        const datagrams = queue.receive(max);
        for (const datagram of datagrams) this.#take(datagram);
        if (datagrams.length > 0) return true;
        if (this.#queues.length === 1) return false;
        this.#lost += queue.newDrops();
        queue.close();
        this.#queues.shift();
      } catch (error) {
        // Upcalls were dropped, which drops() counts; those that were not are still there. News may
        // have been dropped as well.
        if (!(error instanceof NetlinkError) || error.code !== "ENOBUFS") throw error;
        this.#hasNews = true;
      }
    }
    return false;
  }

  #take(datagram: Uint8Array | undefined): void {
    const { kernel, ifindex } = this.#init;
    let gone = false;
    try {
      if (!datagram) throw new NetlinkError({ code: "EMSGSIZE" });
      for (const message of parseMessages(datagram)) {
        if (message.type === kernel.packet.id) {
          this.#messages.push(message);
        } else if (messageIfindex(message) === ifindex) {
          this.#hasNews = true;
          gone ||= message.type === kernel.datapath.id &&
            message.body[0] === Command.delete;
        }
      }
    } catch {
      this.#lost++;
    }
    if (gone) this.#tell(true);
  }

  #tell(gone: boolean): void {
    try {
      this.#init.onNews({ gone });
    } catch (error) {
      const { datapath } = this.#init;
      this.fail(asDatapathError(error, { operation: "receive upcalls", datapath }));
    }
  }

  wait(): Promise<void> {
    return this.#failure ? Promise.resolve() : this.#waiter.wait();
  }

  wake(): void {
    this.#waiter.wake();
  }

  lost(): bigint {
    if (!this.#closing) {
      for (const queue of this.#queues) this.#lost += queue.newDrops();
    }
    return this.#lost;
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    // Not `lost()`, which looks no more once it is closing.
    for (const queue of this.#queues) this.#lost += queue.newDrops();
    this.#messages = [];
    try {
      this.#init.onClose();
    } finally {
      await Promise.all([this.#waiter.close(), ...this.#retired]);
      for (const queue of this.#queues) queue.close();
    }
  }
}
