// SPDX-License-Identifier: Apache-2.0
/**
 * What the resolver of tunnels tells the library, and is told by it, as objects: next hops, local
 * addresses, events.
 *
 * @module
 */

/** What a next hop depends on. */
export interface HopKey {
  /** Number of the tunnel port. */
  readonly port: number;
  /** Mark of the packet. */
  readonly mark: number;
  /** Local end that flow or port ask for; absent: they leave it to the route. */
  readonly source?: string;
  /** Remote end. */
  readonly destination: string;
}

/** Whom packets to a remote end are handed to. */
export interface Hop {
  /** Port that outer packets leave by. */
  readonly underlay: number;
  /** Outer packets are looked up as if `underlay` had received them. */
  readonly isReceived: boolean;
  /** Bytes that an outer packet may have from its IP header on; 0: as many as there can be. */
  readonly mtu: number;
  /** Outer source address. */
  readonly source: string;
  /** Ethernet header with tags and EtherType: 14, 18 or 22 bytes. */
  readonly header: Uint8Array;
}

/** An address by which tunnels end here. */
export interface Local {
  /** Port by which it is reached. */
  readonly port: number;
  /** `received`: packets to it are received by the port; `sent`: flows send them there. */
  readonly way: "received" | "sent";
  /** The address. */
  readonly address: string;
  /** VLAN of its packets; 0: none. */
  readonly vlan: number;
  /** Ethernet address of its frames; absent: any. */
  readonly mac?: string;
}

/** What the library tells. */
export type TunnelEvent =
  /** A packet found no hop. */
  | { readonly kind: "ask"; readonly key: HopKey }
  /**
   * `address` was said to have `mac`, at a port by which addresses of ours are reached; `about` is
   * the target of a question, or `address` again.
   */
  | {
    readonly kind: "neighbour";
    readonly port: number;
    readonly vlan: number;
    readonly address: string;
    readonly about: string;
    readonly mac: string;
  }
  /** Packets to `destination` may have `mtu` bytes, says a router. */
  | { readonly kind: "mtu"; readonly destination: string; readonly mtu: number };

/** A hop as the library lists it. */
export interface ListedHop {
  /** What it is for. */
  readonly key: HopKey;
  /** Milliseconds since it was used; undefined: never. */
  readonly idleMs: number | undefined;
}

/** The library's table of hops, and of what is ours. */
export interface HopTable {
  /** Makes or replaces a hop. A hop of undefined: there is no way, and nothing is asked. */
  set(key: HopKey, hop: Hop | undefined): void;
  /** Removes a hop, if it is there: the next packet asks. */
  delete(key: HopKey): void;
  /** Removes all that leave by `underlay`, or all. */
  flush(underlay?: number): void;
  /** Every hop. */
  list(): ListedHop[];
  /** Says what is ours, all of it. */
  setLocals(locals: readonly Local[]): void;
}

/** A key as text, for maps. */
export function hopKeyText({ port, mark, source = "", destination }: HopKey): string {
  return `${port} ${mark} ${source} ${destination}`;
}
