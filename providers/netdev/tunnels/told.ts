// SPDX-License-Identifier: Apache-2.0
/**
 * What a program says about the network, and what is learned from packets, beside what Linux knows:
 * routes, addresses and neighbours of ports that are no Linux devices.
 *
 * @module
 */
import { addressBytes, addressText, isWithin } from "../../netlink/mod.ts";
import type {
  AddressPrefix,
  ListedTunnelRoute,
  TunnelAddress,
  TunnelNeighbour,
  TunnelRoute,
} from "../../contract/tunnels.ts";

/** A route that was told. */
export interface ToldRoute extends TunnelRoute {
  readonly source: string;
  readonly mark: number;
}

/** The address of `text` as it is written everywhere here. */
export function canonical(text: string): string {
  return addressText(addressBytes(text));
}

/** A prefix without the bits that do not count. Throws `SyntaxError` and `RangeError`. */
export function canonicalPrefix({ address, length }: AddressPrefix): AddressPrefix {
  const bytes = addressBytes(address);
  if (!Number.isInteger(length) || length < 0 || length > 8 * bytes.length) {
    throw new RangeError(
      `prefix length must be 0 to ${8 * bytes.length}: it is ${length}`,
    );
  }
  for (const at of bytes.keys()) {
    const bits = Math.min(Math.max(length - 8 * at, 0), 8);
    bytes[at] = (bytes[at] ?? 0) & (0xff00 >> bits);
  }
  return { address: addressText(bytes), length };
}

/** Neighbours that are learned though nothing is sent to them: anybody can say that he is many. */
const maxStrangers = 4096;
/** Seconds that a learned neighbour lives unless something is sent to it. */
const usualAging = 900;

interface KnownNeighbour {
  readonly neighbour: TunnelNeighbour;
  /** Told, and so never forgotten by itself. */
  readonly isTold: boolean;
  /** When it is forgotten, ms of `performance.now()`. */
  until: number;
}

/** Told and learned facts of one datapath. Belongs to one isolate. */
export class Told {
  #routes: ToldRoute[] = [];
  #addresses: TunnelAddress[] = [];
  readonly #neighbours = new Map<string, KnownNeighbour>();
  #aging = usualAging;

  /** Whether nothing was told or learned. */
  get isEmpty(): boolean {
    return this.#routes.length === 0 && this.#addresses.length === 0 &&
      this.#neighbours.size === 0;
  }

  /** Routes that were told, the longest prefixes first. */
  routes(): readonly ToldRoute[] {
    return this.#routes;
  }

  /** The route for a packet. */
  route(destination: string, mark: number): ToldRoute | undefined {
    return this.#routes.find((route) =>
      route.mark === mark && isWithin(destination, route.destination)
    );
  }

  /** Adds a route, or replaces that to the same prefix for the same mark. */
  addRoute(route: ToldRoute): void {
    this.deleteRoute(route.destination, route.mark);
    this.#routes = [...this.#routes, route]
      .sort((a, b) => b.destination.length - a.destination.length);
  }

  /** Whether there was such a route. */
  deleteRoute({ address, length }: AddressPrefix, mark: number): boolean {
    const before = this.#routes.length;
    this.#routes = this.#routes.filter(({ destination, mark: its }) =>
      destination.address !== address || destination.length !== length || its !== mark
    );
    return this.#routes.length < before;
  }

  /** Addresses that were told. */
  addresses(): readonly TunnelAddress[] {
    return this.#addresses;
  }

  /** Adds an address, or replaces it. */
  addAddress(added: TunnelAddress): void {
    this.deleteAddress(added.device, added.prefix.address);
    this.#addresses = [...this.#addresses, added];
  }

  /** Whether there was such an address. Routes that have it as their source go with it. */
  deleteAddress(device: string, address: string): boolean {
    const before = this.#addresses.length;
    this.#addresses = this.#addresses.filter((known) =>
      known.device !== device || known.prefix.address !== address
    );
    this.#routes = this.#routes.filter((route) =>
      route.device !== device || route.source !== address
    );
    return this.#addresses.length < before;
  }

  /** A neighbour's Ethernet address. */
  mac(device: string, address: string): string | undefined {
    return this.#neighbours.get(`${device} ${address}`)?.neighbour.mac;
  }

  /** Neighbours that were told or learned. */
  neighbours(): TunnelNeighbour[] {
    return [...this.#neighbours.values()].map(({ neighbour }) => neighbour);
  }

  /** Takes a neighbour in; true if its address is news. */
  setNeighbour(neighbour: TunnelNeighbour, isTold: boolean, now: number): boolean {
    const key = `${neighbour.device} ${neighbour.address}`;
    const known = this.#neighbours.get(key);
    this.#neighbours.set(key, {
      neighbour,
      isTold: isTold || known?.isTold === true && known.neighbour.mac === neighbour.mac,
      until: now + 1000 * this.#aging,
    });
    return known?.neighbour.mac !== neighbour.mac;
  }

  /**
   * Learns a neighbour from what somebody sent; true if its address is news. One that is not
   * `isNeeded`, and not known, is learned only while there is room.
   */
  learn(neighbour: TunnelNeighbour, isNeeded: boolean, now: number): boolean {
    const isKnown = this.mac(neighbour.device, neighbour.address) !== undefined;
    if (!isNeeded && !isKnown && this.#neighbours.size >= maxStrangers) return false;
    return this.setNeighbour(neighbour, false, now);
  }

  /** Something was sent to a neighbour: it lives on. */
  refresh(device: string, address: string, usedAt: number): void {
    const known = this.#neighbours.get(`${device} ${address}`);
    if (known) known.until = Math.max(known.until, usedAt + 1000 * this.#aging);
  }

  /** Forgets what is too old; true if there was any. */
  age(now: number): boolean {
    return this.#forget(({ isTold, until }) => !isTold && until <= now);
  }

  /** Forgets all neighbours, or those of a device; true if there was any. */
  flushNeighbours(device?: string): boolean {
    return this.#forget(({ neighbour }) =>
      device === undefined || neighbour.device === device
    );
  }

  #forget(which: (known: KnownNeighbour) => boolean): boolean {
    const gone = [...this.#neighbours].filter(([, known]) => which(known));
    for (const [key] of gone) this.#neighbours.delete(key);
    return gone.length > 0;
  }

  /** Seconds that a learned neighbour lives. */
  get aging(): number {
    return this.#aging;
  }

  /** Sets them: a shorter life is for those too that are known, a longer one is not. */
  setAging(seconds: number, now: number): void {
    this.#aging = seconds;
    for (const known of this.#neighbours.values()) {
      known.until = Math.min(known.until, now + 1000 * seconds);
    }
  }

  /**
   * Source address for packets that leave by a device to `destination` or its `gateway`: the
   * address of `own` in the same subnet with the longest prefix.
   */
  static source(
    own: readonly AddressPrefix[],
    destination: string,
    gateway: string | undefined,
  ): string | undefined {
    for (const to of [destination, gateway]) {
      const [best] = own.filter((prefix) => to !== undefined && isWithin(to, prefix))
        .sort((a, b) => b.length - a.length);
      if (best) return best.address;
    }
    return undefined;
  }

  /** Told routes as they are listed. */
  listed(): ListedTunnelRoute[] {
    return this.#routes.map((route) => ({ ...route, origin: "user", isLocal: false }));
  }
}
