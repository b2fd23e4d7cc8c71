// SPDX-License-Identifier: Apache-2.0
/**
 * How a datapath that builds outer headers itself finds the far ends of its tunnels: routes,
 * neighbours, and addresses of its own.
 *
 * The kernel's routes, neighbours and addresses are followed by themselves. What is told here comes
 * on top, as by `ovs-appctl ovs/route/add` and `tnl/neigh/set`: it is for underlays that Linux does
 * not know, such as ports of DPDK, and for tests.  A device is named by the port that stands for
 * it.
 *
 * @module
 */
import type { PortNo } from "../ids.ts";

/** An address and how many of its leading bits count. */
export interface AddressPrefix {
  /** IPv4 or IPv6, in text. */
  readonly address: string;
  /** Bits, from 0 to 32 or 128. */
  readonly length: number;
}

/** A route for outer packets. */
export interface TunnelRoute {
  /** Where it leads. */
  readonly destination: AddressPrefix;
  /** Name of the port that it leads by. */
  readonly device: string;
  /** Whom outer packets are handed to; absent: the destination itself is on the link. */
  readonly gateway?: string;
  /** Mark of the packets that it is for; 0 when absent. */
  readonly mark?: number;
}

/** A route as it is listed. */
export interface ListedTunnelRoute extends TunnelRoute {
  /** Source address of outer packets. */
  readonly source: string;
  /** `user`: told by `addRoute`; `kernel`: followed. */
  readonly origin: "user" | "kernel";
  /** Whether it leads to this host itself. */
  readonly isLocal: boolean;
}

/** A neighbour on an underlay. */
export interface TunnelNeighbour {
  /** Its IP address. */
  readonly address: string;
  /** Its Ethernet address. */
  readonly mac: string;
  /** Name of the port that it is behind. */
  readonly device: string;
  /** Whether it has not been heard of for a while. */
  readonly isStale?: boolean;
}

/** An address of this host by which tunnels end here. */
export interface TunnelAddress {
  /** Name of the port that has it. */
  readonly device: string;
  /** The address, and the length of its network's prefix. */
  readonly prefix: AddressPrefix;
}

/** Whom a packet to a far end would be handed to. */
export interface TunnelNextHop {
  /** Source address of the outer packet. */
  readonly source: string;
  /** Name of the port that it leaves by; of the device, where that is no port of the datapath. */
  readonly device: string;
  /** Whom it is handed to; absent: the destination itself. */
  readonly gateway?: string;
}

/** A tunnel port that listens. */
export interface TunnelListener {
  /** The tunnel port. */
  readonly port: PortNo;
  /** Its name. */
  readonly name: string;
  /** What packets must have: protocol and UDP port of the outer header. */
  readonly protocol: number;
  /** UDP port; absent for protocols without. */
  readonly udpPort?: number;
  /** The addresses that it listens on, with the ports by which packets come there. */
  readonly addresses: readonly {
    readonly address: string;
    readonly device: string;
    readonly mac: string;
  }[];
}

/**
 * Routing of tunnels. dpif: none; Open vSwitch has it above dpif, in its `ovs-router`,
 * `tnl-neigh-cache` and `tnl-ports`.
 *
 * Everything that changes something may throw `EBUSY`: another isolate of this process manages the
 * tunnels of the datapath.
 */
export interface TunnelFacet {
  /** Every route, those told here first. */
  routes(): ListedTunnelRoute[];
  /**
   * Adds a route, or replaces that to the same prefix for the same mark.  `ENODEV`: no such port;
   * `ENETUNREACH`: the port has no address from which the gateway, or the destination, could be
   * reached.
   */
  addRoute(route: TunnelRoute): void;
  /** Removes a route that was told. `ENOENT`: there is none. */
  deleteRoute(destination: AddressPrefix, mark?: number): void;
  /** Whom a packet with `mark` to `destination` is handed to; undefined: there is no route. */
  lookUp(destination: string, mark?: number): TunnelNextHop | undefined;
  /** Every neighbour that packets can be sent to. */
  neighbours(): TunnelNeighbour[];
  /** Tells a neighbour's address; it goes before what the kernel says. */
  setNeighbour(neighbour: TunnelNeighbour): void;
  /** Forgets neighbours that were told or learned here, those of one device if it is named. */
  flushNeighbours(device?: string): void;
  /** Seconds after which a neighbour learned here is forgotten that nothing is sent to. */
  readonly aging: { get(): number; set(seconds: number): void };
  /** Addresses that were told. */
  addresses(): TunnelAddress[];
  /** Tells an address that a port has which is no Linux device. `ENODEV`: no such port. */
  addAddress(address: TunnelAddress): void;
  /** Takes it back. `ENOENT`: it was not told. */
  deleteAddress(device: string, address: string): void;
  /** Every tunnel port, and what it listens on. */
  listeners(): TunnelListener[];
  /** Range that UDP source ports of outer packets are from. */
  readonly sourcePorts: {
    get(): { readonly low: number; readonly high: number };
    set(low: number, high: number): void;
  };
}
