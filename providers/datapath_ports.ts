// SPDX-License-Identifier: Apache-2.0
/**
 * The ports of a datapath, as users see them.
 *
 * @module
 */
import type { Port, PortRequest, PortStats } from "./contract/ports.ts";
import type { ProviderDatapath } from "./contract/provider.ts";
import { PortChanges } from "./contract/port_changes.ts";
import type { WatchOptions } from "./contract/watch_stream.ts";
import { DatapathError } from "./errors.ts";
import { plainName } from "./check.ts";
import { type PortNo, portNo } from "./ids.ts";

/**
 * Ports of a datapath. Port 0, the local port, is a port like any other: compare a number with
 * `undefined`, not by truthiness.
 */
export class Ports {
  readonly #open: (operation: string) => ProviderDatapath;

  /**
   * Puts a frame into a port of type `dummy` as if it had been received. Absent if the provider has
   * no such ports. `ENOBUFS`: the queue of the port is full.
   */
  readonly inject?: (no: PortNo, frame: Uint8Array) => void;
  /** Takes the oldest frame that was sent to a port of type `dummy`; undefined if there is none. */
  readonly collect?: (no: PortNo) => Uint8Array | undefined;

  /** Made by `Datapath`. */
  constructor(provider: ProviderDatapath, open: (operation: string) => ProviderDatapath) {
    this.#open = open;
    if (provider.ports.inject !== undefined) {
      this.inject = (no, frame) => open("inject").ports.inject?.(no, frame);
    }
    if (provider.ports.collect !== undefined) {
      this.collect = (no) => open("collect").ports.collect?.(no);
    }
  }

  /**
   * Attaches a port. `EBUSY`: the number is in use; `EEXIST`: the device is a port already;
   * `EFBIG`: no number is free, or it is out of range; `ENODEV`: no such device; `EAFNOSUPPORT`: no
   * such type; `EINVAL`: bad option.
   */
  // deno-lint-ignore require-await -- rejects, rather than throws, for arguments too
  async add(request: PortRequest): Promise<Port> {
    const provider = this.#open("add port");
    plainName("name of a port", request.name);
    if (request.no !== undefined) portNo(request.no);
    return provider.ports.add(request);
  }

  /**
   * Detaches a port, by number or name. `ENODEV`: there is none; `EINVAL`: it is the local port.
   */
  // deno-lint-ignore require-await -- rejects, rather than throws, for arguments too
  async delete(port: PortNo | string): Promise<void> {
    const provider = this.#open("delete port");
    if (typeof port === "number") return provider.ports.delete(portNo(port));
    const found = provider.ports.get(plainName("name of a port", port));
    if (found !== undefined) return provider.ports.delete(found.no);
    throw new DatapathError({
      operation: "delete port",
      datapath: `${provider.type}@${provider.name}`,
      object: port,
      code: "ENODEV",
    });
  }

  /** Changes options of a port. `EOPNOTSUPP`: the provider cannot change them. */
  // deno-lint-ignore require-await -- rejects, rather than throws, for arguments too
  async setConfig(no: PortNo, config: Readonly<Record<string, string>>): Promise<void> {
    const provider = this.#open("configure port");
    if (provider.ports.setConfig !== undefined) {
      return provider.ports.setConfig(portNo(no), config);
    }
    throw new DatapathError({
      operation: "configure port",
      datapath: `${provider.type}@${provider.name}`,
      object: `${no}`,
      code: "EOPNOTSUPP",
    });
  }

  /** The port with a number or a name; undefined if there is none. */
  get(port: PortNo | string): Port | undefined {
    const { ports } = this.#open("get port");
    return ports.get(
      typeof port === "number" ? portNo(port) : plainName("name of a port", port),
    );
  }

  /** Every port, in order of number. */
  dump(): Iterable<Port> {
    return this.#open("dump ports").ports.dump();
  }

  /** Counters of a port. `ENODEV`: there is none. */
  stats(no: PortNo): PortStats {
    return this.#open("read port statistics").ports.stats(portNo(no));
  }

  /**
   * What the driver of a port's device counts, by its names: the statistics of `ethtool -S`, or
   * extended statistics of DPDK. `EOPNOTSUPP`: it has none; `ENODEV`: there is no such port.
   */
  async driverCounters(no: PortNo): Promise<Readonly<Record<string, bigint>>> {
    const operation = "read driver counters";
    const { ports, type, name } = this.#open(operation);
    portNo(no);
    if (ports.driverCounters !== undefined) return await ports.driverCounters(no);
    throw new DatapathError({
      operation,
      datapath: `${type}@${name}`,
      object: `${no}`,
      code: "EOPNOTSUPP",
    });
  }

  /**
   * The `portId` for `userspace` actions in flows of a port; 0 if the provider needs none. Where
   * the kernel dispatches upcalls by port it holds until the stream of that handler is closed.
   */
  upcallPortId(no: PortNo): number {
    const { ports } = this.#open("get port id");
    portNo(no);
    return ports.upcallPortId?.(no) ?? 0;
  }

  /**
   * Changes of the set of ports, `rescan` first, from the first `next` on. Ends when the datapath
   * is closed or destroyed by this object; rejects with the signal's reason when it aborts, and
   * with `ENODEV` when somebody else removes the datapath.
   */
  changes(options: WatchOptions = {}): PortChanges {
    return new PortChanges(() => this.#open("watch ports").ports.watch(), options);
  }
}
