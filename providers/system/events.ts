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
import type {
  ConnectionChange,
  ConntrackEvent,
  ConntrackEventOptions,
} from "../contract/conntrack.ts";
import { LinkEvents } from "../netlink/link_table.ts";
import type { PortChange, PortWatch } from "../contract/ports.ts";
import type { Watch } from "../contract/watch_stream.ts";
import { readSystemFile } from "../../ffi/system_file.ts";
import { parseEvent } from "./ctnetlink.ts";
import { getDatapath } from "./datapaths.ts";
import { Command, Kernel, messageIfindex } from "./ovs.ts";
import { listVports, parseVport } from "./vports.ts";

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

/** A watch for changes of a datapath's ports, and of their links. */
export class SystemPortWatch implements PortWatch {
  readonly #events: DatapathEvents;
  readonly #links: LinkEvents;
  readonly #waiters: readonly Waiter[];
  readonly #kernel: Kernel;
  readonly #ifindex: number;
  readonly #datapath: string;
  readonly #onClose: () => void;
  #isFirst = true;
  #ended = false;
  #closing: Promise<void> | undefined;

  /** `datapath` is the full name, for errors; `onClose` is called once. */
  constructor(kernel: Kernel, ifindex: number, datapath: string, onClose: () => void) {
    this.#datapath = datapath;
    this.#onClose = onClose;
    this.#kernel = kernel;
    this.#ifindex = ifindex;
    this.#events = new DatapathEvents(kernel, ifindex);
    try {
      this.#links = new LinkEvents();
    } catch (error) {
      this.#events.close();
      throw error;
    }
    const waiters: Waiter[] = [];
    try {
      waiters.push(this.#events.socket.waiter());
      waiters.push(this.#links.waiter());
    } catch (error) {
      void waiters[0]?.close();
      this.#links.close();
      this.#events.close();
      throw error;
    }
    this.#waiters = waiters;
  }

  receive(): PortChange[] | undefined {
    if (this.#ended || this.#closing) return undefined;
    if (this.#isFirst) {
      this.#isFirst = false;
      return [{ kind: "rescan" }];
    }
    try {
      const changes = this.#events.take().flatMap((event): PortChange[] => {
        if (event.kind === "gone") throw goneError();
        if (event.kind === "port") return [{ kind: "changed", name: event.name }];
        // What is behind lost news is no help, the list is.
        return event.kind === "lost" ? [{ kind: "rescan" }] : [];
      });
      return [...changes, ...this.#linkChanges()];
    } catch (error) {
      throw asDatapathError(error, {
        operation: "watch ports",
        datapath: this.#datapath,
      });
    }
  }

  /** Ports whose links changed; the kernel says nothing of it in the families of datapaths. */
  #linkChanges(): PortChange[] {
    const links = this.#links.take();
    if (links === undefined) return [{ kind: "rescan" }];
    if (links.length === 0) return [];
    const ports = new Set(
      listVports(this.#kernel, this.#ifindex).filter(({ isElsewhere }) => !isElsewhere)
        .map(({ name }) => name),
    );
    const changed = new Set(
      links.map(({ name }) => name).filter((name) => ports.has(name)),
    );
    return [...changed].map((name) => ({ kind: "changed", name }));
  }

  async wait(): Promise<void> {
    if (this.#ended) return;
    const waiting = new Set(this.#waiters);
    const over = this.#waiters.map((waiter) =>
      waiter.wait().then(() => waiting.delete(waiter))
    );
    await Promise.race(over);
    // A wait that went on would keep the program alive.
    for (const waiter of waiting) waiter.wake();
  }

  wake(): void {
    for (const waiter of this.#waiters) waiter.wake();
  }

  /** Ends the watch quietly: the datapath is closed or removed by its own program. */
  end(): void {
    this.#ended = true;
    this.wake();
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await Promise.all(this.#waiters.map((waiter) => waiter.close()));
    this.#links.close();
    this.#events.close();
    this.#onClose();
  }
}

/** `NFNLGRP_CONNTRACK_*` of `<linux/netfilter/nfnetlink.h>`. */
const conntrackGroups: Readonly<Record<ConnectionChange, number>> = {
  new: 1,
  update: 2,
  destroy: 3,
};

/** Messages that are read before their reader has a turn. */
const EVENTS_AT_ONCE = 256;

/** Listens to connections of the network namespace. Belongs to one isolate. */
export class SystemConntrackWatch implements Watch<ConntrackEvent> {
  readonly #socket: NetlinkSocket;
  readonly #waiter: Waiter;
  readonly #zone: number | undefined;
  readonly #datapath: string;
  readonly #onClose: () => void;
  #drops = 0;
  #closing: Promise<void> | undefined;

  /** `datapath` is the full name, for errors; `onClose` is called once. */
  constructor(options: ConntrackEventOptions, datapath: string, onClose: () => void) {
    const { zone, kinds = ["new", "update", "destroy"] } = options;
    this.#zone = zone;
    this.#datapath = datapath;
    this.#onClose = onClose;
    this.#socket = new NetlinkSocket(Protocol.netfilter);
    try {
      for (const kind of new Set(kinds)) this.#socket.join(conntrackGroups[kind]);
      // Joining has loaded what tells events; a kernel that has none lacks the setting.
      const setting = readSystemFile("/proc/sys/net/netfilter/nf_conntrack_events");
      if (setting === undefined || setting.trim() === "0") {
        throw new NetlinkError({
          code: "EOPNOTSUPP",
          detail: setting === undefined
            ? "this kernel tells no events of connections (CONFIG_NF_CONNTRACK_EVENTS)"
            : "events of connections are switched off (net.netfilter.nf_conntrack_events)",
        });
      }
      this.#waiter = this.#socket.waiter();
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  receive(): ConntrackEvent[] | undefined {
    if (this.#closing) return undefined;
    const events: ConntrackEvent[] = [];
    try {
      while (events.length < EVENTS_AT_ONCE) {
        const datagram = this.#socket.receive();
        if (datagram === undefined) break;
        for (const message of parseMessages(datagram)) {
          const event = parseEvent(message);
          if (event !== undefined && this.#isWanted(event)) events.push(event);
        }
      }
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== "ENOBUFS") {
        const operation = "watch connections";
        throw asDatapathError(error, { operation, datapath: this.#datapath });
      }
      events.push(this.#lost());
    }
    return events;
  }

  wait(): Promise<void> {
    return this.#waiter.wait();
  }

  wake(): void {
    this.#waiter.wake();
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.#waiter.close();
    this.#socket.close();
    this.#onClose();
  }

  #isWanted(event: ConntrackEvent): boolean {
    return this.#zone === undefined || event.kind === "lost" ||
      event.connection.zone === this.#zone;
  }

  #lost(): ConntrackEvent {
    const drops = this.#socket.drops();
    const count = drops - this.#drops >>> 0;
    this.#drops = drops;
    return { kind: "lost", ...(count > 0 && { count: BigInt(count) }) };
  }
}
