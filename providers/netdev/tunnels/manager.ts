// SPDX-License-Identifier: Apache-2.0
/**
 * Manages the tunnels of one datapath for as long as this isolate has it open: hears of packets
 * that find no way, of Linux, and of ports, and has the resolver do what follows.
 *
 * One isolate of a process manages a datapath's tunnels: the first that has it open when there is a
 * tunnel port. Another takes over within a second when that one closes it.
 *
 * @module
 */
import { LibraryError } from "../../../ffi/library.ts";
import type { Waiter } from "../../../ffi/waiter.ts";
import { DatapathError } from "../../errors.ts";
import { portNo } from "../../ids.ts";
import { NetlinkError } from "../../netlink/mod.ts";
import { encodeActions, encodeKey, output, recirc } from "../../odp/mod.ts";
import type { Context } from "../context.ts";
import { NetdevFlows } from "../flows.ts";
import { toStderr } from "../library.ts";
import { NetdevPorts } from "../ports.ts";
import type { PortWatch } from "../../contract/ports.ts";
import type { TunnelEvent } from "./hop.ts";
import { Host } from "./host.ts";
import { LibraryTable, TunnelWatch } from "./library_table.ts";
import { answer } from "./questions.ts";
import { Resolver } from "./resolver.ts";
import { Silence } from "./silence.ts";
import { Told } from "./told.ts";
import { type Exit, isTunnel, recognizedBy } from "./underlays.ts";

/** Between looks at what is idle. */
const sweepMs = 10_000;
/** Between tries to manage what another isolate manages. */
const retryMs = 1000;
/** After a failure, so that one that repeats itself does not take a core. */
const pauseMs = 100;

/** A handle of the manager's own. */
export interface OwnHandle {
  readonly context: Context;
  /** Gives it back. */
  close(): Promise<void>;
}

/** What there is while this isolate manages the tunnels. */
export interface Duty {
  readonly handle: OwnHandle;
  readonly table: LibraryTable;
  readonly netdevPorts: NetdevPorts;
  readonly flows: NetdevFlows;
  readonly watch: TunnelWatch;
  readonly host: Host | undefined;
  readonly hostWaiter: Waiter | undefined;
  readonly ports: PortWatch;
  readonly resolver: Resolver;
  readonly silence: Silence | undefined;
}

/** Manages tunnels of a datapath. Belongs to one isolate. */
export class TunnelManager {
  readonly told = new Told();
  /** UDP source ports in force. */
  sourcePorts: { readonly low: number; readonly high: number } = {
    low: 32_768,
    high: 61_000,
  };
  readonly #open: () => OwnHandle;
  #duty: Duty | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;
  /** What the last beginning that failed has to give back. */
  #undone: Promise<unknown> = Promise.resolve();
  #ending: Promise<void> | undefined;

  /** Does nothing until `start` or `onDuty`. `open` makes a handle for it alone. */
  constructor(open: () => OwnHandle) {
    this.#open = open;
  }

  /** Whether it has ended, or the datapath was destroyed. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Begins, as soon as no other isolate is at it. */
  start(): void {
    if (this.#duty === undefined && this.#timer === undefined && !this.#isClosed) {
      this.#try();
    }
  }

  /** What there is. Begins if need be. Throws `EBUSY`: another isolate manages the tunnels. */
  onDuty(): Duty {
    return this.#duty ?? this.#begin();
  }

  /**
   * Begins, or tries again later: another isolate may be at it, or there be no descriptor left.
   * What is no error of the datapath is the caller's to know, if there is one.
   */
  #try(isAgain = false): void {
    try {
      this.onDuty();
    } catch (error) {
      if (!isAgain && !(error instanceof DatapathError)) throw error;
      clearInterval(this.#timer);
      this.#timer = undefined;
      if (!isGone(error)) this.#setTimer(() => this.#try(true), retryMs);
    }
  }

  #setTimer(action: () => void, ms: number): void {
    clearInterval(this.#timer);
    const timer = setInterval(action, ms);
    Deno.unrefTimer(timer);
    this.#timer = timer;
  }

  #begin(): Duty {
    const handle = this.#open();
    const { context } = handle;
    const undo: (() => unknown)[] = [() => handle.close()];
    try {
      const watch = new TunnelWatch(context);
      undo.push(() => watch.close());
      const host = this.#openHost(context.fullName);
      undo.push(() => host?.close());
      const netdevPorts = new NetdevPorts(context);
      const ports = netdevPorts.watch();
      undo.push(() => ports.close());
      ports.receive(); // What there is already is no change.
      const table = new LibraryTable(context);
      const flows = new NetdevFlows(context);
      const resolver = new Resolver({
        table,
        host,
        told: this.told,
        ports: () => netdevPorts.dump(),
        macOf: ({ no }) => table.macOf(no),
        send: (exit, frame) => sendFrame({ netdevPorts, flows }, exit, frame),
      });
      table.setSourcePorts(this.sourcePorts.low, this.sourcePorts.high);
      const hostWaiter = host?.waiter();
      const parts = { handle, table, netdevPorts, flows, watch, host, hostWaiter };
      const silence = host && new Silence();
      undo.push(() => silence?.close());
      const duty = { ...parts, ports, resolver, silence };
      this.#duty = duty;
      void this.#loop(watch, () => this.#onEvents(duty));
      void this.#loop(ports, () => {
        if ((ports.receive() ?? []).length === 0) return;
        resolver.portsChanged();
        silenceLinux(duty);
      });
      if (hostWaiter && host) {
        void this.#loop(hostWaiter, () => {
          const events = host.take();
          resolver.heard(events);
          if (events.some(({ kind }) => kind !== "neighbour")) silenceLinux(duty);
        });
      }
      silenceLinux(duty);
      this.#setTimer(() => this.#guarded(() => resolver.sweep()), sweepMs);
      return duty;
    } catch (error) {
      this.#undone = Promise.allSettled(undo.reverse().map((each) => each()));
      throw error;
    }
  }

  /** Linux; undefined, with a notice, where it cannot be followed. */
  #openHost(fullName: string): Host | undefined {
    try {
      return new Host();
    } catch (error) {
      if (!(error instanceof NetlinkError || error instanceof LibraryError)) throw error;
      toStderr(
        `upcall: tunnels of ${fullName} know the routes that they are told only: ${error.message}`,
      );
      return undefined;
    }
  }

  async #loop(waiter: { wait(): Promise<void> }, act: () => void): Promise<void> {
    while (!this.#isClosed) {
      await waiter.wait();
      if (this.#isClosed) return;
      if (!this.#guarded(act)) {
        if (this.#isClosed) return;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }
  }

  /**
   * Acts; false if that failed.  A datapath that was destroyed ends all; what else goes wrong is
   * left behind, and all is looked at anew.
   */
  #guarded(act: () => void): boolean {
    try {
      act();
      return true;
    } catch (error) {
      if (isGone(error)) {
        this.close().catch(() => {}); // A later call of `close` is told.
        return false;
      }
      try {
        this.#duty?.host?.read();
        this.#duty?.resolver.rescan();
      } catch {
        // As it was: the next event is the next try.
      }
      return false;
    }
  }

  #onEvents(duty: Duty): void {
    const { watch, resolver, host } = duty;
    for (const event of watch.take()) {
      // A neighbour may be known by now, and the notification still be unread.
      if (event.kind === "ask") {
        if (host) resolver.heard(host.take());
        resolver.ask(event.key);
      } else if (event.kind === "mtu") {
        resolver.setMtu(event.destination, event.mtu);
      } else {
        onNeighbour(duty, this.told, event);
      }
    }
  }

  async #end(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#undone;
    const duty = this.#duty;
    this.#duty = undefined;
    if (duty === undefined) return;
    const { watch, hostWaiter, host, ports, handle, silence } = duty;
    silence?.close();
    const ends = await Promise.allSettled([
      watch.close(),
      ports.close(),
      hostWaiter?.close(),
    ]);
    host?.close();
    ends.push(...await Promise.allSettled([handle.close()]));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  /** Ends; another isolate may go on. Hops stay as they are. Idempotent. */
  close(): Promise<void> {
    this.#isClosed = true;
    return this.#ending ??= this.#end();
  }
}

/** Whether an error says that the datapath was destroyed, or closed here. */
function isGone(error: unknown): boolean {
  return error instanceof DatapathError && ["ENODEV", "EBADF"].includes(error.code);
}

/** Where Linux gets copies of outer packets, it is kept from answering them. */
function silenceLinux({ silence, resolver, netdevPorts }: Duty): void {
  const hasCopies = resolver.locals().some(({ way }) => way === "received");
  const tunnels = [...netdevPorts.dump()].filter(({ type }) => isTunnel(type));
  silence?.set(hasCopies ? tunnels.map(recognizedBy) : []);
}

/** Somebody spoke at an underlay that is no Linux device: learn, and answer for our addresses. */
function onNeighbour(
  duty: Duty,
  told: Told,
  { port: no, vlan, address, about, mac }: TunnelEvent & { kind: "neighbour" },
): void {
  const { resolver, table } = duty;
  const { underlays } = resolver;
  const port = duty.netdevPorts.get(portNo(no));
  if (port === undefined || vlan !== 0 || underlays.ifindex(port) !== undefined) return;
  const own = resolver.ownAddresses(port.name);
  if (own.some((each) => each.address === address)) return; // It is our own voice.
  const neighbour = { address, mac, device: port.name };
  const isNeeded = resolver.isNextHop(port.name, address);
  if (told.learn(neighbour, isNeeded, performance.now())) {
    resolver.renewNeighbour(port.name, address);
  }
  const ours = about !== address && own.some((each) => each.address === about);
  const ownMac = table.macOf(no);
  if (!ours || ownMac === undefined) return;
  const owner = { address: about, mac: ownMac, vlan };
  sendFrame(duty, underlays.exitOf(port), answer(owner, { address, mac, vlan }));
}

/** Sends a frame of ours by a port, or as the host behind it would. */
function sendFrame(
  { netdevPorts, flows }: Pick<Duty, "netdevPorts" | "flows">,
  { port, isHost }: Exit,
  frame: Uint8Array,
): void {
  if (isHost && port.type === "dummy") return netdevPorts.inject(port.no, frame);
  const actions = encodeActions([isHost ? recirc(0) : output(port.no)]);
  const key = encodeKey({ inPort: port.no });
  flows.operate([{ op: "execute", packet: frame, key, actions }]);
}
