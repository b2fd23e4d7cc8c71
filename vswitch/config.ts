// SPDX-License-Identifier: Apache-2.0
/**
 * What the database says a switch is to be: rows as bridges with ports, whose values are checked.
 *
 * Source: ovs-vswitchd.conf.db(5).
 *
 * @module
 */
import type { Replica } from "../ovsdb/replica.ts";
import type { Row } from "../ovsdb/schema.ts";
import { parseSubField } from "../openflow/text/subfield.ts";
import { timerMs } from "../openflow/connection/timer.ts";
import { type Bundle, TABLES, type VlanMode } from "../openflow/translate/pipeline.ts";
import type { SubField } from "../openflow/wire/action.ts";
import type { BondConfig } from "./bonds/bond.ts";
import { bondConfigOf, lacpPortConfigOf } from "./bonds/bonds.ts";
import type { LacpPortConfig } from "./bonds/lacp.ts";
import { type MirrorConfig, mirrorsOf } from "./settings/mirrors.ts";
import { unhonoured } from "./settings/unhonoured.ts";

/** A bridge. */
export interface BridgeConfig {
  readonly uuid: string;
  readonly name: string;
  /** Its kind of datapath; that of the database, `system` where it says nothing. */
  readonly type: string;
  readonly ports: readonly PortConfig[];
  readonly controllers: readonly ControllerConfig[];
  readonly failMode: "standalone" | "secure";
  /** Versions of OpenFlow as bits: bit 1 is OpenFlow 1.0. */
  readonly versions: number;
  /** 64 bits that controllers know it by, if it is to have certain ones. */
  readonly datapathId: bigint | undefined;
  /** The address that it is to have, `aa:bb:cc:dd:ee:ff`. */
  readonly address: string | undefined;
  readonly forwardBpdu: boolean;
  readonly floodVlans: ReadonlySet<number>;
  /** Bundles of controllers that are not used for so long go, ms. */
  readonly bundleIdleMs: number;
  /** Addresses that it learns at most, and how long each is known, ms. */
  readonly stations: { readonly max: number; readonly idleMs: number };
  readonly mirrors: readonly MirrorConfig[];
  /** What cannot be as the database says, as text. */
  readonly notes: readonly string[];
  /** What tables are limited to, by number. */
  readonly tables: ReadonlyMap<number, TableConfig>;
}

/** A table of flows. */
export interface TableConfig {
  readonly name: string;
  /** Flows at most. */
  readonly most: number | undefined;
  /** Where flows go for others: parts of matches, of whose values the largest group loses one. */
  readonly groups: readonly SubField[] | undefined;
}

/** A port: one interface, or several that are one to NORMAL. */
export interface PortConfig {
  readonly uuid: string;
  readonly name: string;
  readonly faces: readonly FaceConfig[];
  readonly bundle: Omit<Bundle, "ports" | "name">;
  /** Of one with several interfaces. */
  readonly bond: BondConfig | undefined;
}

/** An interface. */
export interface FaceConfig {
  readonly uuid: string;
  readonly name: string;
  /** Its kind; `system` where the database says nothing. */
  readonly type: string;
  readonly options: ReadonlyMap<string, string>;
  /** The number that it is to have, and the one that it had. */
  readonly wanted: number | undefined;
  readonly had: number | undefined;
  readonly mtu: number | undefined;
  readonly address: string | undefined;
  readonly lacp?: LacpPortConfig;
}

/** A controller, or a place where controllers may call. */
export interface ControllerConfig {
  readonly uuid: string;
  readonly target: string;
  readonly probeMs: number;
  readonly maxBackoffMs: number;
}

const BUNDLE_IDLE_MS = 10_000;
const PROBE_MS = 5000;
const BACKOFF_MS = 8000;
/** The largest MTU of a device. */
const MAX_MTU = 65_535;
const isAddress = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
const modes: ReadonlySet<string> = new Set<VlanMode>([
  "access",
  "trunk",
  "native-tagged",
  "native-untagged",
  "dot1q-tunnel",
]);

function address(text: string | undefined): string | undefined {
  const zero = /^[0:]+$/;
  const isOne = text !== undefined && isAddress.test(text) && !zero.test(text);
  // That of a group is nobody's.
  return isOne && !(Number.parseInt(text.slice(0, 2), 16) & 1)
    ? text.toLowerCase()
    : undefined;
}

function bundleOf(row: Row<"Port">): PortConfig["bundle"] {
  const { tag, trunks, cvlans, vlan_mode: said, other_config: other } = row;
  const mode = said !== undefined && modes.has(said)
    ? said as VlanMode
    : tag === undefined
    ? "trunk"
    : "access";
  const priority = other.get("priority-tags");
  return {
    mode,
    tag: mode === "trunk" ? 0 : tag ?? 0,
    trunks: mode === "access" || trunks.size === 0 ? undefined : trunks,
    customers: mode !== "dot1q-tunnel" || cvlans.size === 0 ? undefined : cvlans,
    isProtected: row.protected,
    priorityTags: priority === "always"
      ? "always"
      : priority === "true" || priority === "if-nonzero"
      ? "if-nonzero"
      : "no",
  };
}

/** One that no device can have is as none. */
function mtuOf({ mtu_request: mtu }: Row<"Interface">): number | undefined {
  return mtu !== undefined && mtu <= MAX_MTU ? mtu : undefined;
}

function face(row: Row<"Interface">): FaceConfig {
  return {
    uuid: row.uuid,
    name: row.name,
    type: row.type === "" ? "system" : row.type,
    options: row.options,
    wanted: row.ofport_request,
    had: row.ofport,
    mtu: mtuOf(row),
    address: address(row.mac),
    lacp: lacpPortConfigOf(row),
  };
}

function controller(row: Row<"Controller">): ControllerConfig {
  const { uuid, target, inactivity_probe: probe, max_backoff: backoff } = row;
  // A place where others call is patient: they are asked for by the program that calls.
  const usual = /^p(tcp|unix|ssl):/.test(target) ? 60_000 : PROBE_MS;
  return {
    uuid,
    target,
    probeMs: timerMs(probe ?? usual),
    maxBackoffMs: timerMs(Math.max(1000, backoff ?? BACKOFF_MS)),
  };
}

function versionsOf(protocols: ReadonlySet<string>): number {
  const bits = [...protocols].map((name) => {
    const digit = /^OpenFlow1([0-5])$/.exec(name)?.[1];
    return digit === undefined ? 0 : 2 << Number(digit);
  });
  return bits.reduce((all, bit) => all | bit, 0) || 0x7e;
}

function idOf(text: string | undefined): bigint | undefined {
  const digits = /^(?:0x)?([0-9a-f]{1,16})$/i.exec(text ?? "")?.[1];
  const id = digits === undefined ? 0n : BigInt(`0x${digits}`);
  return id === 0n ? undefined : id;
}

/** Ports in the order of their names: numbers that they are given do not rest on their rows. */
function byName<T extends { readonly name: string }>(rows: Iterable<T>): T[] {
  return [...rows].sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

/** What it says of a table; groups that are no parts of fields are as none. */
function tableConfig(row: Row<"Flow_Table">): TableConfig {
  const groups = [...row.groups].flatMap((text) => {
    try {
      return [parseSubField(text)];
    } catch (error) {
      if (error instanceof SyntaxError) return [];
      throw error;
    }
  });
  return {
    name: row.name ?? "",
    most: row.flow_limit === undefined ? undefined : Math.max(0, row.flow_limit),
    groups: row.overflow_policy === "evict" ? groups : undefined,
  };
}

function tablesOf(rows: Replica, bridge: Row<"Bridge">): Map<number, TableConfig> {
  const found = new Map<number, TableConfig>();
  for (const [id, uuid] of bridge.flow_tables) {
    const row = rows.get("Flow_Table", uuid);
    if (row !== undefined && id >= 0 && id < TABLES) found.set(id, tableConfig(row));
  }
  return found;
}

/** Bridges that the database has, by name; of two of one name, the first. */
export function bridgesOf(rows: Replica): Map<string, BridgeConfig> {
  const [root] = rows.rows("Open_vSwitch");
  const found = new Map<string, BridgeConfig>();
  const idle = Number(root?.other_config.get("bundle-idle-timeout") ?? 0);
  const bundleIdleMs = timerMs(idle > 0 ? 1000 * idle : BUNDLE_IDLE_MS);
  for (const row of byName(rows.all("Bridge", root?.bridges ?? []))) {
    if (found.has(row.name) || !isGoodName(row.name)) continue;
    const { other_config: other } = row;
    const notes = unhonoured(rows, row);
    found.set(row.name, {
      uuid: row.uuid,
      name: row.name,
      type: row.datapath_type === "" ? "system" : row.datapath_type,
      ports: byName(rows.all("Port", row.ports)).map((port) => ({
        uuid: port.uuid,
        name: port.name,
        faces: byName(rows.all("Interface", port.interfaces)).map(face),
        bundle: bundleOf(port),
        bond: port.interfaces.size > 1 ? bondConfigOf(port) : undefined,
      })),
      controllers: rows.all("Controller", row.controller).map(controller),
      failMode: row.fail_mode === "secure" ? "secure" : "standalone",
      versions: versionsOf(row.protocols),
      datapathId: idOf(other.get("datapath-id")),
      address: address(other.get("hwaddr")),
      forwardBpdu: other.get("forward-bpdu") === "true",
      floodVlans: row.flood_vlans,
      stations: {
        max: bounded(other.get("mac-table-size"), 10, 1_000_000, 65_536),
        idleMs: 1000 * bounded(other.get("mac-aging-time"), 15, 3600, 300),
      },
      mirrors: mirrorsOf(rows, row, (text) => void notes.push(text)),
      notes,
      tables: tablesOf(rows, row),
      bundleIdleMs,
    });
  }
  return found;
}

/** A number between others; the usual one for what is none. */
function bounded(
  text: string | undefined,
  least: number,
  most: number,
  usual: number,
): number {
  const said = Number(text || "0");
  return said > 0 ? Math.max(least, Math.min(most, Math.floor(said))) : usual;
}

/** Names become those of files and devices. */
function isGoodName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !/[/\0\s]/.test(name);
}
