// SPDX-License-Identifier: Apache-2.0
/**
 * What is kept for tunnels when strangers send what they like, ports go, and descriptors run out.
 */
import assert from "node:assert/strict";
import type { Port } from "../../../providers/contract/ports.ts";
import { DatapathError } from "../../../providers/errors.ts";
import { portNo } from "../../../providers/ids.ts";
import type {
  Hop,
  HopKey,
  HopTable,
  ListedHop,
} from "../../../providers/netdev/tunnels/hop.ts";
import { hopKeyText } from "../../../providers/netdev/tunnels/hop.ts";
import { TunnelManager } from "../../../providers/netdev/tunnels/manager.ts";
import { Resolver } from "../../../providers/netdev/tunnels/resolver.ts";
import { Told } from "../../../providers/netdev/tunnels/told.ts";
import { until } from "../../support/wait.ts";

/** A library's table: it has no hops of ports that are no tunnels. */
class Table implements HopTable {
  readonly hops = new Map<string, { key: HopKey; hop: Hop | undefined }>();
  idleMs: number | undefined;
  readonly #ports: readonly Port[];

  constructor(ports: readonly Port[]) {
    this.#ports = ports;
  }
  set(key: HopKey, hop: Hop | undefined): void {
    const isThere = this.#ports.some(({ no }) => no === portNo(key.port));
    assert.ok(isThere, `a hop of port ${key.port}, which is gone`);
    this.hops.set(hopKeyText(key), { key, hop });
  }
  delete(key: HopKey): void {
    this.hops.delete(hopKeyText(key));
  }
  flush(): void {}
  list(): ListedHop[] {
    return [...this.hops.values()].map(({ key }) => ({ key, idleMs: this.idleMs }));
  }
  setLocals(): void {}
  /** The destination's Ethernet address in the hop of a port. */
  mac(key: HopKey): string | undefined {
    return this.hops.get(hopKeyText(key))?.hop?.header.toHex().slice(0, 12);
  }
}

/** Tunnels 8 and 9 over port 3, a dummy, by routes that were told. */
function bench() {
  const ports: Port[] = [
    { no: portNo(3), name: "under", type: "dummy" },
    { no: portNo(8), name: "v8", type: "vxlan" },
    { no: portNo(9), name: "v9", type: "vxlan" },
  ];
  const table = new Table(ports);
  const told = new Told();
  told.addAddress({ device: "under", prefix: { address: "10.1.0.1", length: 16 } });
  const destination = { address: "0.0.0.0", length: 0 };
  const source = "10.1.0.1";
  told.addRoute({ destination, device: "under", source, mark: 0, gateway: "10.1.0.9" });
  const neighbour = { address: "10.1.0.9", mac: "02:00:00:00:00:09", device: "under" };
  told.setNeighbour(neighbour, true, performance.now());
  const resolver = new Resolver({
    table,
    host: undefined,
    told,
    ports: () => ports,
    macOf: () => "02:00:00:00:00:01",
    send: () => {},
  });
  const key = (port: number, destination: string) => ({ port, mark: 0, destination });
  return { ports, table, told, neighbour, resolver, key };
}

const nth = (net: number, i: number) => `${net}.${i >> 16}.${i >> 8 & 255}.${i & 255}`;

Deno.test("tunnels: a tunnel that is gone holds up no other when the way changes", () => {
  const { ports, table, told, neighbour, resolver, key } = bench();
  const [of8, of9] = [key(8, "192.0.2.1"), key(9, "192.0.2.1")];
  resolver.ask(of8);
  resolver.ask(of9);
  assert.equal(table.mac(of9), "020000000009");
  ports.splice(1, 1); // 8
  table.hops.delete(hopKeyText(of8)); // As the library does.
  resolver.rescan();
  told.setNeighbour({ ...neighbour, mac: "02:00:00:00:00:0a" }, true, performance.now());
  resolver.renewNeighbour("under", neighbour.address);
  assert.equal(table.mac(of9), "02000000000a");
  resolver.setMtu("192.0.2.1", 1400);
  assert.equal(table.hops.get(hopKeyText(of9))?.hop?.mtu, 1400);
});

Deno.test("tunnels: what routers say is kept of far ends that are wanted only", () => {
  const { table, resolver, key } = bench();
  const [known, stranger] = [key(9, "192.0.2.1"), key(9, "192.0.2.2")];
  const mtu = (of: HopKey) => table.hops.get(hopKeyText(of))?.hop?.mtu;
  resolver.ask(known);
  for (const { destination } of [known, stranger]) resolver.setMtu(destination, 1400);
  resolver.ask(stranger);
  assert.deepEqual([mtu(known), mtu(stranger)], [1400, 0]);
  table.idleMs = 1_000_000;
  resolver.sweep(); // Nobody sends there any more.
  resolver.ask(known);
  assert.equal(mtu(known), 0);
});

Deno.test("tunnels: many who say who they are leave room for those who are needed", () => {
  const { told, resolver, key } = bench();
  const learn = (address: string) => {
    const isNeeded = resolver.isNextHop("under", address);
    return told.learn(
      { address, mac: "02:00:00:00:00:77", device: "under" },
      isNeeded,
      0,
    );
  };
  for (let i = 0; i < 100_000; i++) learn(nth(20, i));
  assert.ok(told.neighbours().length <= 4096, `${told.neighbours().length}`);
  told.addRoute({
    destination: { address: "10.1.0.0", length: 16 },
    device: "under",
    source: "10.1.0.1",
    mark: 0,
  });
  resolver.ask(key(9, "10.1.7.7"));
  assert.ok(learn("10.1.7.7"));
  assert.equal(told.mac("under", "10.1.7.7"), "02:00:00:00:00:77");
});

Deno.test("tunnels: far ends that packets choose leave room for others", () => {
  const { table, resolver, key } = bench();
  for (let i = 0; i < 70_000; i++) resolver.ask(key(9, nth(30, i)));
  const late = key(9, "192.0.2.1");
  resolver.ask(late);
  assert.equal(table.mac(late), undefined); // There is no room.
  table.idleMs = 61_000;
  resolver.sweep();
  resolver.ask(late);
  assert.equal(table.mac(late), "020000000009");
  resolver.ask(key(9, "192.0.2.2"));
  resolver.sweep(); // A minute is no time where there is room.
  assert.equal(table.hops.size, 2);
});

Deno.test("tunnels: they are managed once that is possible, whatever was in the way", async () => {
  let tries = 0;
  const manager = new TunnelManager(() => {
    tries++;
    if (tries === 1) {
      throw new DatapathError({ operation: "open", datapath: "d", code: "EMFILE" });
    }
    if (tries === 2) throw new TypeError("as when memory is short");
    throw new DatapathError({ operation: "open", datapath: "d", code: "ENODEV" });
  });
  manager.start();
  await until("three tries", () => tries === 3);
  await manager.close();
});
