// SPDX-License-Identifier: Apache-2.0
/**
 * Ports of a datapath, as a provider has them. dpif: `port_*`.
 *
 * @module
 */
import type { PortNo } from "../ids.ts";
import type { Watch } from "./watch_stream.ts";

/** Request for a new port. */
export interface PortRequest {
  /** Name of the port: the name of a Linux device, or a new name. */
  readonly name: string;
  /**
   * Kind of port. If absent, the usual kind of the provider (`netdev` for system, `system` for
   * netdev).
   */
  readonly type?: string;
  /** Number of the port. If absent, the lowest free number from 1. 0 is the local port. */
  readonly no?: PortNo;
  /** Options of the kind of port, by name. */
  readonly options?: Readonly<Record<string, string | number | boolean>>;
}

/** A port of a datapath. dpif: `struct dpif_port`. */
export interface Port {
  /** Its number. */
  readonly no: PortNo;
  /** Its name. */
  readonly name: string;
  /** Kind of port: `system`, `internal`, `vxlan`, `dpdk`, … */
  readonly type: string;
  /** Options in force, if the provider knows them. */
  readonly options?: Readonly<Record<string, string>>;
  /** What its Linux device is called now, where that is not the port's name. */
  readonly device?: string;
  /** Bytes of the largest packet that it sends whole, without the Ethernet header. */
  readonly mtu?: number;
  /** MAC address of its device, `aa:bb:cc:dd:ee:ff`, if it has one. */
  readonly mac?: string;
  /** Its link; absent if the provider does not know it. */
  readonly link?: {
    /** Whether it carries packets: the device is set up, and so is its other end. */
    readonly up: boolean;
    /** Mbit/s, where the device says so and the link is up. */
    readonly speed?: number;
    /** Whether it sends and receives at the same time, where the device says so. */
    readonly duplex?: "full" | "half";
  };
  /** Its device is not there: deleted, or moved elsewhere. One of its name is taken up. */
  readonly gone?: true;
}

/** Counters of a port, as in `struct ovs_vport_stats`. */
export interface PortStats {
  /** Packets that were received. */
  readonly rxPackets: bigint;
  /** Packets that were sent. */
  readonly txPackets: bigint;
  /** Bytes of received packets. */
  readonly rxBytes: bigint;
  /** Bytes of sent packets. */
  readonly txBytes: bigint;
  /** Packets that could not be received whole. */
  readonly rxErrors: bigint;
  /** Packets that could not be sent. */
  readonly txErrors: bigint;
  /** Received packets that were dropped before the lookup. */
  readonly rxDropped: bigint;
  /** Packets that were dropped instead of sent. */
  readonly txDropped: bigint;
  /** Further counters by name. */
  readonly counters?: Readonly<Record<string, bigint>>;
}

/**
 * A change of the set of ports, or of the link or MTU of one. `rescan`: anything may have changed,
 * so list the ports again.
 */
export type PortChange =
  | { readonly kind: "rescan" }
  | { readonly kind: "changed"; readonly name: string };

/**
 * A watch for changes of ports, of which the first is `rescan`. `ENODEV` when somebody else removed
 * the datapath.
 */
export type PortWatch = Watch<PortChange>;

/** Ports of a datapath. */
export interface ProviderPorts {
  /**
   * Attaches a port. dpif: `port_add`.
   *
   * `EBUSY` number in use; `EEXIST` the device is a port already; `EFBIG` no number free or number
   * out of range; `ENODEV` no such device; `EAFNOSUPPORT` no such type; `EINVAL` bad option.
   */
  add(request: PortRequest): Promise<Port>;
  /** Detaches a port. `ENODEV` unknown number, `EINVAL` the local port. dpif: `port_del`. */
  delete(no: PortNo): Promise<void>;
  /** Changes options of a port. Absent: options cannot be changed. dpif: `port_set_config`. */
  setConfig?(no: PortNo, config: Readonly<Record<string, string>>): Promise<void>;
  /** The port with a number or name; undefined if there is none. dpif: `port_query_by_*`. */
  get(port: PortNo | string): Port | undefined;
  /** Every port, in order of number. dpif: `port_dump_*`. */
  dump(): Iterable<Port>;
  /** Counters of a port; `ENODEV` if there is none. */
  stats(no: PortNo): PortStats;
  /**
   * What the driver of a port's device counts, by its names: the statistics of `ethtool -S`, and
   * extended statistics of DPDK. `EOPNOTSUPP` a port without such counters, `ENODEV`. Absent: the
   * provider cannot ask.
   */
  driverCounters?(no: PortNo): Promise<Readonly<Record<string, bigint>>>;
  /**
   * The value for `OVS_USERSPACE_ATTR_PID` in actions of flows of a port. Absent: 0.
   * dpif: `port_get_pid`.
   */
  upcallPortId?(no: PortNo): number;
  /**
   * Begins to watch for changes. No change after this call is missed. dpif: `port_poll`,
   * `port_poll_wait`.
   */
  watch(): PortWatch;
  /**
   * Puts a frame into a port of type `dummy`, as if it had been received. `ENOBUFS`: the queue of
   * the port is full; `EOPNOTSUPP`: the port has another type. Absent: the provider has no such
   * ports.
   */
  inject?(no: PortNo, frame: Uint8Array): void;
  /** Takes the oldest frame that was sent to a port of type `dummy`. */
  collect?(no: PortNo): Uint8Array | undefined;
}
