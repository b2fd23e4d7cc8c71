// SPDX-License-Identifier: Apache-2.0
/**
 * Finds the way to far ends of tunnels, and keeps it true.
 *
 * A far end that was asked for is *wanted* from then on: its route is looked up, its neighbour
 * looked for, and the header that follows written to the library.  Whatever is heard that touches
 * a wanted far end renews or withdraws it in the same turn; what nothing is sent to for a while
 * is forgotten.
 *
 * @module
 */
import type { RouteEvent } from "../../netlink/mod.ts";
import { isUsable, type Prefix } from "../../netlink/mod.ts";
import type { Port } from "../../contract/ports.ts";
import type { AddressPrefix } from "../../contract/tunnels.ts";
import { type Hop, type HopKey, hopKeyText, type HopTable, type Local } from "./hop.ts";
import type { Host } from "./host.ts";
import { ethernetHeader, multicastMac, question } from "./questions.ts";
import { Told, type ToldRoute } from "./told.ts";
import { type Exit, isTunnel, Underlays } from "./underlays.ts";
import { FarEnds, matcher, type Plan, type Wanted } from "./wanted.ts";

/** What the resolver needs of the datapath. */
export interface ResolverInit {
  readonly table: HopTable;
  /** Linux, as this process sees it; absent where it may not look. */
  readonly host: Host | undefined;
  readonly told: Told;
  /** Ports as they are now. */
  readonly ports: () => Iterable<Port>;
  /** Ethernet address of a port that is no Linux device. */
  readonly macOf: (port: Port) => string | undefined;
  /** Sends a frame of ours by a port, or as the host behind it would. */
  readonly send: (exit: Exit, frame: Uint8Array) => void;
}

const noMac = "00:00:00:00:00:00";
/** Smallest path MTU that is believed, as Linux has it (`min_pmtu`), and RFC 8200. */
const smallestMtu = { 4: 552, 6: 1280 } as const;
const mtuLifeMs = 600_000;
/** A far end that nothing was sent to for so long is forgotten. */
const idleLimitMs = 900_000;
/** Of a neighbour that something was sent to within this time, Linux is asked to make sure. */
const freshMs = 30_000;
/** More routes than these at once, and every far end is looked up anew. */
const manyRoutes = 64;
/** At most; of more, each waits for a packet that asks: nobody waits for what none may need. */
const atOnce = 1024;
const maxWanted = 65_536;
/**
 * The same while more than half of that many are wanted: packets may choose far ends, as where
 * flows answer to all who send, and those of a flood must go before there is room for no other.
 */
const crowdedLimitMs = 60_000;

function versionOf(address: string): 4 | 6 {
  return address.includes(":") ? 6 : 4;
}

/** Ways to the far ends of one datapath's tunnels. Belongs to one isolate. */
export class Resolver {
  readonly #init: ResolverInit;
  readonly #wanted = new FarEnds();
  /** Of wanted destinations only: anybody can send what a router would say. */
  readonly #mtus = new Map<string, { readonly mtu: number; readonly until: number }>();
  #underlays: Underlays;

  /** Takes ports and devices as they are now, and says what is ours. */
  constructor(init: ResolverInit) {
    this.#init = init;
    this.#underlays = this.#look();
  }

  /** Ports and what they stand for. */
  get underlays(): Underlays {
    return this.#underlays;
  }

  /** What is ours. */
  locals(): Local[] {
    return this.#localsOf(this.#underlays);
  }

  #localsOf(underlays: Underlays): Local[] {
    const { host, told } = this.#init;
    return underlays.locals(host?.addresses() ?? [], told.addresses());
  }

  #look(): Underlays {
    const { ports, host, table } = this.#init;
    const underlays = new Underlays(ports(), host?.links() ?? []);
    table.setLocals(this.#localsOf(underlays));
    return underlays;
  }

  /** A packet found no hop: it is looked for. */
  ask(key: HopKey): void {
    const text = hopKeyText(key);
    let wanted = this.#wanted.get(text);
    if (wanted === undefined) {
      if (this.#wanted.size >= maxWanted) return;
      wanted = this.#wanted.add(text, key);
    } else {
      wanted.written = ""; // The table knows best what it has not.
    }
    this.#resolve(text, wanted);
  }

  /** What was told is different, or anything may be: all is looked at anew. */
  rescan(): void {
    this.#takePorts();
    this.#renew();
  }

  /** Ports came or went. */
  portsChanged(): void {
    this.#takePorts();
    this.#renew(({ plan }) => plan === undefined || !this.#isExit(plan));
  }

  #takePorts(): void {
    this.#underlays = this.#look();
    const ports = [...this.#underlays.ports()].filter(({ type }) => isTunnel(type));
    const tunnels = new Set(ports.map(({ no }): number => no));
    for (const [text, wanted] of this.#wanted.entries()) {
      // The library has dropped the hops of a port that went.
      if (!tunnels.has(wanted.key.port)) this.#forget(text, wanted);
    }
  }

  /** Whether a plan's device has the same way out as before. */
  #isExit({ exit: { port, isHost, vlan }, ifindex }: Plan): boolean {
    const known = this.#underlays.port(port.name);
    if (known === undefined || known.gone || known.no !== port.no) return false;
    if (ifindex === undefined) return true;
    const exit = this.#underlays.exit(ifindex);
    return exit?.port.no === port.no && exit.isHost === isHost &&
      exit.vlan?.id === vlan?.id;
  }

  /** What Linux told; the host has taken it in. */
  heard(events: readonly RouteEvent[]): void {
    const prefixes: Prefix[] = [];
    const [devices, addresses] = [new Set<number>(), new Set<string>()];
    let [isAll, isOther] = [false, false];
    for (const event of events) {
      if (event.kind === "neighbour") {
        const { ifindex, address } = event.neighbour;
        this.#renewBehind(`#${ifindex} ${address}`);
      } else if (event.kind === "route") {
        prefixes.push(event.route.destination);
      } else if (event.kind === "link") {
        const { isUp, index } = event.link;
        if (event.isGone || !isUp) this.#withdraw((plan) => plan.ifindex === index);
        devices.add(index);
      } else if (event.kind === "address") {
        devices.add(event.address.ifindex);
        addresses.add(event.address.address);
      } else {
        isAll = true;
      }
      isOther ||= ["link", "address", "lost"].includes(event.kind);
    }
    if (isOther) this.#underlays = this.#look();
    if (isAll || prefixes.length > manyRoutes) return this.#renew();
    if (prefixes.length + devices.size === 0) return;
    const within = matcher(prefixes);
    const ports = new Set(
      [...devices].map((index) => this.#underlays.exit(index)?.port.no),
    );
    this.#renew(({ plan, destination }) =>
      within(destination) || (devices.size > 0 && plan === undefined) ||
      (plan !== undefined && (addresses.has(plan.source) ||
        devices.has(plan.ifindex ?? 0) || ports.has(plan.exit.port.no)))
    );
  }

  /** Looks for the way to far ends anew. */
  #renew(which: (wanted: Wanted) => boolean = () => true): void {
    const found = [...this.#wanted.entries()].filter(([, wanted]) => which(wanted));
    if (found.length <= atOnce) {
      return found.forEach(([text, wanted]) => this.#resolve(text, wanted));
    }
    if (found.length === this.#wanted.size) {
      this.#init.table.flush();
      this.#mtus.clear();
      return this.#wanted.clear();
    }
    this.#drop(found);
  }

  #drop(list: readonly [string, Wanted][]): void {
    for (const [text, wanted] of list) {
      this.#write(wanted, "", () => this.#init.table.delete(wanted.key));
      this.#forget(text, wanted);
    }
  }

  /** The address of a neighbour that Linux does not know of may be another. */
  renewNeighbour(device: string, address: string): void {
    this.#renewBehind(`${device} ${address}`);
    const index = this.#ifindexOf(device);
    if (index !== undefined) this.#renewBehind(`#${index} ${address}`);
  }

  /** A router says how large packets to a destination may be. */
  setMtu(destination: string, mtu: number): void {
    if (!this.#wanted.isToward(destination)) return;
    const least = smallestMtu[versionOf(destination)];
    const known = this.#mtus.get(destination)?.mtu ?? Infinity;
    this.#mtus.set(destination, {
      mtu: Math.min(Math.max(mtu, least), known),
      until: performance.now() + mtuLifeMs,
    });
    this.#resolveFor(destination);
  }

  #resolveFor(destination: string): void {
    for (const [text, wanted] of this.#wanted.toward(destination)) {
      this.#resolve(text, wanted);
    }
  }

  /** Whether packets are handed to a neighbour by a device, or would be. */
  isNextHop(device: string, address: string): boolean {
    return this.#wanted.isBehind(`${device} ${address}`);
  }

  /** What is done from time to time: forget what is idle, make sure of what is not. */
  sweep(): void {
    const { table, host, told } = this.#init;
    const now = performance.now();
    const limitMs = this.#wanted.size > maxWanted / 2 ? crowdedLimitMs : idleLimitMs;
    const listed = new Set<string>();
    for (const { key, idleMs } of table.list()) {
      const text = hopKeyText(key);
      listed.add(text);
      const wanted = this.#wanted.get(text);
      if (wanted === undefined) {
        table.delete(key);
        continue;
      }
      const { plan, since } = wanted;
      if ((idleMs ?? now - since) > limitMs) {
        table.delete(key);
        this.#forget(text, wanted);
      } else if (plan !== undefined && idleMs !== undefined && idleMs < freshMs) {
        told.refresh(plan.device, plan.nextHop, now - idleMs);
        const { ifindex, nextHop } = plan;
        const known = ifindex === undefined
          ? undefined
          : host?.neighbour(ifindex, nextHop);
        if (ifindex !== undefined && known?.state === "stale") {
          host?.ask(ifindex, nextHop);
        }
      }
    }
    for (const [text, wanted] of this.#wanted.entries()) {
      if (!listed.has(text) && now - wanted.since > limitMs) {
        this.#forget(text, wanted);
      }
    }
    for (const [destination, { until }] of this.#mtus) {
      if (until > now) continue;
      this.#mtus.delete(destination);
      this.#resolveFor(destination);
    }
    if (told.age(now)) this.rescan();
  }

  /** Source addresses that told routes by a device can have. */
  ownAddresses(device: string): AddressPrefix[] {
    const { host, told } = this.#init;
    const index = this.#ifindexOf(device);
    const linux = (host?.addresses() ?? []).filter(({ ifindex }) => ifindex === index)
      .map(({ address, prefixLength }) => ({ address, length: prefixLength }));
    const mine = told.addresses().filter((each) => each.device === device)
      .map(({ prefix }) => prefix);
    return [...mine, ...linux];
  }

  #ifindexOf(device: string): number | undefined {
    const port = this.#underlays.port(device);
    return port && this.#underlays.ifindex(port);
  }

  /** The way to a destination, but for its neighbour; undefined: there is none. */
  plan({ destination, source, mark }: Omit<HopKey, "port">): Plan | undefined {
    const { host, told } = this.#init;
    const route = told.route(destination, mark);
    if (route !== undefined) return this.#planTold(route, destination, source);
    const found = host?.lookUp(destination, {
      ...(source !== undefined && { source }),
      mark,
    });
    const [hop] = found?.nextHops ?? [];
    if (found === undefined || hop === undefined || found.type === "local") {
      return undefined;
    }
    const link = host?.link(hop.ifindex);
    const exit = this.#underlays.exit(hop.ifindex);
    const own = source ?? found.source;
    if (!link?.isUp || exit === undefined || own === undefined) return undefined;
    return {
      exit,
      device: link.name,
      ifindex: hop.ifindex,
      source: own,
      sourceMac: link.mac ?? noMac,
      gateway: hop.gateway,
      nextHop: hop.gateway ?? destination,
      mtu: this.#mtu(destination, found.mtu ?? link.mtu),
    };
  }

  #planTold(
    { device, gateway, source: own }: ToldRoute,
    destination: string,
    source: string | undefined,
  ): Plan | undefined {
    const { host, macOf } = this.#init;
    const port = this.#underlays.port(device);
    if (port === undefined || port.gone) return undefined;
    const ifindex = this.#underlays.ifindex(port);
    const link = ifindex === undefined ? undefined : host?.link(ifindex);
    return {
      exit: this.#underlays.exitOf(port),
      device,
      ifindex,
      source: source ?? own,
      sourceMac: link?.mac ?? macOf(port) ?? noMac,
      gateway,
      nextHop: gateway ?? destination,
      mtu: this.#mtu(destination, link?.mtu ?? 0),
    };
  }

  #mtu(destination: string, mtu: number): number {
    const told = this.#mtus.get(destination)?.mtu;
    return told === undefined ? mtu : Math.min(mtu || told, told);
  }

  /** Ethernet address of a plan's next hop; undefined while it is not known. */
  #mac({ ifindex, nextHop, device, exit }: Plan): string | undefined {
    const { host, told } = this.#init;
    const known = multicastMac(nextHop) ?? told.mac(device, nextHop) ??
      told.mac(exit.port.name, nextHop);
    if (known !== undefined || ifindex === undefined) return known;
    if (host?.link(ifindex)?.hasNoNeighbours) return noMac;
    const neighbour = host?.neighbour(ifindex, nextHop);
    return neighbour && isUsable(neighbour) ? neighbour.mac : undefined;
  }

  #askFor(plan: Plan): void {
    const { host, send } = this.#init;
    const { ifindex, nextHop, source, sourceMac, exit } = plan;
    if (ifindex !== undefined) return host?.ask(ifindex, nextHop);
    const asker = { address: source, mac: sourceMac, vlan: 0 };
    if (versionOf(source) === versionOf(nextHop)) send(exit, question(asker, nextHop));
  }

  #resolve(text: string, wanted: Wanted): void {
    const { table } = this.#init;
    const plan = this.plan(wanted.key);
    this.#wanted.place(text, wanted, plan);
    if (plan === undefined) {
      return this.#write(wanted, "none", () => table.set(wanted.key, undefined));
    }
    this.#follow(wanted, plan);
  }

  /** Writes a plan's hop, or looks for its neighbour. */
  #follow(wanted: Wanted, plan: Plan, mac = this.#mac(plan)): void {
    const { table } = this.#init;
    const { key } = wanted;
    if (mac === undefined) {
      this.#write(wanted, "", () => table.delete(key));
      return this.#askFor(plan);
    }
    const { exit, source, mtu, sourceMac } = plan;
    const header = ethernetHeader(mac, sourceMac, exit, versionOf(key.destination));
    const hop: Hop = {
      underlay: exit.port.no,
      isReceived: exit.isHost,
      mtu,
      source,
      header,
    };
    const written =
      `${hop.underlay} ${hop.isReceived} ${mtu} ${source} ${header.toHex()}`;
    this.#write(wanted, written, () => table.set(key, hop));
  }

  /** Writes what is not there yet. */
  #write(wanted: Wanted, written: string, write: () => void): void {
    if (wanted.written === written) return;
    write();
    wanted.written = written;
  }

  #forget(text: string, wanted: Wanted): void {
    this.#wanted.delete(text, wanted);
    const { destination } = wanted.key;
    if (!this.#wanted.isToward(destination)) this.#mtus.delete(destination);
  }

  #renewBehind(key: string): void {
    let mac: string | undefined;
    const behind = this.#wanted.behind(key);
    if (behind.length > atOnce) return this.#drop(behind);
    for (const [i, [, wanted]] of behind.entries()) {
      const { plan } = wanted;
      if (plan === undefined) continue;
      if (i === 0) mac = this.#mac(plan); // All of them have the same neighbour.
      // One that has failed is not asked again before there is a packet for it.
      if (mac === undefined) {
        this.#write(wanted, "", () => this.#init.table.delete(wanted.key));
      } else {
        this.#follow(wanted, plan, mac);
      }
    }
  }

  #withdraw(which: (plan: Plan) => boolean): void {
    for (const [, wanted] of this.#wanted.entries()) {
      if (wanted.plan === undefined || !which(wanted.plan)) continue;
      this.#write(wanted, "", () => this.#init.table.delete(wanted.key));
    }
  }
}
