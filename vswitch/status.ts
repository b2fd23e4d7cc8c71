// SPDX-License-Identifier: Apache-2.0
/**
 * What the database is told of bridges and interfaces, and only where it is not what it was told.
 *
 * @module
 */
import type { Database } from "../ovsdb/database.ts";
import { formatJson, type Json } from "../ovsdb/json.ts";
import { columnOf, type TableName, type Values } from "../ovsdb/schema.ts";
import { Transaction } from "../ovsdb/transaction.ts";
import {
  Conversation,
  type Link,
  listLinks,
  NetlinkSocket,
  Protocol,
} from "../providers/netlink/mod.ts";
import type { Bridge, Face } from "./bridge.ts";
import { isTunnel } from "./face.ts";

/** What was written, so that it is not written again. */
export class Written {
  readonly #rows = new Map<string, Map<string, string>>();

  /** Forgets all: a server that came back may have forgotten it too. */
  clear(): void {
    this.#rows.clear();
  }

  /**
   * Has a database take what `fill` adds by {@linkcode update}. Where that fails, none of it counts
   * as written. Throws what `fill` does, and what the database refuses.
   */
  async send(
    database: Pick<Database, "transact">,
    fill: (to: Transaction) => void,
  ): Promise<void> {
    const to = new Transaction();
    try {
      fill(to);
      if (!to.isEmpty) await database.transact(to);
    } catch (error) {
      this.clear();
      throw error;
    }
  }

  /** Adds those of some values that are not as they were written. */
  update<T extends TableName>(
    to: Transaction,
    table: T,
    uuid: string,
    values: Values<T>,
  ): void {
    const before = this.#rows.get(uuid) ?? new Map<string, string>();
    const changed = Object.entries(values).map(([name, value]) => {
      const text = formatJson(columnOf(table, name)?.write(value) as Json);
      return { name, value, text };
    }).filter(({ name, text }) => before.get(name) !== text);
    if (changed.length === 0) return;
    const named = changed.map(({ name, value }) => [name, value]);
    to.update(table, uuid, Object.fromEntries(named) as Values<T>);
    for (const { name, text } of changed) before.set(name, text);
    this.#rows.set(uuid, before);
  }

  /** Forgets rows that are not there any more. */
  keep(has: (uuid: string) => boolean): void {
    for (const uuid of [...this.#rows.keys()]) {
      if (!has(uuid)) this.#rows.delete(uuid);
    }
  }
}

/** Devices of this network namespace, by name; none where they cannot be listed. */
export function devices(): ReadonlyMap<string, Link> {
  try {
    const route = new Conversation(() => new NetlinkSocket(Protocol.route));
    try {
      return new Map(listLinks(route).map((link) => [link.name, link]));
    } finally {
      route.close();
    }
  } catch {
    return new Map();
  }
}

/** What an interface is, besides its counters. */
export function faceValues(
  bridge: Bridge,
  face: Face,
  links: ReadonlyMap<string, Link>,
): Values<"Interface"> {
  const { number, error, config: { name, type } } = face;
  const port = bridge.portOf(face);
  if (number < 0) {
    return {
      ...{ ofport: -1, error, mac_in_use: undefined, mtu: undefined, ifindex: undefined },
      ...{ admin_state: undefined, link_state: undefined, link_speed: undefined },
      ...{ duplex: undefined, status: new Map() },
    };
  }
  const hasDevice = bridge.backing.kind !== "dummy" && type !== "patch" &&
    !isTunnel(type);
  const link = hasDevice ? links.get(port?.device ?? name) : undefined;
  const isUp = type === "patch" || (port?.link?.up ?? true);
  const isOn = link === undefined ? type === "patch" || port?.gone !== true : link.isUp;
  const speed = port?.link?.speed;
  const kind = isTunnel(type) || type === "patch"
    ? type
    : link?.kind ?? port?.type ?? type;
  const mtu = port?.mtu;
  return {
    ofport: number,
    error: undefined,
    mac_in_use: bridge.macOf(face),
    mtu: isTunnel(type) || type === "patch" ? undefined : mtu,
    ifindex: link?.index ?? 0,
    admin_state: isOn ? "up" : "down",
    link_state: isUp ? "up" : "down",
    link_speed: speed === undefined ? undefined : BigInt(speed) * 1_000_000n,
    duplex: port?.link?.duplex,
    status: new Map([["driver_name", kind]]),
  };
}

/** What an interface counted. */
export function faceStatistics(bridge: Bridge, face: Face): Values<"Interface"> {
  if (face.dp === undefined) return { statistics: new Map() };
  const stats = bridge.backing.dp.ports.stats(face.dp);
  return {
    statistics: new Map([
      ["rx_packets", stats.rxPackets],
      ["tx_packets", stats.txPackets],
      ["rx_bytes", stats.rxBytes],
      ["tx_bytes", stats.txBytes],
      ["rx_dropped", stats.rxDropped],
      ["tx_dropped", stats.txDropped],
      ["rx_errors", stats.rxErrors],
      ["tx_errors", stats.txErrors],
    ]),
  };
}

/** Tells which port of each bond of a bridge is the active one. */
export function tellBonds(
  written: Written,
  to: Transaction,
  { bonds, config: { ports } }: Bridge,
): void {
  const macs = new Map([...bonds.all()].map((one) => [one.config.name, one.activeMac]));
  for (const { uuid, name } of ports) {
    const mac = macs.get(name);
    if (mac !== undefined) written.update(to, "Port", uuid, { bond_active_slave: mac });
  }
}

/** Tells what mirrors of a bridge have had. */
export function tellMirrors(
  written: Written,
  to: Transaction,
  { mirrors }: Bridge,
): void {
  for (const [uuid, statistics] of mirrors.statistics()) {
    written.update(to, "Mirror", uuid, { statistics });
  }
}
