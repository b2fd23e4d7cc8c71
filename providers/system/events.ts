// SPDX-License-Identifier: Apache-2.0
/**
 * What happens to a datapath from outside: the kernel reports it in the multicast groups of its
 * families `ovs_datapath` and `ovs_vport`.
 *
 * @module
 */
import { asDatapathError } from "../netlink/errors.ts";
import {
  type Message,
  NetlinkError,
  NetlinkSocket,
  parseMessages,
  Protocol,
  type Waiter,
} from "../netlink/mod.ts";
import type { PortChange, PortWatch } from "../contract/ports.ts";
import { getDatapath } from "./datapaths.ts";
import { Command, Kernel, messageIfindex } from "./ovs.ts";
import { parseVport } from "./vports.ts";

/**
 * One thing that happened. `gone`: the datapath was removed. `set`: it was changed, the dispatch
 * of its upcalls perhaps. `port`: a port came, went, or was changed. `lost`: there was more than
 * the queue holds; anything may have happened.
 */
export type DatapathEvent =
  | { readonly kind: "gone" | "set" | "lost" }
  | { readonly kind: "port"; readonly name: string };

/** A socket that hears of one datapath. Belongs to one isolate. */
export class DatapathEvents {
  /** The socket, for waiting on it. */
  readonly socket: NetlinkSocket;
  readonly #kernel: Kernel;
  readonly #ifindex: number;
  #isGone = false;

  /**
   * Listens from now on. Throws {@linkcode NetlinkError} `ENODEV` when the datapath is gone
   * already.
   */
  constructor(kernel: Kernel, ifindex: number) {
    this.#kernel = kernel;
    this.#ifindex = ifindex;
    const groups = [
      kernel.genl.group("ovs_datapath", "ovs_datapath"),
      kernel.genl.group("ovs_vport", "ovs_vport"),
    ];
    this.socket = new NetlinkSocket(Protocol.generic);
    try {
      for (const group of groups) this.socket.join(group);
      // What happened before is not in the socket.
      getDatapath(kernel, ifindex);
    } catch (error) {
      this.socket.close();
      throw error;
    }
  }

  /**
   * What happened since the last call; never waits. Once the datapath is gone, that is all it
   * says.
   */
  take(): DatapathEvent[] {
    const events: DatapathEvent[] = [];
    while (!this.#isGone) {
      try {
        const datagram = this.socket.receive();
        if (!datagram) return events;
        for (const message of parseMessages(datagram)) {
          const event = this.#event(message);
          if (event) events.push(event);
        }
      } catch (error) {
        if (!(error instanceof NetlinkError) || error.code !== "ENOBUFS") throw error;
        this.#isGone = !this.#exists();
        events.push({ kind: "lost" });
      }
    }
    return [{ kind: "gone" }];
  }

  #exists(): boolean {
    try {
      getDatapath(this.#kernel, this.#ifindex);
      return true;
    } catch (error) {
      if (error instanceof NetlinkError && error.code === "ENODEV") return false;
      throw error;
    }
  }

  #event(message: Message): DatapathEvent | undefined {
    if (messageIfindex(message) !== this.#ifindex) return undefined;
    if (message.type === this.#kernel.vport.id) {
      return { kind: "port", name: parseVport(message).name };
    }
    if (message.type !== this.#kernel.datapath.id) return undefined;
    if (message.body[0] !== Command.delete) return { kind: "set" };
    this.#isGone = true;
    return { kind: "gone" };
  }

  /** Gives the socket back. Idempotent. */
  close(): void {
    this.socket.close();
  }
}

/** The error for a program that goes on with a datapath that another one removed. */
export function goneError(): NetlinkError {
  return new NetlinkError({ code: "ENODEV", detail: "the datapath was removed" });
}

/** A watch for changes of a datapath's ports. */
export class SystemPortWatch implements PortWatch {
  readonly #events: DatapathEvents;
  readonly #waiter: Waiter;
  readonly #datapath: string;
  readonly #onClose: () => void;
  #isFirst = true;
  #ended = false;
  #closing: Promise<void> | undefined;

  /** `datapath` is the full name, for errors; `onClose` is called once. */
  constructor(kernel: Kernel, ifindex: number, datapath: string, onClose: () => void) {
    this.#datapath = datapath;
    this.#onClose = onClose;
    this.#events = new DatapathEvents(kernel, ifindex);
    try {
      this.#waiter = this.#events.socket.waiter();
    } catch (error) {
      this.#events.close();
      throw error;
    }
  }

  receive(): PortChange[] | undefined {
    if (this.#ended || this.#closing) return undefined;
    if (this.#isFirst) {
      this.#isFirst = false;
      return [{ kind: "rescan" }];
    }
    try {
      return this.#events.take().flatMap((event): PortChange[] => {
        if (event.kind === "gone") throw goneError();
        if (event.kind === "port") return [{ kind: "changed", name: event.name }];
        // What is behind lost news is no help, the list is.
        return event.kind === "lost" ? [{ kind: "rescan" }] : [];
      });
    } catch (error) {
      throw asDatapathError(error, {
        operation: "watch ports",
        datapath: this.#datapath,
      });
    }
  }

  wait(): Promise<void> {
    return this.#ended ? Promise.resolve() : this.#waiter.wait();
  }

  wake(): void {
    this.#waiter.wake();
  }

  /** Ends the watch quietly: the datapath is closed or removed by its own program. */
  end(): void {
    this.#ended = true;
    this.#waiter.wake();
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.#waiter.close();
    this.#events.close();
    this.#onClose();
  }
}
