// SPDX-License-Identifier: Apache-2.0
/**
 * Ports of a kernel datapath, and the news of their coming and going.
 *
 * @module
 */
import type {
  Port,
  PortRequest,
  PortStats,
  PortWatch,
  ProviderPorts,
} from "../contract/ports.ts";
import { nameSize } from "../check.ts";
import { LOCAL_PORT, type PortNo } from "../ids.ts";
import { inContext } from "../netlink/errors.ts";
import { driverCounters } from "../netlink/driver_counters.ts";
import { LinkTable } from "../netlink/link_table.ts";
import { NetlinkError } from "../netlink/mod.ts";
import { SystemPortWatch } from "./events.ts";
import { Kernel } from "./ovs.ts";
import { isTunnelType, TunnelLinks, tunnelTypeOf } from "./tunnel_links.ts";
import type { SystemUpcalls } from "./upcalls.ts";
import {
  checkDeviceName,
  createVport,
  deleteVport,
  findVport,
  getVport,
  listVports,
  maxNameSize,
  type VportRecord,
} from "./vports.ts";
import { VportType } from "../odp/payload/tunnel.ts";

/** Names of the vport types that a port can have without a tunnel device. */
const typeNames: ReadonlyMap<number, string> = new Map([
  [VportType.internal, "internal"],
  [VportType.gre, "gre"],
  [VportType.vxlan, "vxlan"],
  [VportType.geneve, "geneve"],
]);

/** Tunnels of Open vSwitch that Linux has no device with metadata for (3.7 and 6.1). */
const userspaceTypes: ReadonlySet<string> = new Set(["gtpu", "srv6"]);

function portOf(record: VportRecord, links: LinkTable): Port {
  const { no, name, type } = record;
  const typeName = type === VportType.netdev ? tunnelTypeOf(name) ?? "system" : undefined;
  const port = { no, name, type: typeName ?? typeNames.get(type) ?? `vport${type}` };
  const link = record.isElsewhere ? undefined : links.get(name);
  if (link === undefined) return port;
  const { mtu, mac, isUp, isRunning, speed, duplex } = link;
  const up = isUp && isRunning;
  return {
    ...port,
    mtu,
    ...(mac !== undefined && { mac }),
    link: { up, ...(up && speed && { speed }), ...(up && duplex && { duplex }) },
  };
}

/** Ports of a datapath in the kernel. */
export class SystemPorts implements ProviderPorts {
  readonly #kernel: Kernel;
  readonly #ifindex: number;
  readonly #datapath: string;
  readonly #upcalls: SystemUpcalls;
  readonly #links: TunnelLinks;
  readonly #table = new LinkTable();
  readonly #watches = new Set<SystemPortWatch>();

  /** `datapath` is the full name, for errors. */
  constructor(
    kernel: Kernel,
    ifindex: number,
    datapath: string,
    parts: { upcalls: SystemUpcalls; links: TunnelLinks },
  ) {
    this.#kernel = kernel;
    this.#ifindex = ifindex;
    this.#datapath = datapath;
    this.#upcalls = parts.upcalls;
    this.#links = parts.links;
  }

  #port(record: VportRecord): Port {
    return portOf(record, this.#table);
  }

  #in<T>(operation: string, object: string | undefined, action: () => T): T {
    return inContext({ operation, datapath: this.#datapath, object }, action);
  }

  // deno-lint-ignore require-await -- what it throws must reject
  async add(request: PortRequest): Promise<Port> {
    return this.#in("add port", request.name, () => {
      const { name, no, type = "netdev", options = {} } = request;
      checkDeviceName(name, type === "internal" || isTunnelType(type));
      // The kernel takes a wish for 0 as none.
      if (no === LOCAL_PORT) throw new NetlinkError({ code: "EBUSY" });
      if (isTunnelType(type)) {
        const made = this.#links.ensure(name, type, options);
        try {
          return { ...this.#create(VportType.netdev, name, no), type };
        } catch (error) {
          if (made) this.#links.delete(name);
          throw error;
        }
      }
      const [unknown] = Object.keys(options);
      if (unknown !== undefined) {
        throw new NetlinkError({
          code: "EINVAL",
          detail: `a port of type ${type} has no option ${unknown}`,
        });
      }
      if (type === "internal") {
        return this.#create(VportType.internal, name, no);
      }
      if (type === "netdev" || type === "system") {
        return this.#create(VportType.netdev, name, no);
      }
      throw new NetlinkError({
        code: "EAFNOSUPPORT",
        detail: userspaceTypes.has(type)
          ? `ports of type ${type} are for datapaths in userspace only`
          : `no port type ${type}`,
      });
    });
  }

  /** Makes a port, or leaves none: a caller that gets an error does not know its number. */
  #create(type: number, name: string, no: PortNo | undefined): Port {
    const upcallPids = this.#upcalls.portPids(no ?? 0);
    const record = createVport(this.#kernel, this.#ifindex, {
      type,
      name,
      no,
      upcallPids,
    });
    try {
      // The handler goes by the number, which was not known before.
      this.#upcalls.direct(record);
      return this.#port(record);
    } catch (error) {
      try {
        deleteVport(this.#kernel, this.#ifindex, record.no);
      } catch {
        // Its device may be gone, and the port with it; what went wrong first is what to say.
      }
      throw error;
    }
  }

  // deno-lint-ignore require-await -- what it throws must reject
  async delete(no: PortNo): Promise<void> {
    this.#in("delete port", String(no), () => {
      const { name } = getVport(this.#kernel, this.#ifindex, no);
      deleteVport(this.#kernel, this.#ifindex, no);
      this.#links.deleteOurs(name);
    });
  }

  get(port: PortNo | string): Port | undefined {
    return this.#in("get port", String(port), () => {
      if (typeof port === "string" && nameSize(port) > maxNameSize) return undefined;
      try {
        const record = typeof port === "string"
          ? findVport(this.#kernel, port)
          : getVport(this.#kernel, this.#ifindex, port);
        return record.datapath === this.#ifindex ? this.#port(record) : undefined;
      } catch (error) {
        if (!(error instanceof NetlinkError)) throw error;
        if (error.code !== "ENODEV") throw error;
        // The kernel looks a name up where the device's name put the port when it was attached: one
        // that was renamed since is found in the listing only (Linux 6.1).
        return typeof port === "string"
          ? this.dump().find(({ name }) => name === port)
          : undefined;
      }
    });
  }

  dump(): Port[] {
    return this.#in(
      "dump ports",
      undefined,
      () => listVports(this.#kernel, this.#ifindex).map((record) => this.#port(record)),
    );
  }

  stats(no: PortNo): PortStats {
    return this.#in("read port counters", String(no), () => {
      const { stats, upcalls } = getVport(this.#kernel, this.#ifindex, no);
      const [rxPackets = 0n, txPackets = 0n, rxBytes = 0n, txBytes = 0n] = stats;
      const [rxErrors = 0n, txErrors = 0n, rxDropped = 0n, txDropped = 0n] = stats.slice(
        4,
      );
      return {
        rxPackets,
        txPackets,
        rxBytes,
        txBytes,
        rxErrors,
        txErrors,
        rxDropped,
        txDropped,
        ...(upcalls && {
          counters: { upcall_success: upcalls.success, upcall_fail: upcalls.fail },
        }),
      };
    });
  }

  // deno-lint-ignore require-await -- what it throws must reject
  async driverCounters(no: PortNo): Promise<Readonly<Record<string, bigint>>> {
    return this.#in("read driver counters", String(no), () => {
      const { name, isElsewhere } = getVport(this.#kernel, this.#ifindex, no);
      if (!isElsewhere) return driverCounters(name);
      const detail = "its device is in another network namespace";
      throw new NetlinkError({ code: "EOPNOTSUPP", detail });
    });
  }

  upcallPortId(no: PortNo): number {
    return this.#upcalls.actionPortId(no);
  }

  watch(): PortWatch {
    return this.#in("watch ports", undefined, () => {
      const watch: SystemPortWatch = new SystemPortWatch(
        this.#kernel,
        this.#ifindex,
        this.#datapath,
        () => this.#watches.delete(watch),
      );
      this.#watches.add(watch);
      return watch;
    });
  }

  /** Ends every watch; resolves when none is open any more. */
  async close(): Promise<void> {
    const watches = [...this.#watches];
    for (const watch of watches) watch.end();
    await Promise.all(watches.map((watch) => watch.close()));
    this.#table.close();
  }
}
