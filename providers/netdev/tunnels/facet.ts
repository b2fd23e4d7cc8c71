// SPDX-License-Identifier: Apache-2.0
/**
 * Tunnels of a datapath of this process, as programs see them.
 *
 * @module
 */
import type {
  AddressPrefix,
  ListedTunnelRoute,
  TunnelAddress,
  TunnelFacet,
  TunnelListener,
  TunnelNeighbour,
  TunnelNextHop,
  TunnelRoute,
} from "../../contract/tunnels.ts";
import type { Port } from "../../contract/ports.ts";
import { DatapathError } from "../../errors.ts";
import { isUsable, RouteTable } from "../../netlink/mod.ts";
import { parseMac } from "../../codec/address.ts";
import type { Context } from "../context.ts";
import { type OwnHandle, TunnelManager } from "./manager.ts";
import { canonical, canonicalPrefix, Told } from "./told.ts";
import { isTunnel, recognizedBy } from "./underlays.ts";
import type { Resolver } from "./resolver.ts";

/** What the handles on one datapath share, in this isolate. */
interface Shared {
  readonly manager: TunnelManager;
  readonly users: Set<NetdevTunnels>;
}

/** By name. */
const shared = new Map<string, Shared>();

/** Tables whose routes Open vSwitch follows. */
const followed: ReadonlySet<number> = new Set(Object.values(RouteTable));

/** Tunnels of one handle's datapath. */
export class NetdevTunnels implements TunnelFacet {
  readonly #context: Context;
  readonly #manager: TunnelManager;
  #isOpen = true;

  readonly aging: TunnelFacet["aging"] = {
    get: () => this.#manager.told.aging,
    set: (seconds) => {
      if (!Number.isInteger(seconds) || seconds < 1 || seconds > 3600) {
        throw new RangeError(`aging must be 1 to 3600 seconds: it is ${seconds}`);
      }
      this.#manager.told.setAging(seconds, performance.now());
    },
  };

  readonly sourcePorts: TunnelFacet["sourcePorts"] = {
    get: () => this.#manager.sourcePorts,
    set: (low, high) => {
      this.#manager.onDuty().table.setSourcePorts(low, high);
      this.#manager.sourcePorts = low <= high ? { low, high } : { low: high, high: low };
    },
  };

  /** `open` makes a handle for the manager, which may outlive this one. */
  constructor(context: Context, open: () => OwnHandle) {
    this.#context = context;
    const { fullName } = context;
    const known = shared.get(fullName);
    const isAnother = [...known?.users ?? []].some((user) => user.#isGone());
    if (known !== undefined && !known.manager.isClosed && !isAnother) {
      known.users.add(this);
      this.#manager = known.manager;
      return;
    }
    if (isAnother) known?.manager.close().catch(() => {}); // Its users are told as they close.
    this.#manager = new TunnelManager(open);
    shared.set(fullName, { manager: this.#manager, users: new Set([this]) });
  }

  /** Whether the datapath was destroyed: one that was made since may have its name. */
  #isGone(): boolean {
    const { symbols, dp } = this.#context;
    return symbols.dp_port_sequence(dp, new Uint8Array(8)) !== 0;
  }

  /** There may be tunnel ports, which want to be managed. */
  startIfNeeded(ports: Iterable<Port>): void {
    for (const { type } of ports) {
      if (isTunnel(type)) return this.#manager.start();
    }
  }

  /** Lets go of the manager, which ends with the last handle of this isolate. Idempotent. */
  async close(isDestroyed = false): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const { fullName } = this.#context;
    const entry = shared.get(fullName);
    entry?.users.delete(this);
    const isShared = entry?.manager === this.#manager;
    if (isShared && entry.users.size > 0 && !isDestroyed) return;
    if (isShared) shared.delete(fullName);
    await this.#manager.close();
  }

  routes(): ListedTunnelRoute[] {
    const { told } = this.#manager;
    return [...told.listed(), ...this.#linuxRoutes()];
  }

  #linuxRoutes(): ListedTunnelRoute[] {
    const { host, resolver: { underlays } } = this.#manager.onDuty();
    const routes: ListedTunnelRoute[] = [];
    for (const route of host?.routes() ?? []) {
      const { type, table, nextHops, destination, source, version } = route;
      const [hop] = nextHops;
      if ((type !== "unicast" && type !== "local") || !followed.has(table) || !hop) {
        continue;
      }
      const link = host?.link(hop.ifindex);
      if (link === undefined) continue;
      const own = (host?.addresses() ?? [])
        .filter((each) => each.ifindex === hop.ifindex && each.version === version)
        .map(({ address, prefixLength }) => ({ address, length: prefixLength }));
      const from = source ?? Told.source(own, destination.address, hop.gateway);
      if (from === undefined) continue;
      routes.push({
        destination,
        device: underlays.exit(hop.ifindex)?.port.name ?? link.name,
        ...(hop.gateway !== undefined && { gateway: hop.gateway }),
        source: from,
        origin: "kernel",
        isLocal: type === "local",
      });
    }
    return routes;
  }

  addRoute(route: TunnelRoute): void {
    const { resolver } = this.#manager.onDuty();
    const destination = canonicalPrefix(route.destination);
    const { device, mark = 0 } = route;
    const gateway = route.gateway === undefined ? undefined : canonical(route.gateway);
    this.#port("add route", device, resolver);
    const own = resolver.ownAddresses(device);
    const source = Told.source(own, destination.address, gateway);
    if (source === undefined) {
      const detail = `port "${device}" has no address that reaches ${
        gateway ?? destination.address
      }`;
      throw this.#failure("add route", destination.address, "ENETUNREACH", detail);
    }
    this.#manager.told.addRoute({
      destination,
      device,
      ...(gateway !== undefined && { gateway }),
      mark,
      source,
    });
    resolver.rescan();
  }

  deleteRoute(prefix: AddressPrefix, mark = 0): void {
    const { resolver } = this.#manager.onDuty();
    const destination = canonicalPrefix(prefix);
    if (!this.#manager.told.deleteRoute(destination, mark)) {
      throw this.#failure("delete route", destination.address, "ENOENT");
    }
    resolver.rescan();
  }

  lookUp(destination: string, mark = 0): TunnelNextHop | undefined {
    const { host, resolver: { underlays } } = this.#manager.onDuty();
    const to = canonical(destination);
    const told = this.#manager.told.route(to, mark);
    if (told !== undefined) return nextHop(told.source, told.device, told.gateway);
    const found = host?.lookUp(to, { mark });
    const [hop] = found?.nextHops ?? [];
    if (!found || !hop) return undefined;
    // The kernel says that what is our own leaves by the loopback.
    const own = found.type !== "local" ? undefined : host?.addresses()
      .find(({ address }) => address === to);
    const ifindex = own?.ifindex ?? hop.ifindex;
    const link = host?.link(ifindex);
    if (found.source === undefined || link === undefined) return undefined;
    const device = underlays.exit(ifindex)?.port.name ?? link.name;
    return nextHop(found.source, device, hop.gateway);
  }

  neighbours(): TunnelNeighbour[] {
    const { told } = this.#manager;
    const { host, resolver: { underlays } } = this.#manager.onDuty();
    const own = told.neighbours();
    const known = new Set(own.map(({ device, address }) => `${device} ${address}`));
    const linux = [...host?.neighbours() ?? []].flatMap((each): TunnelNeighbour[] => {
      const exit = underlays.exit(each.ifindex);
      const { address, mac, state } = each;
      if (exit === undefined || mac === undefined || !isUsable(each)) return [];
      // Multicast groups are neighbours to Linux.
      if (state === "noarp" || known.has(`${exit.port.name} ${address}`)) return [];
      const device = exit.port.name;
      return [{ address, mac, device, ...(state === "stale" && { isStale: true }) }];
    });
    return [...own, ...linux];
  }

  setNeighbour({ address, mac, device }: TunnelNeighbour): void {
    const { resolver } = this.#manager.onDuty();
    const bytes = new Uint8Array(6);
    if (parseMac(mac, 0, bytes, 0) !== mac.length) {
      throw new SyntaxError(`no Ethernet address: ${JSON.stringify(mac)}`);
    }
    const neighbour = { address: canonical(address), mac, device };
    this.#manager.told.setNeighbour(neighbour, true, performance.now());
    resolver.renewNeighbour(device, neighbour.address);
  }

  flushNeighbours(device?: string): void {
    const { resolver } = this.#manager.onDuty();
    if (this.#manager.told.flushNeighbours(device)) resolver.rescan();
  }

  addresses(): TunnelAddress[] {
    return [...this.#manager.told.addresses()];
  }

  addAddress({ device, prefix }: TunnelAddress): void {
    const { resolver } = this.#manager.onDuty();
    const address = canonical(prefix.address);
    canonicalPrefix(prefix); // Checks the length.
    this.#port("add address", device, resolver);
    this.#manager.told.addAddress({ device, prefix: { address, length: prefix.length } });
    resolver.rescan();
  }

  deleteAddress(device: string, address: string): void {
    const { resolver } = this.#manager.onDuty();
    if (!this.#manager.told.deleteAddress(device, canonical(address))) {
      throw this.#failure("delete address", address, "ENOENT");
    }
    resolver.rescan();
  }

  listeners(): TunnelListener[] {
    const { resolver, netdevPorts, table } = this.#manager.onDuty();
    const names = new Map([...resolver.underlays.ports()].map((port) => [port.no, port]));
    const locals = resolver.locals();
    return [...netdevPorts.dump()].filter(({ type }) => isTunnel(type))
      .map((port) => ({
        port: port.no,
        name: port.name,
        ...recognizedBy(port),
        addresses: locals.map(({ port, address, mac }) => ({
          address,
          device: names.get(port as Port["no"])?.name ?? `${port}`,
          mac: mac ?? table.macOf(port) ?? "00:00:00:00:00:00",
        })),
      }));
  }

  #port(operation: string, device: string, resolver: Resolver): Port {
    const port = resolver.underlays.port(device);
    if (port !== undefined) return port;
    throw this.#failure(operation, device, "ENODEV", "there is no such port");
  }

  #failure(
    operation: string,
    object: string,
    code: "ENODEV" | "ENOENT" | "ENETUNREACH",
    detail?: string,
  ): DatapathError {
    const subject = this.#context.subject(operation, object);
    return new DatapathError({
      ...subject,
      code,
      ...(detail !== undefined && { detail }),
    });
  }
}

function nextHop(source: string, device: string, gateway?: string): TunnelNextHop {
  return { source, device, ...(gateway !== undefined && { gateway }) };
}
