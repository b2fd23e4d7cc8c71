// SPDX-License-Identifier: Apache-2.0
/**
 * A resolver of tunnels on real devices, and what it would tell the library.
 *
 * @module
 */
import type { Port } from "../../../providers/contract/ports.ts";
import { portNo } from "../../../providers/ids.ts";
import type {
  Hop,
  HopKey,
  HopTable,
  ListedHop,
  Local,
} from "../../../providers/netdev/tunnels/hop.ts";
import { hopKeyText } from "../../../providers/netdev/tunnels/hop.ts";
import { Host } from "../../../providers/netdev/tunnels/host.ts";
import { Resolver } from "../../../providers/netdev/tunnels/resolver.ts";
import { Told } from "../../../providers/netdev/tunnels/told.ts";
import { shell } from "../../support/command.ts";
import { type Host as TestHost, makeHosts } from "../../support/netns.ts";
import { needRoot } from "../../support/skip.ts";
import { until } from "../../support/wait.ts";

/** What the library would know. */
export class FakeTable implements HopTable {
  readonly hops = new Map<string, Hop | "none">();
  readonly idle = new Map<string, number>();
  locals: readonly Local[] = [];

  set(key: HopKey, hop: Hop | undefined): void {
    this.hops.set(hopKeyText(key), hop ?? "none");
  }
  delete(key: HopKey): void {
    this.hops.delete(hopKeyText(key));
  }
  flush(): void {
    this.hops.clear();
  }
  list(): ListedHop[] {
    return [...this.hops.keys()].map((text) => {
      const [port, mark, source, destination = ""] = text.split(" ");
      const key = { port: Number(port), mark: Number(mark), destination };
      return { key: source ? { ...key, source } : key, idleMs: this.idle.get(text) };
    });
  }
  setLocals(locals: readonly Local[]): void {
    this.locals = locals;
  }
  /** The hop to a destination, as `DST SRC-MAC TYPE`. */
  header(key: HopKey): string | undefined {
    const hop = this.hops.get(hopKeyText(key));
    return hop === undefined || hop === "none" ? hop : hop.header.toHex();
  }
}

/** A resolver and its world. */
export interface Bench {
  readonly host: TestHost;
  readonly table: FakeTable;
  readonly linux: Host;
  readonly resolver: Resolver;
  /** This end's Ethernet address. */
  readonly mac: string;
  readonly key: (destination: string, mark?: number) => HopKey;
  /** Takes in what Linux tells until something is so. */
  readonly settle: (what: string, look: () => boolean) => Promise<void>;
  /** The ports that there are; `rescan` when they have changed. */
  readonly ports: Port[];
}

/** A veth to a host: this end, 10.73.0.254/24 and fd00:73::fe/64, is port 3. */
export async function bench(test: (bench: Bench) => Promise<void>): Promise<void> {
  needRoot("netdev");
  await using made = await makeHosts("rs", 1, { net: 73 });
  const [host] = made.hosts as [TestHost];
  await shell(`ip addr add 10.73.0.254/24 dev ${host.device}
    ip addr add fd00:73::fe/64 dev ${host.device} nodad`);
  const linux = new Host();
  try {
    const [link] = [...linux.links()].filter(({ name }) => name === host.device);
    const table = new FakeTable();
    const ports: Port[] = [
      { no: portNo(3), name: host.device, type: "system" },
      { no: portNo(9), name: "tunnel", type: "vxlan" },
    ];
    const resolver = new Resolver({
      table,
      host: linux,
      told: new Told(),
      ports: () => ports,
      macOf: () => undefined,
      send: () => {},
    });
    await test({
      host,
      table,
      linux,
      resolver,
      ports,
      mac: (link?.mac ?? "").replaceAll(":", ""),
      key: (destination, mark = 0) => ({ port: 9, mark, destination }),
      settle: async (what, look) => {
        await until(what, () => {
          resolver.heard(linux.take());
          return look();
        });
      },
    });
  } finally {
    linux.close();
  }
}
