// SPDX-License-Identifier: Apache-2.0
/**
 * Ports of a datapath as underlays of its tunnels: which Linux device a port stands for, and which
 * addresses are reached by it.
 *
 * Two kinds of ports can have addresses. A port that is a device of the host's (`system`,
 * `afxdp`) or would be one (`dpdk`) receives what is for them. The local port, and TAP devices,
 * are the host behind the datapath: flows send to them what is for them, and the host sends by
 * them.
 *
 * @module
 */
import type { Link, LinkAddress } from "../../netlink/mod.ts";
import type { Port } from "../../contract/ports.ts";
import type { TunnelAddress } from "../../contract/tunnels.ts";
import type { Local } from "./hop.ts";

/** What each kind of tunnel is recognized by: protocol, and UDP port if the port says none. */
const recognized: Readonly<Record<string, readonly [protocol: number, udp?: number]>> = {
  vxlan: [17, 4789],
  geneve: [17, 6081],
  gre: [47],
  ip6gre: [47],
  erspan: [47],
  ip6erspan: [47],
  gtpu: [17, 2152],
  bareudp: [17, 6635],
};

/** Types of ports that are a Linux device, by the device's name. */
const deviceTypes: ReadonlySet<string> = new Set(["system", "afxdp", "tap", "internal"]);

/** Whether ports of `type` are tunnels. */
export function isTunnel(type: string): boolean {
  return Object.hasOwn(recognized, type);
}

/** By what a tunnel port recognizes its packets: protocol, and UDP port if that is UDP. */
export function recognizedBy(
  { type, options }: Port,
): { protocol: number; udpPort?: number } {
  const [protocol, usual] = recognized[type] ?? [0];
  if (usual === undefined) return { protocol };
  return { protocol, udpPort: Number(options?.["dst_port"] ?? usual) };
}

/** Way out of a Linux device: a port, and the tag that its packets have there. */
export interface Exit {
  /** The port. */
  readonly port: Port;
  /** Whether it is the host behind the datapath. */
  readonly isHost: boolean;
  /** The tag. */
  readonly vlan?: { readonly id: number; readonly tpid: number };
}

/** Whether a port is the host behind the datapath. */
function isHostSide({ no, type }: Port): boolean {
  return no === 0 || type === "tap" || type === "internal";
}

function isUsual({ address, isTentative }: LinkAddress): boolean {
  return !isTentative && !address.startsWith("127.") && address !== "::1";
}

/** Ports of a datapath, and what they stand for. */
export class Underlays {
  readonly #ports = new Map<string, Port>();
  readonly #byIndex = new Map<number, Port>();
  readonly #links: ReadonlyMap<number, Link>;

  /** Takes ports and devices as they are now. */
  constructor(ports: Iterable<Port>, links: Iterable<Link>) {
    this.#links = new Map([...links].map((link) => [link.index, link]));
    const indexOf = new Map(
      [...this.#links.values()].map(({ name, index }) => [name, index]),
    );
    for (const port of ports) {
      this.#ports.set(port.name, port);
      if (!deviceTypes.has(port.type) || port.gone) continue;
      const device = port.device ?? port.options?.["device"] ?? port.name;
      const index = indexOf.get(device);
      if (index !== undefined) this.#byIndex.set(index, port);
    }
  }

  /** Every port. */
  ports(): Iterable<Port> {
    return this.#ports.values();
  }

  /** A port by its name. */
  port(name: string): Port | undefined {
    return this.#ports.get(name);
  }

  /** Index of the Linux device that a port is, if it is one. */
  ifindex(port: Port): number | undefined {
    for (const [index, { no }] of this.#byIndex) if (no === port.no) return index;
    return undefined;
  }

  /** Where packets go that Linux would send by a device; undefined: past this datapath. */
  exit(ifindex: number): Exit | undefined {
    const port = this.#byIndex.get(ifindex);
    if (port !== undefined) return { port, isHost: isHostSide(port) };
    const { vlan, lower } = this.#links.get(ifindex) ?? {};
    const below = lower === undefined || !vlan ? undefined : this.#byIndex.get(lower);
    return below && vlan && { port: below, isHost: isHostSide(below), vlan };
  }

  /** Where packets go that leave by a port with a told address. */
  exitOf(port: Port): Exit {
    return { port, isHost: isHostSide(port) };
  }

  /**
   * What is ours: addresses of devices that are ports, and of VLANs on them; those of devices that
   * no packet arrives by, such as the loopback's, by every port that has some; and those told.
   */
  locals(addresses: readonly LinkAddress[], told: readonly TunnelAddress[]): Local[] {
    const locals: Local[] = [];
    const place = (exit: Exit, address: string, mac: string | undefined): void => {
      locals.push({
        port: exit.port.no,
        way: exit.isHost ? "sent" : "received",
        address,
        vlan: exit.vlan?.id ?? 0,
        ...(mac !== undefined && { mac }),
      });
    };
    const floating: string[] = [];
    const exits = new Map<number, Exit>();
    for (const each of addresses) {
      if (!isUsual(each)) continue;
      const link = this.#links.get(each.ifindex);
      const exit = this.exit(each.ifindex);
      if (exit !== undefined && link?.isUp) {
        exits.set(each.ifindex, exit);
        place(exit, each.address, link.mac);
      } else if (link?.isLoopback || link?.kind === "dummy") {
        floating.push(each.address);
      }
    }
    for (const [ifindex, exit] of exits) {
      for (const address of floating) place(exit, address, this.#links.get(ifindex)?.mac);
    }
    for (const { device, prefix } of told) {
      const port = this.#ports.get(device);
      if (port !== undefined) place(this.exitOf(port), prefix.address, undefined);
    }
    return locals;
  }
}
