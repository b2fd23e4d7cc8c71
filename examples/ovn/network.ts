// SPDX-License-Identifier: Apache-2.0
/**
 * A network of OVN on one machine: two chassis joined by a cable, with hosts on them, and a host
 * outside.
 *
 *     one (192.0.2.1)                       two (192.0.2.2)
 *       a 10.0.0.1   } sw0                    b 10.0.0.2  sw0
 *       d by DHCP    }                        c 10.0.1.3  sw1
 *       outside 172.16.0.10, by br-ex
 *
 * The router r0 is 10.0.0.254, 10.0.1.254, and 172.16.0.1 to the outside, where all of them are
 * seen as that (SNAT). 10.9.9.9:80 is b and c (a load balancer of sw0).
 *
 * @module
 */
import { openDatapath } from "../../mod.ts";
import { Central } from "./central.ts";
import { Chassis } from "./chassis.ts";
import { get, Program, until, within } from "./programs.ts";
import { sweep, Wires } from "./wires.ts";

const WEB = new URL("web.ts", import.meta.url).pathname;
/** Room for what Geneve puts around packets of 1500 bytes. */
const UNDERLAY_MTU = 1700;

/** A host on a logical switch, or outside. */
export interface Host {
  readonly name: string;
  /** The namespace that it is. */
  readonly namespace: string;
}

const hosts = {
  a: { on: "one", network: "sw0", mac: "50:54:00:00:00:01", last: 1 },
  b: { on: "two", network: "sw0", mac: "50:54:00:00:00:02", last: 2 },
  c: { on: "two", network: "sw1", mac: "50:54:00:00:00:03", last: 3 },
  d: { on: "one", network: "sw0", mac: "50:54:00:00:00:04", last: 4 },
} as const;

/** Names of hosts. */
export type HostName = keyof typeof hosts | "outside";

/** Networks of the logical switches, without the last part of an address. */
const networks = {
  sw0: { ipv4: "10.0.0", ipv6: "fd00:10:" },
  sw1: { ipv4: "10.0.1", ipv6: "fd00:11:" },
} as const;

/** Addresses of hosts that have one from the start. */
export const addresses = {
  ...{ a: "10.0.0.1", b: "10.0.0.2", c: "10.0.1.3", leased: "10.0.0.4" },
  ...{ b6: "fd00:10::2", c6: "fd00:11::3", outside: "172.16.0.10" },
  ...{ router: "172.16.0.1", balancer: "10.9.9.9" },
} as const;

/** The network, while it is there. */
export class Network implements AsyncDisposable {
  /** Where sockets and logs are. */
  readonly folder: string;
  readonly #stack: AsyncDisposableStack;
  readonly #hosts: ReadonlyMap<string, Host>;
  readonly central: Central;
  readonly one: Chassis;
  readonly two: Chassis;

  private constructor(
    stack: AsyncDisposableStack,
    folder: string,
    [central, one, two]: readonly [Central, Chassis, Chassis],
    hosts: ReadonlyMap<string, Host>,
  ) {
    this.folder = folder;
    this.#stack = stack;
    this.central = central;
    this.one = one;
    this.two = two;
    this.#hosts = hosts;
  }

  /** Makes it; returns when all of it is in force. Needs root. */
  static async make(): Promise<Network> {
    await compiled();
    await sweep();
    await using stack = new AsyncDisposableStack();
    const folder = await Deno.makeTempDir({ prefix: "ovn" });
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    const wires = stack.use(new Wires());
    const central = stack.use(
      await Central.start(folder, await wires.namespace("centre")),
    );
    const [one, two] = await Promise.all(
      ["one", "two"].map((name) => wires.namespace(name)),
    );
    const places = { one, two } as Record<"one" | "two", string>;
    await wires.cable(
      { ...underlay(places.one, 1), device: "eth0" },
      { ...underlay(places.two, 2), device: "eth0" },
    );
    const made = await makeHosts(wires, places);
    const start = async (name: "one" | "two", outside?: string): Promise<Chassis> => {
      await Deno.mkdir(`${folder}/${name}`);
      return stack.use(
        await Chassis.start({
          ...{ name, namespace: places[name], folder: `${folder}/${name}` },
          ...{ south: central.south, underlay: "eth0" },
          address: name === "one" ? "192.0.2.1" : "192.0.2.2",
          ...(outside !== undefined && { outside }),
        }),
      );
    };
    const first = await start("one", "outside0");
    const second = await start("two");
    const all = stack.move();
    const network = new Network(all, folder, [central, first, second], made);
    try {
      await describe(central);
      for (const [name, { on }] of Object.entries(hosts)) {
        await (on === "one" ? first : second).bind(`${name}0`, name);
      }
      await network.serve();
      await network.installed();
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
    return network;
  }

  /** Waits until ovn-controllers say of all ports that they are in force. */
  async installed(): Promise<void> {
    for (const chassis of [this.one, this.two]) {
      const count = Object.values(hosts).filter(({ on }) => on === chassis.name).length;
      await until(`the ports of ${chassis.name} to be installed`, async () => {
        const ids = await chassis.vs("--columns=external_ids", "list", "Interface");
        return ids.match(/ovn-installed="?true/g)?.length === count;
      }, { why: () => chassis.log("controller") });
    }
    await this.central.sync();
  }

  /** Web servers that say what they are called, and by which address they were called. */
  private async serve(): Promise<void> {
    for (const name of ["b", "c", "outside"] as const) {
      const { namespace } = this.host(name);
      const start = { namespace, log: `${this.folder}/web-${name}.log` };
      const program = [Deno.execPath(), "run", "-A", "--quiet", "--no-check", WEB];
      const web = new Program(start, [...program, name, "80", "81"]);
      this.#stack.defer(() => web.end());
      await until(`the web server of ${name}`, async () => {
        const text = await get(within(namespace, ["ss", "-ltnH"]));
        return /:80 .*/.test(text) && /:81 /.test(text);
      });
    }
  }

  /** A host by its name. */
  host(name: HostName): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new RangeError(`there is no host ${name}`);
    return host;
  }

  /** The words that run `words` on a host. */
  on(name: HostName, ...words: string[]): string[] {
    return within(this.host(name).namespace, words);
  }

  /** Takes all of it away. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** Has the library compiled, which is done once, before anybody waits for a switch. */
async function compiled(): Promise<void> {
  await using dp = await openDatapath(`netdev@ovn${Deno.pid}`, { create: true });
  await dp.destroy();
}

function underlay(namespace: string, last: number) {
  return { namespace, mtu: UNDERLAY_MTU, addresses: [`192.0.2.${last}/24`] };
}

async function makeHosts(
  wires: Wires,
  places: Readonly<Record<"one" | "two", string>>,
): Promise<Map<string, Host>> {
  const made = new Map<string, Host>();
  for (const [name, { on, network, mac, last }] of Object.entries(hosts)) {
    const namespace = await wires.namespace(name);
    made.set(name, { name, namespace });
    const { ipv4, ipv6 } = networks[network];
    const isTold = name === "d"; // DHCP tells its address.
    const own = isTold ? {} : {
      addresses: [`${ipv4}.${last}/24`, `${ipv6}:${last}/64`],
      gateways: [`${ipv4}.254`, `${ipv6}:fe`],
    };
    await wires.cable(
      { namespace, device: "eth0", mac, ...own },
      { namespace: places[on], device: `${name}0` },
    );
  }
  const namespace = await wires.namespace("outside");
  made.set("outside", { name: "outside", namespace });
  await wires.cable(
    { namespace, device: "eth0", addresses: [`${addresses.outside}/24`] },
    { namespace: places.one, device: "outside0" },
  );
  return made;
}

/** Has the northbound database describe the logical network. */
async function describe(central: Central): Promise<void> {
  await central.nb(
    ["ls-add", "sw0"],
    ["ls-add", "sw1"],
    ["ls-add", "pub"],
    ["lr-add", "r0"],
    ...Object.entries(hosts).flatMap(([name, { network, mac, last }]) => {
      const { ipv4, ipv6 } = networks[network];
      const said = `${mac} ${ipv4}.${last} ${ipv6}:${last}`;
      return [
        ["lsp-add", network, name],
        ["lsp-set-addresses", name, said],
        ["lsp-set-port-security", name, said],
      ];
    }),
    ...routerPort("sw0", "00:00:00:00:ff:01", "10.0.0.254/24", "fd00:10::fe/64"),
    ...routerPort("sw1", "00:00:00:00:ff:02", "10.0.1.254/24", "fd00:11::fe/64"),
    ...routerPort("pub", "00:00:00:00:ff:03", `${addresses.router}/24`),
    ["lsp-add", "pub", "wire"],
    ["lsp-set-type", "wire", "localnet"],
    ["lsp-set-addresses", "wire", "unknown"],
    ["lsp-set-options", "wire", "network_name=outside"],
    ["lrp-set-gateway-chassis", "r0-pub", "one"],
    ["lr-nat-add", "r0", "snat", addresses.router, "10.0.0.0/16"],
    ["acl-add", "sw0", "to-lport", "1002", "tcp.dst == 81", "drop"],
    ["acl-add", "sw0", "from-lport", "1001", "ip", "allow-related"],
    ["lb-add", "lb0", `${addresses.balancer}:80`, `${addresses.b}:80,${addresses.c}:80`],
    ["ls-lb-add", "sw0", "lb0"],
  );
  const options = await central.nb(
    [
      ...["create", "DHCP_Options", "cidr=10.0.0.0/24"],
      "options:server_id=10.0.0.254",
      'options:server_mac="00:00:00:00:ff:01"',
      ...["options:lease_time=3600", "options:router=10.0.0.254"],
    ],
  );
  await central.nb(["lsp-set-dhcpv4-options", "d", options]);
}

function routerPort(network: string, mac: string, ...said: string[]): string[][] {
  const [router, port] = [`r0-${network}`, `${network}-r0`];
  return [
    ["lrp-add", "r0", router, mac, ...said],
    ["lsp-add", network, port],
    ["lsp-set-type", port, "router"],
    ["lsp-set-addresses", port, "router"],
    ["lsp-set-options", port, `router-port=${router}`],
  ];
}
